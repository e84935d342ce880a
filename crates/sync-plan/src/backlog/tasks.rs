//! What is to be done of a user, and works: users whose tasks are carried out as one.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Instant;

use cyrus_types::{LogEntry, MailboxName, Owner};

/// The tasks of one user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tasks {
    /// Remove the user from the replica, if it does not exist here.
    pub unuser: bool,
    /// Replicate everything of the user.
    pub whole: bool,
    /// Replicate the data outside mailboxes: subscriptions, seen state, scripts.
    pub meta: bool,
    /// Look at these names: new, changed, renamed or deleted mailboxes.
    pub mailboxes: HashSet<MailboxName>,
    /// Those of them that the log calls removed.
    pub removed: HashSet<MailboxName>,
    /// Compare these quota roots.
    pub quotas: HashSet<Arc<str>>,
    /// Replicate the server's annotations (of the shared mailboxes' tasks only).
    pub server: bool,
    /// When the first of these was added.
    pub since: Option<Instant>,
    /// Users to be worked on together with this one: a mailbox was renamed, or messages were copied or moved, from one to the
    /// other.
    pub(super) links: BTreeSet<Owner>,
    /// Users whose sync locks these tasks need, while their own tasks stay apart.
    pub(super) companions: BTreeSet<Owner>,
    /// No tasks at all: another user of the same work needs this one's sync lock.
    pub(super) companion: bool,
}

impl Tasks {
    pub(super) fn merge(&mut self, other: Tasks) {
        self.unuser |= other.unuser;
        self.whole |= other.whole;
        self.meta |= other.meta;
        self.server |= other.server;
        self.links.extend(other.links);
        self.companions.extend(other.companions);
        self.since = self.since.into_iter().chain(other.since).min();
        if self.unuser || self.whole {
            self.swallow();
        } else {
            self.mailboxes.extend(other.mailboxes);
            self.removed.extend(other.removed);
            self.quotas.extend(other.quotas);
        }
    }

    /// Everything of a user is to be done: other tasks are dropped. Links stay.
    fn swallow(&mut self) {
        self.meta = false;
        self.mailboxes = HashSet::new();
        self.removed = HashSet::new();
        self.quotas = HashSet::new();
    }

    /// These tasks as entries of the log.
    pub(super) fn entries(&self, owner: &Owner) -> impl Iterator<Item = LogEntry> + use<> {
        let mut entries = Vec::new();
        let mut of_user = |is_set: bool, entry: fn(String) -> LogEntry| {
            let userid = owner.userid().filter(|_| is_set);
            entries.extend(userid.map(|userid| entry(userid.to_string())));
        };
        of_user(self.unuser, LogEntry::Unuser);
        of_user(self.whole, LogEntry::User);
        of_user(self.meta, LogEntry::Meta);
        if self.server {
            entries.push(LogEntry::Annotation(None));
        }
        // Both lines, as Cyrus logs a removal: the C client may be the next to read them, and does not look at mailboxes
        // that are logged as removed.
        entries.extend(self.removed.iter().cloned().map(LogEntry::Unmailbox));
        entries.extend(self.mailboxes.iter().cloned().map(LogEntry::Mailbox));
        entries.extend(self.quotas.iter().map(|root| LogEntry::Quota(root.to_string())));
        entries.into_iter()
    }
}

/// Work to be carried out as one: of one user, or of several that are linked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkUnit {
    /// Each user and its tasks, by user id; their locks are taken in this order.
    pub users: Vec<(Owner, Tasks)>,
}

impl WorkUnit {
    /// The first user with tasks: the key of the work, under which it is reported.
    #[must_use]
    pub fn key(&self) -> Owner {
        self.owners().next().cloned().unwrap_or(Owner::Shared)
    }

    /// The users with tasks; only the locks of the others are needed.
    pub fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.own().map(|(owner, _)| owner)
    }

    /// Whether several users have tasks.
    #[must_use]
    pub fn is_of_several(&self) -> bool {
        self.owners().nth(1).is_some()
    }

    /// The users with tasks, and these.
    pub fn own(&self) -> impl Iterator<Item = &(Owner, Tasks)> {
        self.users.iter().filter(|(_, tasks)| !tasks.companion)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = LogEntry> + '_ {
        self.users.iter().flat_map(|(owner, tasks)| tasks.entries(owner))
    }
}

/// Users whose locks are needed for these tasks of some users, too.
pub(super) fn companions<'a>(
    tasks: impl Iterator<Item = &'a Tasks>,
    together: &BTreeSet<Owner>,
) -> BTreeSet<Owner> {
    let companions = tasks.flat_map(|tasks| &tasks.companions);
    companions.filter(|owner| !together.contains(*owner)).cloned().collect()
}

/// These users, and companions of them, in the order in which they are locked.
pub(super) fn with_companions(
    mut users: Vec<(Owner, Tasks)>,
    companions: BTreeSet<Owner>,
) -> Vec<(Owner, Tasks)> {
    let companion = || Tasks { companion: true, ..Tasks::default() };
    users.extend(companions.into_iter().map(|owner| (owner, companion())));
    users.sort_by(|(a, _), (b, _)| a.cmp(b));
    users
}
