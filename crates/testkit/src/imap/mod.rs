//! A small blocking IMAP client for filling servers: `LITERAL+`, `TCP_NODELAY`, typed errors with the server's words.
//!
//! Without both, Cyrus takes 20 appended messages a second; with them, and several commands in flight at once
//! ([`Pipeline`]), some hundreds.

mod client;
mod commands;
mod pipeline;
mod quote;

pub use client::{Client, Response, Untagged};
pub use pipeline::Pipeline;
pub use quote::Line;

/// The errors of an IMAP command.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImapError {
    /// The server said NO.
    #[error("imap command {command:?} was refused: {text}")]
    No {
        /// The command's beginning.
        command: String,
        /// The server's words after NO.
        text: String,
    },
    /// The server said BAD.
    #[error("imap command {command:?} was not understood: {text}")]
    Bad {
        /// The command's beginning.
        command: String,
        /// The server's words after BAD.
        text: String,
    },
    /// The server said BYE or closed the connection.
    #[error("imap server ended the connection during {command:?}: {text}")]
    Bye {
        /// The command's beginning.
        command: String,
        /// The server's words, if any.
        text: String,
    },
    /// The connection failed.
    #[error("imap connection failed: {0}")]
    Io(#[from] std::io::Error),
    /// The answer made no sense.
    #[error("imap answer to {command:?} makes no sense: {answer:?}")]
    Protocol {
        /// The command's beginning.
        command: String,
        /// What arrived.
        answer: String,
    },
}

impl ImapError {
    /// Whether the server refused only this command (NO or BAD), so that the connection goes on.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::No { .. } | Self::Bad { .. })
    }
}
