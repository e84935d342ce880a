//! The MailboxPlanner actor: all reading of the master's store, on threads of its own.
//!
//! Each message is one piece of reading: a user's headers, tombstones, which messages a replica
//! may already have, or one mailbox streamed to a connection. A thread that streams waits for the
//! connection (bounded channel), never the event loops. One thread a user in flight is enough,
//! since a user's reading is one message at a time.
//!
//! A panic while reading is caught here and becomes that user's failure; the thread lives on.

use std::collections::{BTreeSet, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use actix::prelude::*;
use csync::{Guid, ReplicaMailbox};
use cyrus_store::{Annotation, MboxEntry, Store};
use sync_plan::FullReplica;

use crate::error::UserError;
use crate::master::bad_files::Files;
use crate::master::full_update;
use crate::master::full_update::FullChecked;
use crate::master::read_partial;
use crate::master::read_partial::{Lookup, LookupRequest, Names, SomeRead};
use crate::master::read_user;
use crate::master::read_user::Inbox;
use crate::master::record_buffer::RecordBuffer;
use crate::master::reserve;
use crate::master::reserve::{Reserve, Wanted};
use crate::master::script_files;
use crate::master::send_mailbox;
use crate::master::send_mailbox::{MailboxSent, Next, SendMode};
use crate::master::user_read::UserRead;
use crate::monitor::progress::Progress;
use crate::replica::frames::{FrameSender, PendingCommand};
use crate::replica::staged::Staged;
use crate::settings::Settings;

/// Reads the store.
pub(crate) struct MailboxPlanner {
    pub(crate) store: Arc<Store>,
    pub(crate) settings: Arc<Settings>,
    /// What was sent is counted there.
    pub(crate) progress: Progress,
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
    /// Whether the user is to be there or gone.
    pub(crate) inbox: Inbox,
}

/// What the master holds of some mailboxes.
#[derive(Message)]
#[rtype(result = "Result<SomeRead, UserError>")]
pub(crate) struct ReadSome {
    pub(crate) names: Arc<Names>,
    pub(crate) sieve_mailbox: bool,
}

/// What these unique ids of the replica's are here, and what is above our mailboxes that it lacks.
#[derive(Message)]
#[rtype(result = "Result<Lookup, UserError>")]
pub(crate) struct ReadMore {
    pub(crate) read: Arc<UserRead>,
    pub(crate) uniqueids: Vec<String>,
    pub(crate) new: Vec<String>,
    pub(crate) locked: Arc<BTreeSet<Arc<str>>>,
    pub(crate) sieve_mailbox: bool,
}

/// Whether a replica that has #sieve mailboxes may be asked about this user.
#[derive(Message)]
#[rtype(result = "Result<(), UserError>")]
pub(crate) struct CheckScripts {
    pub(crate) userid: Arc<str>,
}

/// The annotations of the server itself.
#[derive(Message)]
#[rtype(result = "Result<Vec<Annotation>, UserError>")]
pub(crate) struct ReadServer;

/// Which new messages the replica may already have, and where.
#[derive(Message)]
#[rtype(result = "Result<Vec<Reserve>, UserError>")]
pub(crate) struct FindReserve(pub(crate) Wanted);

/// Streams one mailbox's changes to a connection.
#[derive(Message)]
#[rtype(result = "SendDone")]
pub(crate) struct SendMailbox {
    pub(crate) entry: MboxEntry,
    /// What the replica has, none where it lacks the mailbox.
    pub(crate) replica: Option<Box<ReplicaMailbox>>,
    pub(crate) how: SendMode,
    /// Where to go on; none at the beginning.
    pub(crate) next: Option<Next>,
    pub(crate) frames: FrameSender,
    pub(crate) staged: Staged,
    /// What is known of the message files of this step.
    pub(crate) files: Files,
}

/// Streams a MAILBOX command that was ready before.
#[derive(Message)]
#[rtype(result = "Result<PendingCommand, UserError>")]
pub(crate) struct SendRecords {
    pub(crate) mailbox: String,
    pub(crate) records: RecordBuffer,
    pub(crate) frames: FrameSender,
}

/// Whether a mailbox that differs in nothing but the stored checksums really does, once ours are
/// computed afresh.
#[derive(Message)]
#[rtype(result = "Result<bool, UserError>")]
pub(crate) struct DoChecksumsDiffer {
    pub(crate) entry: MboxEntry,
    pub(crate) replica: Box<ReplicaMailbox>,
}

/// How many messages that the replica may have live are expunged here since it last heard of the mailbox.
#[derive(Message)]
#[rtype(result = "Result<u64, UserError>")]
pub(crate) struct CountExpunged {
    pub(crate) entry: MboxEntry,
    pub(crate) replica: Box<ReplicaMailbox>,
}

/// What sending a mailbox in full would take, if it can be done without copying anything back.
#[derive(Message)]
#[rtype(result = "Result<FullChecked, UserError>")]
pub(crate) struct CheckFull {
    pub(crate) entry: MboxEntry,
    pub(crate) full: Arc<FullReplica>,
}

/// How many of these messages are not live in this mailbox, or could not be sent.
#[derive(Message)]
#[rtype(result = "Result<usize, UserError>")]
pub(crate) struct CountLacking {
    pub(crate) entry: MboxEntry,
    pub(crate) guids: HashSet<Guid>,
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

/// Turns a panic into the user's failure.
fn guarded<T>(work: impl FnOnce() -> Result<T, UserError>) -> Result<T, UserError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(panic) => Err(UserError::Internal(panic_text(panic.as_ref()))),
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
        guarded(|| read_user::read(&self.store, &msg.userid, msg.sieve_mailbox, prefix, msg.inbox))
            .map(|read| read.map(Arc::new))
    }
}

impl Handler<ReadSome> for MailboxPlanner {
    type Result = Result<SomeRead, UserError>;

    fn handle(&mut self, msg: ReadSome, _: &mut SyncContext<Self>) -> Self::Result {
        guarded(|| read_partial::read_some(&self.store, &msg.names, msg.sieve_mailbox))
    }
}

impl Handler<ReadMore> for MailboxPlanner {
    type Result = Result<Lookup, UserError>;

    fn handle(&mut self, msg: ReadMore, _: &mut SyncContext<Self>) -> Self::Result {
        let question = LookupRequest {
            uniqueids: &msg.uniqueids,
            new: &msg.new,
            locked: &msg.locked,
            sieve_mailbox: msg.sieve_mailbox,
        };
        guarded(|| read_partial::read_more(&self.store, &msg.read, &question))
    }
}

impl Handler<CheckScripts> for MailboxPlanner {
    type Result = Result<(), UserError>;

    fn handle(&mut self, msg: CheckScripts, _: &mut SyncContext<Self>) -> Self::Result {
        guarded(|| script_files::check(&self.store, &msg.userid))
    }
}

impl Handler<ReadServer> for MailboxPlanner {
    type Result = Result<Vec<Annotation>, UserError>;

    fn handle(&mut self, _: ReadServer, _: &mut SyncContext<Self>) -> Self::Result {
        guarded(|| Ok(self.store.server_annotations()?))
    }
}

impl Handler<FindReserve> for MailboxPlanner {
    type Result = Result<Vec<Reserve>, UserError>;

    fn handle(&mut self, msg: FindReserve, _: &mut SyncContext<Self>) -> Self::Result {
        guarded(|| reserve::find(&self.store, &msg.0))
    }
}

impl Handler<DoChecksumsDiffer> for MailboxPlanner {
    type Result = Result<bool, UserError>;

    fn handle(&mut self, msg: DoChecksumsDiffer, _: &mut SyncContext<Self>) -> Self::Result {
        guarded(|| Ok(full_update::do_checksums_differ(&self.store, &msg.entry, &msg.replica)))
    }
}

impl Handler<CountExpunged> for MailboxPlanner {
    type Result = Result<u64, UserError>;

    fn handle(&mut self, msg: CountExpunged, _: &mut SyncContext<Self>) -> Self::Result {
        guarded(|| Ok(full_update::count_expunged(&self.store, &msg.entry, &msg.replica)))
    }
}

impl Handler<CheckFull> for MailboxPlanner {
    type Result = Result<FullChecked, UserError>;

    fn handle(&mut self, msg: CheckFull, _: &mut SyncContext<Self>) -> Self::Result {
        guarded(|| full_update::check(&self.store, &msg.entry, &msg.full, self.settings.overwrite))
    }
}

impl Handler<SendRecords> for MailboxPlanner {
    type Result = Result<PendingCommand, UserError>;

    fn handle(&mut self, msg: SendRecords, _: &mut SyncContext<Self>) -> Self::Result {
        guarded(|| send_mailbox::send_records(msg.records, &msg.mailbox, &msg.frames))
    }
}

impl Handler<CountLacking> for MailboxPlanner {
    type Result = Result<usize, UserError>;

    fn handle(&mut self, msg: CountLacking, _: &mut SyncContext<Self>) -> Self::Result {
        guarded(|| full_update::count_lacking(&self.store, &msg.entry, msg.guids))
    }
}

impl Handler<SendMailbox> for MailboxPlanner {
    type Result = SendDone;

    fn handle(&mut self, msg: SendMailbox, _: &mut SyncContext<Self>) -> Self::Result {
        let mut staged = msg.staged;
        let mut broken_off = false;
        let mut job = send_mailbox::MailboxSender {
            store: &self.store,
            settings: &self.settings,
            progress: &self.progress,
            entry: &msg.entry,
            replica: msg.replica,
            how: msg.how,
            next: msg.next,
            frames: &msg.frames,
            staged: &mut staged,
            broken_off: &mut broken_off,
            found: msg.files,
        };
        let result = catch_unwind(AssertUnwindSafe(|| job.run()));
        let result = result.unwrap_or_else(|panic| {
            broken_off = true;
            Err(UserError::Internal(panic_text(panic.as_ref())))
        });
        SendDone { result, staged, broken_off }
    }
}
