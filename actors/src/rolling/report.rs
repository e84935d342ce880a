//! What a channel's rolling replication reports at its end.

use std::fmt;
use std::time::Duration;

use cyrus_types::Owner;

use crate::monitor::report::{Sent, Stopped};
use crate::monitor::{plain, words};
use crate::work::trouble::Kind;

/// How a channel's rolling replication ended.
#[derive(Debug, Clone, Default)]
pub struct RollReport {
    /// Works of users that ended well.
    pub done: u64,
    /// What was sent.
    pub sent: Sent,
    /// Users with entries that are not done: these are in log-run.
    pub left: usize,
    /// It ended before all entries were read.
    pub unread: bool,
    /// It was a file (-f): entries that are not done are kept nowhere.
    pub given: bool,
    /// Users that are not done, with the reason and its kind.
    pub(crate) troubles: Vec<(Owner, String, Kind)>,
    /// Why it ended; `None`: it was a single pass.
    pub stopped: Option<Stopped>,
    /// From start to end.
    pub took: Duration,
}

impl RollReport {
    /// How many users failed.
    pub fn failed(&self) -> usize {
        self.count(Kind::Failed)
    }

    /// Whether a single pass replicated everything that was asked for. Entries that a skipuser file holds back stay in
    /// Cyrus' own log, as the admin wants; in a file (-f) they were asked for.
    pub fn all_well(&self) -> bool {
        let skipped = if self.given { self.count(Kind::Skipped) } else { 0 };
        self.failed() + self.count(Kind::Locked) + skipped == 0
    }

    fn count(&self, kind: Kind) -> usize {
        self.troubles.iter().filter(|(_, _, k)| *k == kind).count()
    }
}

/// The summary: one line, then one for each user in trouble.
impl fmt::Display for RollReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (done, took) = (words::count(self.done, "user"), words::duration(self.took));
        write!(f, "rolling: {done} done in {took}")?;
        if self.left > 0 {
            let kinds = [
                (self.count(Kind::Failed), "failed"),
                (self.count(Kind::Locked), "locked"),
                (self.count(Kind::Skipped), "skipped"),
            ];
            let kinds = kinds.into_iter().filter(|(number, _)| *number > 0);
            let kinds: Vec<_> = kinds.map(|(number, word)| format!("{number} {word}")).collect();
            let place = if self.given { "not done" } else { "left in the log" };
            write!(f, ", {} {place}", self.left)?;
            if !kinds.is_empty() {
                write!(f, " ({})", kinds.join(", "))?;
            }
        }
        self.sent.write(self.took, f)?;
        for (owner, reason, kind) in &self.troubles {
            let kind = match kind {
                Kind::Failed => "failed",
                Kind::Locked => "locked",
                Kind::Skipped => "skipped",
            };
            write!(f, "\n{kind}: {}: {reason}", plain::line(owner.name()))?;
        }
        Ok(())
    }
}
