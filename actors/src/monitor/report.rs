//! How users ended: the outcome of each and the count of all.

use std::fmt::{self, Write as _};
use std::time::Duration;

use cyrus_types::Owner;

use crate::monitor::plain;
pub use crate::monitor::stopped::Stopped;
use crate::monitor::words;

/// How one user ended. These six outcomes are never mixed up.
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

/// A word or two.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Done => "replicated",
            Outcome::Unchanged => "already equal",
            Outcome::Locked => "locked",
            Outcome::Skipped => "skipped",
            Outcome::Absent => "without an INBOX",
            Outcome::Failed { .. } => "failed",
        })
    }
}

/// What the replica accepted for one user: what it answered with OK, each item once however often it was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// Mailboxes applied.
    pub mailboxes: u64,
    /// Message files uploaded, of mailboxes that were applied.
    pub messages: u64,
    /// Bytes of these message files.
    pub bytes: u64,
    /// Mailboxes and messages removed.
    pub removed: u64,
    /// Mailboxes that lost something that only the replica had (--overwrite).
    pub overwritten: u64,
    /// Messages that were removed this way.
    pub lost: u64,
}

impl Sent {
    /// Adds another count to this one.
    pub fn add(&mut self, other: Sent) {
        self.mailboxes += other.mailboxes;
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.removed += other.removed;
        self.overwritten += other.overwritten;
        self.lost += other.lost;
    }

    /// What --overwrite removed, in words.
    pub(crate) fn overwritten(&self) -> Option<String> {
        (self.overwritten > 0).then(|| {
            let mailboxes = if self.overwritten == 1 { "mailbox" } else { "mailboxes" };
            let messages = words::count(self.lost, "message");
            format!("{} {mailboxes}, {messages} that only the replica had", self.overwritten)
        })
    }

    /// Adds `; sent 3 messages, 4.5 kB (1.2 MB/s)` to a summary, unless no message was sent.
    pub(crate) fn write(&self, took: Duration, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.messages == 0 {
            return Ok(());
        }
        let (messages, bytes) = (words::count(self.messages, "message"), words::bytes(self.bytes));
        write!(f, "; sent {messages}, {bytes} ({})", words::rate(self.bytes, took))
    }
}

/// One user's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserReport {
    /// The user, or nobody: shared with the list, because there are many.
    pub owner: Owner,
    /// How it ended.
    pub outcome: Outcome,
    /// What was sent, all tries together.
    pub sent: Sent,
    /// How often it was tried.
    pub tries: u32,
    /// From the start of the last try to the end.
    pub took: Duration,
}

impl Outcome {
    /// A word for it, for programs.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Outcome::Done => "replicated",
            Outcome::Unchanged => "equal",
            Outcome::Locked => "locked",
            Outcome::Skipped => "skipped",
            Outcome::Absent => "absent",
            Outcome::Failed { .. } => "failed",
        }
    }
}

impl UserReport {
    /// The user in words.
    pub fn name(&self) -> &str {
        self.owner.name()
    }
}

/// The line for a user that ended well, for -v: `DONE anna: 3 mailboxes, 12 messages, 34.5 kB in 120ms`.
pub(crate) fn done_line(name: &str, outcome: &Outcome, sent: Sent, took: Duration) -> String {
    let counts = [(sent.mailboxes, "mailbox", "mailboxes"), (sent.messages, "message", "messages")];
    let mut parts: Vec<String> = counts
        .into_iter()
        .filter(|(number, ..)| *number > 0)
        .map(|(number, one, more)| format!("{number} {}", if number == 1 { one } else { more }))
        .collect();
    if sent.messages > 0 {
        parts.push(words::bytes(sent.bytes));
    }
    if parts.is_empty() {
        parts.push(outcome.to_string());
    }
    format!("DONE {name}: {} in {}", parts.join(", "), words::duration(took))
}

/// Users that ended well and need no line of their own. They are only counted: for a list of 200,000 users a [`UserReport`]
/// each would take half of the memory that a run may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Well {
    /// How many were replicated.
    pub replicated: u64,
    /// How many were already equal.
    pub equal: u64,
    /// What was sent for all of them.
    pub sent: Sent,
}

/// All users of a run.
#[derive(Debug, Clone, Default)]
pub struct RunReport {
    /// The users that ended well, except those below.
    pub well: Well,
    /// The users that did not, those of which something was overwritten, and the shared mailboxes, in the order of their
    /// ends.
    pub named: Vec<UserReport>,
    /// Users that were selected but not reached, because the run stopped before.
    pub not_reached: Vec<Owner>,
    /// Users that were being worked on when the run was stopped, and did not end in time.
    pub broken_off: Vec<Owner>,
    /// Whether users were named one by one (-u): one that does not exist is then a failure.
    pub by_name: bool,
    /// How many mailboxes were named (-m); `None` if users were.
    pub mailboxes: Option<u64>,
    /// Texts among them that no mailbox could have as its name.
    pub no_names: Vec<String>,
    /// Lines of the list (-f) in which --failed-users says what -f can't repeat: this run has not done it, either.
    pub left_to_do: Vec<String>,
    /// Why the run stopped before its last user; `None` if it did not.
    pub stopped: Option<Stopped>,
    /// From start to end.
    pub took: Duration,
    /// Files about this run that could not be written (--report, --failed-users), each with the reason.
    pub unwritten: Vec<String>,
}

impl RunReport {
    /// Records a user's end.
    pub(crate) fn add(&mut self, user: UserReport) {
        let counted = match user.outcome {
            Outcome::Done => &mut self.well.replicated,
            Outcome::Unchanged => &mut self.well.equal,
            _ => return self.named.push(user),
        };
        if user.owner.is_shared() || user.sent.overwritten > 0 {
            return self.named.push(user);
        }
        *counted += 1;
        self.well.sent.add(user.sent);
    }

    /// How many ended, well or not; the shared mailboxes count as one.
    pub fn finished(&self) -> u64 {
        self.well.replicated + self.well.equal + self.named.len() as u64
    }

    /// How many of the named users ended with this outcome.
    fn count(&self, matches: fn(&Outcome) -> bool) -> u64 {
        let users = self.named.iter().filter(|u| !u.owner.is_shared());
        users.filter(|u| matches(&u.outcome)).count() as u64
    }

    fn shared(&self) -> Option<&UserReport> {
        self.named.iter().find(|u| u.owner.is_shared())
    }

    /// How many users failed; the shared mailboxes count as one.
    pub fn failed(&self) -> usize {
        self.named.iter().filter(|u| matches!(u.outcome, Outcome::Failed { .. })).count()
    }

    /// Whether everything that was asked for is on the replica. A user whose lock somebody else holds is not; neither is
    /// one named with -u that does not exist or has a skipuser file. With -A a skipuser file is what the admin asked for,
    /// and a user without an INBOX is ignored, as in Cyrus' client.
    pub fn all_well(&self) -> bool {
        self.no_names.is_empty() && self.left_to_do.is_empty() && self.missing().next().is_none()
    }

    /// Everybody that was asked for and is not on the replica, in no particular order: see [`RunReport::all_well`].
    pub(crate) fn missing(&self) -> impl Iterator<Item = &Owner> {
        let named = self.named.iter().filter(|user| match user.outcome {
            Outcome::Done | Outcome::Unchanged => false,
            Outcome::Skipped | Outcome::Absent => self.by_name,
            Outcome::Locked | Outcome::Failed { .. } => true,
        });
        let named = named.map(|user| &user.owner);
        named.chain(&self.broken_off).chain(&self.not_reached)
    }

    /// Whether the run ended before it knew whom to replicate.
    pub(crate) fn is_without_list(&self) -> bool {
        self.stopped.is_some() && self.is_complete() && self.finished() == 0
    }

    /// Whether every selected user has ended.
    pub fn is_complete(&self) -> bool {
        self.not_reached.is_empty() && self.broken_off.is_empty()
    }

    /// What was sent for all users.
    pub fn sent(&self) -> Sent {
        let mut total = self.well.sent;
        for user in &self.named {
            total.add(user.sent);
        }
        total
    }

    /// Why the run stopped before its last user, and how far it came; `None` if it did not.
    pub fn interruption(&self) -> Option<String> {
        let why = self.stopped.as_ref()?;
        if self.is_complete() {
            return Some(why.to_string());
        }
        let finished = self.finished();
        let (missed, broken_off) = (self.not_reached.len(), self.broken_off.len());
        let all = words::count(finished + (missed + broken_off) as u64, "user");
        let mut reached = format!("{finished} of {all} finished");
        for (number, words) in [(broken_off, "broken off"), (missed, "not reached")] {
            if number > 0 {
                let _ = write!(reached, ", {number} {words}");
            }
        }
        let mut text = match why {
            Stopped::Signal | Stopped::WhileConnecting => {
                format!("{why}: {reached}; run the same command again to go on")
            }
            _ => format!("{why}\n{reached}"),
        };
        for (users, words) in [(&self.broken_off, "broken off"), (&self.not_reached, "not reached")]
        {
            if !users.is_empty() {
                let _ = write!(text, "\n{words}: {}", some_names(users));
            }
        }
        Some(text)
    }
}

/// The first users by name, and how many more there are.
fn some_names(users: &[Owner]) -> String {
    let names: Vec<_> = users.iter().take(NAMED).map(|owner| plain::line(owner.name())).collect();
    let mut text = names.join(", ");
    if users.len() > NAMED {
        let _ = write!(text, " and {} more", users.len() - NAMED);
    }
    text
}

/// How many unfinished users are named.
const NAMED: usize = 20;

/// The summary: one line, then one for each user that is not on the replica now.
impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let users = self.finished() - u64::from(self.shared().is_some());
        match self.mailboxes {
            Some(number) => {
                let what = if number == 1 { "mailbox" } else { "mailboxes" };
                write!(f, "{number} {what}")?;
                if users > 0 {
                    write!(f, " ({})", words::count(users, "user"))?;
                }
            }
            None => f.write_str(&words::count(users, "user"))?,
        }
        write!(f, " in {}", words::duration(self.took))?;
        let counts = [
            (self.well.replicated + self.count(|o| matches!(o, Outcome::Done)), "replicated"),
            (self.well.equal + self.count(|o| matches!(o, Outcome::Unchanged)), "already equal"),
            (self.count(|o| matches!(o, Outcome::Locked)), "locked"),
            (self.count(|o| matches!(o, Outcome::Skipped)), "skipped"),
            (self.count(|o| matches!(o, Outcome::Absent)), "without an INBOX"),
            (self.count(|o| matches!(o, Outcome::Failed { .. })), "failed"),
        ];
        let mut parts: Vec<String> = counts
            .into_iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, word)| format!("{number} {word}"))
            .collect();
        if let Some(shared) = self.shared() {
            parts.push(format!("shared mailboxes {}", shared.outcome));
        }
        if !parts.is_empty() {
            write!(f, ": {}", parts.join(", "))?;
        }
        self.sent().write(self.took, f)?;
        for user in &self.named {
            if let Some(overwritten) = user.sent.overwritten() {
                write!(f, "\noverwritten: {}: {overwritten}", plain::line(user.name()))?;
            }
        }
        for line in &self.left_to_do {
            write!(f, "\nnot done: {}", plain::line(line.trim_start_matches(['#', ' '])))?;
        }
        for text in &self.no_names {
            write!(f, "\nfailed: \"{}\" can't be the name of a mailbox", plain::line(text))?;
        }
        for user in &self.named {
            let name = plain::line(user.name());
            match &user.outcome {
                Outcome::Failed { reason } => write!(f, "\nfailed: {name}: {reason}")?,
                Outcome::Locked => {
                    write!(f, "\nlocked: {name}: somebody else holds the sync lock")?;
                }
                Outcome::Skipped => write!(f, "\nskipped: {name}: there is a skipuser file")?,
                Outcome::Absent if self.by_name => {
                    write!(f, "\nno such user: {name:?} has no INBOX on this server")?;
                }
                Outcome::Absent => {
                    write!(f, "\nwithout an INBOX: {name}: left alone on the replica")?;
                }
                Outcome::Done | Outcome::Unchanged => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
