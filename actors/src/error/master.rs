//! Errors of this side: the store, and what is made from it.

use std::path::PathBuf;
use std::sync::Arc;

use cyrus_store::StoreError;
use cyrus_types::{MailboxName, Uid};

/// Something on the master can't be read.
#[derive(Debug, thiserror::Error)]
pub enum MasterError {
    /// The store can't be read.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// One mailbox can't be read; the user's others were replicated.
    #[error("{}", about(mailbox, source))]
    Mailbox {
        /// Its internal name.
        mailbox: MailboxName,
        /// The error.
        source: Box<StoreError>,
    },
    /// A mailbox that can't be read; the user's others were replicated.
    #[error("{}", about(mailbox, source))]
    Unreadable {
        /// Its internal name.
        mailbox: MailboxName,
        /// The error.
        source: Arc<StoreError>,
    },
    /// Subscriptions, seen state, scripts or a quota root can't be read; the user's mailboxes were replicated.
    #[error("{source}")]
    Unread {
        /// The error.
        source: Arc<StoreError>,
    },
    /// The temporary file for a large mailbox failed.
    #[error(
        "mailbox {mailbox}: can't write the temporary file for its records: {problem}; is TMPDIR full?"
    )]
    RecordBuffer {
        /// Internal name.
        mailbox: MailboxName,
        /// The system's words.
        problem: String,
    },
    /// A message's file is not what its record says.
    #[error("mailbox {mailbox} uid {uid}: {}: {problem}", path.display())]
    MessageFile {
        /// Internal name.
        mailbox: MailboxName,
        /// The message.
        uid: Uid,
        /// Its file.
        path: PathBuf,
        /// Whether the file is missing.
        missing: bool,
        /// The error.
        problem: String,
    },
    /// The user's scripts are still files, and asking this replica about the user would harm its copies.
    #[error(
        "the Sieve scripts are files in {} and not in the user's #sieve mailbox, so they can't be replicated, and the replica would drop its own such files if it were asked",
        folder.display()
    )]
    ScriptFiles {
        /// The folder.
        folder: PathBuf,
    },
    /// The system has no thread for it.
    #[error(
        "no thread can be started to read the store (see `ulimit -u` and the limits of the service)"
    )]
    NoThread,
    /// A bug of ours: a thread that reads the store panicked, or is gone.
    #[error("internal error while the store was read: {0}; please report this")]
    Internal(String),
}

impl MasterError {
    /// An error about one mailbox.
    pub(crate) fn of_mailbox(mailbox: &MailboxName, e: StoreError) -> MasterError {
        MasterError::Mailbox { mailbox: mailbox.clone(), source: Box::new(e) }
    }

    /// The mailbox in question, if there is one.
    pub(super) fn mailbox(&self) -> Option<&MailboxName> {
        match self {
            MasterError::Mailbox { mailbox, .. }
            | MasterError::Unreadable { mailbox, .. }
            | MasterError::RecordBuffer { mailbox, .. }
            | MasterError::MessageFile { mailbox, .. } => Some(mailbox),
            _ => None,
        }
    }

    /// Whether only this mailbox, or one of its messages, is concerned: everything else of the user goes on.
    pub(crate) fn is_of_mailbox(&self) -> bool {
        matches!(self, MasterError::Mailbox { .. } | MasterError::MessageFile { .. })
    }
}

/// An error about a mailbox, naming it once.
fn about(mailbox: &MailboxName, e: &StoreError) -> String {
    let text = e.to_string();
    if text.starts_with("mailbox ") { text } else { format!("mailbox {mailbox}: {text}") }
}
