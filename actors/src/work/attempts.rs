//! The works under way, of either feeder: attempts that hold a place, and works that wait for a lock.
//!
//! ```text
//!   Works --begin--> attempt (work/attempt.rs) --step--> Tried, Busy, Skipped
//!     |  '------wait_for_lock--> wait --step--> Unlocked
//!     '---stop--> waits are dropped, nobody waits for the pool any more
//! ```

use std::future::pending;

use actix::prelude::*;
use cyrus_types::Owner;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::monitor::in_flight::LOCKED;
use crate::monitor::report::Stopped;
use crate::replica::pool::StopWaiting;
use crate::user::context::UserContext;
use crate::user::tasks::Feeder;
use crate::user::user_sync::SyncWork;
use crate::work::attempt::{AttemptEvent, try_work, wait_for_lock};
use crate::work::job::WorkJob;
use crate::work::lock_keeper::{LockKeeper, UserLock};
use crate::work::worker_pool::WorkerPool;

type Steps = FuturesUnordered<LocalBoxFuture<'static, AttemptEvent>>;

/// The works under way.
pub(crate) struct Attempts {
    context: UserContext,
    feeder: Feeder,
    locks: Addr<LockKeeper>,
    workers: WorkerPool<SyncWork>,
    tries: Steps,
    waits: Steps,
}

impl Attempts {
    /// None yet.
    pub(crate) fn new(
        context: UserContext,
        feeder: Feeder,
        locks: Addr<LockKeeper>,
        workers: WorkerPool<SyncWork>,
    ) -> Attempts {
        let (tries, waits) = (FuturesUnordered::new(), FuturesUnordered::new());
        Attempts { context, feeder, locks, workers, tries, waits }
    }

    /// Begins an attempt.
    pub(crate) fn begin(&mut self, job: WorkJob<UserLock>) {
        let (worker, context, locks) =
            (self.workers.get(), self.context.clone(), self.locks.clone());
        self.tries.push(Box::pin(try_work(job, self.feeder, worker, context, locks)));
    }

    /// Begins to wait for this user's lock, which somebody else holds.
    pub(crate) fn wait_for_lock(&mut self, job: WorkJob<UserLock>, owner: Owner) {
        self.context.in_flight.set(&job.owner, LOCKED);
        self.waits.push(Box::pin(wait_for_lock(job, owner, self.locks.clone())));
    }

    /// The next result; never, if there is nothing to wait for. Nothing is lost if it is given up.
    pub(crate) async fn step(&mut self) -> AttemptEvent {
        tokio::select! {
            Some(step) = self.tries.next(), if !self.tries.is_empty() => step,
            Some(step) = self.waits.next(), if !self.waits.is_empty() => step,
            else => pending().await,
        }
    }

    /// An attempt has ended; its worker is free again, unless it died.
    pub(crate) fn landed(&mut self, worker: Option<Recipient<SyncWork>>) {
        worker.into_iter().for_each(|worker| self.workers.give_back(worker));
    }

    /// Works that wait, for locks or for connections, wait no more: they hold nothing. Notes the reason: the first one is
    /// the one reported, except that "the replica could not be reached" outweighs the signal.
    pub(crate) async fn stop(&mut self, stopped: &mut Option<Stopped>, why: Stopped) {
        self.waits.clear();
        match (&stopped, &why) {
            (None, _) | (Some(Stopped::Signal), Stopped::WhileConnecting) => *stopped = Some(why),
            _ => {}
        }
        // A pool that is gone has no waiting users.
        let _ = self.context.pool.send(StopWaiting).await;
    }
}
