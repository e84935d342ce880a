//! Why work on a user ended before it was through. Not all of it is a failure.

use std::fmt;
use std::sync::Arc;

use actix::MailboxError;

use super::{Class, MasterError, ReplicaError, UserError};
use crate::replica::command_error::CommandError;
use crate::replica::pool::{NoLease, PoolError};

/// Why work on a user ended before it was through.
#[derive(Debug)]
pub(crate) enum Interrupt {
    /// It was never started, as others were in the way or the run ends: it does not count as a try.
    NotStarted,
    /// The user was removed, or made again, between two looks: what is to be done is another thing now.
    CameOrWent,
    /// A mailbox went from one user to another: both must be worked on together.
    Linked {
        /// Who was looked at.
        userid: Arc<str>,
        /// Whose the mailbox is here.
        other: Arc<str>,
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

    /// What failed, if anything did.
    pub(crate) fn failure(&self) -> Option<&UserError> {
        match self {
            Interrupt::Failed(e) => Some(e),
            _ => None,
        }
    }

    /// Whether nobody gets a connection.
    pub(crate) fn is_of_pool(&self) -> bool {
        matches!(
            self,
            Interrupt::NotStarted | Interrupt::Failed(UserError::Replica(ReplicaError::Pool(_)))
        )
    }

    /// Whether the program is being stopped, which is said elsewhere.
    pub(crate) fn is_stop(&self) -> bool {
        matches!(
            self,
            Interrupt::Failed(UserError::Replica(ReplicaError::Pool(PoolError::Stopped)))
        )
    }
}

/// For who is told that a user was not replicated because of it.
impl fmt::Display for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Interrupt::NotStarted => f.write_str("not started"),
            Interrupt::CameOrWent => {
                f.write_str("the user was removed or made again meanwhile; run again")
            }
            Interrupt::Linked { userid, other } => write!(
                f,
                "the replica has a mailbox under a name of user {userid} that is user {other}'s here; both must be replicated together"
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
