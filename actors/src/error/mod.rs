//! Why a user could not be replicated, and how to react.
//!
//! ```text
//!   MasterError  (master.rs)   what can't be read here     --.
//!   ReplicaError (replica.rs)  what the replica did not do --+--> UserError --> Interrupt (interrupt.rs),
//!   what the plan found, and may not be done               --'                  which also has what is no failure
//! ```
//! `class.rs` decides what a failure means for the next try, for all of them.

mod class;
mod interrupt;
mod master;
mod replica;

use actix::MailboxError;
use cyrus_store::StoreError;
use cyrus_types::MailboxName;
use sync_plan::{Kept, PlanError, Uncounted, Withheld};

pub use class::Class;
pub(crate) use interrupt::Interrupt;
pub use master::MasterError;
pub use replica::ReplicaError;

use crate::monitor::words;
use crate::replica::command_error::CommandError;

/// A user's failure.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// Something here can't be read.
    #[error("{0}")]
    Master(#[from] MasterError),
    /// The replica did not do what it was asked.
    #[error("{0}")]
    Replica(#[from] ReplicaError),
    /// A mailbox was left out, for example because it needs copyback.
    #[error("{0}")]
    Plan(#[from] PlanError),
    /// Something was deleted here, but is not removed on the replica while part of the user can't be read here.
    #[error("not taken away on the replica while something here can't be read: {0}")]
    Withheld(Withheld),
    /// Something was kept on the replica although it is missing here, because nothing proves that it was deleted.
    #[error("{0}")]
    Kept(#[from] Kept),
    /// Mailboxes that the replica does not count against their quota root.
    #[error(transparent)]
    Uncounted(#[from] Uncounted),
    /// Several mailboxes or other things failed, in this order; everything else was replicated.
    #[error("{}", several(of))]
    Several {
        /// The failures; at least two, none of them a `Several`.
        of: Vec<UserError>,
    },
    /// More of the user would be removed on the replica than is allowed.
    #[error("{}; nothing of the user was changed there", removals(*mailboxes, *messages, *most, *by_option))]
    TooManyRemovals {
        /// Mailboxes that would be removed.
        mailboxes: u64,
        /// Messages that would be removed.
        messages: u64,
        /// The limit.
        most: u64,
        /// Whether --max-deletes set it.
        by_option: bool,
    },
    /// A mailbox that lost messages here while another of the user's can't be read here, or was refused by the replica.
    #[error(
        "mailbox {mailbox}: messages that went from it may be in a mailbox that could not be replicated, so they were kept there and nothing of it was sent"
    )]
    MayHaveMoved {
        /// Internal name.
        mailbox: MailboxName,
    },
    /// A mailbox that only the replica has, and that nothing here shows to be deleted.
    #[error(
        "mailbox {mailbox}: only the replica has it, and nothing here shows that it was deleted"
    )]
    OnlyThere {
        /// Internal name.
        mailbox: MailboxName,
    },
    /// A mailbox that was named and that neither side has.
    #[error("no such mailbox: {mailbox} is neither here nor on the replica")]
    Nowhere {
        /// Internal name.
        mailbox: MailboxName,
    },
    /// Names changed on one side again and again while we looked.
    #[error(
        "names or mailboxes changed on one side in each of {tries} tries; run again when it is quieter"
    )]
    Unsettled {
        /// How often it was tried.
        tries: u32,
    },
    /// A bug of ours.
    #[error("internal error: {0}; please report this")]
    Internal(String),
}

impl From<CommandError> for UserError {
    fn from(e: CommandError) -> UserError {
        UserError::Replica(e.into())
    }
}

/// The actor that was asked is gone, or died while it answered.
impl From<MailboxError> for UserError {
    fn from(e: MailboxError) -> UserError {
        UserError::Internal(e.to_string())
    }
}

impl From<StoreError> for UserError {
    fn from(e: StoreError) -> UserError {
        UserError::Master(e.into())
    }
}

impl UserError {
    /// These failures as one error; `None` if there are none.
    pub(crate) fn all_of(errors: Vec<UserError>) -> Option<UserError> {
        let mut of = Vec::with_capacity(errors.len());
        for e in errors {
            match e {
                UserError::Several { of: inner } => of.extend(inner),
                e => of.push(e),
            }
        }
        if of.len() > 1 { Some(UserError::Several { of }) } else { of.pop() }
    }

    /// Whether it concerns something of the user that is in no mailbox.
    pub(crate) fn is_of_meta(&self) -> bool {
        match self {
            UserError::Kept(Kept::Subscriptions { .. }) => true,
            UserError::Withheld(withheld) => withheld.meta > 0,
            _ => false,
        }
    }

    /// The failures one by one.
    pub(crate) fn each(&self) -> &[UserError] {
        match self {
            UserError::Several { of } => of,
            e => std::slice::from_ref(e),
        }
    }

    /// The mailbox in question, if there is one.
    pub(crate) fn mailbox(&self) -> Option<&MailboxName> {
        match self {
            UserError::Master(e) => e.mailbox(),
            UserError::Replica(e) => e.mailbox(),
            UserError::OnlyThere { mailbox }
            | UserError::Nowhere { mailbox }
            | UserError::MayHaveMoved { mailbox } => Some(mailbox),
            UserError::Plan(e) => Some(e.mailbox()),
            UserError::Uncounted(e) => Some(&e.mailbox),
            _ => None,
        }
    }

    /// Whether only one mailbox, or one of its messages, is concerned, as far as the error itself shows: everything else of
    /// the user goes on.
    pub(crate) fn is_of_mailbox(&self) -> bool {
        match self {
            UserError::Master(e) => e.is_of_mailbox(),
            UserError::Plan(_) => true,
            _ => false,
        }
    }

    /// A command about one mailbox failed.
    pub(crate) fn refused(mailbox: &MailboxName, source: CommandError) -> UserError {
        ReplicaError::Refused { mailbox: mailbox.clone(), source }.into()
    }
}

/// What would be removed, and the limit.
fn removals(mailboxes: u64, messages: u64, most: u64, by_option: bool) -> String {
    let messages = (messages > 0).then(|| words::count(messages, "message"));
    let mailboxes = (mailboxes > 0).then(|| match mailboxes {
        1 => "1 mailbox".to_string(),
        number => format!("{number} mailboxes"),
    });
    let what: Vec<String> = [messages, mailboxes].into_iter().flatten().collect();
    let what = what.join(" and ");
    if by_option {
        format!("{what} would be removed on the replica, and --max-deletes permits {most}")
    } else {
        format!(
            "{what} that only the replica has would be removed there, and --overwrite takes {most} by itself"
        )
    }
}

/// At most this many failures of one user are named in one line.
pub(crate) const NAMED: usize = 20;

/// The first failure in full, and the names of the others.
fn several(of: &[UserError]) -> String {
    let Some((first, others)) = of.split_first() else { return String::new() };
    let name = |e: &UserError| match (e, e.mailbox()) {
        (UserError::Replica(ReplicaError::RefusedItem { what, .. }), _) => what.clone(),
        (_, Some(mailbox)) => mailbox.to_string(),
        (e, None) => e.to_string(),
    };
    let mut names: Vec<String> = others.iter().take(NAMED).map(name).collect();
    if others.len() > NAMED {
        names.push(format!("{} more", others.len() - NAMED));
    }
    format!("{first} (and {})", names.join(", "))
}
