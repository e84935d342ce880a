//! The Roller actor: rolling replication of one channel.
//!
//! ```text
//!   sync/log --> LogReader --entries--> Roller --LockUser--> LockKeeper
//!                   ^                     | |
//!                   '--Keep: what is left-' '--SyncWork--> UserSync (one a work in flight)
//! ```
//! Three things go on at the same time: works are carried out, the next log is taken over, and entries that are done are
//! struck from log-run. So a slow user holds up neither other users nor the log. `work/queue.rs` decides what to do next,
//! `work/works.rs` carries it out.
//!
//! States: *running*; *stopping* (asked to, or no connection will ever come): nothing is started any more, work in flight
//! may end; *at rest*: the entries that are not done are in log-run.

use std::time::{Duration, Instant};

use actix::prelude::*;
use cyrus_store::StoreError;
use futures_util::future::LocalBoxFuture;
use sync_plan::backlog::Backlog;
use tokio::sync::watch;
use tracing::{Instrument, error, info, warn};

use crate::monitor::events::Event;
use crate::monitor::report::Stopped;
use crate::monitor::spans;
use crate::replica::acquire::acquire_shared;
use crate::replica::pool_error::NoLease;
use crate::rolling::log_handle::{Finished, FromLog, LogHandle};
use crate::rolling::log_reader::{LogReader, TakenOver};
use crate::rolling::report::RollReport;
use crate::rolling::request::{RollSettings, StopRequest};
use crate::rolling::status::{ChannelStats, RollStatus};
use crate::runtime::Runtime;
use crate::user::context::UserContext;
use crate::user::tasks::Feeder;
use crate::work::attempt::AttemptEvent;
use crate::work::event_loop::EventLoop;
use crate::work::lock_keeper::LockKeeper;
use crate::work::pause::sleep_until;
use crate::work::queue::WorkQueue;
use crate::work::retry::Patience;
use crate::work::trouble::Bounds;
use crate::work::worker_pool::WorkerPool;
use crate::work::works::Works;

/// How long works in flight may take to end after SIGTERM: the whole program is to end within five seconds. The next run
/// repeats aborted work.
const STOP_GRACE: Duration = Duration::from_secs(3);
/// How often the numbers for SIGUSR1 and systemd are updated.
const FIGURES_PAUSE: Duration = Duration::from_secs(1);

/// Replicates one channel.
pub(crate) struct Roller {
    context: UserContext,
    locks: Addr<LockKeeper>,
    loops: Vec<EventLoop>,
    log: Addr<LogReader>,
    status: RollStatus,
}

impl Roller {
    pub(crate) fn new(runtime: &Runtime, log: Addr<LogReader>, status: RollStatus) -> Roller {
        let (context, locks) = (runtime.context.clone(), runtime.locks.clone());
        Roller { context, locks, loops: runtime.loops.clone(), log, status }
    }
}

impl Actor for Roller {
    type Context = Context<Self>;
}

/// Runs until it is asked to stop or, in a single pass, everything is done or left.
#[derive(Message)]
#[rtype(result = "RollReport")]
pub(crate) struct Roll {
    pub(crate) settings: RollSettings,
    pub(crate) backlog: Backlog,
    pub(crate) stop: watch::Receiver<StopRequest>,
}

impl Handler<Roll> for Roller {
    type Result = ResponseFuture<RollReport>;

    fn handle(&mut self, msg: Roll, _: &mut Context<Self>) -> Self::Result {
        let now = Instant::now();
        let settings = &self.context.settings;
        let bounds = Bounds {
            in_flight: settings.works_in_flight(),
            first_pause: settings.run.retry_pause,
            longest_pause: msg.settings.longest_pause,
            patience: if msg.settings.once { Patience::Pass } else { Patience::Endless },
            jitter: settings.run.jitter,
        };
        let workers = WorkerPool::new(self.context.clone(), self.loops.clone());
        let restart_at = msg.settings.restart_every.map(|pause| now + pause);
        let rolling = Rolling {
            works: Works::new(
                WorkQueue::new(msg.backlog, bounds),
                Feeder::Log,
                self.context.clone(),
                self.locks.clone(),
                workers,
            ),
            log: LogHandle::new(self.log.clone(), &msg.settings, now),
            settings: msg.settings,
            context: self.context.clone(),
            status: self.status.clone(),
            report: RollReport::default(),
            restart_at,
            figures_at: now,
            stopping: false,
            meeting: None,
        };
        let span = spans::channel(self.context.settings.run.channel.as_deref());
        Box::pin(rolling.run(msg.stop).instrument(span))
    }
}

type Meeting = LocalBoxFuture<'static, Result<(), NoLease>>;

struct Rolling {
    works: Works,
    settings: RollSettings,
    context: UserContext,
    log: LogHandle,
    status: RollStatus,
    report: RollReport,
    restart_at: Option<Instant>,
    figures_at: Instant,
    stopping: bool,
    /// The first login at the replica, until it has ended.
    meeting: Option<Meeting>,
}

impl Rolling {
    async fn run(mut self, mut stop: watch::Receiver<StopRequest>) -> RollReport {
        let mut stop_open = true;
        let mut deadline = None;
        let mut asked = *stop.borrow_and_update();
        if !self.settings.once {
            self.meeting = Some(self.meet());
        }
        loop {
            if asked != StopRequest::Go && !self.stopping {
                self.stop(Stopped::Signal).await;
            }
            if asked == StopRequest::Stop && deadline.is_none() {
                deadline = Some(Instant::now() + STOP_GRACE);
            }
            let now = Instant::now();
            self.works.start().await;
            self.turn_to_log(now);
            self.show(now);
            if self.is_over() {
                break;
            }
            let until = self.next_time();
            tokio::select! {
                step = self.works.step() => self.settle(step).await,
                heard = self.log.hear() => self.heard(heard).await,
                met = some(&mut self.meeting) => self.met(met).await,
                () = sleep_until(until) => self.restart_if_due(),
                () = sleep_until(deadline) => {
                    let left = self.works.queue.in_flight();
                    warn!("{left} works were broken off; the next run does them again");
                    break;
                }
                changed = stop.changed(), if stop_open => {
                    stop_open = changed.is_ok();
                    asked = *stop.borrow();
                }
            }
        }
        self.end().await
    }

    async fn settle(&mut self, step: AttemptEvent) {
        let settled = self.works.settle(step).await;
        self.report.sent.add(settled.sent);
        self.report.done += settled.users;
        if let Some(why) = settled.stop {
            self.stop(why).await;
        }
    }

    /// Logs in at the replica even if nothing is logged yet: so an unreachable replica is reported at once, and not when
    /// the first change waits; when it succeeds systemd gets READY.
    fn meet(&self) -> Meeting {
        let pool = self.context.pool.clone();
        Box::pin(async move { acquire_shared(&pool).await.map(drop) })
    }

    async fn met(&mut self, met: Result<(), NoLease>) {
        self.meeting = None;
        match met {
            Ok(()) | Err(NoLease::NotStarted) => {}
            Err(NoLease::Failed(e)) => self.stop(e.into()).await,
        }
    }

    /// Gives the LogReader something to do if it is time and it is free.
    fn turn_to_log(&mut self, now: Instant) {
        if self.works.queue.is_unsaved() && self.log.may_save(now, self.works.queue.is_empty()) {
            self.log.save(now, self.works.queue.take_unsaved());
        } else if self.log.may_read(now) {
            self.log.read(now);
        }
    }

    async fn heard(&mut self, heard: FromLog) {
        let now = Instant::now();
        match heard {
            FromLog::Entries(entries) => self.works.queue.add(&entries, now),
            FromLog::Saved(Ok(())) => {}
            FromLog::Saved(Err(e)) => self.not_saved(&e),
            FromLog::Read(entries, result) => {
                self.works.queue.add(&entries, now);
                match result {
                    Ok(TakenOver { shutdown: true, .. }) => self.stop(Stopped::ShutdownFile).await,
                    Ok(TakenOver { rival: Some(rival), .. }) => {
                        self.stop(Stopped::Log(rival.to_string())).await;
                    }
                    Ok(_) => {
                        if let Some(time) = self.status.readable(now) {
                            let seconds = time.as_secs();
                            info!("the sync log can be read again, after {seconds} seconds");
                        }
                    }
                    Err(e) if self.settings.once => self.stop(Stopped::Log(e.to_string())).await,
                    Err(e) => {
                        if self.status.unreadable(e.to_string(), now) {
                            error!("IOERROR: the sync log can't be read: {e}");
                        }
                    }
                }
            }
        }
    }

    /// Nothing is started any more.
    async fn stop(&mut self, why: Stopped) {
        self.stopping = true;
        self.log.read_no_more();
        self.restart_at = None;
        self.works.stop(&mut self.report.stopped, why).await;
    }

    /// Whether there is nothing left to wait for.
    fn is_over(&self) -> bool {
        let ending = self.stopping || (self.settings.once && self.log.is_read());
        ending && self.works.queue.is_at_rest() && self.meeting.is_none()
    }

    fn next_time(&self) -> Option<Instant> {
        let log = self.log.next_time(self.works.queue.is_unsaved());
        [self.works.queue.wakes_at(), log, self.restart_at, Some(self.figures_at)]
            .into_iter()
            .flatten()
            .min()
    }

    /// RESTART every `-t` seconds, as the C client does; it also shows that the link is alive.
    fn restart_if_due(&mut self) {
        let now = Instant::now();
        let (Some(at), Some(every)) = (self.restart_at, self.settings.restart_every) else {
            return;
        };
        if now < at {
            return;
        }
        self.restart_at = Some(now + every);
        let pool = self.context.pool.clone();
        let restarting = async move {
            let Ok(lease) = acquire_shared(&pool).await else { return };
            let answered = match lease.client.restart().await {
                Ok(in_flight) => in_flight.done().await,
                Err(e) => Err(e),
            };
            match answered {
                Ok(_) => info!("sync_client RESTART succeeded"),
                Err(e) => warn!("sync_client RESTART failed: {e}"),
            }
        };
        actix_rt::spawn(restarting.in_current_span());
    }

    /// Updates the numbers for the status.
    fn show(&mut self, now: Instant) {
        if now < self.figures_at && !self.stopping {
            return;
        }
        self.figures_at = now + FIGURES_PAUSE;
        self.context.progress.note(now);
        let stats = ChannelStats {
            waiting: self.works.queue.users(),
            in_flight: self.works.queue.in_flight(),
            oldest: self.works.queue.oldest(),
            done: self.report.done,
            sent: self.report.sent,
            troubles: self.works.queue.troubles(),
        };
        self.context.events.sample(Event::Lag(stats.lag(self.status.is_readable())));
        self.status.set(stats);
    }

    /// Leaves the entries that are not done in log-run.
    async fn end(mut self) -> RollReport {
        match self.log.finish().await {
            // Some entries were not taken in: log-run must not be rewritten.
            Finished::WithinReading => {
                self.report.unread = true;
                return self.report_left();
            }
            Finished::Saved(Err(e)) => self.not_saved(&e),
            Finished::Saved(Ok(())) => {}
        }
        if self.works.queue.is_unsaved() {
            self.log.save(Instant::now(), self.works.queue.take_unsaved());
            if let Finished::Saved(Err(e)) = self.log.finish().await {
                self.not_saved(&e);
            }
        }
        self.report_left()
    }

    fn not_saved(&mut self, e: &StoreError) {
        error!("IOERROR: the sync log can't be written: {e}");
        self.works.queue.not_saved();
    }

    fn report_left(mut self) -> RollReport {
        let troubles = self.works.queue.troubles().into_iter();
        self.report.troubles = troubles.map(|(owner, t)| (owner, t.reason, t.kind)).collect();
        self.report.troubles.sort_by(|a, b| a.0.cmp(&b.0));
        self.report.left = self.works.queue.users();
        self.report
    }
}

/// Waits for whichever of these comes first; for ever if there is none.
async fn some<T>(what: &mut Option<LocalBoxFuture<'static, T>>) -> T {
    match what {
        Some(what) => what.await,
        None => std::future::pending().await,
    }
}
