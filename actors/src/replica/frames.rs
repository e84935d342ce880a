//! What travels from a user's work to its connection: encoded commands, in order.
//!
//! ```text
//!  UserSync, MailboxStreamer --Frame--> [bounded channel] --> writer --> socket
//!        ^------------ Result<Answer> (one a command) <----- reader <--'
//! ```
//! A short command is one frame; a long one is opened, fed and closed, so that neither records nor message files are ever
//! in memory as a whole. The writer adds the tags of csync over IMAP: encoders do not know them.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use csync::CommandKind;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::Span;

use crate::replica::ask::{About, Ask, Asker, Pending};
use crate::replica::asked::PendingCommand;
use crate::replica::command_error::CommandError;

/// How many frames may wait for the socket. A frame holds up to [`FRAME_BYTES`], so about 1 MiB is in flight for each
/// connection.
pub(crate) const FRAMES_WAITING: usize = 16;

/// The size that streamed frames aim at, in bytes.
pub(crate) const FRAME_BYTES: usize = 64 * 1024;

/// A piece of the stream to the replica.
#[derive(Debug)]
pub(crate) enum Frame {
    /// A whole command, including its CRLF.
    Command { ask: Ask, bytes: Bytes },
    /// COMPRESS: both directions are deflated after its answer. No other answer may be due.
    Compress { ask: Ask },
    /// A command's beginning.
    Open { ask: Ask, bytes: Bytes },
    /// A further piece.
    More(Bytes),
    /// Its end, including the CRLF.
    Close(Bytes),
}

/// How a connection ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Closed {
    pub(crate) reason: String,
    /// It was never open: the last answers of the handshake were not the expected ones.
    pub(crate) unopened: bool,
    /// The lease whose answer was due.
    pub(crate) head: Option<Asker>,
    /// It fell silent: the replica may still carry out what was sent on it.
    pub(crate) fading: bool,
}

/// How a connection ended, once it has, for all its users.
#[derive(Debug, Clone, Default)]
pub(crate) struct End(Arc<Ending>);

#[derive(Debug, Default)]
struct Ending {
    closed: OnceLock<Closed>,
    /// Whether nothing that was sent can be carried out any more.
    gone: watch::Sender<bool>,
}

impl End {
    /// Records how it ended; only the first call counts.
    pub(crate) fn set(&self, closed: Closed) {
        let _ = self.0.closed.set(closed);
    }

    /// Whether it fell silent, so that the replica may still carry out what was sent.
    pub(crate) fn is_fading(&self) -> bool {
        self.get().is_some_and(|closed| closed.fading) && !*self.0.gone.borrow()
    }

    /// Nothing that was sent can be carried out any more.
    pub(crate) fn set_gone(&self) {
        self.0.gone.send_replace(true);
    }

    /// Waits for that.
    pub(crate) async fn gone(&self) {
        // The sender is ours, so this can't fail.
        let _ = self.0.gone.subscribe().wait_for(|gone| *gone).await;
    }

    /// How it ended, if it has.
    pub(crate) fn get(&self) -> Option<&Closed> {
        self.0.closed.get()
    }

    /// The error for a command that is not answered any more.
    pub(crate) fn error(&self, command: CommandKind, asker: Asker) -> CommandError {
        match self.get() {
            None => CommandError::closed(command),
            Some(Closed { reason, unopened, head, .. }) => {
                let behind = *unopened || head.is_some_and(|head| head != asker);
                CommandError::Lost { command, reason: reason.clone(), behind }
            }
        }
    }
}

/// The sending end of a lease, for async code and, through the `_blocking` forms, for threads.
#[derive(Debug, Clone)]
pub(crate) struct FrameSender {
    pub(crate) frames: mpsc::Sender<Frame>,
    pub(crate) end: End,
    /// The lease.
    pub(crate) asker: Asker,
}

impl FrameSender {
    fn ask(&self, kind: CommandKind, about: About) -> (Ask, Pending) {
        // Who asks beside others is sent elsewhere when an answer is slow, and what was sent may still be carried out.
        let alone = !self.asker.beside_others;
        debug_assert!(alone || kind.changes_nothing(), "{kind} on a shared lease");
        let (reply, pending) = oneshot::channel();
        (Ask { kind, asker: self.asker, about, reply, span: Span::current() }, pending)
    }

    fn closed(&self, kind: CommandKind) -> CommandError {
        self.end.error(kind, self.asker)
    }

    /// Sends a whole command ahead of its answer.
    pub(crate) async fn command(
        &self,
        kind: CommandKind,
        bytes: impl Into<Bytes>,
        about: About,
    ) -> Result<PendingCommand, CommandError> {
        let (ask, pending) = self.ask(kind, about);
        let frame = Frame::Command { ask, bytes: bytes.into() };
        self.frames.send(frame).await.map_err(|_| self.closed(kind))?;
        Ok(PendingCommand::new(kind, pending))
    }

    /// Asks for compression, and waits until the replica has accepted or refused.
    pub(crate) async fn compress(&self) -> Result<(), CommandError> {
        let (ask, pending) = self.ask(CommandKind::Compress, About::Anything);
        let closed = || self.closed(CommandKind::Compress);
        self.frames.send(Frame::Compress { ask }).await.map_err(|_| closed())?;
        pending.await.map_err(|_| closed())?.map(drop)
    }

    /// Opens a command from a thread.
    pub(crate) fn open_blocking(
        &self,
        kind: CommandKind,
        bytes: Bytes,
    ) -> Result<PendingCommand, CommandError> {
        let (ask, pending) = self.ask(kind, About::Anything);
        self.push_blocking(kind, Frame::Open { ask, bytes })?;
        Ok(PendingCommand::new(kind, pending))
    }

    /// Sends a whole command from a thread.
    pub(crate) fn command_blocking(
        &self,
        kind: CommandKind,
        bytes: impl Into<Bytes>,
    ) -> Result<PendingCommand, CommandError> {
        let (ask, pending) = self.ask(kind, About::Anything);
        self.push_blocking(kind, Frame::Command { ask, bytes: bytes.into() })?;
        Ok(PendingCommand::new(kind, pending))
    }

    /// Sends any frame from a thread.
    pub(crate) fn push_blocking(
        &self,
        command: CommandKind,
        frame: Frame,
    ) -> Result<(), CommandError> {
        self.frames.blocking_send(frame).map_err(|_| self.closed(command))
    }
}
