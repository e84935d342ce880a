//! Whose turn it is: how many works are in flight, which wait, which rest, and which comes next. A plain value; the list
//! (`batch/schedule.rs`) and the log (`work/queue.rs`) each stand on one, and add only where their works come from.
//!
//! ```text
//!   given by the feeder --> in flight --ended--> gone
//!      ^         ready <------| | '----waits for a lock that somebody else holds (no place taken)--> ready, first
//!      |   not begun: first --' '------rests after a failure (work/retry.rs)
//!      '-------------------------------'
//! ```

use std::collections::VecDeque;
use std::time::Instant;

use crate::work::job::WorkJob;

/// The works of one feeder that were given out, or are about to be.
#[derive(Debug)]
pub(crate) struct Turns<L> {
    most: usize,
    ready: VecDeque<WorkJob<L>>,
    resting: Vec<(Instant, WorkJob<L>)>,
    in_flight: usize,
    waiting: usize,
    stopped: bool,
}

impl<L> Turns<L> {
    /// At most this many works in flight, at least one.
    pub(crate) fn new(most: usize) -> Turns<L> {
        Turns {
            most: most.max(1),
            ready: VecDeque::new(),
            resting: Vec::new(),
            in_flight: 0,
            waiting: 0,
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

    /// Adds a work behind those that are ready.
    pub(crate) fn add(&mut self, job: WorkJob<L>) {
        self.ready.push_back(job);
    }

    /// How many are ready.
    pub(crate) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// The next work that is ready.
    pub(crate) fn next_ready(&mut self) -> Option<WorkJob<L>> {
        self.ready.pop_front()
    }

    /// A work whose rest is over.
    pub(crate) fn rested(&mut self, now: Instant) -> Option<WorkJob<L>> {
        let place = self.resting.iter().position(|(at, _)| *at <= now)?;
        Some(self.resting.swap_remove(place).1)
    }

    /// When the next rest is over, if there is room then.
    pub(crate) fn wakes_at(&self) -> Option<Instant> {
        if !self.has_room() {
            return None;
        }
        self.resting.iter().map(|(at, _)| *at).min()
    }

    /// A work takes a place.
    pub(crate) fn begun(&mut self) {
        self.in_flight += 1;
    }

    /// A work in flight gives its place back.
    pub(crate) fn landed(&mut self) {
        self.in_flight -= 1;
    }

    /// A work that gave its place back was not started after all: it comes next. Forgotten after a stop.
    pub(crate) fn not_begun(&mut self, job: WorkJob<L>) {
        if !self.stopped {
            self.ready.push_front(job);
        }
    }

    /// A work that gave its place back rests until then. Forgotten after a stop.
    pub(crate) fn rest(&mut self, until: Instant, job: WorkJob<L>) {
        if !self.stopped {
            self.resting.push((until, job));
        }
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

    /// The wait is over; a work with its lock goes first, since it blocks others.
    pub(crate) fn got_lock(&mut self, job: WorkJob<L>) {
        // After a stop nobody is counted as waiting.
        if self.stopped {
            return;
        }
        self.waiting -= 1;
        self.ready.push_front(job);
    }

    /// The wait ended without a lock.
    pub(crate) fn lost_lock(&mut self) {
        if !self.stopped {
            self.waiting -= 1;
        }
    }

    /// Nothing is started any more. Works that are ready, and those that wait for locks, are forgotten; those that rested are
    /// returned.
    pub(crate) fn stop(&mut self) -> Vec<WorkJob<L>> {
        self.stopped = true;
        self.waiting = 0;
        self.ready.clear();
        self.resting.drain(..).map(|(_, job)| job).collect()
    }

    /// Whether nothing was stopped yet.
    pub(crate) fn goes_on(&self) -> bool {
        !self.stopped
    }

    /// How many works are in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether no work is in flight, waits, is ready or rests.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight + self.waiting + self.ready.len() + self.resting.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::user::tasks::whole;

    fn job(name: &str, now: Instant) -> WorkJob<()> {
        WorkJob::new(whole(name.into()), now)
    }

    #[test]
    fn places_are_given_back_and_a_lock_goes_first() {
        let now = Instant::now();
        let mut turns = Turns::new(1);
        turns.add(job("b", now));
        turns.begun();
        assert!(!turns.has_room());
        assert!(turns.waits_for_lock() && turns.has_room());
        turns.got_lock(job("a", now));
        let order = [turns.next_ready(), turns.next_ready()].map(|job| job.unwrap().owner);
        assert_eq!(order, ["a".into(), "b".into()]);
        assert!(turns.is_idle());
        turns.rest(now + Duration::from_secs(1), job("a", now));
        assert!(turns.rested(now).is_none() && !turns.is_idle());
        turns.begun();
        assert_eq!(turns.wakes_at(), None, "there is no room then");
        turns.bound(2);
        assert_eq!(turns.wakes_at(), Some(now + Duration::from_secs(1)));
        assert!(turns.rested(now + Duration::from_secs(1)).is_some());
    }

    #[test]
    fn after_a_stop_only_what_is_in_flight_matters() {
        let now = Instant::now();
        let mut turns = Turns::new(3);
        turns.rest(now, job("a", now));
        turns.add(job("b", now));
        turns.begun();
        turns.begun();
        assert!(turns.waits_for_lock());
        assert_eq!(turns.stop().len(), 1);
        assert!(!turns.has_room() && !turns.goes_on() && turns.in_flight() == 1);
        turns.landed();
        turns.rest(now, job("c", now));
        turns.not_begun(job("c", now));
        assert!(turns.is_idle() && turns.wakes_at().is_none());
    }
}
