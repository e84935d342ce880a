//! Which user comes next: a plain value that takes events and the time, and says what to do.
//!
//! A user is *ready*, *in flight*, *waiting* for a lock that somebody else holds (without a place in flight), *resting*
//! before another try, or ended.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sync_plan::backlog::WorkUnit;

use crate::error::Class;
use crate::work::job::WorkJob;

/// How often a user is tried if its failures are transient.
pub(crate) const TRIES: u32 = 4;
/// How often if only another look shows whether the failure is transient.
const UNSURE_TRIES: u32 = 2;
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How many listed users may be held here.
const READY: usize = 64;

/// What to do now.
#[derive(Debug)]
pub(crate) enum Next<L> {
    /// Replicate this user.
    Start(WorkJob<L>),
    /// Wait until something happens: a user is listed (if more are wanted), one in flight ends, or this time comes.
    Wait { list: bool, until: Option<Instant> },
    /// All users have ended.
    Finished,
}

/// The order of the users.
#[derive(Debug)]
pub(crate) struct Schedule<L> {
    in_flight_most: usize,
    first_pause: Duration,
    ready: VecDeque<WorkJob<L>>,
    resting: Vec<(Instant, WorkJob<L>)>,
    in_flight: usize,
    waiting: usize,
    listing: bool,
    stopped: bool,
}

impl<L> Schedule<L> {
    /// At most this many users in flight; the first pause before another try.
    pub(crate) fn new(in_flight_most: usize, first_pause: Duration) -> Schedule<L> {
        Schedule {
            in_flight_most: in_flight_most.max(1),
            first_pause,
            ready: VecDeque::new(),
            resting: Vec::new(),
            in_flight: 0,
            waiting: 0,
            listing: true,
            stopped: false,
        }
    }

    /// From now on at most this many users may be in flight.
    pub(crate) fn bound(&mut self, in_flight_most: usize) {
        self.in_flight_most = in_flight_most.max(1);
    }

    /// Adds another work.
    pub(crate) fn listed(&mut self, work: Arc<WorkUnit>, since: Instant) {
        self.ready.push_back(WorkJob::new(work, since));
    }

    /// No more users will come.
    pub(crate) fn all_listed(&mut self) {
        self.listing = false;
    }

    /// No user is to be started or tried again any more. Users that were never tried, including those that wait for locks,
    /// are forgotten; those that rested after a failure are returned.
    pub(crate) fn stop(&mut self) -> Vec<WorkJob<L>> {
        self.stopped = true;
        self.listing = false;
        self.waiting = 0;
        self.ready.clear();
        self.resting.drain(..).map(|(_, job)| job).collect()
    }

    /// What to do now. A started job counts as in flight until it ends or waits.
    pub(crate) fn next(&mut self, now: Instant) -> Next<L> {
        if self.in_flight < self.in_flight_most {
            let rested = self.resting.iter().position(|(at, _)| *at <= now);
            let job = match rested {
                Some(i) => Some(self.resting.swap_remove(i).1),
                None => self.ready.pop_front(),
            };
            if let Some(mut job) = job {
                job.tries += 1;
                self.in_flight += 1;
                return Next::Start(job);
            }
        }
        let list = self.listing && self.ready.len() < READY;
        if !self.listing
            && self.in_flight + self.waiting + self.ready.len() + self.resting.len() == 0
        {
            return Next::Finished;
        }
        let full = self.in_flight >= self.in_flight_most;
        let until = if full { None } else { self.resting.iter().map(|(at, _)| *at).min() };
        Next::Wait { list, until }
    }

    /// Somebody else holds the user's lock: it gives up its place while it waits. False if we were stopped meanwhile, and
    /// it need not wait.
    pub(crate) fn waits_for_lock(&mut self) -> bool {
        self.in_flight -= 1;
        if !self.stopped {
            self.waiting += 1;
        }
        !self.stopped
    }

    /// The wait is over; a user with its lock goes first, since it blocks others.
    pub(crate) fn got_lock(&mut self, mut job: WorkJob<L>) {
        self.waiting -= 1;
        job.tries -= 1;
        self.ready.push_front(job);
    }

    /// The wait ended without a lock.
    pub(crate) fn lost_lock(&mut self) {
        self.waiting -= 1;
    }

    /// A user in flight ended well.
    pub(crate) fn ended(&mut self) {
        self.in_flight -= 1;
    }

    /// A user in flight was not started after all: it comes next.
    pub(crate) fn not_begun(&mut self, mut job: WorkJob<L>) {
        self.in_flight -= 1;
        if !self.stopped {
            job.tries -= 1;
            self.ready.push_front(job);
        }
    }

    /// A user in flight failed. Returns the job if it is not to be tried again.
    pub(crate) fn failed(
        &mut self,
        job: WorkJob<L>,
        class: Class,
        now: Instant,
    ) -> Option<WorkJob<L>> {
        self.in_flight -= 1;
        let tries = match class {
            Class::Transient => TRIES,
            Class::Unsure => UNSURE_TRIES,
            Class::Permanent | Class::Fatal => 0,
        };
        if job.tries >= tries || self.stopped {
            return Some(job);
        }
        let doubled = self.first_pause.saturating_mul(1 << (job.tries - 1).min(16));
        self.resting.push((now + doubled.min(LONGEST_PAUSE), job));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::tasks::whole;

    fn schedule(jobs: usize, users: &[&str], now: Instant) -> Schedule<()> {
        let mut s = Schedule::new(jobs, Duration::from_secs(1));
        for u in users {
            s.listed(whole((*u).into()), now);
        }
        s.all_listed();
        s
    }

    fn started(s: &mut Schedule<()>, now: Instant) -> WorkJob<()> {
        match s.next(now) {
            Next::Start(job) => job,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_more_users_are_in_flight_than_jobs() {
        let now = Instant::now();
        let mut s = schedule(2, &["a", "b", "c"], now);
        started(&mut s, now);
        started(&mut s, now);
        assert!(matches!(s.next(now), Next::Wait { list: false, until: None }));
        s.ended();
        assert_eq!(started(&mut s, now).owner.name(), "c");
        s.ended();
        s.ended();
        assert!(matches!(s.next(now), Next::Finished));
    }

    #[test]
    fn a_passing_failure_rests_longer_each_time_and_then_is_final() {
        let mut now = Instant::now();
        let mut s = schedule(1, &["a"], now);
        for pause in [1, 2, 4] {
            let job = started(&mut s, now);
            assert!(s.failed(job, Class::Transient, now).is_none());
            let Next::Wait { until: Some(at), .. } = s.next(now) else { panic!("no rest") };
            assert_eq!(at - now, Duration::from_secs(pause));
            now = at;
        }
        let job = started(&mut s, now);
        assert_eq!(s.failed(job, Class::Transient, now).unwrap().tries, TRIES);
        assert!(matches!(s.next(now), Next::Finished));
    }

    #[test]
    fn what_may_be_broken_is_looked_at_once_more() {
        let now = Instant::now();
        let mut s = schedule(1, &["a"], now);
        let job = started(&mut s, now);
        assert!(s.failed(job, Class::Unsure, now).is_none());
        let job = started(&mut s, now + Duration::from_secs(1));
        assert_eq!(s.failed(job, Class::Unsure, now).unwrap().tries, 2);
    }

    #[test]
    fn a_lasting_failure_is_not_tried_again() {
        let now = Instant::now();
        let mut s = schedule(1, &["a"], now);
        let job = started(&mut s, now);
        assert!(s.failed(job, Class::Permanent, now).is_some());
    }

    #[test]
    fn a_locked_user_makes_room_and_goes_first_with_its_lock() {
        let now = Instant::now();
        let mut s = schedule(1, &["a", "b", "c"], now);
        let a = started(&mut s, now);
        assert!(s.waits_for_lock());
        assert_eq!(started(&mut s, now).owner.name(), "b");
        s.got_lock(WorkJob { locks: vec![("a".into(), ())], ..a });
        s.ended();
        let a = started(&mut s, now);
        assert_eq!((a.owner.name(), a.tries, a.locks.len()), ("a", 1, 1));
    }

    #[test]
    fn who_was_not_begun_comes_next_and_has_lost_no_try() {
        let now = Instant::now();
        let mut s = schedule(1, &["a", "b"], now);
        let a = started(&mut s, now);
        s.not_begun(a);
        let a = started(&mut s, now);
        assert_eq!((a.owner.name(), a.tries), ("a", 1));
        s.stop();
        s.not_begun(a);
        assert!(matches!(s.next(now), Next::Finished));
    }

    #[test]
    fn after_stop_only_what_is_in_flight_is_waited_for() {
        let now = Instant::now();
        let mut s = schedule(1, &["a", "b"], now);
        started(&mut s, now);
        assert!(s.stop().is_empty());
        assert!(matches!(s.next(now), Next::Wait { list: false, until: None }));
        s.ended();
        assert!(matches!(s.next(now), Next::Finished));
    }

    #[test]
    fn after_stop_nobody_rests_or_waits() {
        let now = Instant::now();
        let mut s = schedule(3, &["a", "b", "c"], now);
        let [a, b, _] = [(); 3].map(|()| started(&mut s, now));
        assert!(s.failed(a, Class::Transient, now).is_none());
        assert_eq!(s.stop()[0].owner.name(), "a");
        assert_eq!(s.failed(b, Class::Transient, now).unwrap().owner.name(), "b");
        assert!(!s.waits_for_lock());
        assert!(matches!(s.next(now), Next::Finished));
    }
}
