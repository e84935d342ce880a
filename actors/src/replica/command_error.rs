//! Why a command has no good answer.

use csync::{Code, CommandKind};

use crate::replica::refusal::{self, Meaning};

/// Why a command has no good answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The connection ended before the answer.
    #[error("the connection to the replica was lost before {command} was answered: {reason}")]
    Lost {
        /// The command.
        command: CommandKind,
        /// What ended the connection.
        reason: String,
        /// Somebody else's answer was due when it ended, or nothing was heard of what was sent ahead of all being agreed on: this
        /// one counts as never asked, if it only asked.
        behind: bool,
    },
    /// The replica said NO or BAD.
    #[error("the replica refused {command}: {text}")]
    Refused {
        /// The command.
        command: CommandKind,
        /// The code, where the answer has a known one.
        code: Option<Code>,
        /// The replica's own words, code included.
        text: String,
    },
    /// The answer makes no sense.
    #[error("the replica's answer to {command} makes no sense: {problem}")]
    InvalidAnswer {
        /// The command.
        command: CommandKind,
        /// What is wrong with it.
        problem: String,
    },
}

impl CommandError {
    /// The connection is gone, so gone that nobody is left to say why.
    pub(crate) fn closed(command: CommandKind) -> CommandError {
        CommandError::Lost { command, reason: "it was closed".into(), behind: false }
    }

    /// What a refusal means; none where it is no refusal.
    pub(crate) fn meaning(&self) -> Option<Meaning> {
        match self {
            CommandError::Refused { command, code, .. } => {
                Some(refusal::meaning(*command, code.as_ref()))
            }
            _ => None,
        }
    }
}
