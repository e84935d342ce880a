//! The Dispatcher actor: feeds the works of a list into the queue, keeps users in flight, collects their results.
//!
//! ```text
//!   UserLister --work--> Dispatcher --LockUser--> LockKeeper
//!                            |  ^--lock--------------'
//!                            '--SyncWork--> UserSync (one a user) --Synced--> report
//! ```
//! `--jobs` users are worked on at a time. Meanwhile the next users are looked at, on a connection that the pool lends for
//! that; they end without waiting if both sides are equal.
//!
//! `work/queue.rs` makes the decisions, `work/works.rs` carries them out. A user whose lock somebody else holds takes no
//! place in flight while it waits, so it delays only itself. A UserSync that dies is replaced.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use cyrus_types::{NameRules, Owner};
use futures_util::FutureExt;
use sync_plan::backlog::{Backlog, WorkUnit};
use tokio::sync::{mpsc, watch};
use tracing::Instrument;

use crate::master::threads::panic_text;
use crate::monitor::report::{RunReport, Stopped, UserReport};
use crate::monitor::spans;
use crate::replica::lookahead::Ahead;
use crate::settings::Settings;
use crate::user::context::UserContext;
use crate::user::tasks::Feeder;
use crate::work::attempt::AttemptEvent;
use crate::work::event_loop::EventLoop;
use crate::work::lock_keeper::{LockKeeper, UserLock};
use crate::work::pause::{now, sleep_until};
use crate::work::queue::WorkQueue;
use crate::work::retry::Patience;
use crate::work::trouble::Bounds;
use crate::work::worker_pool::WorkerPool;
use crate::work::works::Works;

/// How long users in flight may take to end after a request to stop: a replica that hangs must not keep us from stopping.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Runs users.
pub(crate) struct Dispatcher {
    context: UserContext,
    locks: Addr<LockKeeper>,
    loops: Vec<EventLoop>,
}

impl Dispatcher {
    /// Starts its UserSyncs on these event loops, in turn.
    pub(crate) fn new(
        context: UserContext,
        locks: Addr<LockKeeper>,
        loops: Vec<EventLoop>,
    ) -> Dispatcher {
        Dispatcher { context, locks, loops }
    }
}

impl Actor for Dispatcher {
    type Context = Context<Self>;
}

/// Replicates all users from this channel; ends when it closes or `stop` becomes true.
#[derive(Message)]
#[rtype(result = "Ran")]
pub(crate) struct RunUsers {
    pub(crate) works: mpsc::Receiver<Arc<WorkUnit>>,
    pub(crate) stop: watch::Receiver<bool>,
}

/// How far a run came.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    pub(crate) report: RunReport,
    /// How many users were taken from the channel.
    pub(crate) taken: usize,
    /// Those of them that have not ended; empty unless the run stopped.
    pub(crate) open: HashSet<Owner>,
}

impl Handler<RunUsers> for Dispatcher {
    type Result = ResponseFuture<Ran>;

    fn handle(&mut self, msg: RunUsers, _: &mut Context<Self>) -> Self::Result {
        let (context, locks) = (self.context.clone(), self.locks.clone());
        let run = &context.settings.run;
        let span = spans::channel(run.channel.as_deref());
        let ahead = Ahead::new(run.jobs);
        let queue = queue(&context.settings, &context.rules);
        let workers = WorkerPool::new(context.clone(), self.loops.clone());
        let works = Works::new(queue, Feeder::List, context, locks, workers);
        let run = Run { ahead, works, ran: Ran::default() };
        Box::pin(run.ended(msg.works, msg.stop).instrument(span))
    }
}

/// The empty queue of a run.
fn queue(settings: &Settings, rules: &NameRules) -> WorkQueue<UserLock> {
    let bounds = Bounds {
        in_flight: settings.run.jobs,
        first_pause: settings.run.retry_pause,
        longest_pause: LONGEST_PAUSE,
        patience: Patience::ByClass,
        jitter: settings.run.jitter,
    };
    WorkQueue::new(Backlog::new(rules.clone()), bounds)
}

struct Run {
    ahead: Ahead,
    works: Works,
    ran: Ran,
}

impl Run {
    /// Runs all works. After a panic of ours the run stops, and what is known of its users is reported all the same.
    async fn ended(
        mut self,
        works: mpsc::Receiver<Arc<WorkUnit>>,
        stop: watch::Receiver<bool>,
    ) -> Ran {
        let running = AssertUnwindSafe(self.run(works, stop)).catch_unwind().await;
        if let Err(panic) = running {
            self.ran.report.stopped = Some(Stopped::Internal(panic_text(panic.as_ref())));
        }
        self.report_unfinished().await;
        self.ran
    }

    async fn run(
        &mut self,
        mut works: mpsc::Receiver<Arc<WorkUnit>>,
        mut stop: watch::Receiver<bool>,
    ) {
        let (mut stop_open, mut listing) = (true, true);
        let mut deadline = None;
        loop {
            self.works.queue.bound(self.ahead.in_flight());
            self.works.start().await;
            listing &= self.ran.report.stopped.is_none();
            if !listing && self.works.queue.is_at_rest() {
                break;
            }
            let wants_more = listing && self.works.queue.wants_more();
            let wakes_at = self.works.queue.wakes_at();
            tokio::select! {
                step = self.works.step() => self.settle(step).await,
                work = works.recv(), if wants_more => match work {
                    Some(work) => {
                        self.ran.taken += 1;
                        self.ran.open.insert(work.key());
                        self.works.queue.give(&work, now());
                    }
                    None => listing = false,
                },
                () = sleep_until(wakes_at) => {}
                () = sleep_until(deadline) => break,
                changed = stop.changed(), if stop_open => {
                    stop_open = changed.is_ok();
                    if *stop.borrow() {
                        self.stop(Stopped::Signal).await;
                        deadline = Some(now() + STOP_GRACE);
                    }
                }
            }
        }
    }

    async fn settle(&mut self, step: AttemptEvent) {
        let settled = self.works.settle(step).await;
        self.ahead.looked_at(settled.mailboxes);
        settled.ended.into_iter().for_each(|user| self.report(user));
        if let Some(why) = settled.stop {
            self.stop(why).await;
        }
    }

    /// Starts no more users.
    async fn stop(&mut self, why: Stopped) {
        self.works.stop(&mut self.ran.report.stopped, why).await;
    }

    fn report(&mut self, user: UserReport) {
        self.ran.open.remove(&user.owner);
        self.ran.report.add(user);
    }

    async fn report_unfinished(&mut self) {
        let (broken_off, failed) = self.works.unfinished().await;
        for owner in broken_off {
            self.ran.open.remove(&owner);
            self.ran.report.broken_off.push(owner);
        }
        failed.into_iter().for_each(|user| self.report(user));
    }
}

#[cfg(test)]
#[path = "dispatcher_tests.rs"]
mod tests;
