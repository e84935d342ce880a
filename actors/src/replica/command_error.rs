//! Why a command has no good answer.

use csync::Code;

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
        /// Somebody else's answer was due when it ended: this one counts as never asked, if it only asked.
        behind: bool,
    },
    /// The connection was used before all was agreed on, and then it was not agreed on.
    #[error("the connection to the replica ended before {command} was heard: {reason}")]
    HandshakeAborted {
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
    InvalidAnswer {
        /// The command.
        command: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}
