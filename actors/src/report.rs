//! How users ended: the outcome of each and the count of all.

use std::fmt;
use std::time::Duration;

/// The user id that stands for the shared mailboxes, which belong to no user. Cyrus names their
/// sync lock so too.
pub const SHARED: &str = "";

/// Whether this user id stands for the shared mailboxes.
pub(crate) fn is_shared(userid: &str) -> bool {
    userid == SHARED
}

/// A user id in words.
pub(crate) fn name_of(userid: &str) -> &str {
    if is_shared(userid) { "shared mailboxes" } else { userid }
}

/// How one user ended. Six different things, never mixed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Something was sent and the replica took it.
    Done,
    /// Both sides were already equal.
    Unchanged,
    /// Somebody else holds the sync lock (-N).
    Locked,
    /// There is a skipuser file: the user is not to be replicated.
    Skipped,
    /// The user has no INBOX here.
    Absent,
    /// The user could not be replicated.
    Failed {
        /// Why, in words for an admin.
        reason: String,
    },
}

/// One word.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Done => "done",
            Outcome::Unchanged => "unchanged",
            Outcome::Locked => "locked",
            Outcome::Skipped => "skipped",
            Outcome::Absent => "absent",
            Outcome::Failed { .. } => "failed",
        })
    }
}

/// What was sent for one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// Mailboxes applied.
    pub mailboxes: u64,
    /// Message files uploaded.
    pub messages: u64,
    /// Bytes of message files uploaded.
    pub bytes: u64,
}

impl Sent {
    /// Adds another count to this one.
    pub fn add(&mut self, other: Sent) {
        self.mailboxes += other.mailboxes;
        self.messages += other.messages;
        self.bytes += other.bytes;
    }
}

/// One user's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserReport {
    /// The user, or [`SHARED`].
    pub userid: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What was sent, all tries together.
    pub sent: Sent,
    /// How often it was tried.
    pub tries: u32,
    /// From the first try to the end.
    pub took: Duration,
}

impl UserReport {
    /// Whose report it is, in words.
    pub fn name(&self) -> &str {
        name_of(&self.userid)
    }
}

/// All users of a run.
#[derive(Debug, Clone, Default)]
pub struct RunReport {
    /// Every user, in the order of their ends.
    pub users: Vec<UserReport>,
    /// Why the run stopped before its last user; none if it did not.
    pub stopped: Option<Stopped>,
    /// From start to end.
    pub took: Duration,
    /// How often all of mailboxes.db was read; 0 where it is no file to be kept in memory.
    pub list_passes: u64,
}

/// Why a run stopped early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// Login, certificate or configuration: trying again would not help.
    Fatal(String),
    /// The replica can't be reached and -o forbids to wait.
    NoConnection(String),
    /// Asked to stop (SIGTERM, SIGINT) while the replica could not be reached.
    WhileConnecting,
    /// Asked to stop; what was in flight was finished.
    Signal,
    /// The users could not be listed.
    Listing(String),
    /// The sync log can't be worked on.
    Log(String),
    /// Asked to stop by the shutdown file; what was in flight was finished.
    ShutdownFile,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stopped::Fatal(why) => write!(f, "stopped: {why}"),
            Stopped::NoConnection(why) => f.write_str(why),
            Stopped::WhileConnecting => {
                f.write_str("stopped while the replica could not be reached")
            }
            Stopped::Signal => f.write_str(
                "stopped by a signal; users that were not reached are left to another run",
            ),
            Stopped::Log(why) => write!(f, "the sync log can't be replicated: {why}"),
            Stopped::ShutdownFile => f.write_str("stopped by the shutdown file"),
            Stopped::Listing(why) => write!(f, "the users can't be listed: {why}"),
        }
    }
}

impl RunReport {
    /// How many users ended so.
    fn count(&self, matches: fn(&Outcome) -> bool) -> usize {
        self.named().filter(|u| matches(&u.outcome)).count()
    }

    fn named(&self) -> impl Iterator<Item = &UserReport> {
        self.users.iter().filter(|u| !is_shared(&u.userid))
    }

    fn shared(&self) -> Option<&UserReport> {
        self.users.iter().find(|u| is_shared(&u.userid))
    }

    /// How many users failed; the shared mailboxes count as one.
    pub fn failed(&self) -> usize {
        self.users.iter().filter(|u| matches!(u.outcome, Outcome::Failed { .. })).count()
    }

    /// What was sent for all users.
    pub fn sent(&self) -> Sent {
        let mut total = Sent::default();
        for user in &self.users {
            total.add(user.sent);
        }
        total
    }
}

/// The summary: one line, then one for each failed or absent user.
impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sent = self.sent();
        write!(
            f,
            "{} users: {} done, {} unchanged, {} locked, {} skipped, {} absent, {} failed; sent {} mailboxes, {} messages, {} bytes in {}",
            self.named().count(),
            self.count(|o| matches!(o, Outcome::Done)),
            self.count(|o| matches!(o, Outcome::Unchanged)),
            self.count(|o| matches!(o, Outcome::Locked)),
            self.count(|o| matches!(o, Outcome::Skipped)),
            self.count(|o| matches!(o, Outcome::Absent)),
            self.count(|o| matches!(o, Outcome::Failed { .. })),
            sent.mailboxes,
            sent.messages,
            sent.bytes,
            humantime::format_duration(Duration::from_millis(self.took.as_millis() as u64)),
        )?;
        if let Some(shared) = self.shared() {
            write!(f, "; shared mailboxes {}", shared.outcome)?;
        }
        for user in &self.users {
            match &user.outcome {
                Outcome::Failed { reason } => write!(f, "\nfailed: {}: {reason}", user.name())?,
                Outcome::Absent => write!(f, "\nabsent: {}: has no INBOX here", user.name())?,
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_each_outcome_and_names_the_failed() {
        let user = |userid: &str, outcome| UserReport {
            userid: userid.into(),
            outcome,
            sent: Sent { mailboxes: 1, messages: 2, bytes: 3 },
            tries: 1,
            took: Duration::ZERO,
        };
        let report = RunReport {
            users: vec![
                user("a", Outcome::Done),
                user("b", Outcome::Unchanged),
                user("c", Outcome::Failed { reason: "no index".into() }),
                user("d", Outcome::Absent),
            ],
            stopped: None,
            took: Duration::from_millis(1234),
            list_passes: 1,
        };
        assert_eq!(
            report.to_string(),
            "4 users: 1 done, 1 unchanged, 0 locked, 0 skipped, 1 absent, 1 failed; sent 4 mailboxes, 8 messages, 12 bytes in 1s 234ms\nfailed: c: no index\nabsent: d: has no INBOX here"
        );
    }
}
