//! Why work on a user ended early. Not every reason is a failure.

use std::fmt;

use actix::MailboxError;
use cyrus_types::Owner;

use super::{Class, MasterError, ReplicaError, UserError};
use crate::replica::command_error::CommandError;
use crate::replica::pool_error::{NoLease, PoolError};

/// Why work on a user ended early.
#[derive(Debug)]
pub(crate) enum Interrupt {
    /// It was not started, because other users were in the way or the run ends: it does not count as a try.
    NotStarted,
    /// The user was removed, or made again, between two looks: the plan is no longer right.
    CameOrWent,
    /// A mailbox moved from one user to another: both must be worked on together.
    Linked {
        /// The user that was looked at.
        owner: Owner,
        /// The mailbox's owner here, or under whose name the replica has it.
        other: Owner,
    },
    /// It failed.
    Failed(UserError),
}

impl Interrupt {
    /// What to do about it.
    pub(crate) fn class(&self) -> Class {
        match self {
            Interrupt::Failed(e) => e.class(),
            Interrupt::NotStarted | Interrupt::CameOrWent | Interrupt::Linked { .. } => {
                Class::Transient
            }
        }
    }

    /// The failure, if there is one.
    pub(crate) fn failure(&self) -> Option<&UserError> {
        match self {
            Interrupt::Failed(e) => Some(e),
            _ => None,
        }
    }

    /// Whether no user can get a connection.
    pub(crate) fn is_of_pool(&self) -> bool {
        matches!(
            self,
            Interrupt::NotStarted | Interrupt::Failed(UserError::Replica(ReplicaError::Pool(_)))
        )
    }

    /// Whether the program is stopping, which is reported elsewhere.
    pub(crate) fn is_stop(&self) -> bool {
        matches!(
            self,
            Interrupt::Failed(UserError::Replica(ReplicaError::Pool(PoolError::Stopped)))
        )
    }
}

/// The text of the reason for a report about the user.
impl fmt::Display for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Interrupt::NotStarted => f.write_str("not started"),
            Interrupt::CameOrWent => {
                f.write_str("the user was removed or made again meanwhile; run again")
            }
            Interrupt::Linked { owner, other } => write!(
                f,
                "a mailbox went from one of the users {owner} and {other} to the other, and the replica does not know that yet; both must be replicated together"
            ),
            Interrupt::Failed(e) => e.fmt(f),
        }
    }
}

impl From<UserError> for Interrupt {
    fn from(e: UserError) -> Interrupt {
        Interrupt::Failed(e)
    }
}

impl From<MasterError> for Interrupt {
    fn from(e: MasterError) -> Interrupt {
        Interrupt::Failed(e.into())
    }
}

impl From<CommandError> for Interrupt {
    fn from(e: CommandError) -> Interrupt {
        Interrupt::Failed(e.into())
    }
}

impl From<MailboxError> for Interrupt {
    fn from(e: MailboxError) -> Interrupt {
        Interrupt::Failed(e.into())
    }
}

impl From<NoLease> for Interrupt {
    fn from(e: NoLease) -> Interrupt {
        match e {
            NoLease::NotStarted => Interrupt::NotStarted,
            NoLease::Failed(e) => Interrupt::Failed(ReplicaError::Pool(e).into()),
        }
    }
}
