//! Why a user could not be replicated, and what to do about it.

use std::path::PathBuf;
use std::sync::Arc;

use csync::Code;
use cyrus_store::{ErrorClass, StoreError};
use sync_plan::{Kept, PlanError, Uncounted, Withheld};

use crate::monitor::words;
use crate::replica::command_error::CommandError;
use crate::replica::lease::{Lease, Purpose};
use crate::replica::pool::PoolError;

/// What a failure means for the user's next try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Something in passing: try again after a pause.
    Transient,
    /// It may be a file that was caught in the middle of a change: one more try tells.
    Unsure,
    /// It would end the same: report it.
    Permanent,
    /// No user can be replicated any more: stop the run.
    Fatal,
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
    /// A mailbox that can't be read; the user's others were replicated.
    #[error("{}", about(mailbox, source))]
    Unreadable {
        /// Its internal name.
        mailbox: String,
        /// What is wrong with it.
        source: Arc<StoreError>,
    },
    /// Subscriptions, seen state, scripts or a quota root can't be read; the user's mailboxes were replicated.
    #[error("{source}")]
    Unread {
        /// What is wrong.
        source: Arc<StoreError>,
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
    /// Something of the user that is no mailbox (its quota, subscriptions, scripts, seen state) was refused.
    #[error("{what}: {source}")]
    RefusedItem {
        /// The command and what it is about.
        what: String,
        /// The failure.
        source: CommandError,
    },
    /// A mailbox was left out, such as when copyback would be needed.
    #[error("{0}")]
    Plan(#[from] PlanError),
    /// Something was deleted here, and is not taken away on the replica as long as not everything of the user can be read.
    #[error("not taken away on the replica while something here can't be read: {0}")]
    Withheld(Withheld),
    /// Something was kept on the replica that is only missing here.
    #[error("{0}")]
    Kept(#[from] Kept),
    /// Mailboxes that the replica does not count against their quota root.
    #[error(transparent)]
    Uncounted(#[from] Uncounted),
    /// The user's scripts are files still, which this replica must not be asked about.
    #[error(
        "the Sieve scripts are files in {} and not in the user's #sieve mailbox, so they can't be replicated, and the replica would drop its own such files if it were asked",
        folder.display()
    )]
    ScriptFiles {
        /// The folder.
        folder: PathBuf,
    },
    /// Several mailboxes or other things failed, in the order of their failing; all else was replicated.
    #[error("{}", several(of))]
    Several {
        /// What failed; two at least, none of them a `Several`.
        of: Vec<UserError>,
    },
    /// No connection.
    #[error("{0}")]
    Pool(#[from] PoolError),
    /// More of the user would be removed on the replica than is permitted.
    #[error("{}; nothing of the user was changed there", removals(*mailboxes, *messages, *most, *by_option))]
    TooManyRemovals {
        /// Mailboxes that would go.
        mailboxes: u64,
        /// Messages that would go.
        messages: u64,
        /// How many may.
        most: u64,
        /// Whether --max-deletes says so.
        by_option: bool,
    },
    /// A mailbox that lost messages here while another of the user's can't be read here, or was refused by the replica.
    #[error(
        "mailbox {mailbox}: messages that went from it may be in a mailbox that could not be replicated, so they were kept there and nothing of it was sent"
    )]
    MayHaveMoved {
        /// Internal name.
        mailbox: String,
    },
    /// A mailbox that the replica has and we have not, and nothing here tells that it was deleted.
    #[error(
        "mailbox {mailbox}: only the replica has it, and nothing here tells that it was deleted"
    )]
    OnlyThere {
        /// Internal name.
        mailbox: String,
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
    /// The user was removed, or made again, between two looks: what is to be done is another thing now.
    #[error("the user was removed or made again meanwhile; run again")]
    CameOrWent,
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
    Internal(String),
}

impl From<CommandError> for UserError {
    /// What was asked too early counts as never asked.
    fn from(e: CommandError) -> UserError {
        match e {
            CommandError::HandshakeAborted { .. } => UserError::Pool(PoolError::NotBegun),
            e => UserError::Command(e),
        }
    }
}

impl UserError {
    /// These failures as one; none if there are none.
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

    /// Whether it is about what belongs to a user but to no mailbox.
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

    /// The mailbox that it is about, if it is about one.
    pub(crate) fn mailbox(&self) -> Option<&str> {
        match self {
            UserError::Mailbox { mailbox, .. }
            | UserError::Unreadable { mailbox, .. }
            | UserError::Spool { mailbox, .. }
            | UserError::MessageFile { mailbox, .. }
            | UserError::Refused { mailbox, .. }
            | UserError::OnlyThere { mailbox }
            | UserError::MayHaveMoved { mailbox }
            | UserError::DeletedThere { mailbox, .. } => Some(mailbox),
            UserError::Plan(e) => Some(e.mailbox()),
            UserError::Uncounted(e) => Some(&e.mailbox),
            _ => None,
        }
    }

    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            UserError::Command(e)
            | UserError::Refused { source: e, .. }
            | UserError::RefusedItem { source: e, .. } => class_of(e),
            UserError::Several { of } => class_of_several(of),
            UserError::Withheld(_) => Class::Unsure,
            UserError::Unsettled { .. } | UserError::CameOrWent | UserError::Linked { .. } => {
                Class::Transient
            }
            UserError::Store(e) => class_of_store(e),
            UserError::Mailbox { source, .. } => class_of_store(source),
            UserError::Unreadable { source, .. } | UserError::Unread { source } => {
                class_of_store(source)
            }
            UserError::Pool(_) | UserError::NoPartition { .. } => Class::Fatal,
            UserError::MessageFile { .. }
            | UserError::Spool { .. }
            | UserError::Plan(_)
            | UserError::TooManyRemovals { .. }
            | UserError::Kept(_)
            | UserError::Uncounted(_)
            | UserError::ScriptFiles { .. }
            | UserError::DeletedThere { .. }
            | UserError::OnlyThere { .. }
            | UserError::MayHaveMoved { .. }
            | UserError::Internal(_) => Class::Permanent,
        }
    }
}

impl UserError {
    /// The same, of what was only asked on this lease. Where others ask as well and one of their answers was due when
    /// the connection ended, this user counts as not begun.
    pub(crate) fn of_look(self, lease: &Lease) -> UserError {
        let behind = matches!(&self, UserError::Command(CommandError::Lost { behind: true, .. }));
        if behind && lease.purpose == Purpose::Shared {
            return UserError::Pool(PoolError::NotBegun);
        }
        self
    }

    /// Whether a connection ended when this user's answer was due: whoever asks with it may lose an answer, too.
    pub(crate) fn is_lost(&self) -> bool {
        match self {
            UserError::Command(e)
            | UserError::Refused { source: e, .. }
            | UserError::RefusedItem { source: e, .. } => matches!(e, CommandError::Lost { .. }),
            UserError::Several { of } => of.iter().any(UserError::is_lost),
            _ => false,
        }
    }

    /// Whether looking at all of the user may help where looking at a part of it did not: not if the
    /// connection or our own store is what failed.
    pub(crate) fn more_may_help(&self) -> bool {
        let refused = |e: &CommandError| match e {
            CommandError::Lost { .. } | CommandError::HandshakeAborted { .. } => false,
            CommandError::InvalidAnswer { .. } => true,
            CommandError::Refused { code, .. } => *code != Some(Code::MailboxLocked),
        };
        match self {
            UserError::Command(e)
            | UserError::Refused { source: e, .. }
            | UserError::RefusedItem { source: e, .. } => refused(e),
            UserError::Unsettled { .. } | UserError::Plan(_) => true,
            UserError::Several { of } => of.iter().any(UserError::more_may_help),
            _ => false,
        }
    }
}

/// An error about a mailbox, naming it once.
fn about(mailbox: &str, e: &StoreError) -> String {
    let text = e.to_string();
    if text.starts_with("mailbox ") { text } else { format!("mailbox {mailbox}: {text}") }
}

/// What would be removed, and how much may be.
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

/// So many failures of one user are named in one line.
pub(crate) const NAMED: usize = 20;

/// The first failure in full, and what else failed by name.
fn several(of: &[UserError]) -> String {
    let Some((first, others)) = of.split_first() else { return String::new() };
    let name = |e: &UserError| match (e, e.mailbox()) {
        (UserError::RefusedItem { what, .. }, _) => what.clone(),
        (_, Some(mailbox)) => mailbox.to_string(),
        (e, None) => e.to_string(),
    };
    let mut names: Vec<String> = others.iter().take(NAMED).map(name).collect();
    if others.len() > NAMED {
        names.push(format!("{} more", others.len() - NAMED));
    }
    format!("{first} (and {})", names.join(", "))
}

/// A try again may help if it may help any of them.
fn class_of_several(of: &[UserError]) -> Class {
    let classes = || of.iter().map(UserError::class);
    if classes().any(|class| class == Class::Fatal) {
        Class::Fatal
    } else if classes().any(|class| class == Class::Transient) {
        Class::Transient
    } else if classes().any(|class| class == Class::Unsure) {
        Class::Unsure
    } else {
        Class::Permanent
    }
}

fn class_of(e: &CommandError) -> Class {
    match e {
        CommandError::Lost { .. } | CommandError::HandshakeAborted { .. } => Class::Transient,
        CommandError::InvalidAnswer { .. } => Class::Permanent,
        CommandError::Refused { code, .. } => match code {
            Some(
                Code::MailboxLocked
                | Code::MailboxMoved
                | Code::MailboxNonexistent
                | Code::SyncChanged
                | Code::SyncChecksum,
            ) => Class::Transient,
            _ => Class::Permanent,
        },
    }
}

/// A mailbox that is being created, deleted or renamed reads as missing or damaged for a moment. What is still so
/// a second later is broken, and no waiting mends it.
fn class_of_store(e: &StoreError) -> Class {
    match e.class() {
        ErrorClass::Locked => Class::Transient,
        ErrorClass::Missing | ErrorClass::Damaged => Class::Unsure,
        _ => Class::Permanent,
    }
}
