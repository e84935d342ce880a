//! What is done for one work of a Roller: a connection to look on, the locks of all its users in order, then the work.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Addr;

use crate::error::UserError;
use crate::monitor::in_flight::WAITING;
use crate::replica::lease::{acquire_alone, acquire_look};
use crate::user::context::Hands;
use crate::user::user_sync::{SyncTasks, Synced, UserSync};
use crate::work::lock_keeper::{LockKeeper, Taken, UserLock, lock};
use crate::work::queue::Job;

/// What a work's step came to.
pub(crate) enum Step {
    /// Tried; the worker is free again, unless it died.
    Tried { job: Job<UserLock>, synced: Synced, took: Duration, worker: Option<Addr<UserSync>> },
    /// Somebody else holds this user's lock.
    Busy { job: Job<UserLock>, userid: Arc<str>, worker: Addr<UserSync> },
    /// This user is not to be replicated.
    Skipped { job: Job<UserLock>, userid: Arc<str>, worker: Addr<UserSync> },
    /// The wait for this user's lock is over.
    Unlocked { job: Job<UserLock>, userid: Arc<str>, taken: Result<Taken, UserError> },
}

impl Step {
    /// Failed before there was anything to try.
    fn tried_nothing(job: Job<UserLock>, worker: Addr<UserSync>, e: UserError) -> Step {
        let (synced, took) = (Synced::nothing(e), Duration::ZERO);
        Step::Tried { job, synced, took, worker: Some(worker) }
    }
}

/// Carries a work out.
pub(crate) async fn try_work(
    mut job: Job<UserLock>,
    worker: Addr<UserSync>,
    hands: Hands,
    locks: Addr<LockKeeper>,
) -> Step {
    hands.board.set(&job.work.key(), WAITING);
    for (userid, _) in &job.work.users {
        hands.fading.wait(userid).await;
    }
    let acquired =
        if job.alone { acquire_alone(&hands.pool).await } else { acquire_look(&hands.pool).await };
    let lease = match acquired {
        Ok(lease) => lease,
        Err(e) => return Step::tried_nothing(job, worker, e.into()),
    };
    let users: Vec<Arc<str>> = job.work.users.iter().map(|(userid, _)| userid.clone()).collect();
    for userid in users {
        if job.locks.iter().any(|(held, _)| *held == userid) {
            continue;
        }
        // Never waited for with others in hand: two who wait so for each other would wait for ever.
        match lock(&userid, false, &locks).await {
            Ok(Taken::Lock(taken)) => job.locks.push((userid, taken)),
            Ok(Taken::Busy) => {
                job.locks.clear();
                return Step::Busy { job, userid, worker };
            }
            Ok(Taken::Skip) => {
                job.locks.clear();
                return Step::Skipped { job, userid, worker };
            }
            Err(e) => return Step::tried_nothing(job, worker, e),
        }
    }
    let since = Instant::now();
    let (synced, worker) = match worker.send(SyncTasks { work: job.work.clone(), lease }).await {
        Ok(synced) => (synced, Some(worker)),
        Err(e) => (Synced::nothing(UserError::Bug(e.to_string())), None),
    };
    Step::Tried { job, synced, took: since.elapsed(), worker }
}

/// Waits for the lock that somebody else holds.
pub(crate) async fn wait_for_lock(
    job: Job<UserLock>,
    userid: Arc<str>,
    locks: Addr<LockKeeper>,
) -> Step {
    let taken = lock(&userid, true, &locks).await;
    Step::Unlocked { job, userid, taken }
}
