//! Everything that works on one replica: threads for reading, the pool, the locks, the event loops.

use std::path::Path;
use std::sync::Arc;

use actix::prelude::*;
use cyrus_types::NameRules;

use crate::master::mailbox_streamer::MailboxStreamer;
use crate::master::source::Source;
use crate::master::store_reader::StoreReader;
use crate::master::threads::Threads;
use crate::monitor::events::EventSink;
use crate::monitor::progress::Progress;
use crate::monitor::spans;
use crate::replica::answer::Budget;
use crate::replica::connection::Means;
use crate::replica::fading::Fading;
use crate::replica::partitions::Partitions;
use crate::replica::pool::ConnectionPool;
use crate::replica::state_cache::Cache;
use crate::replica::transport::Dialer;
use crate::settings::Settings;
use crate::user::context::UserContext;
use crate::work::event_loop::EventLoop;
use crate::work::lock_keeper::LockKeeper;

/// The actors below a Dispatcher or a Roller.
pub(crate) struct Runtime {
    pub(crate) context: UserContext,
    pub(crate) locks: Addr<LockKeeper>,
    pub(crate) loops: Vec<EventLoop>,
    arbiters: Vec<Arbiter>,
}

impl Runtime {
    /// Starts them. No connection is made yet.
    pub(crate) async fn start(
        settings: Arc<Settings>,
        source: Arc<dyn Source>,
        events: EventSink,
        progress: Progress,
    ) -> Runtime {
        let arbiters: Vec<Arbiter> = (0..event_loops(&settings)).map(|_| Arbiter::new()).collect();
        let handles: Vec<ArbiterHandle> = arbiters.iter().map(Arbiter::handle).collect();
        let reader = StoreReader {
            source: source.clone(),
            settings: settings.clone(),
            threads: Threads::new("store-reader", settings.run.jobs),
        };
        let streamer = MailboxStreamer {
            source: source.clone(),
            settings: settings.clone(),
            progress: progress.clone(),
            threads: Threads::new("streamer", settings.run.jobs),
        };
        let with_readers = |handle: &ArbiterHandle| {
            EventLoop::new(handle.clone(), reader.clone(), streamer.clone())
        };
        let loops = handles.iter().map(with_readers).collect();
        progress.replica().start(settings.replica());
        let budget = Budget::default();
        let (s, e) = (settings.clone(), events.clone());
        let dial = Arc::new(Dialer { settings: s.clone(), events: e.clone() });
        let stats = progress.commands().clone();
        let means = Means { settings: s, events: e, budget: budget.clone(), stats, dial };
        let pool = ConnectionPool::new(means, handles, progress.clone()).start();
        let channel = settings.run.channel.as_deref();
        let cache = match &settings.sync.cache {
            Some(path) => open_cache(path, &settings, source.rules()).await.map(Arc::new),
            None => None,
        };
        let rules = Arc::new(source.rules().clone());
        let sieve_folder = source.sieve_folder().into();
        let locks =
            LockKeeper::new(source, &settings.replica.server, channel, events.clone()).start();
        let in_flight = progress.in_flight().clone();
        let context = UserContext {
            settings,
            events,
            progress,
            in_flight,
            rules,
            sieve_folder,
            pool,
            budget,
            cache,
            partitions: Partitions::default(),
            fading: Fading::default(),
            reader: reader.start(),
            streamer: streamer.start(),
        };
        Runtime { context, locks, loops, arbiters }
    }

    /// Ends the event loops; everything that still runs there ends with them.
    pub(crate) async fn stop(self) {
        drop((self.context, self.locks, self.loops));
        for arbiter in self.arbiters {
            arbiter.stop();
            // A thread that panicked has printed its message already.
            let _ = actix_rt::task::spawn_blocking(move || arbiter.join()).await;
        }
    }
}

/// The cache of the replica's state: its key is everything that says which replica it is.
async fn open_cache(path: &Path, settings: &Settings, rules: &NameRules) -> Option<Cache> {
    let port = settings.replica.port.as_deref().unwrap_or_default();
    let channel = settings.run.channel.as_deref().unwrap_or_default();
    let replica = format!("{} {port} {channel}", settings.replica.server);
    let (path, rules) = (path.to_path_buf(), rules.clone());
    let span = spans::channel(settings.run.channel.as_deref());
    let opening = move || span.in_scope(|| Cache::open(&path, &replica, rules));
    actix_rt::task::spawn_blocking(opening).await.ok().flatten()
}

/// Event loops for connections and users: their work is compression and parsing, so there are no more than cores.
fn event_loops(settings: &Settings) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    settings.run.jobs.min(cores).max(1)
}
