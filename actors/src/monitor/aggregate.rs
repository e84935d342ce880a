//! The totals of a run: a plain value that takes the Monitor's events.
//!
//! All numbers that the status, the report and the metrics show come from here, or from the counters that are too hot for
//! events ([`Progress`](crate::monitor::progress::Progress) holds both). Only the Monitor writes it.

use crate::monitor::events::{Event, Lag};
use crate::monitor::report::{Outcome, Sent};

/// What has happened so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Totals {
    /// How many users the list has; `None` before it is read, and in rolling replication.
    pub(crate) listed: Option<u64>,
    /// Users of the list that were tried at least once.
    pub(crate) started: u64,
    /// Tries that failed and were followed, or will be, by another one.
    pub(crate) retries: u64,
    /// How users ended; in rolling replication a user counts once for each work.
    pub(crate) ended: Ended,
    /// What the replica accepted.
    pub(crate) sent: Sent,
    /// Connections opened.
    pub(crate) opened: u64,
    /// Connections that ended before we ended them.
    pub(crate) lost: u64,
    /// How a channel of rolling replication stands.
    pub(crate) lag: Option<Lag>,
}

/// Users by outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ended {
    pub(crate) replicated: u64,
    pub(crate) equal: u64,
    pub(crate) locked: u64,
    pub(crate) skipped: u64,
    pub(crate) absent: u64,
    pub(crate) failed: u64,
}

impl Ended {
    fn add(&mut self, outcome: &Outcome, users: u64) {
        let count = match outcome {
            Outcome::Done => &mut self.replicated,
            Outcome::Unchanged => &mut self.equal,
            Outcome::Locked => &mut self.locked,
            Outcome::Skipped => &mut self.skipped,
            Outcome::Absent => &mut self.absent,
            Outcome::Failed { .. } => &mut self.failed,
        };
        *count += users;
    }

    /// Each outcome's word, as reports and metrics have it, with its count.
    pub(crate) fn each(&self) -> [(&'static str, u64); 6] {
        [
            (Outcome::Done.word(), self.replicated),
            (Outcome::Unchanged.word(), self.equal),
            (Outcome::Locked.word(), self.locked),
            (Outcome::Skipped.word(), self.skipped),
            (Outcome::Absent.word(), self.absent),
            (Outcome::Failed { reason: String::new() }.word(), self.failed),
        ]
    }

    /// How many users have ended.
    pub(crate) fn all(&self) -> u64 {
        self.each().iter().map(|(_, count)| count).sum()
    }
}

impl Totals {
    /// Takes in what happened.
    pub(crate) fn add(&mut self, event: &Event) {
        match event {
            Event::Listed { users } => self.listed = Some(*users),
            Event::Started { tries } => self.started += u64::from(*tries == 1),
            Event::Retry { .. } => self.retries += 1,
            Event::Finished(user) => {
                self.ended.add(&user.outcome, 1);
                self.sent.add(user.sent);
            }
            Event::LogDone { users, outcome, sent } => {
                self.ended.add(outcome, *users);
                self.sent.add(*sent);
            }
            Event::ConnectionOpened => self.opened += 1,
            Event::ConnectionLost { .. } => self.lost += 1,
            Event::Lag(lag) => self.lag = Some(lag.clone()),
            Event::Action(_)
            | Event::Notice(_)
            | Event::Remark(_)
            | Event::Trace { .. }
            | Event::End(_) => {}
        }
    }
}
