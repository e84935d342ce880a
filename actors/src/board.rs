//! What is being done for whom at this moment, for whoever asks (SIGUSR1).
//!
//! Read-mostly and shared between threads: each user in flight writes its own row, a status reads
//! all of them. No decision hangs on it.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;

use crate::report::name_of;

/// The stage of users that are named in a status only by their number, as there may be many.
pub(crate) const WAITING: &str = "waiting for a connection";

/// The users in flight, and what is being done for each. Clones show the same.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<DashMap<Arc<str>, Row>>);

#[derive(Debug)]
struct Row {
    since: Instant,
    stage: Cow<'static, str>,
}

impl Board {
    /// Notes what is being done for a user now.
    pub(crate) fn set(&self, userid: &Arc<str>, stage: impl Into<Cow<'static, str>>) {
        let stage = stage.into();
        match self.0.get_mut(userid) {
            Some(mut row) => row.stage = stage,
            None => {
                self.0.insert(userid.clone(), Row { since: Instant::now(), stage });
            }
        }
    }

    /// A user is no longer in flight.
    pub(crate) fn remove(&self, userid: &str) {
        self.0.remove(userid);
    }

    /// One line for the whole and one a user that something is done for, longest in flight first.
    pub fn status(&self, now: Instant) -> String {
        let mut rows: Vec<(Duration, String)> = self
            .0
            .iter()
            .filter(|row| row.stage != WAITING)
            .map(|row| {
                let age = now.saturating_duration_since(row.since);
                let age = Duration::from_secs(age.as_secs());
                let line = format!(
                    "\n  {}: {} ({})",
                    name_of(row.key()),
                    row.stage,
                    humantime::format_duration(age)
                );
                (age, line)
            })
            .collect();
        rows.sort_by(|a, b| b.cmp(a));
        let waiting = self.0.len().saturating_sub(rows.len());
        let mut status = format!("{} users in flight", rows.len());
        if waiting > 0 {
            let _ = write!(status, ", {waiting} {WAITING}");
        }
        for (_, line) in rows {
            // Writing to a string can't fail.
            let _ = write!(status, "{line}");
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_in_flight_comes_first() {
        let board = Board::default();
        let (anna, shared): (Arc<str>, Arc<str>) = ("anna".into(), "".into());
        board.set(&anna, "looking");
        board.set(&shared, "looking");
        board.set(&anna, format!("sending {}", "user.anna"));
        board.0.get_mut("anna").unwrap().since = Instant::now();
        let now = Instant::now() + Duration::from_secs(61);
        board.0.get_mut("").unwrap().since = now - Duration::from_secs(90);
        assert_eq!(
            board.status(now),
            "2 users in flight\n  shared mailboxes: looking (1m 30s)\n  anna: sending user.anna (1m 1s)"
        );
        board.set(&anna, WAITING);
        assert!(board.status(now).starts_with("1 users in flight, 1 waiting for a connection\n"));
        board.remove("anna");
        assert!(board.status(now).starts_with("1 users in flight\n"));
    }
}
