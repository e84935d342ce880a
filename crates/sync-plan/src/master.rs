//! The master's side of one user, as plain values that the store reader fills in.
//!
//! Names are internal names as on the wire (`user.anna.Sent`); times are Unix seconds.

use cyrus_types::{Guid, MailboxName, ModSeq, Owner, SyncCrcs, Uid, UidValidity, UniqueId};

/// An annotation of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxAnnotation {
    /// Its entry, such as `/comment`.
    pub entry: String,
    /// Its owner; empty for a shared one.
    pub userid: String,
    /// Its modseq.
    pub modseq: ModSeq,
    /// Its value's bytes.
    pub value: Vec<u8>,
}

/// One mailbox's header, without its records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MasterMailbox {
    /// Internal name.
    pub name: MailboxName,
    /// Unique id, the same for life.
    pub uniqueid: UniqueId,
    /// The type as on the wire (`MBOXTYPE`), `None` for plain mail.
    pub mboxtype: Option<String>,
    /// Partition on the master.
    pub partition: String,
    /// Access control list in its stored form: `user TAB rights TAB …`.
    pub acl: String,
    /// Options in wire form (letters of `sync_encode_options`).
    pub options: String,
    /// The quota root that covers it.
    pub quotaroot: Option<String>,
    /// Highest UID ever assigned.
    pub last_uid: Uid,
    /// Highest modseq of any change.
    pub highestmodseq: ModSeq,
    /// Highest modseq among records that were removed for good.
    pub deletedmodseq: ModSeq,
    /// UIDVALIDITY.
    pub uidvalidity: UidValidity,
    /// Highest UID that was ever shown as recent.
    pub recentuid: Uid,
    /// When `recentuid` was set.
    pub recenttime: i64,
    /// Last POP3 login.
    pub pop3_last_login: i64,
    /// POP3 shows only messages after this time.
    pub pop3_show_after: i64,
    /// Checksums as the index header stores them.
    pub crcs: SyncCrcs,
    /// Modseq of the folder's last change of name or ACL.
    pub foldermodseq: ModSeq,
    /// Modseq of conversations; `None` if the mailbox is not part of them.
    pub xconvmodseq: Option<ModSeq>,
    /// Modseq of reverse ACLs; 0 is none.
    pub raclmodseq: ModSeq,
    /// The mailbox's own annotations, in the store's order.
    pub annotations: Vec<MailboxAnnotation>,
}

/// A name in the tree without a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Intermediate {
    /// Internal name.
    pub name: MailboxName,
    /// Unique id.
    pub uniqueid: UniqueId,
    /// The type as the wire names it.
    pub mboxtype: String,
    /// Modseq of its creation.
    pub createdmodseq: ModSeq,
    /// Modseq of its last change.
    pub foldermodseq: ModSeq,
}

/// An entry of the user's mailbox tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Folder {
    /// A mailbox.
    Mailbox(Box<MasterMailbox>),
    /// A name without a mailbox.
    Intermediate(Intermediate),
}

impl Folder {
    /// The entry's internal name.
    pub fn name(&self) -> &MailboxName {
        match self {
            Folder::Mailbox(m) => &m.name,
            Folder::Intermediate(i) => &i.name,
        }
    }

    /// The entry's unique id.
    pub fn uniqueid(&self) -> &UniqueId {
        match self {
            Folder::Mailbox(m) => &m.uniqueid,
            Folder::Intermediate(i) => &i.uniqueid,
        }
    }
}

/// A quota root's limits, in wire form: `LIMIT` first, then one pair for each limited resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterQuota {
    /// Its root, a mailbox name.
    pub root: String,
    /// Names and limits (`sync_encode_quota_limits`).
    pub limits: Vec<(String, u64)>,
    /// Modseq of its last change.
    pub modseq: ModSeq,
}

/// A user's seen state of one mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterSeen {
    /// The mailbox's unique id.
    pub uniqueid: UniqueId,
    /// Last read.
    pub lastread: i64,
    /// Highest UID when last read.
    pub lastuid: Uid,
    /// Last change of this entry.
    pub lastchange: i64,
    /// The seen UIDs as a sequence set.
    pub seenuids: String,
}

/// A Sieve script of the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterSieve {
    /// Its name, without `.script`.
    pub name: String,
    /// Last change.
    pub last_update: i64,
    /// SHA-1 of its content.
    pub guid: Guid,
    /// Whether it is the active one.
    pub active: bool,
    /// Its text.
    pub content: Vec<u8>,
}

/// Everything the master holds of one user; mailboxes without their records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MasterUser {
    /// The user.
    pub owner: Owner,
    /// All entries of the tree, including deleted mailboxes (`DELETED.…`), in Cyrus' order.
    pub folders: Vec<Folder>,
    /// Names in the tree that are tombstones. They show where to look, but prove nothing: only a unique id does.
    pub tombstone_names: Vec<MailboxName>,
    /// The name of the user's INBOX if that can't be read here.
    pub unread_inbox: Option<MailboxName>,
    /// Something of the user can't be read here, so mailboxes that seem to be missing may exist: nothing of the user is
    /// removed on the replica.
    pub incomplete: bool,
    /// Quota roots that the mailboxes name; a root that is named but does not exist is absent.
    pub quotas: Vec<MasterQuota>,
    /// Subscriptions, internal names.
    pub subscriptions: Vec<MailboxName>,
    /// Seen state, one entry for each mailbox.
    pub seen: Vec<MasterSeen>,
    /// Files and roots that are missing although they should exist.
    pub missing: Vec<Missing>,
    /// Sieve scripts; read only for peers without SIEVE-MAILBOX.
    pub sieve: Vec<MasterSieve>,
}

/// Something that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// A quota root that a mailbox's header names, but no quota database has.
    QuotaRoot {
        /// Its name.
        root: String,
        /// The mailbox that names it.
        mailbox: MailboxName,
        /// Where it should be.
        path: String,
    },
    /// The database of the user's subscriptions.
    Subscriptions {
        /// The file.
        path: String,
        /// The user's INBOX, whose unique id names that file.
        inbox: MailboxName,
    },
}
