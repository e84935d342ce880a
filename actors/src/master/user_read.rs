//! A user as read from disk.

use std::collections::HashMap;
use std::sync::Arc;

use cyrus_store::{MboxEntry, StoreError};
use cyrus_types::{MailboxName, Uid, UniqueId};
use sync_plan::{Folder, MasterUser};

/// A user as read from disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct UserRead {
    pub(crate) master: MasterUser,
    /// The mailboxes' entries by unique id, to open them again.
    pub(crate) entries: Arc<HashMap<UniqueId, MboxEntry>>,
    /// Mailboxes that can't be read: name and reason.
    pub(crate) broken: Vec<(MailboxName, Arc<StoreError>)>,
    /// Why subscriptions, seen state, scripts or quota roots can't be read; mailboxes are replicated all the same.
    pub(crate) unread: Vec<Arc<StoreError>>,
    /// Names that were asked for and have no entry here, not even a tombstone.
    pub(crate) unknown: Vec<MailboxName>,
    /// The unique id of the INBOX, if it was read.
    pub(crate) inbox_id: Option<UniqueId>,
    /// Former names of the mailboxes here, by unique id.
    pub(crate) former: HashMap<UniqueId, Vec<MailboxName>>,
    /// The present owner of a removed user's INBOX, if it was renamed.
    pub(crate) renamed_to: Option<Arc<str>>,
    /// For a #sieve mailbox below DELETED, by its unique id: the INBOX below DELETED of its owner.
    pub(crate) hosts: HashMap<UniqueId, Host>,
}

/// An INBOX that was removed with all of its user's mailboxes.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    /// The INBOX's name while the user existed.
    pub(crate) inbox: MailboxName,
    /// Its entry now.
    pub(crate) deleted: MboxEntry,
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
