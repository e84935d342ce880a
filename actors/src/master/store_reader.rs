//! The StoreReader actor: reads from the master, on threads of its own.
//!
//! Each message is one read: a user's headers, tombstones, which messages a replica may already have. One thread for each
//! user in flight is enough, since a user sends one message at a time.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use actix::prelude::*;
use csync::ReplicaMailbox;
use cyrus_store::{Annotation, MboxEntry};
use cyrus_types::{Guid, MailboxName, Owner, UniqueId};
use sync_plan::FullReplica;

use crate::error::{MasterError, UserError};
use crate::master::full_update;
use crate::master::full_update::FullChecked;
use crate::master::reserve;
use crate::master::reserve::{Reserve, Wanted};
use crate::master::script_files;
use crate::master::source::Source;
use crate::master::threads::Threads;
use crate::master::user_read::{Inbox, Lookup, LookupRequest, Names, SomeRead, UserRead};
use crate::settings::Settings;

/// Reads from a source. Clones use the same threads.
#[derive(Clone)]
pub(crate) struct StoreReader {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) threads: Threads,
}

impl StoreReader {
    fn on_thread<T: Send + 'static, E: From<MasterError> + Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Source, &Settings) -> Result<T, E> + Send + 'static,
    ) -> ResponseFuture<Result<T, E>> {
        let (source, settings) = (self.source.clone(), self.settings.clone());
        let threads = self.threads.clone();
        Box::pin(async move { threads.run(move || work(&*source, &settings)).await? })
    }
}

impl Actor for StoreReader {
    type Context = Context<Self>;
}

/// What the master holds of a user. `None`: there is no INBOX here.
#[derive(Message)]
#[rtype(result = "Result<Option<Arc<UserRead>>, MasterError>")]
pub(crate) struct ReadUser {
    pub(crate) owner: Owner,
    /// Whether #sieve mailboxes are sent as mailboxes; else the scripts are read.
    pub(crate) sieve_mailbox: bool,
    /// Whether the user should exist or was removed.
    pub(crate) inbox: Inbox,
}

/// What the master holds of some mailboxes.
#[derive(Message)]
#[rtype(result = "Result<SomeRead, MasterError>")]
pub(crate) struct ReadSome {
    pub(crate) names: Arc<Names>,
    pub(crate) sieve_mailbox: bool,
}

/// What the replica's unmatched unique ids are here, and the parents of our mailboxes that it lacks.
#[derive(Message)]
#[rtype(result = "Result<Lookup, MasterError>")]
pub(crate) struct ReadMore {
    pub(crate) read: Arc<UserRead>,
    pub(crate) uniqueids: Vec<UniqueId>,
    pub(crate) new: Vec<MailboxName>,
    pub(crate) locked: Arc<BTreeSet<Owner>>,
    pub(crate) sieve_mailbox: bool,
}

/// Whether a replica that has #sieve mailboxes may be asked about this user.
#[derive(Message)]
#[rtype(result = "Result<(), MasterError>")]
pub(crate) struct CheckScripts {
    pub(crate) userid: Arc<str>,
}

/// The annotations of the server itself.
#[derive(Message)]
#[rtype(result = "Result<Vec<Annotation>, MasterError>")]
pub(crate) struct ReadServer;

/// Which new messages the replica may already have, and where.
#[derive(Message)]
#[rtype(result = "Result<Vec<Reserve>, MasterError>")]
pub(crate) struct FindReserve(pub(crate) Wanted);

/// Whether a mailbox that differs only in the stored checksums really differs, after ours are computed again.
#[derive(Message)]
#[rtype(result = "Result<bool, MasterError>")]
pub(crate) struct DoChecksumsDiffer {
    pub(crate) entry: MboxEntry,
    pub(crate) replica: Box<ReplicaMailbox>,
}

/// How many messages each of these mailboxes would lose on the replica, whose states stand beside them; and whether they can
/// be read.
#[derive(Message)]
#[rtype(result = "Result<Vec<Result<u64, MasterError>>, MasterError>")]
pub(crate) struct CountExpunged(pub(crate) Vec<(MboxEntry, Option<Box<ReplicaMailbox>>)>);

/// What sending a mailbox in full would require, if it is possible without copyback.
#[derive(Message)]
#[rtype(result = "Result<FullChecked, UserError>")]
pub(crate) struct CheckFull {
    pub(crate) entry: MboxEntry,
    pub(crate) full: Arc<FullReplica>,
}

/// How many of these messages are not live in this mailbox, or could not be sent; `None` if it is gone meanwhile.
#[derive(Message)]
#[rtype(result = "Result<Option<usize>, MasterError>")]
pub(crate) struct CountLacking {
    pub(crate) entry: MboxEntry,
    pub(crate) guids: HashSet<Guid>,
}

impl Handler<ReadUser> for StoreReader {
    type Result = ResponseFuture<Result<Option<Arc<UserRead>>, MasterError>>;

    fn handle(&mut self, msg: ReadUser, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |source, settings| {
            let prefix = settings.sync.prefix.as_deref();
            let read = source.read_user(&msg.owner, msg.sieve_mailbox, prefix, msg.inbox)?;
            Ok(read.map(Arc::new))
        })
    }
}

impl Handler<ReadSome> for StoreReader {
    type Result = ResponseFuture<Result<SomeRead, MasterError>>;

    fn handle(&mut self, msg: ReadSome, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |source, _| source.read_some(&msg.names, msg.sieve_mailbox))
    }
}

impl Handler<ReadMore> for StoreReader {
    type Result = ResponseFuture<Result<Lookup, MasterError>>;

    fn handle(&mut self, msg: ReadMore, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |source, _| {
            let question = LookupRequest {
                uniqueids: &msg.uniqueids,
                new: &msg.new,
                locked: &msg.locked,
                sieve_mailbox: msg.sieve_mailbox,
            };
            source.read_more(&msg.read, &question)
        })
    }
}

impl Handler<CheckScripts> for StoreReader {
    type Result = ResponseFuture<Result<(), MasterError>>;

    fn handle(&mut self, msg: CheckScripts, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |source, _| script_files::check(source, &msg.userid))
    }
}

impl Handler<ReadServer> for StoreReader {
    type Result = ResponseFuture<Result<Vec<Annotation>, MasterError>>;

    fn handle(&mut self, _: ReadServer, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |source, _| Ok(source.server_annotations()?))
    }
}

impl Handler<FindReserve> for StoreReader {
    type Result = ResponseFuture<Result<Vec<Reserve>, MasterError>>;

    fn handle(&mut self, msg: FindReserve, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |source, _| reserve::find(source, &msg.0))
    }
}

impl Handler<DoChecksumsDiffer> for StoreReader {
    type Result = ResponseFuture<Result<bool, MasterError>>;

    fn handle(&mut self, msg: DoChecksumsDiffer, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |source, _| {
            Ok(full_update::do_checksums_differ(source, &msg.entry, &msg.replica))
        })
    }
}

impl Handler<CountExpunged> for StoreReader {
    type Result = ResponseFuture<Result<Vec<Result<u64, MasterError>>, MasterError>>;

    fn handle(&mut self, msg: CountExpunged, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |source, _| {
            let count = |(entry, replica): &(MboxEntry, Option<Box<ReplicaMailbox>>)| {
                full_update::count_expunged(source, entry, replica.as_deref())
            };
            Ok(msg.0.iter().map(count).collect())
        })
    }
}

impl Handler<CheckFull> for StoreReader {
    type Result = ResponseFuture<Result<FullChecked, UserError>>;

    fn handle(&mut self, msg: CheckFull, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |source, settings| {
            full_update::check(source, &msg.entry, &msg.full, settings.sync.overwrite)
        })
    }
}

impl Handler<CountLacking> for StoreReader {
    type Result = ResponseFuture<Result<Option<usize>, MasterError>>;

    fn handle(&mut self, msg: CountLacking, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |source, _| full_update::count_lacking(source, &msg.entry, msg.guids))
    }
}
