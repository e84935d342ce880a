//! One channel's rolling replication from start to end: what it is told, and what it reports.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use cyrus_store::{Config, Store};
use sync_plan::backlog::Backlog;
use tokio::sync::watch;

use crate::monitor::events::EventSink;
use crate::monitor::monitor::{Verbosity, Watching};
use crate::monitor::plain;
use crate::monitor::report::{Sent, Stopped, name_of};
use crate::monitor::words;
use crate::rolling::log_reader::{EarlyClaim, LetGo, LogReader, LogSource};
use crate::rolling::roller::{Roll, Roller};
use crate::rolling::status::RollStatus;
use crate::runtime::Runtime;
use crate::settings::Settings;
use crate::work::queue::Kind;

/// How long the end of a channel waits for its log to be let go: a disk may hang.
const LET_GO: Duration = Duration::from_secs(1);

/// What a channel's rolling replication is told.
#[derive(Debug, Clone)]
pub struct RollSettings {
    /// Where entries come from.
    pub source: LogSource,
    /// The claim on that log, if it was made already.
    pub claim: EarlyClaim,
    /// One pass, then the end (-1, -f).
    pub once: bool,
    /// From one taking over of the log to the next (-d, sync_repeat_interval); with none it is looked for
    /// twenty times a second.
    pub delay: Duration,
    /// How often the replica is sent a RESTART (-t), if at all.
    pub restart_every: Option<Duration>,
    /// Whose being there means to stop (-F, sync_shutdown_file).
    pub shutdown_file: Option<PathBuf>,
    /// The longest pause between two tries of a user that fails (sync_retry_maxwait).
    pub longest_pause: Duration,
}

/// What the program is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopRequest {
    /// Go on.
    Go,
    /// Begin nothing more, finish what is in flight however long it takes (SIGHUP).
    Finish,
    /// Begin nothing more, and end within seconds (SIGTERM, SIGINT).
    Stop,
}

/// How a channel's rolling replication ended.
#[derive(Debug, Clone, Default)]
pub struct RollReport {
    /// Works of users that ended well.
    pub done: u64,
    /// What was sent.
    pub sent: Sent,
    /// Users with entries that are not done: they stand in log-run.
    pub left: usize,
    /// It ended before all entries were read.
    pub unread: bool,
    /// It was a log of one's own (-f): what is not done is kept nowhere.
    pub given: bool,
    /// Users that are not done, why, and of which kind.
    pub(crate) troubles: Vec<(String, String, Kind)>,
    /// Why it ended; none: it was a single pass.
    pub stopped: Option<Stopped>,
    /// From start to end.
    pub took: Duration,
}

impl RollReport {
    /// How many users failed.
    pub fn failed(&self) -> usize {
        self.count(Kind::Failed)
    }

    /// Whether a single pass brought all that was asked for to the replica. What a skipuser file keeps from it stays in
    /// Cyrus' own log, as the admin wants it; in a log of one's own it was asked for.
    pub fn all_well(&self) -> bool {
        let skipped = if self.given { self.count(Kind::Skipped) } else { 0 };
        self.failed() + self.count(Kind::Locked) + skipped == 0
    }

    fn count(&self, kind: Kind) -> usize {
        self.troubles.iter().filter(|(_, _, k)| *k == kind).count()
    }
}

/// The summary: one line, then one for each user in trouble.
impl fmt::Display for RollReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (done, took) = (words::count(self.done, "user"), words::duration(self.took));
        write!(f, "rolling: {done} done in {took}")?;
        if self.left > 0 {
            let kinds = [
                (self.count(Kind::Failed), "failed"),
                (self.count(Kind::Locked), "locked"),
                (self.count(Kind::Skipped), "skipped"),
            ];
            let kinds = kinds.into_iter().filter(|(number, _)| *number > 0);
            let kinds: Vec<_> = kinds.map(|(number, word)| format!("{number} {word}")).collect();
            let place = if self.given { "not done" } else { "left in the log" };
            write!(f, ", {} {place}", self.left)?;
            if !kinds.is_empty() {
                write!(f, " ({})", kinds.join(", "))?;
            }
        }
        self.sent.write(self.took, f)?;
        for (userid, reason, kind) in &self.troubles {
            let kind = match kind {
                Kind::Failed => "failed",
                Kind::Locked => "locked",
                Kind::Skipped => "skipped",
            };
            write!(f, "\n{kind}: {}: {reason}", plain::line(name_of(userid)))?;
        }
        Ok(())
    }
}

/// Rolls one channel until it is asked to stop or, in a single pass, all is done or left. To be called on
/// an actix system. `status` shows all the while how it stands.
pub async fn roll(
    settings: Settings,
    rolling: RollSettings,
    config: Arc<Config>,
    verbosity: Verbosity,
    stop: watch::Receiver<StopRequest>,
    status: RollStatus,
) -> RollReport {
    let since = Instant::now();
    let settings = Arc::new(settings);
    let (events, told) = EventSink::channel(settings.narrate, settings.trace);
    let watching = Watching::start(verbosity, told);
    let store = Arc::new(Store::open(config.clone()));
    let backlog = Backlog::new(config.names().clone());
    let progress = status.progress().clone();
    let runtime = Runtime::start(settings, config, store, events.clone(), progress).await;
    let (source, claim) = (rolling.source.clone(), rolling.claim.clone());
    let claims = matches!(source, LogSource::Channel(_));
    // One thread: a log has one reader.
    let log = SyncArbiter::start(1, move || LogReader::new(source.clone(), claim.clone()));
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
    // The log and the cache are to be free when this is over: whoever rolls next, after SIGHUP, wants them at once.
    roller_loop.stop();
    let _ = actix_rt::task::spawn_blocking(move || roller_loop.join()).await;
    // A reader that waits for the end of a given list claims nothing, and may wait for ever.
    if claims {
        let _ = tokio::time::timeout(LET_GO, log.send(LetGo)).await;
    }
    runtime.stop().await;
    watching.end(&events).await;
    report
}
