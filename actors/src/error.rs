//! Why a user could not be replicated, and what to do about it.

use std::path::PathBuf;
use std::sync::Arc;

use csync::Code;
use cyrus_store::{ErrorClass, StoreError};
use sync_plan::PlanError;

use crate::frames::CommandError;
use crate::pool::PoolError;

/// What a failure means for the user's next try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Something in passing: try again after a pause.
    Passing,
    /// It may be a file that was caught in the middle of a change: one more try tells.
    Unsure,
    /// It would end the same: report it.
    Lasting,
    /// No user can be replicated any more: stop the run.
    Run,
}

/// A user's failure.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The store can't be read.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// One mailbox can't be read; the user's others were replicated.
    #[error("{}", about(mailbox, source))]
    Mailbox {
        /// Its internal name.
        mailbox: String,
        /// What is wrong with it.
        source: Box<StoreError>,
    },
    /// Mailboxes that can't be read; the user's others were replicated.
    #[error("{}{}", about(mailbox, source), more_text(*more))]
    Unreadable {
        /// The first one's internal name.
        mailbox: String,
        /// What is wrong with it.
        source: Arc<StoreError>,
        /// How many more there are.
        more: usize,
    },
    /// The temporary file for a large mailbox failed.
    #[error(
        "mailbox {mailbox}: can't write the temporary file for its records: {problem}; is TMPDIR full?"
    )]
    Spool {
        /// Internal name.
        mailbox: String,
        /// The system's words.
        problem: String,
    },
    /// A message's file is not what its record says.
    #[error("mailbox {mailbox} uid {uid}: {}: {problem}", path.display())]
    MessageFile {
        /// Internal name.
        mailbox: String,
        /// The message.
        uid: u32,
        /// Its file.
        path: PathBuf,
        /// Whether the file is not there at all.
        missing: bool,
        /// What is wrong with it.
        problem: String,
    },
    /// A command failed.
    #[error("{0}")]
    Command(CommandError),
    /// A command about one mailbox failed.
    #[error("mailbox {mailbox}: {source}")]
    Refused {
        /// Internal name.
        mailbox: String,
        /// The failure.
        source: CommandError,
    },
    /// No plan, such as when copyback would be needed.
    #[error("{0}")]
    Plan(#[from] PlanError),
    /// No connection.
    #[error("{0}")]
    Pool(#[from] PoolError),
    /// The replica has another mailbox under a name of ours, and it must not be deleted.
    #[error(
        "mailbox {mailbox}: the replica has another mailbox of this name (unique id {uniqueid}), and nothing here tells that it was deleted"
    )]
    NameHeld {
        /// Internal name.
        mailbox: String,
        /// The replica's mailbox.
        uniqueid: String,
    },
    /// The replica lacks a partition.
    #[error(
        "the replica has no partition {partition:?}; add partition-{partition} to its imapd.conf or choose another with -p"
    )]
    NoPartition {
        /// Its name.
        partition: String,
        /// Whether -p chose it, for all mailboxes.
        by_option: bool,
    },
    /// The replica does not make a mailbox again whose unique id it knows as deleted.
    #[error(
        "mailbox {mailbox}: it was deleted on the replica, which does not make a mailbox of this unique id ({uniqueid}) again ({text})"
    )]
    DeletedThere {
        /// Internal name.
        mailbox: String,
        /// Its unique id.
        uniqueid: String,
        /// The replica's words.
        text: String,
    },
    /// Names changed on one side again and again while we looked.
    #[error(
        "names or mailboxes changed on one side in each of {tries} tries; run again when it is quieter"
    )]
    Unsettled {
        /// How often it was tried.
        tries: u32,
    },
    /// A mailbox went from one user to another: both must be worked on together.
    #[error(
        "the replica has a mailbox under a name of user {userid} that is user {other}'s here; both must be replicated together"
    )]
    Linked {
        /// Who was looked at.
        userid: Arc<str>,
        /// Whose the mailbox is here.
        other: Arc<str>,
    },
    /// A bug of ours.
    #[error("internal error: {0}; please report this")]
    Bug(String),
}

impl From<CommandError> for UserError {
    /// What was asked too early counts as never asked.
    fn from(e: CommandError) -> UserError {
        match e {
            CommandError::Unopened { .. } => UserError::Pool(PoolError::NotBegun),
            e => UserError::Command(e),
        }
    }
}

impl UserError {
    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            UserError::Command(e) | UserError::Refused { source: e, .. } => class_of(e),
            UserError::Unsettled { .. } | UserError::Linked { .. } => Class::Passing,
            UserError::Store(e) => class_of_store(e),
            UserError::Mailbox { source, .. } => class_of_store(source),
            UserError::Unreadable { source, .. } => class_of_store(source),
            UserError::Pool(_) | UserError::NoPartition { .. } => Class::Run,
            UserError::MessageFile { .. }
            | UserError::Spool { .. }
            | UserError::Plan(_)
            | UserError::NameHeld { .. }
            | UserError::DeletedThere { .. }
            | UserError::Bug(_) => Class::Lasting,
        }
    }
}

impl UserError {
    /// Whether looking at all of the user may help where looking at a part of it did not: not if the
    /// connection or our own store is what failed.
    pub(crate) fn more_may_help(&self) -> bool {
        let refused = |e: &CommandError| match e {
            CommandError::Lost { .. } | CommandError::Unopened { .. } => false,
            CommandError::Nonsense { .. } => true,
            CommandError::Refused { code, .. } => *code != Some(Code::MailboxLocked),
        };
        match self {
            UserError::Command(e) | UserError::Refused { source: e, .. } => refused(e),
            UserError::Unsettled { .. } | UserError::Plan(_) | UserError::NameHeld { .. } => true,
            _ => false,
        }
    }
}

/// An error about a mailbox, naming it once.
fn about(mailbox: &str, e: &StoreError) -> String {
    let text = e.to_string();
    if text.starts_with("mailbox ") { text } else { format!("mailbox {mailbox}: {text}") }
}

fn more_text(more: usize) -> String {
    match more {
        0 => String::new(),
        1 => " (and one more mailbox)".into(),
        n => format!(" (and {n} more mailboxes)"),
    }
}

fn class_of(e: &CommandError) -> Class {
    match e {
        CommandError::Lost { .. } | CommandError::Unopened { .. } => Class::Passing,
        CommandError::Nonsense { .. } => Class::Lasting,
        CommandError::Refused { code, .. } => match code {
            Some(
                Code::MailboxLocked
                | Code::MailboxMoved
                | Code::MailboxNonexistent
                | Code::SyncChanged
                | Code::SyncChecksum,
            ) => Class::Passing,
            _ => Class::Lasting,
        },
    }
}

/// A mailbox that is being created, deleted or renamed reads as missing or damaged for a moment. What is still so
/// a second later is broken, and no waiting mends it.
fn class_of_store(e: &StoreError) -> Class {
    match e.class() {
        ErrorClass::Locked => Class::Passing,
        ErrorClass::Missing | ErrorClass::Damaged => Class::Unsure,
        _ => Class::Lasting,
    }
}
