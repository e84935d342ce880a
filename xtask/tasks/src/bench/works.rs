//! The workloads between real servers, from which store, and where the stores are kept.

use std::fmt;

use clap::ValueEnum;
use testkit::store::{Plan, Sizes};

/// A workload between real servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    All,
    Idle,
    Changed,
    Wide,
    Big,
}

impl Work {
    pub(crate) const ALL: [Work; 5] = [Work::All, Work::Idle, Work::Changed, Work::Wide, Work::Big];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Work::All => "all",
            Work::Idle => "idle",
            Work::Changed => "changed",
            Work::Wide => "wide",
            Work::Big => "big",
        }
    }

    /// Its name in the file of results, with stores in this medium.
    pub(crate) fn kind(self, medium: Medium) -> String {
        match medium {
            // The name from before there was a choice.
            Medium::Memory => self.name().to_owned(),
            Medium::Disk => format!("{self}/disk"),
        }
    }

    pub(crate) fn words(self) -> &'static str {
        match self {
            Work::All => {
                "`-A`: 200 users, 4 mailboxes each, 25 messages of 2 KB in each; empty replica"
            }
            Work::Idle => "`-A`, the same: nothing changed",
            Work::Changed => "`-A`, the same: one message new in ten mailboxes of ten users",
            Work::Wide => "`-u`: one user, 400 mailboxes of 10 messages of 2 KB; empty replica",
            Work::Big => {
                "`-A`: 24 users, 3 mailboxes each, 25 messages of 60 KB in each; empty replica"
            }
        }
    }

    /// The master's store that it takes.
    pub(crate) fn load(self) -> Load {
        match self {
            Work::All | Work::Idle | Work::Changed => Load::Many,
            Work::Wide => Load::Wide,
            Work::Big => Load::Big,
        }
    }

    /// Whether the replica is empty before each run, or else equal.
    pub(crate) fn begins_empty(self) -> bool {
        matches!(self, Work::All | Work::Wide | Work::Big)
    }

    /// Whether there are enough users to share among several clients.
    pub(crate) fn has_many_users(self) -> bool {
        self != Work::Wide
    }

    /// How many times as fast as the C client ours should be at this round trip.
    pub(crate) fn target(self, rtt: u64) -> Option<f64> {
        let [at_0, at_20, at_50] = match self {
            Work::All => [1.6, 8.0, 16.0],
            Work::Idle => [3.0, 25.0, 40.0],
            Work::Changed => [2.0, 15.0, 25.0],
            Work::Wide => [1.2, 8.0, 15.0],
            Work::Big => return None,
        };
        match rtt {
            0 => Some(at_0),
            20 => Some(at_20),
            50 => Some(at_50),
            _ => None,
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A master's store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// 200 users of 4 mailboxes of 25 messages of 2 KB.
    Many,
    /// One user of 400 mailboxes of 10 messages of 2 KB.
    Wide,
    /// 24 users of 3 mailboxes of 25 messages of 60 KB: 108 MB, and as much on each replica.
    Big,
}

impl Load {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Load::Many => "many",
            Load::Wide => "wide",
            Load::Big => "big",
        }
    }

    pub(crate) fn plan(self) -> Plan {
        match self {
            Load::Many => {
                Plan { seed: 3, users: 200, mailboxes: 4, messages: 25, ..Plan::default() }
            }
            Load::Wide => {
                Plan { seed: 4, users: 1, mailboxes: 400, messages: 10, ..Plan::default() }
            }
            Load::Big => Plan {
                seed: 7,
                users: 24,
                mailboxes: 3,
                messages: 25,
                sizes: Sizes::Fixed(60_000),
                ..Plan::default()
            },
        }
    }
}

/// Where the stores of the master and the replicas are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Medium {
    Memory,
    Disk,
}

impl Medium {
    pub(crate) const ALL: [Medium; 2] = [Medium::Memory, Medium::Disk];

    /// The words after "a store is".
    pub(crate) fn place(self) -> &'static str {
        match self {
            Medium::Memory => "in memory",
            Medium::Disk => "on disk",
        }
    }
}

impl fmt::Display for Medium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Medium::Memory => "memory",
            Medium::Disk => "disk",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_and_kinds_differ() {
        let mut kinds = Vec::new();
        for work in Work::ALL {
            assert_eq!(Work::from_str(work.name(), false), Ok(work));
            kinds.extend(Medium::ALL.map(|medium| work.kind(medium)));
        }
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), 10);
        assert_eq!((Work::Idle.target(20), Work::Idle.target(5)), (Some(25.0), None));
    }
}
