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
        /// The connection ended while another user's answer was due, or before the end of the handshake that this command
        /// was sent ahead of. If it was only a question, it counts as never asked.
        behind: bool,
    },
    /// The replica said NO or BAD.
    #[error("the replica refused {command}: {text}")]
    Refused {
        /// The command.
        command: CommandKind,
        /// The code, if the answer has a known one.
        code: Option<Code>,
        /// The replica's own words, including the code.
        text: String,
    },
    /// The answer is invalid.
    #[error("the replica's answer to {command} makes no sense: {problem}")]
    InvalidAnswer {
        /// The command.
        command: CommandKind,
        /// What is wrong with it.
        problem: String,
    },
}

impl CommandError {
    /// The connection is gone, and so is the task that could say why.
    pub(crate) fn closed(command: CommandKind) -> CommandError {
        CommandError::Lost { command, reason: "it was closed".into(), behind: false }
    }

    /// What a refusal means; `None` if it is not a refusal.
    pub(crate) fn meaning(&self) -> Option<Meaning> {
        match self {
            CommandError::Refused { command, code, .. } => {
                Some(refusal::meaning(*command, code.as_ref()))
            }
            _ => None,
        }
    }
}
