//! What is being done for which user at this moment; a part of `monitor/progress.rs`.
//!
//! Shared between threads: each user in flight writes its own row, a status reads all of them. No decision depends on it.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cyrus_types::Owner;
use dashmap::DashMap;

use crate::monitor::plain;
use crate::monitor::words;

/// The stage of users that a status only counts, because there may be many.
pub(crate) const WAITING: &str = "waiting for a connection";
/// The stage of users whose sync lock somebody else holds.
pub(crate) const LOCKED: &str = "waiting for the sync lock";
/// The stage of users that failed and will be tried again.
pub(crate) const RESTING: &str = "resting before another try";

/// At most this many users are shown one by one.
const SHOWN: usize = 20;

/// The users in flight, and what is being done for each. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct InFlight(Arc<DashMap<Owner, Row>>);

#[derive(Debug)]
struct Row {
    since: Instant,
    stage: Cow<'static, str>,
}

impl InFlight {
    /// Records what is being done for a user now.
    pub(crate) fn set(&self, owner: &Owner, stage: impl Into<Cow<'static, str>>) {
        let stage = stage.into();
        match self.0.get_mut(owner) {
            Some(mut row) => row.stage = stage,
            None => {
                self.0.insert(owner.clone(), Row { since: Instant::now(), stage });
            }
        }
    }

    /// A user is no longer in flight.
    pub(crate) fn remove(&self, owner: &Owner) {
        self.0.remove(owner);
    }

    /// How many users are in this stage.
    pub(crate) fn count(&self, stage: &str) -> usize {
        self.0.iter().filter(|row| row.stage == stage).count()
    }

    /// How many users there are, in any stage.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// One line for each user that is being worked on, slowest first: those that are longest in flight.
    pub(crate) fn slowest(&self, now: Instant) -> Vec<String> {
        let mut rows: Vec<(Duration, String)> = self
            .0
            .iter()
            .filter(|row| row.stage != WAITING)
            .map(|row| {
                let age = now.saturating_duration_since(row.since);
                let shown = words::duration(Duration::from_secs(age.as_secs()));
                let name = plain::line(row.key().name());
                (age, format!("  {name}: {} ({shown})", row.stage))
            })
            .collect();
        rows.sort_by(|a, b| b.cmp(a));
        rows.into_iter().map(|(_, line)| line).collect()
    }

    /// One line for the whole, and those of [`InFlight::slowest`].
    pub(crate) fn status(&self, now: Instant) -> String {
        let rows = self.slowest(now);
        let waiting = self.0.len().saturating_sub(rows.len());
        let mut status = format!("{} in flight", words::count(rows.len() as u64, "user"));
        if waiting > 0 {
            let _ = write!(status, ", {waiting} {WAITING}");
        }
        for line in rows.iter().take(SHOWN) {
            // Writing to a string can't fail.
            let _ = write!(status, "\n{line}");
        }
        if rows.len() > SHOWN {
            let _ = write!(status, "\n  and {} more", rows.len() - SHOWN);
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_in_flight_comes_first() {
        let in_flight = InFlight::default();
        let (anna, shared) = (Owner::from("anna"), Owner::Shared);
        in_flight.set(&anna, "looking");
        in_flight.set(&shared, "looking");
        in_flight.set(&anna, format!("sending {}", "user.anna"));
        in_flight.0.get_mut(&anna).unwrap().since = Instant::now();
        let now = Instant::now() + Duration::from_secs(61);
        in_flight.0.get_mut(&shared).unwrap().since = now - Duration::from_secs(90);
        assert_eq!(
            in_flight.status(now),
            "2 users in flight\n  shared mailboxes: looking (1m 30s)\n  anna: sending user.anna (1m 1s)"
        );
        in_flight.set(&anna, WAITING);
        assert!(
            in_flight.status(now).starts_with("1 user in flight, 1 waiting for a connection\n")
        );
        in_flight.remove(&anna);
        assert!(in_flight.status(now).starts_with("1 user in flight\n"));
    }

    #[test]
    fn no_more_than_twenty_are_shown_the_slowest() {
        let in_flight = InFlight::default();
        let now = Instant::now() + Duration::from_secs(1000);
        for nr in 0..50_u64 {
            let user = Owner::from(format!("user{nr}").as_str());
            in_flight.set(&user, "looking");
            in_flight.0.get_mut(&user).unwrap().since = now - Duration::from_secs(nr);
        }
        let status = in_flight.status(now);
        let lines: Vec<&str> = status.lines().collect();
        assert_eq!(lines.len(), 22);
        assert_eq!((lines[0], lines[1]), ("50 users in flight", "  user49: looking (49s)"));
        assert_eq!((lines[20], lines[21]), ("  user30: looking (30s)", "  and 30 more"));
    }
}
