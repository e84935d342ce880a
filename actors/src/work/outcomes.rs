//! What the results of attempts mean: done, deferred, or failed and tried again; and their lines in syslog, in the C client's
//! words if it has them.

use std::time::Duration;

use actix::prelude::*;
use cyrus_types::Owner;
use tracing::{error, info, warn};

use crate::error::{Class, Interrupt, ReplicaError, UserError};
use crate::monitor::events::Event;
use crate::monitor::in_flight::RESTING;
use crate::monitor::report::{Outcome, Sent, Stopped, UserReport, done_line};
use crate::replica::pool_error::PoolError;
use crate::user::advice;
use crate::user::tasks::Feeder;
use crate::user::user_sync::SyncWork;
use crate::work::aside::{Failure, Quarantined};
use crate::work::attempt::AttemptEvent;
use crate::work::job::WorkJob;
use crate::work::lock_keeper::{LockOutcome, UserLock};
use crate::work::lone_failures::as_entries;
use crate::work::pause::now;
use crate::work::trouble::{Kind, Reason};
use crate::work::works::Works;

/// Why such a user is not worked on.
const SKIPPED: &str = "there is a skipuser file";
const LOCKED: &str = "somebody else holds the sync lock";

/// What came of a step, for the feeder.
#[derive(Default)]
pub(crate) struct Settled {
    /// What the attempt sent.
    pub(crate) sent: Sent,
    /// How many mailboxes it looked at.
    pub(crate) mailboxes: usize,
    /// The work that ended with it, reported under its first user.
    pub(crate) ended: Option<UserReport>,
    /// How many users' work that was.
    pub(crate) users: u64,
    /// Why nothing more is to be started.
    pub(crate) stop: Option<Stopped>,
}

impl Works {
    /// Records a step's result. A work whose lock is held by somebody else now waits for it.
    pub(crate) async fn settle(&mut self, step: AttemptEvent) -> Settled {
        match step {
            AttemptEvent::Tried { mut job, synced, worker } => {
                self.landed(&job, worker);
                job.locks.clear();
                job.sent.add(synced.sent);
                self.queue.note(&job, synced.sent, synced.followed);
                let listed = self.feeder == Feeder::List;
                let settled = match synced.result {
                    Ok(outcome) => self.done(&job, outcome, Vec::new()).await,
                    Err(Interrupt::NotStarted) => {
                        self.queue.not_begun(&job);
                        Settled::default()
                    }
                    Err(Interrupt::CameOrWent) if !listed => {
                        self.queue.not_begun(&job);
                        Settled::default()
                    }
                    Err(Interrupt::Linked { owner, other }) => {
                        if self.queue.linked(&job, &owner, &other, now()) {
                            Settled::default()
                        } else {
                            self.tried_in_vain(&job, Interrupt::Linked { owner, other }).await
                        }
                    }
                    Err(Interrupt::Failed(e)) if !listed && synced.all_else_done => {
                        match as_entries(&job, &e, &synced.failed_meta_of, &self.context.rules) {
                            Some(failures) => self.done(&job, Outcome::Done, failures).await,
                            None => self.tried_in_vain(&job, e.into()).await,
                        }
                    }
                    Err(e) => self.tried_in_vain(&job, e).await,
                };
                Settled { sent: synced.sent, mailboxes: synced.mailboxes, ..settled }
            }
            AttemptEvent::Busy { job, owner, worker } => {
                self.landed(&job, Some(worker));
                if job.work.is_of_several() {
                    self.queue.split(&job, now());
                } else if self.context.settings.run.skip_locked {
                    return self.locked(&job, &owner).await;
                } else if self.queue.waits_for_lock(&job) {
                    self.attempts.wait_for_lock(job, owner);
                }
                Settled::default()
            }
            AttemptEvent::Skipped { job, owner, worker } => {
                self.landed(&job, Some(worker));
                if job.work.is_of_several() {
                    self.queue.split(&job, now());
                    return Settled::default();
                }
                let news = self.queue.deferred(&job, Kind::Skipped, SKIPPED, now());
                self.skipped(&job, &owner, news).await
            }
            AttemptEvent::Unlocked { mut job, owner, taken } => match taken {
                Ok(LockOutcome::Lock(lock)) => {
                    job.locks = vec![(owner, lock)];
                    self.queue.got_lock(job);
                    Settled::default()
                }
                Ok(_) => {
                    self.context.in_flight.remove(&job.owner);
                    let news = self.queue.waited_in_vain(&job, Kind::Skipped, SKIPPED, now());
                    self.skipped(&job, &owner, news).await
                }
                Err(e) => {
                    self.context.in_flight.remove(&job.owner);
                    error!("IOERROR: user replication failed: error=<{e}> userid=<{owner}>");
                    let reason = advice::in_words(&e, &job.owner, &self.context.rules);
                    self.queue.waited_in_vain(&job, Kind::Failed, &reason, now());
                    self.ended_in_a_list(&job, Outcome::Failed { reason }).await
                }
            },
        }
    }

    fn landed(&mut self, job: &WorkJob<UserLock>, worker: Option<Recipient<SyncWork>>) {
        self.flying.remove(&job.owner);
        // A user of a list is in flight until it ends, also between two tries.
        let landed = job.work.users.iter().filter(|_| self.feeder == Feeder::Log);
        landed.for_each(|(owner, _)| self.context.in_flight.remove(owner));
        self.attempts.landed(worker);
    }

    /// Somebody else holds this user's lock, and we are not to wait for it (-N).
    async fn locked(&mut self, job: &WorkJob<UserLock>, owner: &Owner) -> Settled {
        let news = self.queue.deferred(job, Kind::Locked, LOCKED, now());
        if news && self.feeder == Feeder::Log {
            info!("  Deferred: USER {owner} ({LOCKED})");
        }
        self.ended_in_a_list(job, Outcome::Locked).await
    }

    /// This user is not to be replicated.
    async fn skipped(&mut self, job: &WorkJob<UserLock>, owner: &Owner, news: bool) -> Settled {
        if news && self.feeder == Feeder::Log {
            let name = owner.name();
            warn!("user {name} is not replicated: {SKIPPED}; what is logged of it is kept");
        }
        let outcome = if job.owner == *owner {
            Outcome::Skipped
        } else {
            let (owner, other) = (job.owner.clone(), owner.clone());
            let why = Interrupt::Linked { owner, other };
            Outcome::Failed { reason: format!("{why}, and {SKIPPED} for the latter") }
        };
        self.ended_in_a_list(job, outcome).await
    }

    async fn done(
        &mut self,
        job: &WorkJob<UserLock>,
        outcome: Outcome,
        failures: Vec<Failure>,
    ) -> Settled {
        // All of it may have been sent by a try whose last answer was lost.
        let outcome = match outcome {
            Outcome::Unchanged if job.sent != Sent::default() => Outcome::Done,
            outcome => outcome,
        };
        let is_all = failures.is_empty();
        let (healed, quarantined) = self.queue.done(job, failures, now());
        for who in healed {
            info!("{who} is no longer in quarantine");
        }
        for Quarantined { failure, pause } in quarantined {
            let Failure { owner, entry, reason } = failure;
            let (userid, again) = (&owner, again_in(pause));
            error!(
                "SYNCERROR: mailbox in quarantine: entry=<{entry}> userid=<{userid}> error=<{reason}>, {again}"
            );
        }
        let users = job.work.owners().count() as u64;
        let ended = self.end(job, outcome).await;
        let is_line = match self.feeder {
            Feeder::List => matches!(ended.outcome, Outcome::Done | Outcome::Unchanged),
            Feeder::Log => is_all,
        };
        if is_line {
            let names: Vec<&str> = job.work.owners().map(Owner::name).collect();
            let line = || done_line(&names.join(" "), &ended.outcome, ended.sent, ended.took);
            self.context.events.action(line).await;
        }
        Settled { ended: Some(ended), users, ..Settled::default() }
    }

    async fn tried_in_vain(&mut self, job: &WorkJob<UserLock>, e: Interrupt) -> Settled {
        let log = self.feeder == Feeder::Log;
        let class = e.class();
        if class == Class::Fatal && !(log && is_one_users(&e)) {
            self.queue.not_begun(job);
            return Settled { stop: Some(stopped_by(e, self.feeder)), ..Settled::default() };
        }
        if job.work.is_of_several() && !self.queue.was_split(job, now()) {
            self.queue.split(job, now());
            return Settled::default();
        }
        let whole = log && e.failure().is_some_and(UserError::more_may_help);
        if whole {
            tell_promotions(job);
        }
        let reason = match &e {
            Interrupt::Failed(e) => advice::in_words(e, &job.owner, &self.context.rules),
            e => e.to_string(),
        };
        let links_fault = e.failure().is_some_and(UserError::is_lost);
        let why = Reason { words: &reason, class, links_fault };
        let (pause, quarantined) = self.queue.failed(job, why, whole, now());
        if pause.is_none() && !log {
            error!("Error in {}: bailing out!", attempted(job));
            return self.ended_in_a_list(job, Outcome::Failed { reason }).await;
        }
        if !log {
            self.context.in_flight.set(&job.owner, RESTING);
        }
        if quarantined {
            let (userid, again) = (&job.owner, again_in(pause));
            error!("SYNCERROR: user in quarantine: userid=<{userid}> error=<{reason}>, {again}");
        }
        let owner = job.owner.clone();
        self.context.events.tell(Event::Retry { owner, reason, pause }).await;
        Settled::default()
    }

    /// What is not done of a list has ended; what is not done of the log stays in it.
    async fn ended_in_a_list(&mut self, job: &WorkJob<UserLock>, outcome: Outcome) -> Settled {
        if self.feeder == Feeder::Log {
            return Settled::default();
        }
        Settled { ended: Some(self.end(job, outcome).await), users: 1, ..Settled::default() }
    }

    /// A work has ended.
    async fn end(&mut self, job: &WorkJob<UserLock>, outcome: Outcome) -> UserReport {
        let user = UserReport {
            owner: job.owner.clone(),
            outcome,
            sent: job.sent,
            tries: job.tries,
            took: now().saturating_duration_since(job.since),
        };
        self.tell_end(&user, job.work.owners().count() as u64).await;
        user
    }

    /// The one place where ends are reported to the Monitor.
    pub(super) async fn tell_end(&mut self, user: &UserReport, users: u64) {
        self.started.remove(&user.owner);
        self.context.in_flight.remove(&user.owner);
        let event = match self.feeder {
            Feeder::List => Event::Finished(Box::new(user.clone())),
            Feeder::Log => Event::LogDone { users, outcome: user.outcome.clone(), sent: user.sent },
        };
        self.context.events.tell(event).await;
    }
}

/// Why a failure that no user can escape ends the works.
fn stopped_by(e: Interrupt, feeder: Feeder) -> Stopped {
    match e {
        Interrupt::Failed(UserError::Replica(ReplicaError::Pool(e))) => match e {
            // For one pass it is the same as no connection.
            PoolError::SaidBye(why) if feeder == Feeder::List => Stopped::NoConnection(why),
            e => e.into(),
        },
        e => Stopped::Fatal(e.to_string()),
    }
}

/// Whether this error stops only one user of the log, though it would stop a run over a list: a mailbox here was moved to a
/// partition that the replica lacks.
fn is_one_users(e: &Interrupt) -> bool {
    let by_option = |e: &UserError| match e {
        UserError::Replica(ReplicaError::NoPartition { by_option, .. }) => Some(*by_option),
        _ => None,
    };
    e.failure().and_then(by_option) == Some(false)
}

/// When a failed entry is tried again.
fn again_in(pause: Option<Duration>) -> String {
    match pause {
        Some(pause) => format!("tried again in {}", humantime::format_duration(pause)),
        None => "left in the log".into(),
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

/// In the C client's words.
fn tell_promotions(job: &WorkJob<UserLock>) {
    for (owner, tasks) in &job.work.users {
        let Some(userid) = owner.userid() else { continue };
        for name in &tasks.mailboxes {
            info!("  Promoting: MAILBOX {name} -> USER {userid}");
        }
        for root in &tasks.quotas {
            info!("  Promoting: QUOTA {root} -> USER {userid}");
        }
        if tasks.meta {
            info!("  Promoting: META {userid} -> USER {userid}");
        }
    }
}
