//! A command that is sent in pieces from a thread, so that neither records nor message files are ever in memory as a whole.

use bytes::Bytes;
use csync::CommandKind;

use crate::replica::asked::PendingCommand;
use crate::replica::command_error::CommandError;
use crate::replica::frames::{Frame, FrameSender};

/// A command being sent. If it is dropped after its first piece was sent, and not closed, the connection ends.
pub(crate) struct CommandStream<'a> {
    frames: &'a FrameSender,
    kind: CommandKind,
    /// Whether a piece of it was sent.
    begun: Option<PendingCommand>,
}

impl<'a> CommandStream<'a> {
    pub(super) fn new(frames: &'a FrameSender, kind: CommandKind) -> CommandStream<'a> {
        CommandStream { frames, kind, begun: None }
    }

    /// Whether a piece of it was sent.
    pub(crate) fn is_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// Sends a piece. Waits while the connection has enough to do.
    ///
    /// # Errors
    /// [`CommandError::Lost`] when the connection is gone.
    pub(crate) fn push(&mut self, bytes: Bytes) -> Result<(), CommandError> {
        if self.begun.is_some() {
            return self.frames.push_blocking(self.kind, Frame::More(bytes));
        }
        self.begun = Some(self.frames.open_blocking(self.kind, bytes)?);
        Ok(())
    }

    /// Sends the last piece, including the CRLF.
    ///
    /// # Errors
    /// As [`push`](CommandStream::push).
    pub(crate) fn close(self, bytes: Bytes) -> Result<PendingCommand, CommandError> {
        match self.begun {
            Some(pending) => {
                self.frames.push_blocking(self.kind, Frame::Close(bytes))?;
                Ok(pending)
            }
            None => self.frames.command_blocking(self.kind, bytes),
        }
    }
}
