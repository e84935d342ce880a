//! One run from its first user to its report: starts the actors, waits, takes them down.

use std::sync::Arc;
use std::time::Instant;

use actix::prelude::*;
use cyrus_store::{Config, Store, StoreError};
use tokio::sync::{mpsc, watch};

use crate::board::Board;
use crate::crew::Crew;
use crate::dispatcher::{Dispatcher, RunUsers};
use crate::events::EventSink;
use crate::monitor::{Verbosity, Watching};
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
    let watching = Watching::start(verbosity, told);

    let mut report = run(settings, config, work, events.clone(), stop, board).await;
    report.took = since.elapsed();
    watching.end(&events).await;
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

    let crew = Crew::start(settings, config, store.clone(), events, board).await;
    let dispatcher =
        Dispatcher::new(crew.hands.clone(), crew.locks.clone(), crew.loops.clone()).start();
    let mut report =
        dispatcher.send(RunUsers { users, stop }).await.unwrap_or_else(|e| RunReport {
            stopped: Some(Stopped::Listing(format!(
                "the replicator failed inside: {e}; please report this"
            ))),
            ..RunReport::default()
        });
    report.list_passes = store.list_passes();

    drop(dispatcher);
    crew.stop().await;
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
