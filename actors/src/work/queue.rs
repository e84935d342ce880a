//! Which work comes next in rolling replication: a plain value that takes events and the time, and says what to do.
//!
//! ```text
//!   backlog --start--> in flight --done--> gone
//!      ^                  | | '---waits for a lock that somebody else holds (no place taken)--> ready
//!      |                  | '----not started, or linked with another user: at once again
//!      '-----rests <------'      failed, skipped, or locked with -N: longer each time
//! ```
//! A work of which only single mailboxes failed is done; these rest alone (`work/aside.rs`). A user that fails four times
//! in a row is in *quarantine*: reported, and tried again less and less often, until it succeeds. It is never dropped. New
//! entries of a resting user wait with it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use cyrus_types::{LogEntry, Owner};
use sync_plan::backlog::Backlog;

use crate::error::Class;
use crate::work::aside::{Asides, Failure, Quarantined};
use crate::work::job::WorkJob;
use crate::work::trouble::{Bounds, Kind, QUARANTINE, Trouble};
use crate::work::turns::Turns;

/// How often a skipped or locked user is looked at again.
const SKIP_PAUSE: Duration = Duration::from_secs(5);
const LOCKED_PAUSE: Duration = Duration::from_secs(1);
/// How long to remember that users could not be worked on together.
const SPLIT: Duration = Duration::from_secs(10);

/// The queue of one channel.
#[derive(Debug)]
pub(crate) struct WorkQueue<L> {
    backlog: Backlog,
    bounds: Bounds,
    turns: Turns<L>,
    troubles: HashMap<Owner, Trouble>,
    /// What rests alone while its users' other work goes on.
    asides: Asides,
    /// Users that could not be worked on together, and how long that is remembered.
    split: HashMap<Owner, Instant>,
    /// Something was done that is still in log-run.
    unsaved: bool,
}

impl<L> WorkQueue<L> {
    pub(crate) fn new(backlog: Backlog, bounds: Bounds) -> WorkQueue<L> {
        WorkQueue {
            backlog,
            bounds,
            turns: Turns::new(bounds.in_flight),
            troubles: HashMap::new(),
            asides: Asides::default(),
            split: HashMap::new(),
            unsaved: false,
        }
    }

    /// Adds an entry of the log.
    pub(crate) fn add(&mut self, entries: &[LogEntry], now: Instant) {
        for entry in entries {
            self.backlog.add(entry, now);
        }
    }

    /// The next work, if one can start now.
    pub(crate) fn start(&mut self, now: Instant) -> Option<WorkJob<L>> {
        if !self.turns.has_room() {
            return None;
        }
        while let Some(job) = self.turns.rested(now) {
            self.backlog.wake(&job.work);
        }
        for entry in self.asides.due(now) {
            self.backlog.take_up(&entry);
        }
        let job = match self.turns.next_ready() {
            Some(job) => job,
            None => WorkJob::new(self.backlog.take_next()?, now),
        };
        let lost = |owner| self.troubles.get(owner).is_some_and(|t: &Trouble| t.links_fault);
        let alone = job.work.users.iter().any(|(owner, _)| lost(owner));
        let job = WorkJob { alone, ..job };
        self.turns.begun();
        Some(job)
    }

    /// When the next rest is over and there is room.
    pub(crate) fn wakes_at(&self) -> Option<Instant> {
        let aside = self.asides.wakes_at().filter(|_| self.turns.has_room());
        self.turns.wakes_at().into_iter().chain(aside).min()
    }

    /// A work ended well, except for `failures`, which rest alone. Returns, in words, what is no longer in quarantine, and
    /// which failures are from now on.
    pub(crate) fn done(
        &mut self,
        job: &WorkJob<L>,
        failures: Vec<Failure>,
        now: Instant,
    ) -> (Vec<String>, Vec<Quarantined>) {
        self.turns.landed();
        self.unsaved = true;
        let mut healed = Vec::new();
        let since = job.work.users.iter().filter_map(|(_, tasks)| tasks.since).min();
        for (owner, tasks) in &job.work.users {
            if self.troubles.remove(owner).is_some_and(|trouble| trouble.is_quarantined()) {
                healed.push(format!("user {}", owner.name()));
            }
            for (entry, was_quarantined) in self.asides.done(owner, tasks, &failures) {
                self.backlog.forget_aside(&entry);
                if was_quarantined {
                    healed.push(entry.to_string());
                }
            }
        }
        let mut quarantined = Vec::new();
        for failure in failures {
            self.backlog.lay_aside(&failure.owner, failure.entry.clone(), since);
            quarantined.extend(self.asides.failed(failure, &self.bounds, now));
        }
        self.backlog.done(&job.work.key());
        (healed, quarantined)
    }

    /// A work failed: it comes again after a rest, with all of its users' data if `whole`. Returns the rest, `None` if it
    /// is not tried again, and whether its users are in quarantine from now on.
    pub(crate) fn failed(
        &mut self,
        job: &WorkJob<L>,
        reason: &str,
        whole: bool,
        links_fault: bool,
        now: Instant,
    ) -> (Option<Duration>, bool) {
        self.turns.landed();
        self.not_done(job, Kind::Failed, reason, whole, links_fault, now)
    }

    /// A work in flight can't be started now. Returns whether that is news.
    pub(crate) fn deferred(
        &mut self,
        job: &WorkJob<L>,
        kind: Kind,
        reason: &str,
        now: Instant,
    ) -> bool {
        self.turns.landed();
        self.not_done(job, kind, reason, false, false, now);
        job.work
            .users
            .iter()
            .any(|(owner, _)| self.troubles.get(owner).is_some_and(|trouble| trouble.times == 1))
    }

    /// A work that waited for a lock can't be started. Returns whether that is news.
    pub(crate) fn waited_in_vain(
        &mut self,
        job: &WorkJob<L>,
        kind: Kind,
        reason: &str,
        now: Instant,
    ) -> bool {
        self.turns.lost_lock();
        self.turns.begun();
        self.deferred(job, kind, reason, now)
    }

    fn not_done(
        &mut self,
        job: &WorkJob<L>,
        kind: Kind,
        reason: &str,
        whole: bool,
        links_fault: bool,
        now: Instant,
    ) -> (Option<Duration>, bool) {
        let mut times = 0;
        for (owner, _) in &job.work.users {
            let before = self.troubles.get(owner).filter(|trouble| trouble.kind == kind);
            let count = before.map_or(0, |trouble| trouble.times) + 1;
            times = times.max(count);
            let reason = reason.to_string();
            let trouble = Trouble { kind, times: count, reason, links_fault };
            self.troubles.insert(owner.clone(), trouble);
        }
        let Some(work) = self.backlog.put_back(&job.work.key(), whole) else {
            return (None, false);
        };
        let pause = match kind {
            // The class does not matter in the log.
            Kind::Failed => self.bounds.retry().pause(times, Class::Permanent, links_fault),
            // A single pass does not wait for that.
            Kind::Skipped | Kind::Locked if self.bounds.once => None,
            Kind::Skipped => Some(SKIP_PAUSE),
            Kind::Locked => Some(LOCKED_PAUSE),
        };
        if let Some(pause) = pause {
            self.turns.rest(now + pause, WorkJob::new(work, now));
        }
        (pause, kind == Kind::Failed && times == QUARANTINE)
    }

    /// A work in flight was not started after all: it comes again at once.
    pub(crate) fn not_begun(&mut self, job: &WorkJob<L>) {
        self.turns.landed();
        if let Some(work) = self.backlog.put_back(&job.work.key(), false) {
            self.backlog.wake(&work);
        }
    }

    /// A mailbox moved from one of these users to the other: they are to be worked on together, at once or, if that failed
    /// just now, a moment later.
    pub(crate) fn linked(&mut self, job: &WorkJob<L>, one: &Owner, other: &Owner, now: Instant) {
        self.turns.landed();
        self.split.retain(|_, until| *until > now);
        let Some(work) = self.backlog.put_back(&job.work.key(), false) else { return };
        if self.split.contains_key(one) || self.split.contains_key(other) {
            self.turns.rest(now + LOCKED_PAUSE, WorkJob::new(work, now));
        } else {
            self.backlog.wake(&work);
        }
        self.backlog.link(one, other);
    }

    /// Whether a work of several users was just split, without success.
    pub(crate) fn was_split(&self, job: &WorkJob<L>, now: Instant) -> bool {
        let until = |owner| self.split.get(owner).is_some_and(|until| *until > now);
        job.work.users.iter().any(|(owner, _)| until(owner))
    }

    /// One of several users is locked or fails: the others must not wait for it, unless a mailbox really moved from one to
    /// the other.
    pub(crate) fn split(&mut self, job: &WorkJob<L>, now: Instant) {
        self.turns.landed();
        self.split.retain(|_, until| *until > now);
        for (owner, _) in &job.work.users {
            self.split.insert(owner.clone(), now + SPLIT);
        }
        self.backlog.split(&job.work.key());
    }

    /// Somebody else holds a lock: the work gives up its place while it waits. False if we were stopped meanwhile, and it
    /// need not wait.
    pub(crate) fn waits_for_lock(&mut self, job: &WorkJob<L>) -> bool {
        self.backlog.waits(&job.work.key());
        self.turns.waits_for_lock()
    }

    /// The wait is over; a work with its lock goes first, since it blocks others.
    pub(crate) fn got_lock(&mut self, job: WorkJob<L>) {
        self.backlog.go_on(&job.work.key());
        self.turns.got_lock(job);
    }

    /// Nothing is to be started any more. Works that wait for locks stop waiting.
    pub(crate) fn stop(&mut self) {
        // What rested is in the backlog, and stays there.
        self.turns.stop();
    }

    /// Whether nothing more will happen without an event: everything is done or given up. Ask it when [`WorkQueue::start`]
    /// returns nothing.
    pub(crate) fn is_at_rest(&self) -> bool {
        let aside = || self.turns.goes_on() && self.asides.wakes_at().is_some();
        self.turns.is_idle() && !aside()
    }

    /// Whether everything is done.
    pub(crate) fn is_empty(&self) -> bool {
        self.backlog.is_empty()
    }

    /// Whether log-run contains entries that are done.
    pub(crate) fn is_unsaved(&self) -> bool {
        self.unsaved
    }

    /// The entries that are not done, for log-run.
    pub(crate) fn take_unsaved(&mut self) -> Vec<LogEntry> {
        self.unsaved = false;
        self.backlog.entries().collect()
    }

    /// log-run could not be written.
    pub(crate) fn not_saved(&mut self) {
        self.unsaved = true;
    }

    /// How many users have open entries.
    pub(crate) fn users(&self) -> usize {
        self.backlog.users()
    }

    /// How many works are in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.turns.in_flight()
    }

    /// The arrival time of the oldest entry that is not done.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.backlog.oldest()
    }

    /// Users that are not done, or not completely, and why.
    pub(crate) fn troubles(&self) -> HashMap<Owner, Trouble> {
        let mut all = self.asides.troubles();
        all.extend(self.troubles.iter().map(|(owner, trouble)| (owner.clone(), trouble.clone())));
        all
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
