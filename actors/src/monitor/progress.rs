//! The status of a run: for SIGUSR1, the status line of a long run, systemd, and the metrics.
//!
//! ```text
//!   all actors --Event--> Monitor --> totals (aggregate.rs) --.
//!   uploader: messages, bytes --------------------------------+--> Progress --> signals, RollStatus, sinks
//!   connections: commands and their times (command_stats.rs) -|
//!   pool: connections, or why none (replica_state.rs) --------|
//!   UserSync: what is done for whom (in_flight.rs) -----------'
//! ```
//! Shared between threads; each writes its own part, and a reader sees all parts. No decision depends on it, except that
//! systemd gets READY after the first login at the replica.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use crate::monitor::aggregate::Totals;
use crate::monitor::command_stats::CommandStats;
use crate::monitor::events::Event;
use crate::monitor::in_flight::InFlight;
use crate::monitor::outlook::Sizes;
use crate::monitor::pace::{Pace, Rate};
use crate::monitor::replica_state::ReplicaState;
use crate::monitor::words;

/// The status of a run. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    in_flight: InFlight,
    commands: CommandStats,
    totals: Mutex<Totals>,
    sizes: OnceLock<Sizes>,
    stopping: AtomicBool,
    messages: AtomicU64,
    bytes: AtomicU64,
    pace: Mutex<Pace>,
    replica: Mutex<ReplicaState>,
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

    /// Takes an event into the totals. Only the Monitor does it.
    pub(crate) fn add(&self, event: &Event) {
        locked(&self.0.totals).add(event);
    }

    /// What has happened so far.
    pub(crate) fn totals(&self) -> Totals {
        locked(&self.0.totals).clone()
    }

    /// The users of the list are so large.
    pub(crate) fn list(&self, sizes: Sizes) {
        // A run has one list.
        let _ = self.0.sizes.set(sizes);
    }

    /// How large the users of the list are; none before it is read.
    pub(crate) fn sizes(&self) -> Option<&Sizes> {
        self.0.sizes.get()
    }

    /// We were asked to stop.
    pub fn stopping(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether a login has succeeded since the start, and we were not asked to stop.
    pub(crate) fn is_ready(&self) -> bool {
        self.replica().was_met() && !self.0.stopping.load(Ordering::Relaxed)
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
        let (messages, bytes) = self.uploads();
        locked(&self.0.pace).note(now, messages, bytes);
    }

    /// The present rate.
    pub(crate) fn rate(&self, now: Instant) -> Option<Rate> {
        let (messages, bytes) = self.uploads();
        locked(&self.0.pace).rate(now, messages, bytes)
    }

    /// Message files and their bytes, as far as they were sent.
    pub(crate) fn uploads(&self) -> (u64, u64) {
        (self.0.messages.load(Ordering::Relaxed), self.0.bytes.load(Ordering::Relaxed))
    }

    /// One line: how many users are finished and left, what was sent, how fast, the state of the replica.
    pub fn line(&self, now: Instant) -> String {
        let totals = self.totals();
        let finished = totals.ended.all();
        let mut line = match totals.listed {
            None => "reading the list of users".to_string(),
            Some(all) => {
                let left = all.saturating_sub(finished);
                let all = words::count(all, "user");
                format!("{finished} of {all} finished, {left} left")
            }
        };
        // Writing to a string can't fail.
        if totals.ended.failed > 0 {
            let _ = write!(line, ", {} failed", totals.ended.failed);
        }
        let (messages, bytes) = self.uploads();
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

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::report::{Outcome, Sent, UserReport};
    use cyrus_types::Owner;
    use std::time::Duration;

    #[test]
    fn the_line_has_the_totals() {
        let now = Instant::now();
        let progress = Progress::default();
        assert_eq!(progress.line(now), "reading the list of users; sent 0 messages, 0 bytes");
        progress.add(&Event::Listed { users: 2000 });
        progress.replica().start("replica.example.com".into());
        progress.note(now);
        let failed = Outcome::Failed { reason: "no index".into() };
        for outcome in [Outcome::Done, Outcome::Unchanged, failed] {
            progress.add(&Event::Finished(Box::new(UserReport {
                owner: Owner::Shared,
                outcome,
                sent: Sent::default(),
                tries: 1,
                took: Duration::ZERO,
            })));
        }
        progress.uploaded(12_300_000);
        progress.replica().connected(4);
        assert_eq!(
            progress.line(now + Duration::from_secs(10)),
            "3 of 2000 users finished, 1997 left, 1 failed; sent 1 message, 12.3 MB (0 messages/s, 1.2 MB/s); replica replica.example.com: 4 connections"
        );
    }
}
