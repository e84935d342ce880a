//! One attempt at a work, of a list or of the log: a connection to look on, the locks of all its users in order, then the
//! work.

use actix::{Addr, Recipient};
use cyrus_types::Owner;

use crate::error::{Interrupt, UserError};
use crate::monitor::in_flight::WAITING;
use crate::replica::acquire::{acquire_exclusive_look, acquire_shared};
use crate::user::context::UserContext;
use crate::user::tasks::Feeder;
use crate::user::user_sync::SyncWork;
use crate::user::user_work::Synced;
use crate::work::job::WorkJob;
use crate::work::lock_keeper::{LockKeeper, LockOutcome, UserLock, lock};
use crate::work::pause::now;

/// The result of a step.
pub(crate) enum AttemptEvent {
    /// Tried; the worker is free again, unless it died.
    Tried { job: WorkJob<UserLock>, synced: Synced, worker: Option<Recipient<SyncWork>> },
    /// Somebody else holds this user's lock.
    Busy { job: WorkJob<UserLock>, owner: Owner, worker: Recipient<SyncWork> },
    /// This user is not to be replicated.
    Skipped { job: WorkJob<UserLock>, owner: Owner, worker: Recipient<SyncWork> },
    /// The wait for this user's lock is over.
    Unlocked { job: WorkJob<UserLock>, owner: Owner, taken: Result<LockOutcome, UserError> },
}

impl AttemptEvent {
    /// Failed before it could be tried.
    fn tried_nothing(
        job: WorkJob<UserLock>,
        worker: Recipient<SyncWork>,
        e: Interrupt,
    ) -> AttemptEvent {
        AttemptEvent::Tried { job, synced: Synced::nothing(e), worker: Some(worker) }
    }
}

/// Carries out a work.
pub(crate) async fn try_work(
    mut job: WorkJob<UserLock>,
    feeder: Feeder,
    worker: Recipient<SyncWork>,
    context: UserContext,
    locks: Addr<LockKeeper>,
) -> AttemptEvent {
    context.in_flight.set(&job.owner, WAITING);
    for (owner, _) in &job.work.users {
        context.fading.wait(owner).await;
    }
    let acquired = if job.alone {
        acquire_exclusive_look(&context.pool).await
    } else {
        acquire_shared(&context.pool).await
    };
    let lease = match acquired {
        Ok(lease) => lease,
        Err(e) => return AttemptEvent::tried_nothing(job, worker, e.into()),
    };
    let users: Vec<Owner> = job.work.users.iter().map(|(owner, _)| owner.clone()).collect();
    for owner in users {
        if job.locks.iter().any(|(held, _)| *held == owner) {
            continue;
        }
        // It never waits while it holds other locks: two such works could wait for each other for ever.
        match lock(&owner, false, &locks).await {
            Ok(LockOutcome::Lock(taken)) => job.locks.push((owner, taken)),
            Ok(LockOutcome::Busy) => {
                job.locks.clear();
                return AttemptEvent::Busy { job, owner, worker };
            }
            Ok(LockOutcome::Skip) => {
                job.locks.clear();
                return AttemptEvent::Skipped { job, owner, worker };
            }
            Err(e) => return AttemptEvent::tried_nothing(job, worker, e.into()),
        }
    }
    job.since = now();
    let (owner, work, begun) = (job.owner.clone(), job.work.clone(), job.begun.clone());
    let (synced, worker) = match worker.send(SyncWork { owner, work, feeder, lease, begun }).await {
        Ok(synced) => (synced, Some(worker)),
        Err(e) => (Synced::nothing(e.into()), None),
    };
    AttemptEvent::Tried { job, synced, worker }
}

/// Waits for a lock that somebody else holds.
pub(crate) async fn wait_for_lock(
    job: WorkJob<UserLock>,
    owner: Owner,
    locks: Addr<LockKeeper>,
) -> AttemptEvent {
    let taken = lock(&owner, true, &locks).await;
    AttemptEvent::Unlocked { job, owner, taken }
}

#[cfg(test)]
#[path = "attempt_tests.rs"]
mod tests;
