//! The one queue: which work comes next, of a list or of the log. A plain value that takes events and the time, and says what
//! to do.
//!
//! ```text
//!   backlog --start--> in flight --done--> gone
//!      ^                  | | '---waits for a lock that somebody else holds (no place taken)--> first
//!      |                  | '----not started, or linked with another user: at once again
//!      '-----rests <------'      failed, skipped, or locked with -N: longer each time
//!                         '------given up: a list forgets it, the log keeps it
//! ```
//! Of a list, a user is tried a few times if another try may help; then it has ended.
//!
//! Of the log, a work of which only single mailboxes failed is done; these rest alone (`work/aside.rs`). A user that fails
//! four times in a row is in *quarantine*: reported, and tried again less and less often, until it succeeds. It is never
//! dropped. New entries of a resting user wait with it.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use cyrus_types::{LogEntry, MailboxName, Owner};
use sync_plan::backlog::{Backlog, WorkUnit};

use crate::error::Class;
use crate::monitor::report::{Outcome, Sent, UserReport};
use crate::work::aside::{Asides, Failure, Quarantined};
use crate::work::job::WorkJob;
use crate::work::retry::Patience;
use crate::work::trouble::{Bounds, Kind, QUARANTINE, Reason, Trouble};
use crate::work::turns::Turns;

/// How often a skipped or locked user of the log is looked at again.
const SKIP_PAUSE: Duration = Duration::from_secs(5);
const LOCKED_PAUSE: Duration = Duration::from_secs(1);
/// How long to remember that users could not be worked on together.
const SPLIT: Duration = Duration::from_secs(10);
/// How many users of a list may be held here before their turn comes.
const READY: usize = 64;

/// The queue of one run, or of one channel.
#[derive(Debug)]
pub(crate) struct WorkQueue<L> {
    backlog: Backlog,
    bounds: Bounds,
    turns: Turns<L>,
    troubles: HashMap<Owner, Trouble>,
    /// What was sent for works that have not ended.
    sent: HashMap<Owner, Sent>,
    /// What rests alone while its users' other work goes on.
    asides: Asides,
    /// Users that could not be worked on together, and how long that is remembered.
    split: HashMap<Owner, Instant>,
    /// Users of a single pass over a log that were given up.
    given_up: HashSet<Owner>,
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
            sent: HashMap::new(),
            asides: Asides::default(),
            split: HashMap::new(),
            given_up: HashSet::new(),
            unsaved: false,
        }
    }

    /// From now on at most this many works may be in flight.
    pub(crate) fn bound(&mut self, most: usize) {
        self.turns.bound(most);
    }

    /// Adds entries of the log.
    pub(crate) fn add(&mut self, entries: &[LogEntry], now: Instant) {
        for entry in entries {
            self.backlog.add(entry, now);
        }
    }

    /// Adds a work of a list.
    pub(crate) fn give(&mut self, work: &WorkUnit, now: Instant) {
        for (owner, tasks) in &work.users {
            self.backlog.give(owner, tasks.clone(), now);
        }
    }

    /// Whether a list may give another work.
    pub(crate) fn wants_more(&self) -> bool {
        self.turns.goes_on() && self.backlog.queued() < READY
    }

    /// The next work, if one can start now. It counts as in flight until it ends or waits.
    pub(crate) fn start(&mut self, now: Instant) -> Option<WorkJob<L>> {
        if !self.turns.has_room() {
            return None;
        }
        while let Some(work) = self.turns.rested(now) {
            self.backlog.wake(&work);
        }
        for entry in self.asides.due(now) {
            self.backlog.take_up(&entry);
        }
        let job = match self.turns.next_unlocked() {
            Some(job) => job,
            None => WorkJob::new(self.backlog.take_next()?, now),
        };
        let failed = job.work.owners().filter_map(|owner| self.troubles.get(owner));
        let (mut alone, mut times, mut sent) = (false, 0, Sent::default());
        for trouble in failed.filter(|trouble| trouble.kind == Kind::Failed) {
            alone |= trouble.links_fault;
            times = times.max(trouble.times);
        }
        job.work.owners().filter_map(|owner| self.sent.get(owner)).for_each(|of| sent.add(*of));
        let job = WorkJob { alone, tries: times.saturating_add(1), sent, ..job };
        self.turns.begun();
        Some(job)
    }

    /// When the next rest is over and there is room.
    pub(crate) fn wakes_at(&self) -> Option<Instant> {
        let aside = self.asides.wakes_at().filter(|_| self.turns.has_room());
        self.turns.wakes_at().into_iter().chain(aside).min()
    }

    /// An attempt that has not ended its work sent this. Mailboxes that it names have these names now: another try looks
    /// for both.
    pub(crate) fn note(
        &mut self,
        job: &WorkJob<L>,
        sent: Sent,
        followed: impl IntoIterator<Item = MailboxName>,
    ) {
        if sent != Sent::default() {
            self.sent.entry(job.owner.clone()).or_default().add(sent);
        }
        self.backlog.follow(&job.owner, followed);
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
        let since = job.work.own().filter_map(|(_, tasks)| tasks.since).min();
        for (owner, tasks) in job.work.own() {
            self.sent.remove(owner);
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
        self.backlog.done(&job.owner);
        (healed, quarantined)
    }

    /// A work failed: it comes again after a rest, with all of its users' data if `whole`. Returns the rest, and whether its
    /// users are in quarantine from now on. No rest: it is given up.
    pub(crate) fn failed(
        &mut self,
        job: &WorkJob<L>,
        reason: Reason<'_>,
        whole: bool,
        now: Instant,
    ) -> (Option<Duration>, bool) {
        self.turns.landed();
        self.not_done(job, Kind::Failed, reason, whole, now)
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
        let reason = Reason { words: reason, class: Class::Permanent, links_fault: false };
        self.not_done(job, kind, reason, false, now);
        let is_first = |owner| self.troubles.get(owner).is_none_or(|trouble| trouble.times == 1);
        job.work.owners().any(is_first)
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
        reason: Reason<'_>,
        whole: bool,
        now: Instant,
    ) -> (Option<Duration>, bool) {
        let mut times = 0;
        for owner in job.work.owners() {
            let before = self.troubles.get(owner).filter(|trouble| trouble.kind == kind);
            let count = before.map_or(0, |trouble| trouble.times) + 1;
            times = times.max(count);
            // Who lost a connection is asked about alone from then on.
            let links_fault =
                reason.links_fault || before.is_some_and(|trouble| trouble.links_fault);
            let (reason, since) = (reason.words.into(), job.since);
            let trouble = Trouble { kind, times: count, reason, links_fault, since };
            self.troubles.insert(owner.clone(), trouble);
        }
        let endless = self.bounds.patience == Patience::Endless;
        let pause = match kind {
            Kind::Failed => self.bounds.retry().pause(times, reason.class, reason.links_fault),
            // What has an end does not wait for that.
            Kind::Skipped => endless.then_some(SKIP_PAUSE),
            Kind::Locked => endless.then_some(LOCKED_PAUSE),
        };
        let pause = pause.filter(|_| self.turns.goes_on());
        if pause.is_none() && self.bounds.patience == Patience::ByClass {
            self.forget(&job.work);
            return (None, false);
        }
        if pause.is_none() && self.bounds.patience == Patience::Pass {
            self.given_up.extend(job.work.owners().cloned());
        }
        let work = self.backlog.put_back(&job.owner, whole);
        if let (Some(work), Some(pause)) = (work, pause) {
            self.turns.rest(now + pause, work);
        }
        (pause, kind == Kind::Failed && times == QUARANTINE)
    }

    /// A list forgets a work that has ended.
    fn forget(&mut self, work: &WorkUnit) {
        self.backlog.done(&work.key());
        for owner in work.owners() {
            self.sent.remove(owner);
            self.troubles.remove(owner);
        }
    }

    /// A work in flight was not started after all: it comes again at once.
    pub(crate) fn not_begun(&mut self, job: &WorkJob<L>) {
        self.turns.landed();
        if let Some(work) = self.backlog.put_back(&job.owner, false) {
            self.backlog.wake(&work);
        }
    }

    /// A mailbox moved from one of these users to the other: they are to be worked on together, at once or, if that failed
    /// just now or the other one rests, a moment later. In a list the other user's own work stays apart, since each is
    /// reported by itself.
    ///
    /// False if that does not help, because they are worked on together already, or the other one was given up: nothing was
    /// done about it.
    pub(crate) fn linked(
        &mut self,
        job: &WorkJob<L>,
        one: &Owner,
        other: &Owner,
        now: Instant,
    ) -> bool {
        let listed = self.bounds.patience == Patience::ByClass;
        if job.work.users.iter().any(|(owner, _)| owner == other) || self.given_up.contains(other) {
            return false;
        }
        self.turns.landed();
        self.split.retain(|_, until| *until > now);
        let Some(work) = self.backlog.put_back(&job.owner, false) else { return true };
        if listed {
            self.backlog.accompany(&job.owner, other);
            self.backlog.wake(&work);
            return true;
        }
        let was_split = self.split.contains_key(one) || self.split.contains_key(other);
        if was_split || self.backlog.is_stuck(other) {
            self.backlog.rest_briefly(&work);
            self.turns.rest(now + LOCKED_PAUSE, work);
        } else {
            self.backlog.wake(&work);
        }
        self.backlog.link(one, other);
        true
    }

    /// Whether a work of several users was just split, without success.
    pub(crate) fn was_split(&self, job: &WorkJob<L>, now: Instant) -> bool {
        let until = |owner| self.split.get(owner).is_some_and(|until| *until > now);
        job.work.owners().any(until)
    }

    /// One of several users is locked or fails: the others must not wait for it, unless a mailbox really moved from one to
    /// the other.
    pub(crate) fn split(&mut self, job: &WorkJob<L>, now: Instant) {
        self.turns.landed();
        self.split.retain(|_, until| *until > now);
        for owner in job.work.owners() {
            self.split.insert(owner.clone(), now + SPLIT);
        }
        self.backlog.split(&job.owner);
    }

    /// Somebody else holds a lock: the work gives up its place while it waits. False if we were stopped meanwhile, and it
    /// need not wait.
    pub(crate) fn waits_for_lock(&mut self, job: &WorkJob<L>) -> bool {
        self.backlog.waits(&job.owner);
        self.turns.waits_for_lock()
    }

    /// The wait is over; a work with its lock goes first, since it blocks others.
    pub(crate) fn got_lock(&mut self, job: WorkJob<L>) {
        if self.backlog.go_on(&job.owner) {
            self.turns.got_lock(job);
            return;
        }
        // It gives the lock back: the other one that it needs is in use, perhaps for long.
        self.turns.lost_lock();
        if let Some(work) = self.backlog.put_back(&job.owner, false) {
            self.backlog.wake(&work);
        }
    }

    /// Nothing is to be started any more. Works that wait for locks stop waiting.
    pub(crate) fn stop(&mut self) {
        self.turns.stop();
    }

    /// When no result is waited for any more: users of a list that failed and would have been tried again if we had not
    /// been stopped. Those of the log are in the backlog, and stay there.
    pub(crate) fn never_tried_again(&mut self, now: Instant) -> Vec<UserReport> {
        if self.bounds.patience != Patience::ByClass {
            return Vec::new();
        }
        let ended = |(owner, trouble): (Owner, Trouble)| UserReport {
            sent: self.sent.remove(&owner).unwrap_or_default(),
            owner,
            outcome: Outcome::Failed { reason: trouble.reason },
            tries: trouble.times,
            took: now.saturating_duration_since(trouble.since),
        };
        let mut ended: Vec<UserReport> =
            std::mem::take(&mut self.troubles).into_iter().map(ended).collect();
        ended.sort_by(|a, b| a.owner.cmp(&b.owner));
        ended
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
#[path = "queue_list_tests.rs"]
mod list_tests;
#[cfg(test)]
#[path = "queue_random_tests.rs"]
mod random_tests;
#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
