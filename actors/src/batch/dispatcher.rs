//! The Dispatcher actor: keeps users in flight, tries failed ones again, collects their results.
//!
//! ```text
//!   UserLister --user--> Dispatcher --LockUser--> LockKeeper
//!                            |  ^--lock--------------'
//!                            '--SyncWork--> UserSync (one a user) --Synced--> report
//! ```
//! `--jobs` users are worked on at a time. Meanwhile the next users are looked at, on a connection that the pool lends for
//! that; they end without waiting if both sides are equal.
//!
//! `batch/schedule.rs` makes the decisions. A user whose lock somebody else holds takes no place in flight while it waits,
//! so it delays only itself. A UserSync that dies is replaced.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::prelude::*;
use cyrus_types::Owner;
use sync_plan::backlog::WorkUnit;
use tokio::sync::{mpsc, watch};
use tracing::{Instrument, error};

use crate::batch::schedule::{Next, Schedule};
use crate::error::{Class, Interrupt, ReplicaError, UserError};
use crate::monitor::events::Event;
use crate::monitor::in_flight::RESTING;
use crate::monitor::report::{Outcome, RunReport, Sent, Stopped, UserReport, done_line};
use crate::monitor::spans;
use crate::replica::lookahead::Ahead;
use crate::replica::pool_error::PoolError;
use crate::user::advice;
use crate::user::context::UserContext;
use crate::user::tasks::Feeder;
use crate::work::attempt::AttemptEvent;
use crate::work::attempts::Attempts;
use crate::work::event_loop::EventLoop;
use crate::work::job::WorkJob;
use crate::work::lock_keeper::{LockKeeper, LockOutcome, UserLock};
use crate::work::pause::{now, sleep_until};
use crate::work::worker_pool::WorkerPool;

/// How long users in flight may take to end after a request to stop: a replica that hangs must not keep us from stopping.
const STOP_GRACE: Duration = Duration::from_secs(10);

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
        let run = &self.context.settings.run;
        let span = spans::channel(run.channel.as_deref());
        let workers = WorkerPool::new(self.context.clone(), self.loops.clone());
        let (context, locks) = (self.context.clone(), self.locks.clone());
        let run = Run {
            ahead: Ahead::new(run.jobs),
            schedule: Schedule::new(run.jobs, run.retry_pause, run.jitter),
            attempts: Attempts::new(context.clone(), Feeder::List, locks, workers),
            context,
            flying: HashMap::new(),
            ran: Ran::default(),
        };
        Box::pin(run.run(msg.works, msg.stop).instrument(span))
    }
}

struct Run {
    ahead: Ahead,
    schedule: Schedule<UserLock>,
    context: UserContext,
    attempts: Attempts,
    /// The users in flight, and whether a change on the replica was started for them.
    flying: HashMap<Owner, Arc<AtomicBool>>,
    ran: Ran,
}

impl Run {
    async fn run(
        mut self,
        mut works: mpsc::Receiver<Arc<WorkUnit>>,
        mut stop: watch::Receiver<bool>,
    ) -> Ran {
        let mut stop_open = true;
        let mut deadline = None;
        loop {
            self.schedule.bound(self.ahead.in_flight());
            let (list, until) = match self.schedule.next(now()) {
                Next::Finished => break,
                Next::Start(mut job) => {
                    let started = Event::Started { tries: job.tries };
                    self.context.events.tell(started).await;
                    job.begun = Arc::default();
                    self.flying.insert(job.owner.clone(), job.begun.clone());
                    self.attempts.begin(job);
                    continue;
                }
                Next::Wait { list, until } => (list, until),
            };
            tokio::select! {
                step = self.attempts.step() => self.settle(step).await,
                work = works.recv(), if list => match work {
                    Some(work) => {
                        self.ran.taken += 1;
                        self.ran.open.insert(work.key());
                        self.schedule.listed(work, now());
                    }
                    None => self.schedule.all_listed(),
                },
                () = sleep_until(until) => {}
                () = sleep_until(deadline) => {
                    self.give_up_flying();
                    break;
                }
                changed = stop.changed(), if stop_open => {
                    stop_open = changed.is_ok();
                    if *stop.borrow() {
                        self.stop(Stopped::Signal).await;
                        deadline = Some(now() + STOP_GRACE);
                    }
                }
            }
        }
        self.ran
    }

    /// Records a step's result. A user whose lock is held by somebody else now waits for it.
    async fn settle(&mut self, step: AttemptEvent) {
        match step {
            AttemptEvent::Busy { job, owner, worker } => {
                self.flying.remove(&job.owner);
                self.attempts.landed(Some(worker));
                if self.context.settings.run.skip_locked {
                    self.schedule.ended();
                    self.end(job, Outcome::Locked).await;
                } else if self.schedule.waits_for_lock() {
                    self.attempts.wait_for_lock(job, owner);
                }
            }
            AttemptEvent::Skipped { job, owner, worker } => {
                self.flying.remove(&job.owner);
                self.attempts.landed(Some(worker));
                self.schedule.ended();
                let outcome = skipped(&job, &owner);
                self.end(job, outcome).await;
            }
            AttemptEvent::Unlocked { job, owner, taken: Ok(LockOutcome::Lock(lock)) } => {
                self.schedule.got_lock(WorkJob { locks: vec![(owner, lock)], ..job });
            }
            AttemptEvent::Unlocked { job, owner, taken: Ok(_) } => {
                self.schedule.lost_lock();
                let outcome = skipped(&job, &owner);
                self.end(job, outcome).await;
            }
            AttemptEvent::Unlocked { job, taken: Err(e), .. } => {
                self.schedule.lost_lock();
                let reason = self.in_words(&e, &job.owner);
                self.end(job, Outcome::Failed { reason }).await;
            }
            AttemptEvent::Tried { mut job, synced, worker, .. } => {
                self.flying.remove(&job.owner);
                self.attempts.landed(worker);
                job.sent.add(synced.sent);
                self.ahead.looked_at(synced.mailboxes);
                job.locks.clear();
                job.follow(synced.followed);
                match synced.result {
                    Err(Interrupt::NotStarted) => self.schedule.not_begun(job),
                    Ok(outcome) => {
                        self.schedule.ended();
                        // All of it may have been sent by a try whose last answer was lost.
                        let sent = job.sent != Sent::default();
                        let outcome = match outcome {
                            Outcome::Unchanged if sent => Outcome::Done,
                            outcome => outcome,
                        };
                        self.end(job, outcome).await;
                    }
                    // One that is worked on with the other user already can't go on so.
                    Err(Interrupt::Linked { other, .. }) if job.link(&other) => {
                        self.schedule.not_begun(job);
                    }
                    Err(e) => self.tried_in_vain(job, e).await,
                }
            }
        }
    }

    async fn tried_in_vain(&mut self, mut job: WorkJob<UserLock>, e: Interrupt) {
        self.context.in_flight.set(&job.owner, RESTING);
        let class = e.class();
        let reason = match &e {
            Interrupt::Failed(e) => self.in_words(e, &job.owner),
            e => e.to_string(),
        };
        job.trouble = Some(reason.clone());
        job.alone |= e.failure().is_some_and(UserError::is_lost);
        let owner = job.owner.clone();
        let job = match self.schedule.failed(job, class, now()) {
            Err(job) => *job,
            Ok(pause) => {
                let pause = Some(pause);
                self.context.events.tell(Event::Retry { owner, reason, pause }).await;
                return;
            }
        };
        if class == Class::Fatal {
            let stopped = match e {
                Interrupt::Failed(UserError::Replica(ReplicaError::Pool(e))) => match e {
                    // For one pass it is the same as no connection.
                    PoolError::SaidBye(why) => Stopped::NoConnection(why),
                    e => e.into(),
                },
                e => Stopped::Fatal(e.to_string()),
            };
            self.stop(stopped).await;
            return;
        }
        error!("Error in {}: bailing out!", attempted(&job));
        self.end(job, Outcome::Failed { reason }).await;
    }

    fn in_words(&self, e: &UserError, owner: &Owner) -> String {
        advice::in_words(e, owner, &self.context.rules)
    }

    /// Starts no more users.
    async fn stop(&mut self, why: Stopped) {
        for job in self.schedule.stop() {
            let reason = job.trouble.clone().unwrap_or_default();
            self.end(job, Outcome::Failed { reason }).await;
        }
        self.attempts.stop(&mut self.ran.report.stopped, why).await;
    }

    /// Users that did not end in time after a request to stop. Users that were only looked at count as never started.
    fn give_up_flying(&mut self) {
        let flying = std::mem::take(&mut self.flying).into_iter();
        for (owner, _) in flying.filter(|(_, begun)| begun.load(Ordering::Relaxed)) {
            self.ran.open.remove(&owner);
            self.ran.report.broken_off.push(owner);
        }
    }

    async fn end(&mut self, job: WorkJob<UserLock>, outcome: Outcome) {
        let user = UserReport {
            owner: job.owner.clone(),
            outcome,
            sent: job.sent,
            tries: job.tries,
            took: now().saturating_duration_since(job.since),
        };
        self.context.in_flight.remove(&job.owner);
        self.context.events.tell(Event::Finished(Box::new(user.clone()))).await;
        if matches!(user.outcome, Outcome::Done | Outcome::Unchanged) {
            let line = || done_line(user.name(), &user.outcome, user.sent, user.took);
            self.context.events.action(line).await;
        }
        self.ran.open.remove(&user.owner);
        self.ran.report.add(user);
    }
}

/// What failed, in the C client's words.
fn attempted(job: &WorkJob<UserLock>) -> String {
    match job.work.users.iter().find(|(owner, _)| *owner == job.owner) {
        Some((owner, tasks)) if tasks.meta => format!("sync_do_meta({owner})"),
        Some((_, tasks)) if !tasks.whole => "sync_do_mailboxes()".into(),
        _ => format!("sync_do_user({})", job.owner),
    }
}

/// Why a work ends of which this user has a skipuser file.
fn skipped(job: &WorkJob<UserLock>, owner: &Owner) -> Outcome {
    if job.owner == *owner {
        return Outcome::Skipped;
    }
    let (owner, other) = (job.owner.clone(), owner.clone());
    let why = Interrupt::Linked { owner, other };
    Outcome::Failed { reason: format!("{why}, and there is a skipuser file for the latter") }
}

#[cfg(test)]
#[path = "dispatcher_tests.rs"]
mod tests;
