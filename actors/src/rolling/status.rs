//! The status of a channel: for SIGUSR1 and systemd.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cyrus_types::Owner;

use crate::monitor::events::Lag;
use crate::monitor::plain;
use crate::monitor::progress::Progress;
use crate::monitor::report::Sent;
use crate::monitor::words;
use crate::work::trouble::{Kind, Trouble};

/// The status of a channel, at most a second old. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct RollStatus {
    state: Arc<Mutex<State>>,
    progress: Progress,
}

#[derive(Debug, Default)]
struct State {
    stats: ChannelStats,
    ready: bool,
    unreadable: Option<Unreadable>,
    /// A warning that an admin should see in every status.
    warning: Option<String>,
    /// When the numbers were last updated.
    alive: Option<Instant>,
}

/// The log can't be read.
#[derive(Debug)]
struct Unreadable {
    reason: String,
    since: Instant,
    told: Instant,
}

/// How often a log that can't be read is reported while the reason stays the same: it is tried many times a second.
const TELL_PAUSE: Duration = Duration::from_secs(60);

/// At most this many users that are not done are shown one by one.
const SHOWN: usize = 20;

/// The numbers of one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChannelStats {
    /// Users with open entries, including those in flight.
    pub(crate) waiting: usize,
    pub(crate) in_flight: usize,
    /// The arrival time of the oldest entry that is not done.
    pub(crate) oldest: Option<Instant>,
    pub(crate) done: u64,
    pub(crate) sent: Sent,
    pub(crate) troubles: HashMap<Owner, Trouble>,
}

impl ChannelStats {
    /// The same for the Monitor.
    pub(crate) fn lag(&self, readable: bool) -> Lag {
        let count = |kind| self.troubles.values().filter(|t| t.kind == kind).count() as u64;
        let quarantined = self.troubles.values().filter(|t| t.is_quarantined()).count() as u64;
        Lag {
            oldest: self.oldest,
            waiting: self.waiting as u64,
            in_flight: self.in_flight as u64,
            failing: count(Kind::Failed),
            quarantined,
            locked: count(Kind::Locked),
            skipped: count(Kind::Skipped),
            readable,
        }
    }
}

impl RollStatus {
    pub(crate) fn set(&self, stats: ChannelStats) {
        self.with(|state| {
            state.stats = stats;
            state.alive = Some(Instant::now());
        });
    }

    /// The log was read: the open work is known. Returns for how long it could not be read before.
    pub(crate) fn readable(&self, now: Instant) -> Option<Duration> {
        self.with(|state| {
            state.ready = true;
            let before = state.unreadable.take()?;
            Some(now.saturating_duration_since(before.since))
        })
    }

    /// Whether the log could be read the last time.
    pub(crate) fn is_readable(&self) -> bool {
        self.with(|state| state.unreadable.is_none())
    }

    /// The log can't be read. Returns whether to report it, or whether it was reported just now.
    pub(crate) fn unreadable(&self, reason: String, now: Instant) -> bool {
        self.with(|state| match &mut state.unreadable {
            Some(known) if known.reason == reason => {
                let due = now.saturating_duration_since(known.told) >= TELL_PAUSE;
                if due {
                    known.told = now;
                }
                due
            }
            unknown => {
                let since = unknown.as_ref().map_or(now, |before| before.since);
                *unknown = Some(Unreadable { reason, since, told: now });
                true
            }
        })
    }

    /// From now on the line begins with this.
    pub fn warn(&self, warning: String) {
        self.with(|state| state.warning = Some(warning));
    }

    /// The parts that do not come from the log: users in flight, and the state of the replica.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Whether the log has been read at least once, and a login at the replica has succeeded.
    pub fn is_ready(&self) -> bool {
        self.with(|state| state.ready) && self.progress.replica().was_met()
    }

    /// Whether the channel has shown a sign of life within this time.
    pub fn is_alive(&self, now: Instant, within: Duration) -> bool {
        let alive = self.with(|state| state.alive);
        alive.is_some_and(|at| now.saturating_duration_since(at) < within)
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One line: how far behind, how many users wait, what was sent, how many fail, the state of the replica.
    pub fn line(&self, now: Instant) -> String {
        let (f, unreadable, warning) = self.with(|state| {
            let unreadable = state.unreadable.as_ref().map(|u| (u.reason.clone(), u.since));
            (state.stats.clone(), unreadable, state.warning.clone())
        });
        let behind = f.oldest.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let mut line = format!(
            "{} behind, {} waiting ({} in flight), {} done",
            words::duration(Duration::from_secs(behind.as_secs())),
            words::count(f.waiting as u64, "user"),
            f.in_flight,
            f.done,
        );
        // Writing to a string can't fail.
        if f.sent.messages > 0 {
            let messages = words::count(f.sent.messages, "message");
            let _ = write!(line, ", sent {messages}, {}", words::bytes(f.sent.bytes));
            if let Some(rate) = self.progress.rate(now).filter(|rate| !rate.is_zero()) {
                let _ = write!(line, " ({rate})");
            }
        }
        let lag = f.lag(unreadable.is_none());
        if let Some((reason, since)) = unreadable {
            let since = now.saturating_duration_since(since).as_secs();
            let since = words::duration(Duration::from_secs(since));
            line = format!("the log can't be read ({reason}) for {since} now; {line}");
        }
        for (number, words) in [
            (lag.failing, "failing"),
            (lag.quarantined, "of them in quarantine"),
            (lag.locked, "locked"),
            (lag.skipped, "skipped"),
        ] {
            if number > 0 {
                let _ = write!(line, ", {number} {words}");
            }
        }
        if let Some(replica) = self.progress.replica().words(now) {
            let _ = write!(line, "; {replica}");
        }
        match warning {
            Some(warning) => format!("{warning}; {line}"),
            None => line,
        }
    }

    /// The line, one more for each user that is not done, those with the most failures first, how the replica answers, and
    /// the users in flight.
    pub fn text(&self, now: Instant) -> String {
        let mut text = self.line(now);
        let troubles = self.with(|state| state.stats.troubles.clone());
        let mut troubles: Vec<_> = troubles.into_iter().collect();
        troubles.sort_by(|a, b| b.1.times.cmp(&a.1.times).then_with(|| a.0.cmp(&b.0)));
        for (owner, trouble) in troubles.iter().take(SHOWN) {
            let (name, times) =
                (plain::line(owner.name()), words::count(trouble.times.into(), "time"));
            let _ = write!(text, "\n  {name}: {} ({times} in a row)", trouble.reason);
        }
        if troubles.len() > SHOWN {
            let _ = write!(text, "\n  and {} more", troubles.len() - SHOWN);
        }
        if let Some(answers) = self.progress.commands().words() {
            let _ = write!(text, "\n{answers}");
        }
        let _ = write!(text, "\n{}", self.progress.in_flight().status(now));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_how_far_behind_and_who_is_in_trouble() {
        let now = Instant::now();
        let status = RollStatus::default();
        assert!(!status.is_ready());
        let trouble = |kind, times| {
            let reason = "no index".into();
            Trouble { kind, times, reason, links_fault: false, since: now }
        };
        status.set(ChannelStats {
            waiting: 3,
            in_flight: 1,
            oldest: Some(now),
            done: 9,
            sent: Sent { mailboxes: 2, messages: 3, bytes: 4500, ..Sent::default() },
            troubles: HashMap::from([
                ("bert".into(), trouble(Kind::Failed, 5)),
                ("anna".into(), trouble(Kind::Failed, 1)),
                ("carl".into(), trouble(Kind::Skipped, 7)),
            ]),
        });
        let text = status.text(now + Duration::from_millis(61_500));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "1m 1s behind, 3 users waiting (1 in flight), 9 done, sent 3 messages, 4.5 kB, 2 failing, 1 of them in quarantine, 1 skipped"
        );
        assert_eq!(lines[1], "  carl: no index (7 times in a row)");
        assert_eq!(lines[3], "  anna: no index (1 time in a row)");
        assert_eq!(lines[4..], ["0 users in flight"]);
        status.warn("sync_log is off in /etc/imapd.conf".into());
        status.progress().replica().start("10.0.0.5".into());
        let line = status.line(now);
        assert!(line.starts_with("sync_log is off in /etc/imapd.conf; 0s behind, "), "{line}");
        assert!(line.ends_with("; replica 10.0.0.5: no connection"), "{line}");
    }

    #[test]
    fn a_log_that_cannot_be_read_is_told_of_now_and_then() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let status = RollStatus::default();
        let told: Vec<bool> =
            (0..130).map(|second| status.unreadable("no rights".into(), at(second))).collect();
        let seconds: Vec<usize> = (0..130).filter(|second| told[*second]).collect();
        assert_eq!(seconds, [0, 60, 120]);
        assert!(status.unreadable("no such folder".into(), at(130)), "another reason is news");
        let line = status.line(at(140));
        let expected = "the log can't be read (no such folder) for 2m 20s now; 0s behind";
        assert!(line.starts_with(expected), "{line}");
        assert!(!status.is_ready());
        assert_eq!(status.readable(at(150)), Some(Duration::from_secs(150)));
        assert_eq!(status.readable(at(151)), None);
        assert!(!status.is_ready(), "nobody has logged in");
        status.progress().replica().connected(1);
        assert!(status.is_ready() && status.line(at(151)).starts_with("0s behind"));
    }
}
