//! How a channel stands: for SIGUSR1, systemd and whoever else asks.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::report::{Sent, name_of};
use crate::rota::{Kind, Trouble};

/// How a channel stands, as of the last second. Clones show the same.
#[derive(Debug, Clone, Default)]
pub struct RollStatus(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    figures: Figures,
    ready: bool,
    /// When the figures were last made.
    alive: Option<Instant>,
}

/// The figures of one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    /// Users with something to be done, those in flight among them.
    pub(crate) waiting: usize,
    pub(crate) in_flight: usize,
    /// When the oldest entry came that is not done.
    pub(crate) oldest: Option<Instant>,
    pub(crate) done: u64,
    pub(crate) sent: Sent,
    pub(crate) troubles: HashMap<Arc<str>, Trouble>,
}

impl RollStatus {
    pub(crate) fn set(&self, figures: Figures) {
        self.with(|state| {
            state.figures = figures;
            state.alive = Some(Instant::now());
        });
    }

    /// The log was read: what there is to do is known.
    pub(crate) fn ready(&self) {
        self.with(|state| state.ready = true);
    }

    /// Whether the log has been read at least once.
    pub fn is_ready(&self) -> bool {
        self.with(|state| state.ready)
    }

    /// Whether the channel has shown a sign of life within this time.
    pub fn is_alive(&self, now: Instant, within: Duration) -> bool {
        let alive = self.with(|state| state.alive);
        alive.is_some_and(|at| now.saturating_duration_since(at) < within)
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One line: how far behind, how much is waiting, how many are in trouble.
    pub fn line(&self, now: Instant) -> String {
        let f = self.with(|state| state.figures.clone());
        let behind = f.oldest.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let mut line = format!(
            "{} behind, {} users waiting ({} in flight), {} done, {} messages sent",
            humantime::format_duration(Duration::from_secs(behind.as_secs())),
            f.waiting,
            f.in_flight,
            f.done,
            f.sent.messages,
        );
        let count = |kind| f.troubles.values().filter(|t| t.kind == kind).count();
        let quarantined = f.troubles.values().filter(|t| t.is_quarantined()).count();
        for (number, words) in [
            (count(Kind::Failed), "failing"),
            (quarantined, "of them in quarantine"),
            (count(Kind::Locked), "locked"),
            (count(Kind::Skipped), "skipped"),
        ] {
            if number > 0 {
                // Writing to a string can't fail.
                let _ = write!(line, ", {number} {words}");
            }
        }
        line
    }

    /// The line, and one more for each user that is not done.
    pub fn text(&self, now: Instant) -> String {
        let mut text = self.line(now);
        let troubles = self.with(|state| state.figures.troubles.clone());
        let mut troubles: Vec<_> = troubles.into_iter().collect();
        troubles.sort_by(|a, b| a.0.cmp(&b.0));
        for (userid, trouble) in troubles {
            let _ = write!(
                text,
                "\n  {}: {} ({} times in a row)",
                name_of(&userid),
                trouble.reason,
                trouble.times
            );
        }
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
        let trouble = |kind, times| Trouble { kind, times, reason: "no index".into() };
        status.set(Figures {
            waiting: 3,
            in_flight: 1,
            oldest: Some(now),
            done: 9,
            troubles: HashMap::from([
                ("bert".into(), trouble(Kind::Failed, 5)),
                ("anna".into(), trouble(Kind::Failed, 1)),
                ("carl".into(), trouble(Kind::Skipped, 7)),
            ]),
            ..Figures::default()
        });
        let text = status.text(now + Duration::from_millis(61_500));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "1m 1s behind, 3 users waiting (1 in flight), 9 done, 0 messages sent, 2 failing, 1 of them in quarantine, 1 skipped"
        );
        assert_eq!(lines[1], "  anna: no index (1 times in a row)");
        assert_eq!(lines.len(), 4);
    }
}
