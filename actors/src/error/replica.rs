//! Errors of the other side: the replica, and the connections to it.

use cyrus_types::{MailboxName, UniqueId};

use crate::replica::command_error::CommandError;
use crate::replica::pool_error::PoolError;

/// The replica can't be reached, or did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// A command failed.
    #[error("{0}")]
    Command(#[from] CommandError),
    /// A command about one mailbox failed.
    #[error("mailbox {mailbox}: {source}")]
    Refused {
        /// Internal name.
        mailbox: MailboxName,
        /// The failure.
        source: CommandError,
    },
    /// Something of the user that is not a mailbox (its quota, subscriptions, scripts, seen state) was refused.
    #[error("{what}: {source}")]
    RefusedItem {
        /// The command and its object.
        what: String,
        /// The failure.
        source: CommandError,
    },
    /// No connection.
    #[error("{0}")]
    Pool(#[from] PoolError),
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
        mailbox: MailboxName,
        /// Its unique id.
        uniqueid: UniqueId,
        /// The replica's words.
        text: String,
    },
    /// A replica before 3.6 has the mailbox under a name that is not asked for, or deleted it.
    #[error(
        "mailbox {mailbox}: the replica has it under another name, which a Cyrus before 3.6 does not tell, or deleted it ({text}); replicate the user that had it before, then this one again"
    )]
    ElsewhereThere {
        /// Internal name.
        mailbox: MailboxName,
        /// The replica's words.
        text: String,
    },
}

impl ReplicaError {
    /// The mailbox in question, if there is one.
    pub(super) fn mailbox(&self) -> Option<&MailboxName> {
        match self {
            ReplicaError::Refused { mailbox, .. }
            | ReplicaError::DeletedThere { mailbox, .. }
            | ReplicaError::ElsewhereThere { mailbox, .. } => Some(mailbox),
            _ => None,
        }
    }

    /// The command's failure, if it is one.
    pub(crate) fn command(&self) -> Option<&CommandError> {
        match self {
            ReplicaError::Command(e)
            | ReplicaError::Refused { source: e, .. }
            | ReplicaError::RefusedItem { source: e, .. } => Some(e),
            _ => None,
        }
    }
}
