//! Limits on one answer line, and the errors for lines that exceed them or are invalid.

use crate::value::{ValueError, shorten};

/// Bounds on one answer line, so that a broken or hostile peer can't fill the memory. The caller bounds the number of lines
/// in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one line, without its literals and files.
    pub line_bytes: usize,
    /// Bytes of one atom, quoted string, literal or file: each is in memory as a whole.
    pub token_bytes: usize,
    /// Memory for the values of one line, in bytes; for a list handed out by [`part_key`](Limits::part_key), for those of
    /// one part.
    pub memory_bytes: usize,
    /// Bytes of all literals and files of one line together.
    pub literal_bytes: usize,
    /// Maps and lists within each other. Cyrus' own answers need five.
    pub depth: usize,
    /// Values in one line. A record of a FULLMAILBOX answer has about ten.
    pub items: usize,
    /// The values of the list under this key of a line's map are handed out one by one as they arrive
    /// ([`Reply::Part`](crate::Reply::Part)), and are no longer in the line.
    pub part_key: Option<&'static str>,
}

impl Limits {
    /// For everything except whole mailboxes: GET USER, MAILBOXES, META, APPLY … A user with 50,000 subscriptions has a
    /// line of 2 MB; a RESERVE names at most 8,192 messages.
    pub const ANSWERS: Limits = Limits {
        line_bytes: 4 << 20,
        token_bytes: 1 << 20,
        memory_bytes: 16 << 20,
        literal_bytes: 4 << 20,
        depth: 16,
        items: 1 << 20,
        part_key: None,
    };

    /// For GET FULLMAILBOX: a line of two million records, handed out one by one.
    pub const WHOLE_MAILBOX: Limits = Limits {
        line_bytes: 1 << 30,
        literal_bytes: 1 << 30,
        items: 32 << 20,
        part_key: Some("RECORD"),
        ..Limits::ANSWERS
    };
}

impl Default for Limits {
    fn default() -> Self {
        Limits::ANSWERS
    }
}

/// The peer's bytes violate the protocol. The connection can't be used any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A line without an end.
    #[error("the peer sent an answer line longer than {limit} bytes")]
    LineTooLong {
        /// The limit that was exceeded.
        limit: usize,
    },
    /// Literals or files beyond the limit.
    #[error(
        "the peer announced {announced} bytes of literals in one answer, at most {limit} are accepted"
    )]
    LiteralTooLong {
        /// The announced size of all the line's literals together.
        announced: u64,
        /// The limit that was exceeded.
        limit: usize,
    },
    /// An atom, a string or a literal that is too long.
    #[error("the peer sent one value longer than {limit} bytes")]
    ValueTooLong {
        /// The limit that was exceeded.
        limit: usize,
    },
    /// More memory for a line's values than allowed.
    #[error("the peer's answer has a line whose values take more than {limit} bytes of memory")]
    TooMuchMemory {
        /// The limit that was exceeded.
        limit: usize,
    },
    /// Maps in lists in maps …
    #[error("the peer's answer nests deeper than {limit} levels")]
    TooDeep {
        /// The limit that was exceeded.
        limit: usize,
    },
    /// More values than allowed.
    #[error("the peer's answer has more than {limit} values")]
    TooManyItems {
        /// The limit that was exceeded.
        limit: usize,
    },
    /// Not a dlist.
    #[error("the peer's answer is malformed near \"{near}\": {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
        /// The bytes there, shortened.
        near: String,
    },
    /// A line that is neither an item of an answer nor its end.
    #[error("unexpected line from the peer: \"{line}\"")]
    UnexpectedLine {
        /// The line, shortened.
        line: String,
    },
    /// Called again after an error.
    #[error("the connection's answers can't be read any more after an earlier error")]
    AlreadyFailed,
}

impl WireError {
    pub(crate) fn malformed(what: &'static str, near: &[u8]) -> WireError {
        WireError::Malformed { what, near: shorten(near) }
    }
}

/// A well-formed answer lacks something or has a wrong value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// A required key is missing.
    #[error("the replica's {line} answer has no {key}")]
    Missing {
        /// The line's name, such as `MAILBOX`.
        line: String,
        /// The key.
        key: &'static str,
    },
    /// A value of the wrong kind.
    #[error("the replica's {line} answer has a bad {key}: {source}")]
    Bad {
        /// The line's name, such as `MAILBOX`.
        line: String,
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        source: ValueError,
    },
    /// A line that does not belong to this answer.
    #[error("the replica answered {command} with an unexpected line {line}")]
    Unexpected {
        /// The command.
        command: &'static str,
        /// The line's name.
        line: String,
    },
}
