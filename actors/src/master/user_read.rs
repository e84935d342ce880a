//! What is read of a user, and what is asked for.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use cyrus_store::{MboxEntry, StoreError};
use cyrus_types::{MailboxName, Owner, Uid, UniqueId};
use sync_plan::{Folder, MasterUser, Moved};

/// What was read of a user.
#[derive(Debug, Clone, Default)]
pub struct UserRead {
    /// What the planner compares.
    pub master: MasterUser,
    /// The mailboxes' entries by unique id, to open them again.
    pub entries: Arc<HashMap<UniqueId, MboxEntry>>,
    /// Mailboxes that can't be read: name and reason.
    pub broken: Vec<(MailboxName, Arc<StoreError>)>,
    /// Why subscriptions, seen state, scripts or quota roots can't be read; mailboxes are replicated all the same.
    pub unread: Vec<Arc<StoreError>>,
    /// Names that were asked for and have no entry here, not even a tombstone.
    pub unknown: Vec<MailboxName>,
    /// The unique id of the INBOX, if it was read.
    pub inbox_id: Option<UniqueId>,
    /// Former names of the mailboxes here, by unique id.
    pub former: HashMap<UniqueId, Vec<MailboxName>>,
    /// The present owner of a removed user's INBOX, if it was renamed.
    pub renamed_to: Option<Arc<str>>,
    /// For a #sieve mailbox below DELETED, by its unique id: the INBOX below DELETED of its owner.
    pub hosts: HashMap<UniqueId, Host>,
}

/// An INBOX that was removed with all of its user's mailboxes.
#[derive(Debug, Clone)]
pub struct Host {
    /// The INBOX's name while the user existed.
    pub inbox: MailboxName,
    /// Its entry now.
    pub deleted: MboxEntry,
}

impl UserRead {
    /// Keeps the read errors of a user's other data. Then nothing is removed on the replica.
    pub(crate) fn cannot_read(&mut self, e: StoreError) {
        self.master.incomplete = true;
        self.unread.push(Arc::new(e));
    }

    /// Whether this mailbox can't be read.
    pub(crate) fn is_broken(&self, name: &MailboxName) -> bool {
        self.broken.iter().any(|(n, _)| n == name)
    }

    /// The highest UIDs that were assigned, by unique id.
    pub(crate) fn last_uids(&self) -> HashMap<&UniqueId, Uid> {
        let mailboxes = self.master.folders.iter().filter_map(|folder| match folder {
            Folder::Mailbox(m) => Some((&m.uniqueid, m.last_uid)),
            Folder::Intermediate(_) => None,
        });
        mailboxes.collect()
    }

    /// A mailbox's unique id.
    pub(crate) fn uniqueid_of(&self, name: &MailboxName) -> Option<&UniqueId> {
        self.master.folders.iter().find(|f| f.name() == name).map(Folder::uniqueid)
    }
}

/// Whether the user to be read exists or was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inbox {
    /// There must be an INBOX.
    There,
    /// There must be none: what is left of a removed user.
    Gone,
}

/// What to look at.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Mailboxes, existing or not.
    pub mailboxes: BTreeSet<MailboxName>,
    /// Those of them that the log calls removed.
    pub removed: BTreeSet<MailboxName>,
    /// Quota roots.
    pub quotas: BTreeSet<Arc<str>>,
    /// The user whose subscriptions, seen state and scripts to look at.
    pub meta: Option<Arc<str>>,
    /// Those of the mailboxes that are to be equal in the end, or are a failure.
    pub named: BTreeSet<MailboxName>,
    /// An admin named them: a user without an INBOX is not a user whose mailboxes come later.
    pub by_list: bool,
}

/// What was read, and what to ask the replica for.
#[derive(Debug)]
pub struct SomeRead {
    /// What was read.
    pub read: Arc<UserRead>,
    /// Names of mailboxes.
    pub ask: BTreeSet<MailboxName>,
    /// Mailboxes that the log calls removed, and that have not even a tombstone.
    pub unproven: Vec<MailboxName>,
    /// Whether the user's data outside mailboxes was read: not for a user without an INBOX.
    pub has_meta: bool,
}

/// What is known here of the replica's mailboxes that match none of those read.
#[derive(Debug)]
pub struct Lookup {
    /// What was read before, including additions, if there are any.
    pub read: Arc<UserRead>,
    /// Unique ids that have a tombstone here.
    pub tombstones: HashSet<UniqueId>,
    /// Unique ids of mailboxes that exist here, even if they can't be added.
    pub alive: HashSet<UniqueId>,
    /// Where those are now that are not added: with another user, or expired.
    pub moved: HashMap<UniqueId, Moved>,
    /// Those of them that belong to users whose locks are not held, and their owners.
    pub elsewhere: BTreeMap<UniqueId, Owner>,
    /// More names to ask the replica for.
    pub ask: BTreeSet<MailboxName>,
}

/// Mailboxes found on the replica's side, to be looked up here.
pub struct LookupRequest<'a> {
    /// Unique ids of its mailboxes that match none of ours.
    pub uniqueids: &'a [UniqueId],
    /// Names of our mailboxes that it lacks.
    pub new: &'a [MailboxName],
    /// The users whose mailboxes may be added.
    pub locked: &'a BTreeSet<Owner>,
    /// Whether #sieve mailboxes are sent as mailboxes.
    pub sieve_mailbox: bool,
}
