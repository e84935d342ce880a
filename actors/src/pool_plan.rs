//! What the pool decides: how many connections, who gets which, when to try again.
//!
//! A plain value: events in, actions out; the actor around it (`pool.rs`) does as it is told.
//!
//! The pool starts with one connection and grows by one whenever somebody still waits a moment
//! after the last one came up: a run with little to do never starts servers for nothing.

use std::collections::HashSet;
use std::time::Duration;

/// The first pause after a failed try, as the C client's. It doubles with every further failure.
const FIRST_WAIT: Duration = Duration::from_secs(15);
/// How long somebody must wait beside a working connection before another is made.
const GROWTH_PAUSE: Duration = Duration::from_millis(25);

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Make a connection after this pause.
    Connect { after: Duration },
    /// Give this connection to who waits longest.
    Grant(u64),
    /// Tell the admin that there is no connection and when the next try is.
    Announce { wait: Duration },
    /// Tell all who wait that there will be no connection.
    FailWaiting,
}

/// The pool's state, without the connections themselves.
#[derive(Debug)]
pub(crate) struct PoolPlan {
    most: usize,
    once: bool,
    longest_wait: Duration,
    idle: Vec<u64>,
    busy: HashSet<u64>,
    /// A connection is being made, or a pause before that is running.
    connecting: bool,
    waiting: usize,
    next_wait: Duration,
    gave_up: bool,
}

impl PoolPlan {
    /// At most `most` connections; `once` gives up at the first failure; `longest_wait` bounds the
    /// pause between tries (zero: no bound).
    pub(crate) fn new(most: usize, once: bool, longest_wait: Duration) -> PoolPlan {
        PoolPlan {
            most: most.max(1),
            once,
            longest_wait,
            idle: Vec::new(),
            busy: HashSet::new(),
            connecting: false,
            waiting: 0,
            next_wait: FIRST_WAIT,
            gave_up: false,
        }
    }

    /// Whether any connection is open.
    pub(crate) fn is_connected(&self) -> bool {
        !self.idle.is_empty() || !self.busy.is_empty()
    }

    /// Whether no connection will ever come.
    pub(crate) fn has_given_up(&self) -> bool {
        self.gave_up
    }

    /// Somebody wants a connection.
    pub(crate) fn acquire(&mut self) -> Vec<Action> {
        self.waiting += 1;
        if self.gave_up {
            return self.fail_waiting();
        }
        self.serve()
    }

    /// A connection is up.
    pub(crate) fn connected(&mut self, number: u64) -> Vec<Action> {
        self.connecting = false;
        self.next_wait = FIRST_WAIT;
        self.idle.push(number);
        self.serve()
    }

    /// A connection could not be made.
    pub(crate) fn connect_failed(&mut self, fatal: bool) -> Vec<Action> {
        self.connecting = false;
        if fatal || (self.once && !self.is_connected()) {
            return self.give_up();
        }
        if self.waiting == 0 {
            return Vec::new();
        }
        let wait = self.next_wait;
        self.next_wait = wait * 2;
        if !self.longest_wait.is_zero() {
            self.next_wait = self.next_wait.min(self.longest_wait);
        }
        let wait = if self.longest_wait.is_zero() { wait } else { wait.min(self.longest_wait) };
        self.connecting = true;
        let mut actions = Vec::new();
        if !self.is_connected() {
            actions.push(Action::Announce { wait });
        }
        actions.push(Action::Connect { after: wait });
        actions
    }

    /// A connection comes back, still good.
    pub(crate) fn released(&mut self, number: u64) -> Vec<Action> {
        if self.busy.remove(&number) {
            self.idle.push(number);
        }
        self.serve()
    }

    /// A connection is gone.
    pub(crate) fn down(&mut self, number: u64) -> Vec<Action> {
        self.busy.remove(&number);
        self.idle.retain(|n| *n != number);
        self.serve()
    }

    /// No connection will come any more: the login was refused, or we were told to stop.
    pub(crate) fn give_up(&mut self) -> Vec<Action> {
        self.gave_up = true;
        self.fail_waiting()
    }

    fn fail_waiting(&mut self) -> Vec<Action> {
        if self.waiting == 0 {
            return Vec::new();
        }
        self.waiting = 0;
        vec![Action::FailWaiting]
    }

    fn serve(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        while self.waiting > 0
            && let Some(number) = self.idle.pop()
        {
            self.waiting -= 1;
            self.busy.insert(number);
            actions.push(Action::Grant(number));
        }
        let open = self.idle.len() + self.busy.len();
        if self.waiting > 0 && open < self.most && !self.connecting && !self.gave_up {
            self.connecting = true;
            let after = if open == 0 { Duration::ZERO } else { GROWTH_PAUSE };
            actions.push(Action::Connect { after });
        }
        actions
    }

    /// The pause before growing is over: whether anybody still waits for what it would bring.
    pub(crate) fn still_wanted(&mut self) -> bool {
        if self.waiting == 0 {
            self.connecting = false;
        }
        self.waiting > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn it_grows_one_by_one_while_somebody_waits() {
        let mut pool = PoolPlan::new(2, false, secs(1200));
        assert_eq!(pool.acquire(), [Action::Connect { after: Duration::ZERO }]);
        assert_eq!(pool.acquire(), []);
        assert_eq!(pool.acquire(), []);
        assert_eq!(pool.connected(1), [Action::Grant(1), Action::Connect { after: GROWTH_PAUSE }]);
        assert!(pool.still_wanted());
        assert_eq!(pool.connected(2), [Action::Grant(2)]);
        assert_eq!(pool.released(1), [Action::Grant(1)]);
        assert_eq!(pool.acquire(), []);
        assert_eq!(pool.down(2), [Action::Connect { after: GROWTH_PAUSE }]);
    }

    #[test]
    fn an_unreachable_replica_is_tried_after_15_30_60_seconds_up_to_the_bound() {
        let mut pool = PoolPlan::new(4, false, secs(50));
        pool.acquire();
        for wait in [15, 30, 50, 50] {
            let wait = secs(wait);
            assert_eq!(
                pool.connect_failed(false),
                [Action::Announce { wait }, Action::Connect { after: wait }]
            );
        }
        pool.connected(1);
        pool.acquire();
        assert_eq!(pool.connect_failed(false), [Action::Connect { after: secs(15) }]);
    }

    #[test]
    fn a_fatal_error_and_once_give_up() {
        let mut pool = PoolPlan::new(4, true, secs(50));
        pool.acquire();
        assert_eq!(pool.connect_failed(false), [Action::FailWaiting]);
        assert_eq!(pool.acquire(), [Action::FailWaiting]);
        let mut pool = PoolPlan::new(4, false, secs(50));
        pool.acquire();
        assert_eq!(pool.connect_failed(true), [Action::FailWaiting]);
        assert!(pool.has_given_up());
    }

    #[test]
    fn a_lost_connection_that_is_given_back_is_not_used_again() {
        let mut pool = PoolPlan::new(1, false, secs(50));
        pool.acquire();
        pool.connected(1);
        pool.down(1);
        pool.released(1);
        assert_eq!(pool.acquire(), [Action::Connect { after: Duration::ZERO }]);
    }
}
