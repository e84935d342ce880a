//! The MailboxPlanner actor: all reading of the master's store, on threads of its own.
//!
//! Each message is one piece of reading: a user's headers, tombstones, which messages a replica
//! may already have, or one mailbox streamed to a connection. A thread that streams waits for the
//! connection (bounded channel), never the event loops. One thread a user in flight is enough,
//! since a user's reading is one message at a time.
//!
//! A panic while reading is caught here and becomes that user's failure; the thread lives on.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use actix::prelude::*;
use csync::{Guid, ReplicaMailbox};
use cyrus_store::{MboxEntry, Store, StoreError};
use sync_plan::{Folder, FullReplica, MasterUser};

use crate::error::UserError;
use crate::frames::{FrameSender, InFlight};
use crate::report::Sent;
use crate::settings::Settings;
use crate::{full, reading, reserve, sending};

/// Reads the store.
pub(crate) struct MailboxPlanner {
    pub(crate) store: Arc<Store>,
    pub(crate) settings: Arc<Settings>,
}

impl Actor for MailboxPlanner {
    type Context = SyncContext<Self>;
}

/// What the master holds of a user. None: there is no INBOX here.
#[derive(Message)]
#[rtype(result = "Result<Option<Arc<UserRead>>, UserError>")]
pub(crate) struct ReadUser {
    pub(crate) userid: Arc<str>,
    /// Whether #sieve mailboxes go as mailboxes; else the scripts are read.
    pub(crate) sieve_mailbox: bool,
}

/// A user as read off the disk.
#[derive(Debug, Default)]
pub(crate) struct UserRead {
    pub(crate) master: MasterUser,
    /// The mailboxes' entries by unique id, to open them again.
    pub(crate) entries: Arc<HashMap<String, MboxEntry>>,
    /// Mailboxes that can't be read: name and why.
    pub(crate) broken: Vec<(String, Arc<StoreError>)>,
}

impl UserRead {
    /// The first unreadable mailbox as the user's error.
    pub(crate) fn first_broken(&self) -> Option<UserError> {
        let (mailbox, e) = self.broken.first()?;
        Some(UserError::Unreadable {
            mailbox: mailbox.clone(),
            source: e.clone(),
            more: self.broken.len() - 1,
        })
    }

    /// Whether this mailbox is one of those.
    pub(crate) fn is_broken(&self, name: &str) -> bool {
        self.broken.iter().any(|(n, _)| n == name)
    }

    /// A mailbox's unique id.
    pub(crate) fn uniqueid_of(&self, name: &str) -> Option<&str> {
        self.master.folders.iter().find(|f| f.name() == name).map(Folder::uniqueid)
    }
}

/// Which of these unique ids have a tombstone here.
#[derive(Message)]
#[rtype(result = "Result<HashSet<String>, UserError>")]
pub(crate) struct FindTombstones {
    pub(crate) uniqueids: Vec<String>,
}

/// Which new messages the replica may already have, and where.
#[derive(Message)]
#[rtype(result = "Result<Vec<Reserve>, UserError>")]
pub(crate) struct FindReserve {
    pub(crate) entries: Arc<HashMap<String, MboxEntry>>,
    /// Mailboxes to be sent: unique id, and the replica's last UID.
    pub(crate) updates: Vec<(String, u32)>,
    /// The replica's mailboxes with messages: unique id, name there, last UID.
    pub(crate) holders: Vec<(String, String, u32)>,
    /// -p.
    pub(crate) partition: Option<String>,
}

/// One question to the replica.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reserve {
    pub(crate) partition: String,
    pub(crate) folders: Vec<String>,
    pub(crate) guids: Vec<Guid>,
}

/// Streams one mailbox's changes to a connection.
#[derive(Message)]
#[rtype(result = "SendDone")]
pub(crate) struct SendMailbox {
    pub(crate) entry: MboxEntry,
    /// What the replica has, none where it lacks the mailbox.
    pub(crate) replica: Option<Box<ReplicaMailbox>>,
    pub(crate) how: How,
    pub(crate) frames: FrameSender,
    pub(crate) staged: Staged,
}

/// How a mailbox is compared and sent.
#[derive(Debug, Clone)]
pub(crate) enum How {
    /// The records that are newer than the replica's modseq, on condition that it still is there.
    Since,
    /// The same, but compute our checksums afresh first: the mailbox may be equal after all.
    SinceIfChecksumsDiffer,
    /// The replica refused it: compare headers anew, compute checksums, set no condition.
    Afresh,
    /// All records, after a comparison one by one.
    Full(Arc<FullReplica>),
}

/// Whether a mailbox can be sent in full without copying anything back.
#[derive(Message)]
#[rtype(result = "Result<(), UserError>")]
pub(crate) struct CheckFull {
    pub(crate) entry: MboxEntry,
    pub(crate) full: Arc<FullReplica>,
}

/// How it went.
#[derive(MessageResponse)]
pub(crate) struct SendDone {
    pub(crate) result: Result<MailboxSent, UserError>,
    /// What the replica now holds for this connection.
    pub(crate) staged: Staged,
    /// The connection stands in the middle of a command.
    pub(crate) broken_off: bool,
}

/// What became of a mailbox.
pub(crate) enum MailboxSent {
    /// Equal after all.
    Unchanged,
    /// It was deleted, renamed or replaced since it was planned.
    Replaced,
    /// Only a comparison record by record can tell what to send.
    NeedsFull,
    /// Its commands, answers to come.
    Sent { in_flight: Vec<InFlight>, count: Sent },
}

/// Messages that the replica keeps for this connection until RESTART, by partition: uploaded or
/// found by RESERVE. They need no second upload.
#[derive(Debug, Default)]
pub(crate) struct Staged(HashMap<String, HashSet<Guid>>);

impl Staged {
    pub(crate) fn add(&mut self, partition: &str, guids: impl Iterator<Item = Guid>) {
        self.0.entry(partition.to_string()).or_default().extend(guids);
    }

    pub(crate) fn contains(&self, partition: &str, guid: &Guid) -> bool {
        self.0.get(partition).is_some_and(|set| set.contains(guid))
    }

    /// How many messages there are.
    pub(crate) fn len(&self) -> usize {
        self.0.values().map(HashSet::len).sum()
    }

    /// The replica was told to forget them.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Notes a message; false when it was there already.
    pub(crate) fn insert(&mut self, partition: &str, guid: Guid) -> bool {
        match self.0.get_mut(partition) {
            Some(set) => set.insert(guid),
            None => {
                self.add(partition, std::iter::once(guid));
                true
            }
        }
    }
}

/// Turns a panic into the user's failure.
fn guarded<T>(work: impl FnOnce() -> Result<T, UserError>) -> Result<T, UserError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(panic) => Err(UserError::Bug(panic_text(panic.as_ref()))),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_else(|| "panic".into())
}

impl Handler<ReadUser> for MailboxPlanner {
    type Result = Result<Option<Arc<UserRead>>, UserError>;

    fn handle(&mut self, msg: ReadUser, _: &mut SyncContext<Self>) -> Self::Result {
        let prefix = self.settings.prefix.as_deref();
        guarded(|| reading::read(&self.store, &msg.userid, msg.sieve_mailbox, prefix))
            .map(|read| read.map(Arc::new))
    }
}

impl Handler<FindTombstones> for MailboxPlanner {
    type Result = Result<HashSet<String>, UserError>;

    fn handle(&mut self, msg: FindTombstones, _: &mut SyncContext<Self>) -> Self::Result {
        guarded(|| reading::tombstones(&self.store, msg.uniqueids))
    }
}

impl Handler<FindReserve> for MailboxPlanner {
    type Result = Result<Vec<Reserve>, UserError>;

    fn handle(&mut self, msg: FindReserve, _: &mut SyncContext<Self>) -> Self::Result {
        guarded(|| reserve::find(&self.store, &msg))
    }
}

impl Handler<CheckFull> for MailboxPlanner {
    type Result = Result<(), UserError>;

    fn handle(&mut self, msg: CheckFull, _: &mut SyncContext<Self>) -> Self::Result {
        guarded(|| full::check(&self.store, &msg.entry, &msg.full, self.settings.one_way))
    }
}

impl Handler<SendMailbox> for MailboxPlanner {
    type Result = SendDone;

    fn handle(&mut self, msg: SendMailbox, _: &mut SyncContext<Self>) -> Self::Result {
        let mut staged = msg.staged;
        let mut broken_off = false;
        let mut job = sending::Job {
            store: &self.store,
            settings: &self.settings,
            entry: &msg.entry,
            replica: msg.replica,
            how: msg.how,
            frames: &msg.frames,
            staged: &mut staged,
            broken_off: &mut broken_off,
        };
        let result = catch_unwind(AssertUnwindSafe(|| job.run()));
        let result = result.unwrap_or_else(|panic| {
            broken_off = true;
            Err(UserError::Bug(panic_text(panic.as_ref())))
        });
        SendDone { result, staged, broken_off }
    }
}
