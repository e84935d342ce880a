//! The pool's decisions: how many connections, which user gets which, when to try again.
//!
//! A plain value: events in, actions out; the actor around it (`replica/pool.rs`) carries them out.
//!
//! ```text
//!              .--GrantShared: up to LOOKS_AHEAD users ask at the same time--.
//!   connection |                                                           |  free
//!              '--GrantExclusive: one user, until RESTART-----------------------'
//! ```
//! One user's work has a connection to itself. Meanwhile, questions about the next users go out on connections that no user
//! works on, since behind another user's gigabytes they would wait long; so there is room for one more connection than
//! there are users in work. For the same reason work waits until the looks on its connection are over, and new looks go
//! elsewhere.
//!
//! The pool starts with what the first users need. It doubles whenever a user still waits a moment after a connection was
//! opened: a run with little to do never starts unneeded servers, and one with much to do has all of them within a few
//! round trips.

use std::collections::BTreeMap;
use std::time::Duration;

/// The first pause after a failed try, the same as the C client's. It doubles with every further failure.
const FIRST_WAIT: Duration = Duration::from_secs(15);
/// How long a user must wait beside a working connection before more are made.
const GROWTH_PAUSE: Duration = Duration::from_millis(25);
/// How many users may be asked about ahead of the answers on one connection: with two connections enough for a replica that
/// answers two thousand a second, 50 ms away.
const LOOKS_AHEAD: usize = 96;
/// How many while another connection is being made, which should get its share.
const LOOKS_BEFORE: usize = 40;
/// A connection that has owed an answer for longer gets no new users: the answers behind it would be late too.
const SLOW: Duration = Duration::from_millis(1500);
/// A connection that has owed an answer for longer does not count: others are made beside it.
const STUCK: Duration = Duration::from_secs(10);
/// If this many users wait for the first connection, a second one is made with it.
const MANY_LOOKS: usize = 32;

/// How often the first login must be refused before it counts as wrong; the pauses between.
const REFUSALS: u32 = 3;
const REFUSED_WAIT: Duration = Duration::from_secs(1);

/// How often a wrong login or setting is reported at most, and tried again at least.
pub(crate) const COMPLAINT_PAUSE: Duration = Duration::from_secs(60);

/// Why a connection could not be made, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It may work in a moment.
    Passing,
    /// The login was refused: it is wrong, or the server that checks it is overloaded.
    Refused,
    /// An admin must change a setting.
    Setting,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Make a connection now.
    Connect,
    /// Make a connection after this pause.
    ConnectAfter(Duration),
    /// Ask [`PoolPlan::grow`] after this pause whether more are needed.
    GrowAfter(Duration),
    /// Give the user that has waited longest to look a shared lease of this connection.
    GrantShared(u64),
    /// Give this connection to the user that has waited longest to work.
    GrantExclusive(u64),
    /// Ask for compression on this connection, which counts as in work until it is released.
    Compress(u64),
    /// Report to the admin that there is no connection, and when the next try is.
    Announce { wait: Duration },
    /// Tell all waiting users that there will be no connection.
    FailWaiting,
}

/// What a connection is used for. One in work may still owe answers to looks.
#[derive(Debug, Default)]
struct Use {
    looks: usize,
    worked_on: bool,
    /// It is to be compressed as soon as it is free.
    to_compress: bool,
    /// For how long its next answer has been due.
    owes: Duration,
}

/// The pool's state, without the connections themselves.
#[derive(Debug)]
pub(crate) struct PoolPlan {
    jobs: usize,
    once: bool,
    longest_wait: Duration,
    open: BTreeMap<u64, Use>,
    /// Connections being made, including pauses before that.
    connecting: usize,
    /// A pause before growing is running.
    growing: bool,
    shared_wanted: usize,
    exclusive_wanted: usize,
    next_wait: Duration,
    /// Whether a handshake has ever succeeded. A connection that is lent early may still fail in its own.
    met: bool,
    /// How often the login has been refused.
    refusals: u32,
    /// Whether the run goes on for ever, however often it is refused.
    steady: bool,
    gave_up: bool,
}

impl PoolPlan {
    /// At most `jobs` connections to work on and one to look on; `once` gives up at the first
    /// failure; `longest_wait` bounds the pause between tries (zero: no bound).
    pub(crate) fn new(jobs: usize, once: bool, longest_wait: Duration) -> PoolPlan {
        PoolPlan {
            jobs: jobs.max(1),
            once,
            longest_wait,
            open: BTreeMap::new(),
            connecting: 0,
            growing: false,
            shared_wanted: 0,
            exclusive_wanted: 0,
            next_wait: FIRST_WAIT,
            met: false,
            refusals: 0,
            steady: false,
            gave_up: false,
        }
    }

    /// No answer of the replica ends the run.
    pub(crate) fn go_on_for_ever(&mut self) {
        self.steady = true;
    }

    /// Whether any connection is open.
    pub(crate) fn is_connected(&self) -> bool {
        !self.open.is_empty()
    }

    /// Whether no connection will ever come.
    pub(crate) fn has_given_up(&self) -> bool {
        self.gave_up
    }

    /// A user waits to look.
    pub(crate) fn want_shared(&mut self) -> Vec<Action> {
        self.shared_wanted += 1;
        self.serve()
    }

    /// A user waits to work.
    pub(crate) fn want_exclusive(&mut self) -> Vec<Action> {
        self.exclusive_wanted += 1;
        self.serve()
    }

    /// Nobody waits any more.
    pub(crate) fn forget_waiting(&mut self) {
        self.shared_wanted = 0;
        self.exclusive_wanted = 0;
    }

    /// A connection is up.
    pub(crate) fn connected(&mut self, number: u64) -> Vec<Action> {
        self.connecting = self.connecting.saturating_sub(1);
        self.next_wait = FIRST_WAIT;
        self.open.insert(number, Use::default());
        self.serve()
    }

    /// A connection ended before it was reported as open.
    pub(crate) fn fell(&mut self) -> Vec<Action> {
        self.connecting = self.connecting.saturating_sub(1);
        self.serve()
    }

    /// A connection could not be made.
    pub(crate) fn connect_failed(&mut self, fault: Fault) -> Vec<Action> {
        self.connecting = self.connecting.saturating_sub(1);
        let known = self.met || self.steady || self.is_connected();
        if (fault == Fault::Setting && !known) || (self.once && !self.is_connected()) {
            return self.give_up();
        }
        if fault == Fault::Refused && !known {
            return self.refused();
        }
        // One try at a time while the replica is down.
        if self.connecting > 0 || self.shared_wanted + self.exclusive_wanted == 0 {
            return Vec::new();
        }
        let wait = self.next_wait;
        self.next_wait = wait * 2;
        if !self.longest_wait.is_zero() {
            self.next_wait = self.next_wait.min(self.longest_wait);
        }
        let wait = if self.longest_wait.is_zero() { wait } else { wait.min(self.longest_wait) };
        // A problem that an admin must correct is reported once a minute until it is.
        let wait = if fault == Fault::Passing { wait } else { wait.min(COMPLAINT_PAUSE) };
        self.connecting = 1;
        let mut actions = Vec::new();
        if !self.is_connected() {
            actions.push(Action::Announce { wait });
        }
        actions.push(Action::ConnectAfter(wait));
        actions
    }

    /// The first login was refused.
    fn refused(&mut self) -> Vec<Action> {
        if self.connecting > 0 {
            return Vec::new();
        }
        self.refusals += 1;
        if self.refusals >= REFUSALS {
            return self.give_up();
        }
        self.connecting = 1;
        vec![Action::ConnectAfter(REFUSED_WAIT * 2_u32.pow(self.refusals - 1))]
    }

    /// A connection has owed an answer for this long.
    pub(crate) fn note_pace(&mut self, number: u64, owes: Duration) {
        if let Some(used) = self.open.get_mut(&number) {
            used.owes = owes;
        }
    }

    /// A look has its answers.
    pub(crate) fn looked(&mut self, number: u64) -> Vec<Action> {
        if let Some(used) = self.open.get_mut(&number) {
            used.looks = used.looks.saturating_sub(1);
        }
        self.serve()
    }

    /// A connection has received many uncompressed bytes.
    pub(crate) fn received_much(&mut self, number: u64) {
        if let Some(used) = self.open.get_mut(&number) {
            used.to_compress = true;
        }
    }

    /// A connection comes back from work, still usable.
    pub(crate) fn released(&mut self, number: u64) -> Vec<Action> {
        if let Some(used) = self.open.get_mut(&number) {
            used.worked_on = false;
        }
        self.serve()
    }

    /// A connection is gone; `opened` if its handshake had succeeded. One that was lent early may have failed in it.
    pub(crate) fn down(&mut self, number: u64, opened: bool) -> Vec<Action> {
        self.met |= opened;
        self.open.remove(&number);
        self.serve()
    }

    /// No connection will come any more: the login was refused, or we were told to stop.
    pub(crate) fn give_up(&mut self) -> Vec<Action> {
        self.gave_up = true;
        self.serve()
    }

    /// The pause before growing is over.
    pub(crate) fn grow(&mut self) -> Vec<Action> {
        self.growing = false;
        let there = self.open.len() + self.connecting;
        let most = self.most();
        let more = self.lacking().min(there.max(1)).min(most.saturating_sub(there));
        self.connecting += more;
        let mut actions = vec![Action::Connect; more];
        actions.extend(self.plan_growth());
        actions
    }

    /// The pause after a failed try is over. Returns whether a user still waits for a connection.
    pub(crate) fn still_wanted(&mut self) -> bool {
        let wanted = self.shared_wanted + self.exclusive_wanted > 0;
        if !wanted {
            self.connecting = self.connecting.saturating_sub(1);
        }
        wanted
    }

    /// Gives waiting users the connections that are available.
    pub(crate) fn serve(&mut self) -> Vec<Action> {
        if self.gave_up {
            return self.fail_waiting();
        }
        let mut actions = Vec::new();
        while self.exclusive_unserved() > 0
            && let Some(number) = self.free_by_looks().first().filter(|f| f.0 == 0).map(|f| f.1)
        {
            self.exclusive_wanted -= 1;
            if let Some(used) = self.open.get_mut(&number) {
                used.worked_on = true;
                // Work compresses first.
                used.to_compress = false;
            }
            actions.push(Action::GrantExclusive(number));
        }
        for (number, used) in &mut self.open {
            if used.to_compress && used.looks == 0 && !used.worked_on && used.owes <= SLOW {
                used.worked_on = true;
                used.to_compress = false;
                actions.push(Action::Compress(*number));
            }
        }
        while self.shared_unserved() > 0
            && let Some(number) = self.to_look_on()
        {
            self.shared_wanted -= 1;
            if let Some(used) = self.open.get_mut(&number) {
                used.looks += 1;
            }
            actions.push(Action::GrantShared(number));
        }
        if self.open.is_empty() {
            let first = self.connecting == 0 && self.shared_wanted + self.exclusive_wanted > 0;
            let trouble = self.next_wait > FIRST_WAIT;
            let second = self.connecting == 1 && self.shared_wanted > MANY_LOOKS && !trouble;
            if first || second {
                self.connecting += 1;
                actions.push(Action::Connect);
            }
        }
        actions.extend(self.plan_growth());
        actions
    }

    /// Growing starts when a first connection has shown that the replica is up.
    fn plan_growth(&mut self) -> Option<Action> {
        let room = self.open.len() + self.connecting < self.most();
        if self.lacking() == 0 || !room || self.open.is_empty() || self.growing {
            return None;
        }
        self.growing = true;
        Some(Action::GrowAfter(GROWTH_PAUSE))
    }

    /// How many connections there may be: jobs + 1, and one more for each that is stuck, at most twice as many.
    fn most(&self) -> usize {
        let stuck = self.open.values().filter(|used| used.owes > STUCK && !used.worked_on).count();
        self.jobs + 1 + stuck.min(self.jobs + 1)
    }

    /// How many more connections would serve all waiting users.
    fn lacking(&self) -> usize {
        let wanted = self.exclusive_unserved() + self.shared_unserved().div_ceil(LOOKS_AHEAD);
        wanted.saturating_sub(self.connecting)
    }

    /// How many users wait to work and may.
    fn exclusive_unserved(&self) -> usize {
        let worked_on = self.open.values().filter(|used| used.worked_on).count();
        self.exclusive_wanted.min(self.jobs.saturating_sub(worked_on))
    }

    /// How many users wait to look and may. A look that comes too early has to be repeated, so nobody looks while a round
    /// of users waits to work.
    fn shared_unserved(&self) -> usize {
        if self.exclusive_wanted < self.jobs { self.shared_wanted } else { 0 }
    }

    /// The connections that no user works on and that answer in time: how many looks they owe answers to, fewest first, and
    /// their numbers.
    fn free_by_looks(&self) -> Vec<(usize, u64)> {
        let free = self.open.iter().filter(|(_, used)| !used.worked_on && used.owes <= SLOW);
        let mut free: Vec<_> = free.map(|(number, used)| (used.looks, *number)).collect();
        free.sort_unstable();
        free
    }

    /// Where another look may go: the connections that will be free first are left for waiting work, unless connections for
    /// that are being made.
    fn to_look_on(&self) -> Option<u64> {
        let trouble = self.next_wait > FIRST_WAIT;
        let on_their_way = if trouble { 0 } else { self.connecting };
        let left_free = self.exclusive_unserved().saturating_sub(on_their_way);
        let stays = |number: &u64| self.open.get(number).is_some_and(|used| !used.to_compress);
        let free = self.free_by_looks();
        let (looks, number) = *free.get(left_free..)?.iter().find(|(_, number)| stays(number))?;
        let most = if on_their_way > 0 { LOOKS_BEFORE } else { LOOKS_AHEAD };
        (looks < most).then_some(number)
    }

    fn fail_waiting(&mut self) -> Vec<Action> {
        if self.shared_wanted + self.exclusive_wanted == 0 {
            return Vec::new();
        }
        self.shared_wanted = 0;
        self.exclusive_wanted = 0;
        vec![Action::FailWaiting]
    }
}

#[cfg(test)]
#[path = "pool_plan_tests.rs"]
mod tests;
