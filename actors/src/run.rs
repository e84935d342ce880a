//! One run from its first user to its report: starts the actors, waits, takes them down.

use std::sync::Arc;
use std::time::Instant;

use actix::prelude::*;
use cyrus_store::{Config, Store, StoreError};
use tokio::sync::{mpsc, watch};

use crate::board::Board;
use crate::dispatcher::{Dispatcher, RunUsers};
use crate::events::{Event, EventSink};
use crate::hands::Hands;
use crate::lock_keeper::LockKeeper;
use crate::monitor::{Monitor, Verbosity, Watch};
use crate::planner::MailboxPlanner;
use crate::pool::ConnectionPool;
use crate::report::{RunReport, Stopped};
use crate::settings::Settings;
use crate::user_lister::{ListUsers, UserLister, Work};

/// Replicates this work's users. To be called on an actix system; ends when all users have ended,
/// or soon after `stop` turns true. `board` shows all the while what is being done.
pub async fn replicate(
    settings: Settings,
    config: Arc<Config>,
    work: Work,
    verbosity: Verbosity,
    stop: watch::Receiver<bool>,
    board: Board,
) -> RunReport {
    let since = Instant::now();
    let settings = Arc::new(settings);
    let (events, told) = EventSink::channel(settings.narrate, settings.trace);
    let monitor_loop = Arbiter::new();
    let monitor =
        Monitor::start_in_arbiter(&monitor_loop.handle(), move |_| Monitor::new(verbosity));
    let watching = monitor.send(Watch(told));

    let mut report = run(settings, config, work, events.clone(), stop, board).await;
    report.took = since.elapsed();

    events.tell(Event::End).await;
    let _ = watching.await;
    monitor_loop.stop();
    report
}

async fn run(
    settings: Arc<Settings>,
    config: Arc<Config>,
    work: Work,
    events: EventSink,
    stop: watch::Receiver<bool>,
    board: Board,
) -> RunReport {
    let store = Arc::new(Store::open(config.clone()));
    let users = match list(&store, work).await {
        Ok(users) => users,
        Err(e) => return not_listed(&e),
    };

    let arbiters: Vec<Arbiter> = (0..event_loops(&settings)).map(|_| Arbiter::new()).collect();
    let loops: Vec<ArbiterHandle> = arbiters.iter().map(Arbiter::handle).collect();
    let planners = || {
        let (store, settings) = (store.clone(), settings.clone());
        SyncArbiter::start(settings.jobs, move || MailboxPlanner {
            store: store.clone(),
            settings: settings.clone(),
        })
    };
    let (reader, streamer) = (planners(), planners());
    let pool = ConnectionPool::new(settings.clone(), events.clone(), loops.clone()).start();
    let locks = LockKeeper::new(config, &settings.server).start();
    let hands = Hands { settings, events, board, pool, reader, streamer };
    let dispatcher = Dispatcher::new(hands, locks, loops).start();
    let mut report =
        dispatcher.send(RunUsers { users, stop }).await.unwrap_or_else(|e| RunReport {
            stopped: Some(Stopped::Listing(format!(
                "the replicator failed inside: {e}; please report this"
            ))),
            ..RunReport::default()
        });
    report.list_passes = store.list_passes();

    drop(dispatcher);
    for arbiter in arbiters {
        arbiter.stop();
        // A thread that panicked has told so already.
        let _ = actix_rt::task::spawn_blocking(move || arbiter.join()).await;
    }
    report
}

async fn list(store: &Arc<Store>, work: Work) -> Result<mpsc::Receiver<Arc<str>>, StoreError> {
    let lister = UserLister::new(store.clone()).start();
    match lister.send(ListUsers(work)).await {
        Ok(users) => users,
        Err(e) => Err(StoreError::option("-A", format!("the users could not be listed: {e}"))),
    }
}

fn not_listed(e: &StoreError) -> RunReport {
    RunReport { stopped: Some(Stopped::Listing(e.to_string())), ..RunReport::default() }
}

/// Event loops for connections and users: compression and parsing are the work on them, so no more
/// than there are cores.
fn event_loops(settings: &Settings) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    settings.jobs.min(cores).max(1)
}
