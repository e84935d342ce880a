//! One channel's rolling replication from start to end, with its settings and its report.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use sync_plan::backlog::Backlog;
use tokio::sync::watch;

use crate::master::source::Source;
use crate::monitor::events::EventSink;
use crate::monitor::monitor::Watching;
use crate::monitor::report::Stopped;
use crate::monitor::reporting::{Verbosity, rolling_sinks};
use crate::monitor::spans;
use crate::rolling::log_reader::{LetGo, LogReader, LogSource};
use crate::rolling::report::RollReport;
use crate::rolling::request::{RollSettings, StopRequest};
use crate::rolling::roller::{Roll, Roller};
use crate::rolling::status::RollStatus;
use crate::runtime::Runtime;
use crate::settings::Settings;

/// How long the end of a channel waits for the release of its log: a disk may hang.
const LET_GO: Duration = Duration::from_secs(1);

/// Runs one channel until it is asked to stop or, in a single pass, everything is done or left. Call it on an actix system.
/// `status` shows its status all the while.
pub async fn roll(
    settings: Settings,
    rolling: RollSettings,
    source: Arc<dyn Source>,
    verbosity: Verbosity,
    stop: watch::Receiver<StopRequest>,
    status: RollStatus,
) -> RollReport {
    let since = Instant::now();
    let settings = Arc::new(settings);
    let (events, told) = EventSink::channel(settings.run.narrate, settings.run.trace);
    let progress = status.progress().clone();
    let watching = Watching::start(rolling_sinks(verbosity), told, progress.clone());
    let backlog = Backlog::new(source.rules().clone());
    let runtime = Runtime::start(settings, source, events.clone(), progress).await;
    let (log_source, claim) = (rolling.source.clone(), rolling.claim.clone());
    let claims = matches!(log_source, LogSource::Channel(_));
    // One thread: a log has one reader.
    let span = spans::channel(runtime.context.settings.run.channel.as_deref());
    let log = SyncArbiter::start(1, move || {
        LogReader::new(log_source.clone(), claim.clone(), span.clone())
    });
    let roller = Roller::new(&runtime, log.clone(), status);
    // On an event loop of its own: merging a long log must not hold up connections.
    let roller_loop = Arbiter::new();
    let roller = Roller::start_in_arbiter(&roller_loop.handle(), move |_| roller);
    let mut report =
        roller.send(Roll { settings: rolling, backlog, stop }).await.unwrap_or_else(|e| {
            let stopped = Some(Stopped::Internal(e.to_string()));
            RollReport { stopped, ..RollReport::default() }
        });
    report.took = since.elapsed();
    report.given = !claims;
    drop(roller);
    // The log and the cache must be free when this returns: after SIGHUP the next run claims them at once.
    roller_loop.stop();
    let _ = actix_rt::task::spawn_blocking(move || roller_loop.join()).await;
    // A reader that waits for the end of a given list has claimed nothing, and may wait for ever.
    if claims {
        let _ = tokio::time::timeout(LET_GO, log.send(LetGo)).await;
    }
    runtime.stop().await;
    watching.end(&events, None).await;
    report
}
