//! Commands that were sent and whose answers are still to come.

use csync::{CommandKind, StatusKind};

use crate::monitor::report::Sent;
use crate::replica::answer::{Answer, Said};
use crate::replica::ask::Pending;
use crate::replica::command_error::CommandError;
use crate::replica::refusal::Meaning;

/// A change that was sent; its answer is still to come.
#[derive(Debug)]
pub(crate) struct PendingCommand {
    /// Which command it is.
    pub(crate) kind: CommandKind,
    /// What the replica has accepted once it says OK.
    pub(crate) brings: Sent,
    pub(super) pending: Pending,
}

/// How a change that was not refused ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    /// The replica has carried it out.
    Taken,
    /// There was nothing to do: the object to be removed does not exist.
    NothingThere,
}

impl PendingCommand {
    pub(super) fn new(kind: CommandKind, pending: Pending) -> PendingCommand {
        PendingCommand { kind, brings: Sent::default(), pending }
    }

    /// Whether waiting for the answer is no longer necessary.
    pub(crate) fn is_answered(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The refusal, if the answer has arrived and is one.
    pub(crate) fn refusal(&mut self) -> Option<CommandError> {
        match self.pending.try_recv() {
            Ok(Ok(answer)) => ok(answer, self.kind).err(),
            _ => None,
        }
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub(crate) async fn done(self) -> Result<Done, CommandError> {
        match self.said().await {
            Ok(_) => Ok(Done::Taken),
            Err(e) if e.meaning() == Some(Meaning::NothingThere) => Ok(Done::NothingThere),
            Err(e) => Err(e),
        }
    }

    async fn said(self) -> Result<Said, CommandError> {
        match self.pending.await {
            Ok(answer) => ok(answer?, self.kind),
            Err(_) => Err(CommandError::closed(self.kind)),
        }
    }
}

/// A question that was sent; its answer is a `T`, the default one if nothing is there.
#[derive(Debug)]
pub(crate) struct Asked<T> {
    pub(super) pending: PendingCommand,
    pub(super) decode: fn(Said) -> Result<T, CommandError>,
}

impl<T: Default> Asked<T> {
    /// Waits for the answer.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub(crate) async fn answer(self) -> Result<T, CommandError> {
        match self.pending.said().await {
            Ok(said) => (self.decode)(said),
            Err(e) if e.meaning() == Some(Meaning::NothingThere) => Ok(T::default()),
            Err(e) => Err(e),
        }
    }
}

/// The lines of a good answer.
///
/// # Errors
/// [`CommandError::Refused`] on NO and BAD, [`CommandError::InvalidAnswer`] on lines that can't be parsed.
fn ok(answer: Answer, command: CommandKind) -> Result<Said, CommandError> {
    match answer.status.kind {
        StatusKind::Ok => match answer.said.nonsense {
            Some(problem) => Err(CommandError::InvalidAnswer { command, problem }),
            None => Ok(answer.said),
        },
        StatusKind::No | StatusKind::Bad | StatusKind::Bye => Err(CommandError::Refused {
            command,
            code: answer.status.code,
            text: answer.status.text,
        }),
    }
}
