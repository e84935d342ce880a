//! The errors of this crate, in one enum.
//!
//! A test never hides these: every variant says which program, file or command failed, and what to do.

use std::path::{Path, PathBuf};

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the test kit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller is not root; real servers cannot be started.
    #[error(
        "not root: real cyrus servers change to the user cyrus, run the tests as root (for example with sudo -E)"
    )]
    NotRoot,
    /// Cyrus is missing, or its version is not the one that the tests know.
    #[error(transparent)]
    NoCyrus(#[from] groundwork::cyrus::CyrusError),
    /// Another release's Cyrus can't be installed.
    #[error("another version of cyrus: {0}")]
    NoRoot(String),
    /// There is no Cyrus user.
    #[error(
        "there is no user cyrus, which cyrus' packages make: run the tests where debian's packages are installed"
    )]
    NoUser,
    /// A file, a socket or a process failed.
    #[error("failed to {what} {}: {source}", path.display())]
    Io {
        /// What was tried ("write", "connect to" …).
        what: &'static str,
        /// The file, socket or program.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A server did not come up.
    #[error("cyrus in {} did not start: {reason}", dir.display())]
    Start {
        /// The instance's folder.
        dir: PathBuf,
        /// The awaited event, and the last syslog lines.
        reason: String,
    },
    /// A program ended with an error.
    #[error("{program} failed with {status}: {output}")]
    Program {
        /// The program and its arguments.
        program: String,
        /// Its exit status.
        status: String,
        /// Its stdout and stderr.
        output: String,
    },
    /// A syslog line did not arrive.
    #[error("no syslog line with {words:?} came, but {came:#?}")]
    NoLine {
        /// The awaited text.
        words: String,
        /// The lines that did arrive.
        came: Vec<String>,
    },
    /// The instance has no such service.
    #[error("this cyrus runs no {0} service: ask for it in the builder")]
    NoService(&'static str),
    /// An IMAP command failed.
    #[error(transparent)]
    Imap(#[from] crate::imap::ImapError),
    /// An LMTP or ManageSieve command was refused; the connection goes on.
    #[error("{service} command {command:?} was refused: {answer}")]
    Refused {
        /// `lmtp` or `sieve`.
        service: &'static str,
        /// The command.
        command: String,
        /// The server's words.
        answer: String,
    },
    /// A server that should run did not answer repeated tries.
    #[error("failed to reach the {service} server for {seconds} s: {source}")]
    Unreachable {
        /// `imap`, `lmtp` or `sieve`.
        service: &'static str,
        /// How long it was tried.
        seconds: u64,
        /// The error of the last try.
        source: Box<Error>,
    },
    /// A csync command was answered with NO or BAD.
    #[error("csync command {command:?} was answered {answer:?}")]
    Csync {
        /// The command that was sent.
        command: String,
        /// The server's words.
        answer: String,
    },
    /// A csync line could not be parsed.
    #[error("bad dlist at byte {offset}: {why} in {line:?}")]
    Dlist {
        /// Where in the line.
        offset: usize,
        /// What was wrong.
        why: &'static str,
        /// The line's beginning.
        line: String,
    },
    /// The oracle's answers do not make sense.
    #[error("oracle answer for {what}: {why}")]
    Oracle {
        /// The user or mailbox.
        what: String,
        /// What is missing or unexpected.
        why: String,
    },
}

impl Error {
    /// Whether a server refused only this command (NO, BAD, a 4xx or 5xx code), so that the connection goes on.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Imap(err) => err.is_refusal(),
            Self::Refused { .. } => true,
            _ => false,
        }
    }
}

/// Wraps a system error with the action and the path.
pub(crate) fn io(
    what: &'static str,
    path: impl AsRef<Path>,
) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.as_ref().to_path_buf();
    move |source| Error::Io { what, path, source }
}
