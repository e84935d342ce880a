//! Which user comes next: a plain value that takes events and the time, and says what to do.
//!
//! A user is *ready*, *in flight*, *waiting* for a lock that somebody else holds (without a place in flight), *resting*
//! before another try, or ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sync_plan::backlog::WorkUnit;

use crate::error::Class;
use crate::settings::Jitter;
use crate::work::job::WorkJob;
use crate::work::retry::{Patience, Retry};
use crate::work::turns::Turns;

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

/// The works of a list: [`Turns`] behind a channel, with an end.
#[derive(Debug)]
pub(crate) struct Schedule<L> {
    turns: Turns<L>,
    retry: Retry,
    listing: bool,
}

impl<L> Schedule<L> {
    /// At most this many users in flight; the first pause before another try.
    pub(crate) fn new(most: usize, first_pause: Duration, jitter: Jitter) -> Schedule<L> {
        let (patience, longest_pause) = (Patience::ByClass, LONGEST_PAUSE);
        let retry = Retry { patience, first_pause, longest_pause, jitter };
        Schedule { turns: Turns::new(most), retry, listing: true }
    }

    /// From now on at most this many users may be in flight.
    pub(crate) fn bound(&mut self, most: usize) {
        self.turns.bound(most);
    }

    /// Adds another work.
    pub(crate) fn listed(&mut self, work: Arc<WorkUnit>, since: Instant) {
        self.turns.add(WorkJob::new(work, since));
    }

    /// No more users will come.
    pub(crate) fn all_listed(&mut self) {
        self.listing = false;
    }

    /// No user is to be started or tried again any more. Users that were never tried, including those that wait for locks,
    /// are forgotten; those that rested after a failure are returned.
    pub(crate) fn stop(&mut self) -> Vec<WorkJob<L>> {
        self.listing = false;
        self.turns.stop()
    }

    /// What to do now. A started job counts as in flight until it ends or waits.
    pub(crate) fn next(&mut self, now: Instant) -> Next<L> {
        if self.turns.has_room()
            && let Some(mut job) = self.turns.rested(now).or_else(|| self.turns.next_ready())
        {
            job.tries += 1;
            self.turns.begun();
            return Next::Start(job);
        }
        if !self.listing && self.turns.is_idle() {
            return Next::Finished;
        }
        let list = self.listing && self.turns.ready() < READY;
        Next::Wait { list, until: self.turns.wakes_at() }
    }

    /// Somebody else holds the user's lock: it gives up its place while it waits. False if we were stopped meanwhile, and
    /// it need not wait.
    pub(crate) fn waits_for_lock(&mut self) -> bool {
        self.turns.waits_for_lock()
    }

    /// The wait is over. It was no try.
    pub(crate) fn got_lock(&mut self, mut job: WorkJob<L>) {
        job.tries -= 1;
        self.turns.got_lock(job);
    }

    /// The wait ended without a lock.
    pub(crate) fn lost_lock(&mut self) {
        self.turns.lost_lock();
    }

    /// A user in flight ended well.
    pub(crate) fn ended(&mut self) {
        self.turns.landed();
    }

    /// A user in flight was not started after all: it comes next.
    pub(crate) fn not_begun(&mut self, mut job: WorkJob<L>) {
        self.turns.landed();
        job.tries -= 1;
        self.turns.not_begun(job);
    }

    /// A user in flight failed. Returns how long it rests before another try.
    ///
    /// # Errors
    /// It is not to be tried again: the job.
    pub(crate) fn failed(
        &mut self,
        job: WorkJob<L>,
        class: Class,
        now: Instant,
    ) -> Result<Duration, Box<WorkJob<L>>> {
        self.turns.landed();
        let pause = self.retry.pause(job.tries, class, false);
        let Some(pause) = pause.filter(|_| self.turns.goes_on()) else { return Err(Box::new(job)) };
        self.turns.rest(now + pause, job);
        Ok(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::tasks::whole;
    use crate::work::retry::TRIES;

    fn schedule(jobs: usize, users: &[&str], now: Instant) -> Schedule<()> {
        let mut s = Schedule::new(jobs, Duration::from_secs(1), Jitter::Off);
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
            assert_eq!(s.failed(job, Class::Transient, now).unwrap(), Duration::from_secs(pause));
            let Next::Wait { until: Some(at), .. } = s.next(now) else { panic!("no rest") };
            assert_eq!(at - now, Duration::from_secs(pause));
            now = at;
        }
        let job = started(&mut s, now);
        assert_eq!(s.failed(job, Class::Transient, now).unwrap_err().tries, TRIES);
        assert!(matches!(s.next(now), Next::Finished));
    }

    #[test]
    fn what_may_be_broken_is_looked_at_once_more() {
        let now = Instant::now();
        let mut s = schedule(1, &["a"], now);
        let job = started(&mut s, now);
        assert!(s.failed(job, Class::Unsure, now).is_ok());
        let job = started(&mut s, now + Duration::from_secs(1));
        assert_eq!(s.failed(job, Class::Unsure, now).unwrap_err().tries, 2);
    }

    #[test]
    fn a_lasting_failure_is_not_tried_again() {
        let now = Instant::now();
        let mut s = schedule(1, &["a"], now);
        let job = started(&mut s, now);
        assert!(s.failed(job, Class::Permanent, now).is_err());
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
        assert!(s.failed(a, Class::Transient, now).is_ok());
        assert_eq!(s.stop()[0].owner.name(), "a");
        assert_eq!(s.failed(b, Class::Transient, now).unwrap_err().owner.name(), "b");
        assert!(!s.waits_for_lock());
        assert!(matches!(s.next(now), Next::Finished));
    }
}
