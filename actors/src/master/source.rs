//! Where the master's data comes from.
//!
//! ```text
//!   StoreReader, MailboxStreamer, UserLister, LockKeeper
//!        |  Source          who is there, what a user has, locks
//!        |  MailboxSource   one open mailbox: its head, records, messages
//!        v
//!   store_source.rs   a Cyrus store on disk       any other: implement both traits
//! ```
//! Planning and sending (`batches.rs`, `encode.rs`, `reserve.rs`, `full_update.rs`, `upload.rs`) know only these traits. All
//! methods may block; they are called on threads, never on an event loop.

use std::any::Any;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use cyrus_store::{Annotation, IndexRecord, MboxEntry, StoreError};
use cyrus_types::{Guid, MailboxName, ModSeq, NameRules, Owner, SyncCrcs, Uid, UidValidity};
use sync_plan::MasterMailbox;

use crate::error::MasterError;
use crate::master::user_read::{Inbox, Lookup, LookupRequest, Names, SomeRead, UserRead};

/// A master: whose mailboxes are replicated.
pub trait Source: Send + Sync {
    /// How its names are spelt.
    fn rules(&self) -> &NameRules;

    /// The name of mailboxes for Sieve scripts (`sieve_folder` of imapd.conf).
    fn sieve_folder(&self) -> &str {
        "#sieve"
    }

    /// What lists its users, for messages to an admin: a path.
    fn listed_in(&self) -> String;

    /// Visits each user that has a mailbox whose internal name begins with `prefix`. Returns whether such a mailbox belongs
    /// to no user.
    ///
    /// # Errors
    /// The list can't be read.
    fn users(&self, prefix: Option<&str>, visit: &mut dyn FnMut(&str)) -> Result<bool, StoreError>;

    /// Whether a mailbox of this name is listed; a deleted one may be.
    ///
    /// # Errors
    /// The list can't be read.
    fn is_listed(&self, name: &MailboxName) -> Result<bool, StoreError>;

    /// About how many bytes a user's messages have: users with more are replicated first. 0 if unknown.
    fn bytes_of(&self, userid: &str) -> u64;

    /// Everything it holds of a user, or all shared mailboxes whose names begin with `prefix`. `None`: the user has no INBOX
    /// although `inbox` asks for one, or has one although it asks for none. Where #sieve mailboxes are not sent as
    /// mailboxes (`sieve_mailbox`), the scripts are read.
    ///
    /// # Errors
    /// Nothing of the user can be read. What concerns only a part is noted in the result.
    fn read_user(
        &self,
        owner: &Owner,
        sieve_mailbox: bool,
        prefix: Option<&str>,
        inbox: Inbox,
    ) -> Result<Option<UserRead>, MasterError>;

    /// What it holds of some mailboxes and other things, by name. Names of intermediates above them are added.
    ///
    /// # Errors
    /// The list can't be read.
    fn read_some(&self, wanted: &Names, sieve_mailbox: bool) -> Result<SomeRead, MasterError>;

    /// Looks up unique ids that were found on the replica and match nothing that was read before; adds those of them whose
    /// owners' locks are held, and parents of mailboxes that the replica lacks.
    ///
    /// # Errors
    /// The list can't be read.
    fn read_more(
        &self,
        before: &Arc<UserRead>,
        request: &LookupRequest<'_>,
    ) -> Result<Lookup, MasterError>;

    /// Opens a mailbox. `None`: it was renamed, removed or replaced since its entry was read.
    ///
    /// # Errors
    /// It can't be read.
    fn open(&self, entry: &MboxEntry) -> Result<Option<Box<dyn MailboxSource>>, MasterError>;

    /// The folder of a user whose Sieve scripts are only files, and in no `#sieve` mailbox.
    ///
    /// # Errors
    /// That can't be found out.
    fn scripts_only_in_folder(&self, userid: &str) -> Result<Option<PathBuf>, StoreError>;

    /// The annotations of the server itself.
    ///
    /// # Errors
    /// They can't be read.
    fn server_annotations(&self) -> Result<Vec<Annotation>, StoreError>;

    /// Tries to take the sync lock of an owner for this replica; does not wait.
    ///
    /// # Errors
    /// The lock file can't be made or locked.
    fn lock(
        &self,
        owner: &Owner,
        server: &str,
        channel: Option<&str>,
    ) -> Result<LockOutcome, StoreError>;
}

/// A held lock; dropping it releases it.
pub struct UserLock {
    _held: Box<dyn Any + Send>,
}

impl UserLock {
    /// A lock that is held as long as `held` exists.
    pub fn new(held: impl Any + Send) -> UserLock {
        UserLock { _held: Box::new(held) }
    }
}

/// The result of a lock request.
pub enum LockOutcome {
    /// It is ours.
    Lock(UserLock),
    /// Somebody else holds it (never after waiting).
    Busy,
    /// This user is not to be replicated: there is a skipuser file.
    Skip,
}

/// The records of a mailbox in the order of their UIDs, including expunged ones; ends after the first error.
pub type Records<'a> = Box<dyn Iterator<Item = Result<IndexRecord, StoreError>> + 'a>;

/// Which records of a mailbox are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All that changed after this modseq; zero: all.
    Since(ModSeq),
    /// The same, and all above the UID.
    SinceOrAbove(ModSeq, Uid),
    /// All from this UID on.
    From(Uid),
}

/// One mailbox, open for reading. Dropping it closes it.
///
/// While it is open nobody changes it. After [`MailboxSource::release_index`] others may change it, but messages that it had
/// stay readable.
pub trait MailboxSource {
    /// Its entry in the list.
    fn entry(&self) -> &MboxEntry;

    /// The head of its index: what is known without any work.
    fn index(&self) -> IndexHead<'_>;

    /// All that is compared with the replica's mailbox, in the planner's form.
    ///
    /// # Errors
    /// Something beside the index (annotations, modseqs of the user) can't be read.
    fn head(&self) -> Result<MasterMailbox, MasterError>;

    /// The groups that its owner is in, with tabs between them.
    ///
    /// # Errors
    /// The list can't be read.
    fn groups(&self) -> Result<String, MasterError>;

    /// Some of its records.
    fn records(&self, which: Which) -> Records<'_>;

    /// The annotations of a message, in the order of replication, without those that its record holds itself.
    ///
    /// # Errors
    /// They can't be read.
    fn annotations(&self, uid: Uid) -> Result<Vec<Annotation>, StoreError>;

    /// Its checksums, computed from records and annotations as if the messages with these UIDs (ascending) did not exist.
    ///
    /// # Errors
    /// A record or annotation can't be read.
    fn recomputed_crcs(&self, without: &[Uid]) -> Result<SyncCrcs, StoreError>;

    /// Lets others change it. Only messages can be read from now on.
    fn release_index(&mut self);

    /// Reads a message, and checks that it has the size and the GUID of its record. A small one is read into `small`.
    ///
    /// # Errors
    /// [`MasterError::MessageFile`]: it is missing or damaged.
    fn message(&mut self, message: &Message, small: &mut Vec<u8>) -> Result<Checked, MasterError>;

    /// Where a message is, for errors.
    fn message_path(&self, message: &Message) -> PathBuf;
}

/// The head of a mailbox's index. Times are in seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct IndexHead<'a> {
    /// The version of its index, which says what its records hold: 10 to 20.
    pub version: u32,
    /// Highest UID ever assigned.
    pub last_uid: Uid,
    /// UIDVALIDITY.
    pub uidvalidity: UidValidity,
    /// Highest modseq of any change.
    pub highestmodseq: ModSeq,
    /// Highest modseq among records that were removed for good.
    pub deletedmodseq: ModSeq,
    /// Modseq of its creation.
    pub createdmodseq: ModSeq,
    /// When a message was last appended.
    pub last_appenddate: i64,
    /// Records, including expunged ones.
    pub records: u32,
    /// Messages that are not expunged.
    pub exists: u32,
    /// Its checksums, as stored.
    pub crcs: SyncCrcs,
    /// Names of its user flags, by number.
    pub flag_names: &'a [Option<String>],
}

/// A message to be uploaded.
#[derive(Debug, Clone, Copy)]
pub struct Message {
    /// UID.
    pub uid: Uid,
    /// SHA-1.
    pub guid: Guid,
    /// Bytes, as the record says.
    pub size: u64,
    /// Whether its file is on the archive partition.
    pub archived: bool,
    /// Whether the message is expunged: then its file is not needed.
    pub expunged: bool,
}

impl From<&IndexRecord> for Message {
    fn from(record: &IndexRecord) -> Message {
        Message {
            uid: record.uid,
            guid: record.guid,
            size: record.size,
            archived: record.is_archived(),
            expunged: record.is_expunged(),
        }
    }
}

/// A message that has the size and GUID of its record.
pub enum Checked {
    /// This many bytes, in memory.
    Small(usize),
    /// Too large for memory.
    Large(Box<dyn Read>),
}
