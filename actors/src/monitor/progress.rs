//! The status of a run: for SIGUSR1, the status line of a long run, and systemd.
//!
//! ```text
//!   Dispatcher: users listed, finished --.
//!   uploader: messages, bytes -----------+--> Progress --> signals, keep_saying (below), RollStatus
//!   pool: connections, or why none ------|
//!   UserSync: what is done for whom -----'  (in_flight.rs)
//! ```
//! Shared between threads; each writes its own part, and a reader sees all parts. No decision depends on it, except that
//! systemd gets READY after the first login at the replica.

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use crate::monitor::command_stats::CommandStats;
use crate::monitor::events::{Event, EventSink};
use crate::monitor::in_flight::InFlight;
use crate::monitor::pace::{Pace, Rate};
use crate::monitor::replica_state::ReplicaState;
use crate::monitor::report::Outcome;
use crate::monitor::words;

/// How often a long run prints its status.
const SAY_EVERY: u32 = 30;
/// How often the totals are recorded, for the pace.
const NOTE_PAUSE: Duration = Duration::from_secs(1);

/// The status of a run. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    in_flight: InFlight,
    commands: CommandStats,
    users: Mutex<Users>,
    messages: AtomicU64,
    bytes: AtomicU64,
    pace: Mutex<Pace>,
    replica: Mutex<ReplicaState>,
}

/// The users of a list.
#[derive(Debug, Clone, Copy, Default)]
struct Users {
    /// None before the list is read.
    all: Option<u64>,
    finished: u64,
    failed: u64,
}

impl Progress {
    /// The users in flight.
    pub(crate) fn in_flight(&self) -> &InFlight {
        &self.0.in_flight
    }

    /// How the replica answers.
    pub(crate) fn commands(&self) -> &CommandStats {
        &self.0.commands
    }

    /// The list is read: it has this many users.
    pub(crate) fn listed(&self, all: usize) {
        locked(&self.0.users).all = Some(all as u64);
    }

    /// A user of the list has ended.
    pub(crate) fn finished(&self, outcome: &Outcome) {
        let mut users = locked(&self.0.users);
        users.finished += 1;
        users.failed += u64::from(matches!(outcome, Outcome::Failed { .. }));
    }

    /// A message file was sent. It counts even if it will be sent again.
    pub(crate) fn uploaded(&self, bytes: u64) {
        self.0.messages.fetch_add(1, Ordering::Relaxed);
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The state of the replica.
    pub(crate) fn replica(&self) -> MutexGuard<'_, ReplicaState> {
        locked(&self.0.replica)
    }

    /// Records the totals, for the pace: call it about once a second.
    pub(crate) fn note(&self, now: Instant) {
        let (messages, bytes) = self.sent();
        locked(&self.0.pace).note(now, messages, bytes);
    }

    /// The present rate.
    pub(crate) fn rate(&self, now: Instant) -> Option<Rate> {
        let (messages, bytes) = self.sent();
        locked(&self.0.pace).rate(now, messages, bytes)
    }

    fn sent(&self) -> (u64, u64) {
        (self.0.messages.load(Ordering::Relaxed), self.0.bytes.load(Ordering::Relaxed))
    }

    /// One line: how many users are finished and left, what was sent, how fast, the state of the replica.
    pub fn line(&self, now: Instant) -> String {
        let users = *locked(&self.0.users);
        let mut line = match users.all {
            None => "reading the list of users".to_string(),
            Some(all) => {
                let left = all.saturating_sub(users.finished);
                let all = words::count(all, "user");
                format!("{} of {all} finished, {left} left", users.finished)
            }
        };
        // Writing to a string can't fail.
        if users.failed > 0 {
            let _ = write!(line, ", {} failed", users.failed);
        }
        let (messages, bytes) = self.sent();
        let (sent, bytes) = (words::count(messages, "message"), words::bytes(bytes));
        let _ = write!(line, "; sent {sent}, {bytes}");
        if let Some(rate) = self.rate(now) {
            let _ = write!(line, " ({rate})");
        }
        if let Some(replica) = self.replica().words(now) {
            let _ = write!(line, "; {replica}");
        }
        line
    }

    /// The line, how the replica answers, and the users in flight, slowest first.
    pub fn text(&self, now: Instant) -> String {
        let mut text = self.line(now);
        if let Some(answers) = self.commands().words() {
            let _ = write!(text, "\n{answers}");
        }
        let _ = write!(text, "\n{}", self.in_flight().status(now));
        text
    }
}

/// Prints the status every half minute, for as long as it is polled.
pub(crate) async fn keep_saying(progress: &Progress, events: &EventSink) -> Infallible {
    let mut ticks = interval(NOTE_PAUSE);
    // After a pause of the whole machine one line is enough.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seconds = 0;
    loop {
        ticks.tick().await;
        let now = Instant::now();
        progress.note(now);
        if seconds > 0 && seconds % SAY_EVERY == 0 {
            events.tell(Event::Notice(progress.line(now))).await;
        }
        seconds += 1;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_the_totals() {
        let now = Instant::now();
        let progress = Progress::default();
        assert_eq!(progress.line(now), "reading the list of users; sent 0 messages, 0 bytes");
        progress.listed(2000);
        progress.replica().start("replica.example.com".into());
        progress.note(now);
        progress.finished(&Outcome::Done);
        progress.finished(&Outcome::Unchanged);
        progress.finished(&Outcome::Failed { reason: "no index".into() });
        progress.uploaded(12_300_000);
        progress.replica().connected(4);
        assert_eq!(
            progress.line(now + Duration::from_secs(10)),
            "3 of 2000 users finished, 1997 left, 1 failed; sent 1 message, 12.3 MB (0 messages/s, 1.2 MB/s); replica replica.example.com: 4 connections"
        );
    }

    // Shows that a run prints its status after each half minute, not before, and even though nothing else happens.
    #[tokio::test(start_paused = true)]
    async fn a_long_run_says_a_line_every_half_minute() {
        let progress = Progress::default();
        progress.listed(3);
        let (events, mut told) = EventSink::channel(false, false);
        for (seconds, wanted) in [(29, 0), (31, 1), (89, 2), (95, 3)] {
            let time = Duration::from_secs(seconds);
            let _ = tokio::time::timeout(time, keep_saying(&progress, &events)).await;
            let mut said = Vec::new();
            while let Ok(Event::Notice(line)) = told.try_recv() {
                said.push(line);
            }
            assert_eq!(said.len(), wanted, "in {seconds} s: {said:?}");
            assert!(
                said.iter().all(|line| line.starts_with("0 of 3 users finished, 3 left; sent"))
            );
        }
    }
}
