//! For tests: the resources for a user's work, with a store that was written for the test and a replica of any kind.

use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::mpsc;

use crate::master::mailbox_streamer::MailboxStreamer;
use crate::master::store_reader::StoreReader;
use crate::master::testing::Master;
use crate::master::threads::Threads;
use crate::monitor::events::{Event, EventSink};
use crate::monitor::progress::Progress;
use crate::replica::answer::Budget;
use crate::replica::connection::Means;
use crate::replica::fading::Fading;
use crate::replica::partitions::Partitions;
use crate::replica::pool::ConnectionPool;
use crate::replica::transport::Dial;
use crate::settings::Settings;
use crate::user::context::UserContext;

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
        stats: Default::default(),
        dial,
    };
    let reader = StoreReader {
        store: store.clone(),
        settings: settings.clone(),
        threads: Threads::new(READER, settings.run.jobs),
    };
    let streamer = MailboxStreamer {
        store: store.clone(),
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

/// The name of the threads that read.
const READER: &str = "test-reader";
/// The name of the threads that send mailboxes.
pub(crate) const STREAMER: &str = "test-streamer";
