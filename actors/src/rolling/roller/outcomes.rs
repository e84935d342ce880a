//! The results of a Roller's works: done, deferred, or failed and tried again; and their lines in syslog, in the C client's
//! words if it has them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use cyrus_types::{LogEntry, Owner};
use sync_plan::{Kept, Uncounted, Withheld};
use tracing::{error, info, warn};

use super::Rolling;
use crate::error::{Class, Interrupt, MasterError, ReplicaError, UserError};
use crate::monitor::events::Event;
use crate::monitor::report::{Outcome, Sent, Stopped, done_line};
use crate::replica::command_error::CommandError;
use crate::user::advice;
use crate::user::user_sync::SyncWork;
use crate::work::aside::{Failure, Quarantined};
use crate::work::attempt::AttemptEvent;
use crate::work::job::WorkJob;
use crate::work::lock_keeper::{LockOutcome, UserLock};
use crate::work::trouble::Kind;

/// Why such a user is skipped.
const SKIPPED: &str = "there is a skipuser file";

impl Rolling {
    /// Records a step's result. A work whose lock is held by somebody else now waits for it.
    pub(super) async fn settle(&mut self, step: AttemptEvent) {
        let now = Instant::now();
        match step {
            AttemptEvent::Tried { mut job, synced, took, worker } => {
                self.landed(&job, worker);
                job.locks.clear();
                self.report.sent.add(synced.sent);
                match synced.result {
                    Ok(outcome) => {
                        self.done(&job, &outcome, synced.sent, took, Vec::new(), now).await;
                    }
                    Err(Interrupt::NotStarted | Interrupt::CameOrWent) => {
                        self.queue.not_begun(&job);
                    }
                    Err(Interrupt::Linked { owner, other }) => {
                        self.queue.linked(&job, &owner, &other, now);
                    }
                    Err(Interrupt::Failed(e)) => {
                        let meta_of = &synced.failed_meta_of;
                        let failures = self.as_entries(&job, &e, meta_of);
                        match failures.filter(|_| synced.all_else_done) {
                            Some(failures) => {
                                let outcome = Outcome::Done;
                                self.done(&job, &outcome, synced.sent, took, failures, now).await;
                            }
                            None => self.tried_in_vain(&job, e, now).await,
                        }
                    }
                }
            }
            AttemptEvent::Busy { job, owner, worker } => {
                self.landed(&job, Some(worker));
                if job.work.users.len() > 1 {
                    self.queue.split(&job, now);
                    return;
                }
                if self.context.settings.run.skip_locked {
                    let reason = "somebody else holds the sync lock";
                    if self.queue.deferred(&job, Kind::Locked, reason, now) {
                        info!("  Deferred: USER {owner} ({reason})");
                    }
                    return;
                }
                if self.queue.waits_for_lock(&job) {
                    self.attempts.wait_for_lock(job, owner);
                }
            }
            AttemptEvent::Skipped { job, owner, worker } => {
                self.landed(&job, Some(worker));
                if job.work.users.len() > 1 {
                    self.queue.split(&job, now);
                    return;
                }
                let news = self.queue.deferred(&job, Kind::Skipped, SKIPPED, now);
                self.tell_skipped(&owner, news);
            }
            AttemptEvent::Unlocked { mut job, owner, taken } => match taken {
                Ok(LockOutcome::Lock(lock)) => {
                    job.locks = vec![(owner, lock)];
                    self.queue.got_lock(job);
                }
                Ok(_) => {
                    let news = self.queue.waited_in_vain(&job, Kind::Skipped, SKIPPED, now);
                    self.tell_skipped(&owner, news);
                }
                Err(e) => {
                    error!("IOERROR: user replication failed: error=<{e}> userid=<{owner}>");
                    self.queue.waited_in_vain(&job, Kind::Failed, &e.to_string(), now);
                }
            },
        }
    }

    fn landed(&mut self, job: &WorkJob<UserLock>, worker: Option<Recipient<SyncWork>>) {
        for (owner, _) in &job.work.users {
            self.context.in_flight.remove(owner);
        }
        self.attempts.landed(worker);
    }

    fn tell_skipped(&self, owner: &Owner, news: bool) {
        if news {
            warn!(
                "user {} is not replicated: {SKIPPED}; what is logged of it is kept",
                owner.name()
            );
        }
    }

    async fn done(
        &mut self,
        job: &WorkJob<UserLock>,
        outcome: &Outcome,
        sent: Sent,
        took: Duration,
        failures: Vec<Failure>,
        now: Instant,
    ) {
        let users = job.work.users.len() as u64;
        self.report.done += users;
        let done = Event::LogDone { users, outcome: outcome.clone(), sent };
        self.context.events.tell(done).await;
        if failures.is_empty() {
            let names = job.work.users.iter().map(|(owner, _)| owner.name());
            let line = || done_line(&names.collect::<Vec<_>>().join(" "), outcome, sent, took);
            self.context.events.action(line).await;
        }
        let (healed, quarantined) = self.queue.done(job, failures, now);
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
    }

    async fn tried_in_vain(&mut self, job: &WorkJob<UserLock>, e: UserError, now: Instant) {
        match e {
            e if e.class() == Class::Fatal && !is_one_users(&e) => {
                self.queue.not_begun(job);
                let stopped = match e {
                    UserError::Replica(ReplicaError::Pool(e)) => e.into(),
                    e => Stopped::Fatal(e.to_string()),
                };
                self.stop(stopped).await;
            }
            _ if job.work.users.len() > 1 && !self.queue.was_split(job, now) => {
                self.queue.split(job, now);
            }
            e => {
                let whole = e.more_may_help();
                if whole {
                    self.tell_promotions(job);
                }
                let reason = advice::in_words(&e, &job.work.key(), &self.context.rules);
                let (pause, quarantined) = self.queue.failed(job, &reason, whole, e.is_lost(), now);
                let (owner, why) = (job.work.key(), reason.clone());
                self.context.events.tell(Event::Retry { owner, reason: why, pause }).await;
                if quarantined {
                    let userid = job.work.key();
                    let again = again_in(pause);
                    error!(
                        "SYNCERROR: user in quarantine: userid=<{userid}> error=<{reason}>, {again}"
                    );
                }
            }
        }
    }

    /// The failures, as entries of the log, if they are only single mailboxes, or entries that must wait for these. If
    /// everything else of the work is done they rest alone, and nothing is promoted, because a look at all of the user
    /// would not help. Refusals by the replica are tried with all of the user first.
    fn as_entries(
        &self,
        job: &WorkJob<UserLock>,
        e: &UserError,
        meta_of: &BTreeSet<Arc<str>>,
    ) -> Option<Vec<Failure>> {
        if job.work.users.iter().any(|(_, tasks)| tasks.unuser) {
            // UNUSER waits for them, and with it the user.
            return None;
        }
        let all_whole = job.work.users.iter().all(|(_, tasks)| tasks.whole);
        let rules = &self.context.rules;
        let key = job.work.key();
        let meta = || meta_of.iter().map(|userid| LogEntry::Meta(userid.to_string()));
        let mut failures = Vec::new();
        for e in e.each() {
            let entries = match e {
                UserError::Plan(_)
                | UserError::Master(
                    MasterError::Unreadable { .. }
                    | MasterError::Mailbox { .. }
                    | MasterError::MessageFile { .. },
                )
                | UserError::Replica(
                    ReplicaError::DeletedThere { .. } | ReplicaError::ElsewhereThere { .. },
                ) => vec![mailbox_entry(e)?],
                UserError::Replica(ReplicaError::Refused {
                    source: CommandError::Refused { .. },
                    ..
                }) if all_whole => {
                    vec![mailbox_entry(e)?]
                }
                UserError::Kept(Kept::QuotaRoot { root, .. }) => {
                    vec![LogEntry::Quota(root.clone())]
                }
                UserError::Uncounted(Uncounted { root, .. }) => vec![LogEntry::Quota(root.clone())],
                UserError::Kept(Kept::Subscriptions { .. }) => meta().collect(),
                UserError::Withheld(Withheld { mailboxes, quotas, meta: meta_too }) => {
                    let mailboxes = mailboxes.iter().cloned().map(LogEntry::Mailbox);
                    let quotas = quotas.iter().cloned().map(LogEntry::Quota);
                    let meta = meta().filter(|_| *meta_too > 0);
                    mailboxes.chain(quotas).chain(meta).collect()
                }
                _ => return None,
            };
            for entry in entries {
                let owner = match &entry {
                    LogEntry::Mailbox(name) => name.owner(rules),
                    LogEntry::Quota(root) => rules.parse_internal(root).owner(),
                    LogEntry::Meta(userid) => userid.as_str().into(),
                    _ => key.clone(),
                };
                let reason = advice::in_words(e, &key, rules);
                failures.push(Failure { owner, entry, reason });
            }
        }
        Some(failures)
    }

    /// In the C client's words.
    fn tell_promotions(&self, job: &WorkJob<UserLock>) {
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
}

fn mailbox_entry(e: &UserError) -> Option<LogEntry> {
    Some(LogEntry::Mailbox(e.mailbox()?.clone()))
}

/// When a failed entry is tried again.
fn again_in(pause: Option<Duration>) -> String {
    match pause {
        Some(pause) => format!("tried again in {}", humantime::format_duration(pause)),
        None => "left in the log".into(),
    }
}

/// Whether this error stops only one user, though it would stop a run over all: a mailbox here was moved to a partition
/// that the replica lacks.
fn is_one_users(e: &UserError) -> bool {
    matches!(e, UserError::Replica(ReplicaError::NoPartition { by_option: false, .. }))
}
