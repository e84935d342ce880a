//! What travels from a user's work to its connection: commands as they are encoded, in order.
//!
//! ```text
//!  UserSync, MailboxPlanner --Frame--> [bounded channel] --> writer --> socket
//!        ^------------ Result<Answer> (one a command) <----- reader <--'
//! ```
//! A short command is one frame; a long one is opened, fed and closed, so that neither records nor
//! message files ever sit in memory as a whole. The tags of csync over IMAP are added by the
//! writer: whoever encodes commands need not know them.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use csync::{Code, Item, Status, StatusKind};
use tokio::sync::{mpsc, oneshot};

use crate::report::Sent;

/// How many frames may wait for the socket. A frame holds up to [`FRAME_BYTES`], so about 1 MiB a
/// connection is in flight.
pub(crate) const FRAMES_WAITING: usize = 16;

/// The size that streamed frames aim at, in bytes.
pub(crate) const FRAME_BYTES: usize = 64 * 1024;

/// Where a command's answer goes.
pub(crate) type Reply = oneshot::Sender<Result<Answer, CommandError>>;

/// The other end of [`Reply`].
pub(crate) type Pending = oneshot::Receiver<Result<Answer, CommandError>>;

/// A piece of the stream to the replica.
#[derive(Debug)]
pub(crate) enum Frame {
    /// A whole command, its CRLF included.
    Command { name: &'static str, bytes: Bytes, reply: Reply },
    /// COMPRESS: both directions are deflated from its answer on. No other answer may be due.
    Compress { reply: Reply },
    /// A command's beginning.
    Open { name: &'static str, bytes: Bytes, reply: Reply },
    /// More of it.
    More(Bytes),
    /// Its end, the CRLF included.
    Close(Bytes),
}

/// A command's complete answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The untagged lines before the status.
    pub(crate) items: Vec<Item>,
    /// OK, NO or BAD.
    pub(crate) status: Status,
}

/// Why a command has no good answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The connection ended before the answer.
    #[error("the connection to the replica was lost before {command} was answered: {reason}")]
    Lost {
        /// The command.
        command: &'static str,
        /// What ended the connection.
        reason: String,
    },
    /// The connection was used before all was agreed on, and then it was not agreed on.
    #[error("the connection to the replica ended before {command} was heard: {reason}")]
    Unopened {
        /// The command.
        command: &'static str,
        /// What ended the connection.
        reason: String,
    },
    /// The replica said NO or BAD.
    #[error("the replica refused {command}: {text}")]
    Refused {
        /// The command.
        command: &'static str,
        /// The code, where the answer has a known one.
        code: Option<Code>,
        /// The replica's own words, code included.
        text: String,
    },
    /// The answer makes no sense.
    #[error("the replica's answer to {command} makes no sense: {problem}")]
    Nonsense {
        /// The command.
        command: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl Answer {
    /// The untagged lines of a good answer.
    ///
    /// # Errors
    /// [`CommandError::Refused`] on NO and BAD.
    pub(crate) fn ok(self, command: &'static str) -> Result<Vec<Item>, CommandError> {
        match self.status.kind {
            StatusKind::Ok => Ok(self.items),
            StatusKind::No | StatusKind::Bad | StatusKind::Bye => Err(CommandError::Refused {
                command,
                code: self.status.code,
                text: self.status.text,
            }),
        }
    }
}

/// A command sent, its answer to come.
#[derive(Debug)]
pub(crate) struct InFlight {
    /// The command's name.
    pub(crate) command: &'static str,
    /// What the replica has taken once it says OK.
    pub(crate) brings: Sent,
    /// Its answer.
    pub(crate) pending: Pending,
}

impl InFlight {
    /// Whether nothing needs to be waited for any more.
    pub(crate) fn is_answered(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The refusal, if that is the answer and it is here.
    pub(crate) fn refusal(&mut self) -> Option<CommandError> {
        match self.pending.try_recv() {
            Ok(Ok(answer)) => answer.ok(self.command).err(),
            _ => None,
        }
    }

    /// Waits for the answer's lines.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub(crate) async fn answer(self) -> Result<Vec<Item>, CommandError> {
        match self.pending.await {
            Ok(answer) => answer?.ok(self.command),
            Err(_) => Err(lost(self.command)),
        }
    }
}

/// A command's bytes.
pub(crate) fn encode(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

/// The connection is gone, so gone that nobody is left to say why.
pub(crate) fn lost(command: &'static str) -> CommandError {
    CommandError::Lost { command, reason: "it was closed".into() }
}

/// How a connection ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Closed {
    pub(crate) reason: String,
    /// It never was open: the last answers of the opening were not what was expected.
    pub(crate) unopened: bool,
}

/// How a connection ended, once it has, for all who use it.
#[derive(Debug, Clone, Default)]
pub(crate) struct End(Arc<OnceLock<Closed>>);

impl End {
    /// It ended so; the first word counts.
    pub(crate) fn set(&self, closed: Closed) {
        let _ = self.0.set(closed);
    }

    /// How it ended, if it has.
    pub(crate) fn get(&self) -> Option<&Closed> {
        self.0.get()
    }

    /// The error of a command that is not answered any more.
    pub(crate) fn error(&self, command: &'static str) -> CommandError {
        match self.get() {
            None => lost(command),
            Some(Closed { reason, unopened: false }) => {
                CommandError::Lost { command, reason: reason.clone() }
            }
            Some(Closed { reason, unopened: true }) => {
                CommandError::Unopened { command, reason: reason.clone() }
            }
        }
    }
}

/// The sending end of a lease, for async code and, through the `_blocking` forms, for threads.
#[derive(Debug, Clone)]
pub(crate) struct FrameSender {
    pub(crate) frames: mpsc::Sender<Frame>,
    pub(crate) end: End,
}

impl FrameSender {
    /// Sends a whole command ahead of its answer.
    pub(crate) async fn command(
        &self,
        name: &'static str,
        bytes: impl Into<Bytes>,
    ) -> Result<InFlight, CommandError> {
        let (reply, pending) = oneshot::channel();
        let frame = Frame::Command { name, bytes: bytes.into(), reply };
        self.frames.send(frame).await.map_err(|_| self.end.error(name))?;
        Ok(InFlight { command: name, brings: Sent::default(), pending })
    }

    /// Asks for compression, and waits until the replica has said yes or no.
    pub(crate) async fn compress(&self) -> Result<(), CommandError> {
        let (reply, pending) = oneshot::channel();
        let closed = || self.end.error("COMPRESS");
        self.frames.send(Frame::Compress { reply }).await.map_err(|_| closed())?;
        pending.await.map_err(|_| closed())?.map(drop)
    }

    /// Opens a command from a thread.
    pub(crate) fn open_blocking(
        &self,
        name: &'static str,
        bytes: Bytes,
    ) -> Result<InFlight, CommandError> {
        let (reply, pending) = oneshot::channel();
        self.push_blocking(name, Frame::Open { name, bytes, reply })?;
        Ok(InFlight { command: name, brings: Sent::default(), pending })
    }

    /// Sends a whole command from a thread.
    pub(crate) fn command_blocking(
        &self,
        name: &'static str,
        bytes: impl Into<Bytes>,
    ) -> Result<InFlight, CommandError> {
        let (reply, pending) = oneshot::channel();
        self.push_blocking(name, Frame::Command { name, bytes: bytes.into(), reply })?;
        Ok(InFlight { command: name, brings: Sent::default(), pending })
    }

    /// Sends any frame from a thread.
    pub(crate) fn push_blocking(
        &self,
        command: &'static str,
        frame: Frame,
    ) -> Result<(), CommandError> {
        self.frames.blocking_send(frame).map_err(|_| self.end.error(command))
    }
}
