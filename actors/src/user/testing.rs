//! For tests: the resources for a user's work, with a store that was written for the test and a replica of any kind; and a
//! pair of these on which one user after the other is replicated.

use std::sync::Arc;

use actix::prelude::*;
use embedded_replica::{Options, Replica, Server};
use testkit::store::Plan;
use tokio::sync::mpsc;

use crate::master::mailbox_streamer::MailboxStreamer;
use crate::master::store_reader::StoreReader;
use crate::master::testing::Master;
use crate::master::threads::Threads;
use crate::monitor::events::{Direction, Event, EventSink};
use crate::monitor::progress::Progress;
use crate::replica::acquire::acquire_shared;
use crate::replica::answer::Budget;
use crate::replica::connection::Means;
use crate::replica::fading::Fading;
use crate::replica::partitions::Partitions;
use crate::replica::pool::ConnectionPool;
use crate::replica::testing::given::settings;
use crate::replica::transport::{Dial, Dialer};
use crate::settings::Settings;
use crate::user::context::UserContext;
use crate::user::tasks::{Feeder, whole};
use crate::user::user_sync::{SyncWork, UserSync};
use crate::user::user_work::Synced;

/// The resources for a user's work, and its events; `dial` makes connections.
pub(crate) fn context(
    master: &Master,
    settings: Settings,
    dial: Arc<dyn Dial>,
) -> (UserContext, mpsc::Receiver<Event>) {
    let (events, told) = EventSink::channel(settings.run.narrate, settings.run.trace);
    let (settings, progress) = (Arc::new(settings), Progress::default());
    let (store, budget) = (master.store.clone(), Budget::default());
    let means = Means {
        settings: settings.clone(),
        events: events.clone(),
        budget: budget.clone(),
        stats: progress.commands().clone(),
        dial,
    };
    let reader = StoreReader {
        source: store.clone(),
        settings: settings.clone(),
        threads: Threads::new(READER, settings.run.jobs),
    };
    let streamer = MailboxStreamer {
        source: store.clone(),
        settings: settings.clone(),
        progress: progress.clone(),
        threads: Threads::new(STREAMER, settings.run.jobs),
    };
    let context = UserContext {
        settings,
        events,
        in_flight: progress.in_flight().clone(),
        rules: Arc::new(store.config().names().clone()),
        sieve_folder: "#sieve".into(),
        pool: ConnectionPool::new(means, Vec::new(), progress.clone()).start(),
        progress,
        budget,
        cache: None,
        partitions: Partitions::default(),
        fading: Fading::default(),
        reader: reader.start(),
        streamer: streamer.start(),
    };
    (context, told)
}

/// A master and a replica in memory, with everything needed to replicate users.
pub(crate) struct Pair {
    pub(crate) master: Master,
    pub(crate) replica: Replica,
    pub(crate) context: UserContext,
    told: mpsc::Receiver<Event>,
    _server: Server,
}

impl Pair {
    /// With such a store; all traffic is recorded.
    pub(crate) fn of(plan: &Plan) -> Pair {
        let (master, replica) = (Master::of(plan), Replica::new(Options::default()).unwrap());
        let server = replica.serve("127.0.0.1:0").unwrap();
        let mut settings = settings();
        settings.replica.server = "127.0.0.1".into();
        settings.replica.port = Some(server.address().port().to_string());
        settings.run.trace = true;
        let (dialing, _) = EventSink::channel(false, false);
        let dial = Dialer { settings: Arc::new(settings.clone()), events: dialing };
        let (context, told) = context(&master, settings, Arc::new(dial));
        Pair { master, replica, context, told, _server: server }
    }

    /// Makes an attempt at a user, by number. An error means that the worker died.
    pub(crate) async fn try_sync(&self, user: usize) -> Result<Synced, MailboxError> {
        self.sync_as(&self.master.disk.model().users[user].userid).await
    }

    /// The same for any user, by name.
    pub(crate) async fn sync_as(&self, userid: &str) -> Result<Synced, MailboxError> {
        let (lease, work) =
            (acquire_shared(&self.context.pool).await.unwrap(), whole(userid.into()));
        let worker = UserSync::new(self.context.clone()).start();
        let feeder = Feeder::List;
        worker
            .send(SyncWork { owner: work.key(), work, feeder, lease, begun: Arc::default() })
            .await
    }

    /// The same with a worker that survives.
    pub(crate) async fn sync(&self, user: usize) -> Synced {
        self.try_sync(user).await.unwrap()
    }

    /// The traffic since the last call: `>` sent, `<` received, each in as many pieces as it was sent.
    pub(crate) fn traffic(&mut self) -> String {
        let mut all = String::new();
        while let Ok(event) = self.told.try_recv() {
            if let Event::Trace { direction, bytes, .. } = event {
                all.push(if direction == Direction::Sent { '>' } else { '<' });
                all.push_str(&String::from_utf8_lossy(&bytes));
            }
        }
        all
    }

    /// How often this was sent to the replica so far.
    pub(crate) fn count(&self, command: &str) -> u64 {
        self.replica.stats().commands.get(command).copied().unwrap_or_default()
    }
}

/// The name of the threads that read.
const READER: &str = "test-reader";
/// The name of the threads that send mailboxes.
pub(crate) const STREAMER: &str = "test-streamer";
