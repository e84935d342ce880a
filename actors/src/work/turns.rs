//! The places in flight, and who waits for one: a part of the [`crate::work::queue::WorkQueue`], and a plain value as it is.
//!
//! ```text
//!   from the backlog --> in flight --ended--> gone
//!      ^                    | '----waits for a lock that somebody else holds (no place taken)--> unlocked: goes first
//!      '------rests <-------'      failed
//! ```

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Instant;

#[cfg(test)]
use cyrus_types::Owner;
use sync_plan::backlog::WorkUnit;

use crate::work::job::WorkJob;

/// The works that were given out and have not ended.
#[derive(Debug)]
pub(crate) struct Turns<L> {
    most: usize,
    in_flight: usize,
    /// How many wait for locks.
    waiting: usize,
    /// Those that waited, and have their locks now.
    unlocked: VecDeque<WorkJob<L>>,
    resting: BinaryHeap<Resting>,
    stopped: bool,
}

/// A work that failed; the one that wakes first is the greatest.
#[derive(Debug)]
struct Resting {
    until: Instant,
    work: WorkUnit,
}

impl Ord for Resting {
    fn cmp(&self, other: &Resting) -> Ordering {
        other.until.cmp(&self.until)
    }
}

impl PartialOrd for Resting {
    fn partial_cmp(&self, other: &Resting) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Resting {
    fn eq(&self, other: &Resting) -> bool {
        self.until == other.until
    }
}

impl Eq for Resting {}

impl<L> Turns<L> {
    /// At most this many works in flight, at least one.
    pub(crate) fn new(most: usize) -> Turns<L> {
        Turns {
            most: most.max(1),
            in_flight: 0,
            waiting: 0,
            unlocked: VecDeque::new(),
            resting: BinaryHeap::new(),
            stopped: false,
        }
    }

    /// From now on at most this many works may be in flight.
    pub(crate) fn bound(&mut self, most: usize) {
        self.most = most.max(1);
    }

    /// Whether another work may start.
    pub(crate) fn has_room(&self) -> bool {
        !self.stopped && self.in_flight < self.most
    }

    /// A work takes a place.
    pub(crate) fn begun(&mut self) {
        self.in_flight += 1;
    }

    /// A work in flight gives its place back.
    pub(crate) fn landed(&mut self) {
        self.in_flight -= 1;
    }

    /// A work that gave its place back rests until then. After a stop nothing rests.
    pub(crate) fn rest(&mut self, until: Instant, work: WorkUnit) {
        if !self.stopped {
            self.resting.push(Resting { until, work });
        }
    }

    /// A work whose rest is over.
    pub(crate) fn rested(&mut self, now: Instant) -> Option<WorkUnit> {
        self.resting.peek().filter(|resting| resting.until <= now)?;
        Some(self.resting.pop()?.work)
    }

    /// When the next rest is over, if there is room then.
    pub(crate) fn wakes_at(&self) -> Option<Instant> {
        let next = self.resting.peek().filter(|_| self.has_room())?;
        Some(next.until)
    }

    /// Somebody else holds a lock: the work gives up its place while it waits. False if we were stopped meanwhile, and it
    /// need not wait.
    pub(crate) fn waits_for_lock(&mut self) -> bool {
        self.in_flight -= 1;
        if !self.stopped {
            self.waiting += 1;
        }
        !self.stopped
    }

    /// The wait is over; a work with its lock goes first, since it blocks others. Forgotten after a stop.
    pub(crate) fn got_lock(&mut self, job: WorkJob<L>) {
        // After a stop nobody is counted as waiting.
        if !self.stopped {
            self.waiting -= 1;
            self.unlocked.push_front(job);
        }
    }

    /// The wait ended without a lock.
    pub(crate) fn lost_lock(&mut self) {
        if !self.stopped {
            self.waiting -= 1;
        }
    }

    /// A work that has waited for its lock.
    pub(crate) fn next_unlocked(&mut self) -> Option<WorkJob<L>> {
        self.unlocked.pop_front()
    }

    /// Whether a work that has waited holds this user's lock.
    #[cfg(test)]
    pub(crate) fn holds(&self, owner: &Owner) -> bool {
        let mut locks = self.unlocked.iter().flat_map(|job| &job.locks);
        locks.any(|(held, _)| held == owner)
    }

    /// Nothing is started any more. Works that rest, wait for locks, or have them now, are forgotten.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
        self.waiting = 0;
        self.unlocked.clear();
        self.resting.clear();
    }

    /// Whether nothing was stopped yet.
    pub(crate) fn goes_on(&self) -> bool {
        !self.stopped
    }

    /// How many works are in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether no work is in flight, waits, or rests.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight + self.waiting + self.unlocked.len() + self.resting.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::user::tasks::whole;

    fn work(name: &str) -> WorkUnit {
        Arc::unwrap_or_clone(whole(name.into()))
    }

    #[test]
    fn places_are_given_back_and_who_has_its_lock_goes_on() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let mut turns: Turns<()> = Turns::new(1);
        turns.begun();
        assert!(!turns.has_room());
        assert!(turns.waits_for_lock() && turns.has_room());
        turns.got_lock(WorkJob::new(Arc::new(work("a")), now));
        assert!(!turns.is_idle());
        assert_eq!(turns.next_unlocked().unwrap().owner, "a".into());
        assert!(turns.is_idle());
        for (name, seconds) in [("c", 3), ("a", 1), ("b", 2)] {
            turns.rest(after(seconds), work(name));
        }
        assert!(turns.rested(now).is_none() && !turns.is_idle());
        turns.begun();
        assert_eq!(turns.wakes_at(), None, "there is no room then");
        turns.bound(2);
        assert_eq!(turns.wakes_at(), Some(after(1)));
        let awake: Vec<_> = std::iter::from_fn(|| turns.rested(after(2))).collect();
        assert_eq!(awake, [work("a"), work("b")]);
    }

    #[test]
    fn after_a_stop_only_what_is_in_flight_matters() {
        let now = Instant::now();
        let mut turns: Turns<()> = Turns::new(3);
        turns.rest(now, work("a"));
        turns.begun();
        turns.begun();
        assert!(turns.waits_for_lock());
        turns.stop();
        assert!(!turns.has_room() && !turns.goes_on() && turns.in_flight() == 1);
        turns.got_lock(WorkJob::new(Arc::new(work("b")), now));
        turns.landed();
        turns.rest(now, work("c"));
        assert!(turns.is_idle() && turns.wakes_at().is_none());
    }
}
