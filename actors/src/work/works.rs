//! The works of one feeder, from the queue to their ends: starts what may start, and stops.
//!
//! ```text
//!   Dispatcher (list), Roller (log)                what is fed in, and what the ends mean for the report
//!        |  give, add       ^ Settled
//!        v                  |
//!      Works --start--> Attempts --step--> Works   (work/outcomes.rs)
//!        '--> WorkQueue                            which work is next, how often again
//! ```

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::prelude::*;
use cyrus_types::Owner;

use crate::monitor::events::Event;
use crate::monitor::report::{Stopped, UserReport};
use crate::user::context::UserContext;
use crate::user::tasks::Feeder;
use crate::user::user_sync::SyncWork;
use crate::work::attempt::AttemptEvent;
use crate::work::attempts::Attempts;
use crate::work::lock_keeper::{LockKeeper, UserLock};
use crate::work::pause::now;
use crate::work::queue::WorkQueue;
use crate::work::worker_pool::WorkerPool;

/// The works of a list, or of a channel's log.
pub(crate) struct Works {
    pub(crate) queue: WorkQueue<UserLock>,
    pub(super) attempts: Attempts,
    pub(super) context: UserContext,
    pub(super) feeder: Feeder,
    /// The works in flight, and whether a change on the replica was started for them.
    pub(super) flying: HashMap<Owner, Arc<AtomicBool>>,
    /// Users of a list whose first try has begun, and who have not ended.
    pub(super) started: HashSet<Owner>,
}

impl Works {
    /// Works on what is in this queue.
    pub(crate) fn new(
        queue: WorkQueue<UserLock>,
        feeder: Feeder,
        context: UserContext,
        locks: Addr<LockKeeper>,
        workers: WorkerPool<SyncWork>,
    ) -> Works {
        let attempts = Attempts::new(context.clone(), feeder, locks, workers);
        Works { queue, attempts, context, feeder, flying: HashMap::new(), started: HashSet::new() }
    }

    /// Starts whatever may start now.
    pub(crate) async fn start(&mut self) {
        while let Some(mut job) = self.queue.start(now()) {
            // A first try that came to nothing, for want of a lock or a connection, begins again.
            let is_new = self.feeder == Feeder::List
                && (self.started.insert(job.owner.clone()) || job.tries > 1);
            if is_new {
                self.context.events.tell(Event::Started { tries: job.tries }).await;
            }
            job.begun = Arc::default();
            self.flying.insert(job.owner.clone(), job.begun.clone());
            self.attempts.begin(job);
        }
    }

    /// The next result; never, if there is nothing to wait for. Nothing is lost if it is given up.
    pub(crate) async fn step(&mut self) -> AttemptEvent {
        self.attempts.step().await
    }

    /// Nothing is started any more. Notes the reason: see [`Attempts::stop`].
    pub(crate) async fn stop(&mut self, stopped: &mut Option<Stopped>, why: Stopped) {
        self.queue.stop();
        self.attempts.stop(stopped, why).await;
    }

    /// When no result of a list is waited for any more: users in flight that did not end in time after a request to stop,
    /// except those that were only looked at; and users that failed before it, and were not tried again.
    pub(crate) async fn unfinished(&mut self) -> (HashSet<Owner>, Vec<UserReport>) {
        let flying = std::mem::take(&mut self.flying).into_iter();
        let begun = flying.filter(|(_, begun)| begun.load(Ordering::Relaxed));
        let broken_off: HashSet<Owner> = begun.map(|(owner, _)| owner).collect();
        let mut failed = self.queue.never_tried_again(now());
        failed.retain(|user| !broken_off.contains(&user.owner));
        for user in &failed {
            self.tell_end(user, 1).await;
        }
        (broken_off, failed)
    }
}
