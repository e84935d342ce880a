//! The errors of reading a mail store, and their classes.
//!
//! One enum serves the whole crate because every caller asks the same question about it ([`StoreError::class`]): is the
//! object missing, locked, damaged, in a format that we don't read, or is the disk or the configuration at fault?

use std::io;
use std::path::{Path, PathBuf};

use cyrus_types::{MailboxName, UniqueId};

/// The class of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The user, mailbox or file is not there (any more).
    Missing,
    /// Somebody else holds a lock and the caller did not want to wait.
    Locked,
    /// The bytes violate the format or do not match their checksum: only this user or mailbox fails, `reconstruct` may
    /// help.
    Damaged,
    /// A format or version that this crate does not read.
    Unsupported,
    /// The operating system refused; trying again later may help.
    Io,
    /// `imapd.conf` is wrong: nothing works until an admin corrects it.
    Config,
}

/// A failure to read something from a mail store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A system call failed.
    #[error("can't {action} {}: {}", path.display(), system_words(source))]
    Io {
        /// The action, as a verb: "open", "read", "lock" …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file that should exist does not.
    #[error("{} does not exist", path.display())]
    MissingFile {
        /// The file.
        path: PathBuf,
    },
    /// A database for all users that Cyrus has created by now is not where the option says.
    #[error(
        "option {option}: {} does not exist, and a missing file is not treated as empty; is this where Cyrus keeps it?",
        path.display()
    )]
    MissingDatabase {
        /// Name of the option.
        option: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// Something that must be a plain file is not.
    #[error("{} is no plain file but {kind}, and is not read", path.display())]
    NotAFile {
        /// What was to be read.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// No such mailbox in the mailbox list.
    #[error("mailbox {mailbox} does not exist")]
    MissingMailbox {
        /// Internal name.
        mailbox: MailboxName,
    },
    /// No such user (that is: no INBOX in the mailbox list).
    #[error("user {user} has no INBOX")]
    MissingUser {
        /// User id.
        user: String,
    },
    /// Another process holds a lock, and the caller did not want to wait.
    #[error("{} is locked by another process", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A file's bytes are invalid.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        what: String,
    },
    /// A file's bytes are invalid at a known place.
    #[error("{} is damaged at offset {offset}: {what}", path.display())]
    DamagedAt {
        /// The file.
        path: PathBuf,
        /// Bytes from the start of the file.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// A database's entry does not parse.
    #[error("entry '{key}' of {} is damaged: {what}", path.display())]
    DamagedEntry {
        /// The database.
        path: PathBuf,
        /// The entry's key, readable.
        key: String,
        /// What is wrong.
        what: String,
    },
    /// A mailbox's file is invalid, independent of any one record.
    #[error("mailbox {mailbox} is damaged ({}): {what}", path.display())]
    DamagedMailbox {
        /// Internal name.
        mailbox: MailboxName,
        /// The file concerned.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A record of a mailbox's index is invalid.
    #[error("mailbox {mailbox} is damaged ({} record {recno}): {what}", path.display())]
    DamagedRecord {
        /// Internal name.
        mailbox: MailboxName,
        /// The index file.
        path: PathBuf,
        /// Number of the record, from 1.
        recno: u32,
        /// What is wrong.
        what: String,
    },
    /// Two mailboxes have one unique id, as after folders were copied.
    #[error(
        "mailbox {mailbox} has the same unique id ({uniqueid}) as mailbox {other}; it needs one of its own"
    )]
    SharedId {
        /// The one to which the mailbox list does not map that id; internal name.
        mailbox: MailboxName,
        /// The other one.
        other: MailboxName,
        /// The unique id.
        uniqueid: UniqueId,
    },
    /// Text that must be UTF-8 is not.
    #[error("'{text}' in {} is not UTF-8; rename or remove it", path.display())]
    NotUtf8 {
        /// Where the text is.
        path: PathBuf,
        /// The text, with its bad bytes replaced.
        text: String,
    },
    /// A format or version this program does not read.
    #[error("{} cannot be read: {what}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// Which format or version it has.
        what: String,
    },
    /// A mailbox of a type that only a newer Cyrus knows.
    #[error(
        "mailbox {mailbox} is of type '{letters}', which is unknown to this program; a newer version may replicate it"
    )]
    UnknownType {
        /// Internal name.
        mailbox: MailboxName,
        /// The type's letters in mailboxes.db.
        letters: String,
    },
    /// A configuration file can't be read.
    #[error("can't read {}: {}{hint}", path.display(), system_words(source))]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
        /// What to do about it, or which file includes it; begins with "; ".
        hint: String,
    },
    /// A line of the configuration is wrong.
    #[error("{}{}: {what}", path.display(), line_number(*line))]
    Config {
        /// The configuration file.
        path: PathBuf,
        /// Line number, from 1; 0 stands for the whole file.
        line: u32,
        /// What is wrong.
        what: String,
    },
    /// An option's value cannot be used.
    #[error("option {option}: {what}")]
    ConfigOption {
        /// Name of the option.
        option: String,
        /// What is wrong.
        what: String,
    },
}

/// ` line 7`, or nothing if an error is about the whole file.
fn line_number(line: u32) -> String {
    if line == 0 { String::new() } else { format!(" line {line}") }
}

/// The system's error, and what to do if rights are missing.
fn system_words(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::NotFound => "no such file".into(),
        io::ErrorKind::PermissionDenied => {
            "permission denied; run as root or as the Cyrus user, and check this user's rights"
                .into()
        }
        _ => {
            let text = e.to_string();
            text.split(" (os error ").next().unwrap_or(&text).to_string()
        }
    }
}

impl StoreError {
    /// Wraps a system error; a missing file becomes [`StoreError::MissingFile`].
    pub fn io(action: &'static str, path: &Path, source: io::Error) -> StoreError {
        if source.kind() == io::ErrorKind::NotFound {
            return StoreError::MissingFile { path: path.to_path_buf() };
        }
        StoreError::Io { action, path: path.to_path_buf(), source }
    }

    /// A damaged file.
    pub fn damaged(path: &Path, what: impl Into<String>) -> StoreError {
        StoreError::Damaged { path: path.to_path_buf(), what: what.into() }
    }

    /// A file damaged at a known place.
    pub fn damaged_at(path: &Path, offset: u64, what: impl Into<String>) -> StoreError {
        StoreError::DamagedAt { path: path.to_path_buf(), offset, what: what.into() }
    }

    /// A damaged entry of a database.
    pub fn damaged_entry(path: &Path, key: &[u8], what: impl Into<String>) -> StoreError {
        StoreError::DamagedEntry {
            path: path.to_path_buf(),
            key: key.escape_ascii().to_string(),
            what: what.into(),
        }
    }

    /// Bytes that should have been UTF-8.
    pub fn not_utf8(path: &Path, bytes: &[u8]) -> StoreError {
        StoreError::NotUtf8 {
            path: path.to_path_buf(),
            text: String::from_utf8_lossy(bytes).into_owned(),
        }
    }

    /// A format that we don't read.
    pub fn unsupported(path: &Path, what: impl Into<String>) -> StoreError {
        StoreError::Unsupported { path: path.to_path_buf(), what: what.into() }
    }

    /// Something that is not a plain file.
    pub fn not_a_file(path: &Path, kind: &'static str) -> StoreError {
        StoreError::NotAFile { path: path.to_path_buf(), kind }
    }

    /// An option with an unusable value.
    pub fn option(option: &str, what: impl Into<String>) -> StoreError {
        StoreError::ConfigOption { option: option.to_string(), what: what.into() }
    }

    /// The class of this error.
    pub fn class(&self) -> ErrorClass {
        match self {
            StoreError::MissingFile { .. }
            | StoreError::MissingMailbox { .. }
            | StoreError::MissingUser { .. } => ErrorClass::Missing,
            StoreError::Locked { .. } => ErrorClass::Locked,
            StoreError::Damaged { .. }
            | StoreError::DamagedAt { .. }
            | StoreError::DamagedEntry { .. }
            | StoreError::DamagedMailbox { .. }
            | StoreError::DamagedRecord { .. }
            | StoreError::SharedId { .. }
            | StoreError::NotUtf8 { .. } => ErrorClass::Damaged,
            StoreError::Unsupported { .. }
            | StoreError::UnknownType { .. }
            | StoreError::NotAFile { .. } => ErrorClass::Unsupported,
            StoreError::Io { .. } => ErrorClass::Io,
            StoreError::Config { .. }
            | StoreError::ConfigFile { .. }
            | StoreError::MissingDatabase { .. }
            | StoreError::ConfigOption { .. } => ErrorClass::Config,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_told_apart_from_a_failing_disk() {
        let missing = StoreError::io("open", Path::new("/x"), io::ErrorKind::NotFound.into());
        assert_eq!(missing.class(), ErrorClass::Missing);
        assert_eq!(missing.to_string(), "/x does not exist");
        let failing = StoreError::io("read", Path::new("/x"), io::Error::from_raw_os_error(5));
        assert_eq!(failing.class(), ErrorClass::Io);
        assert_eq!(failing.to_string(), "can't read /x: Input/output error");
        let denied = StoreError::io("open", Path::new("/x"), io::Error::from_raw_os_error(13));
        assert_eq!(
            denied.to_string(),
            "can't open /x: permission denied; run as root or as the Cyrus user, and check this user's rights"
        );
    }

    #[test]
    fn a_damaged_entry_shows_its_key_readably() {
        let error =
            StoreError::damaged_entry(Path::new("/m.db"), b"Nuser\x1fanna", "no closing bracket");
        assert_eq!(
            error.to_string(),
            "entry 'Nuser\\x1fanna' of /m.db is damaged: no closing bracket"
        );
        assert_eq!(error.class(), ErrorClass::Damaged);
    }
}
