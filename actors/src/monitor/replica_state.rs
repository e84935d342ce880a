//! The state of the replica, as the pool sees it, in words: a plain value that takes events and the time.

use std::time::Instant;

use crate::monitor::words;

/// Whether there are connections, and if not, why and for how long.
#[derive(Debug, Default)]
pub(crate) struct ReplicaState {
    /// The replica's name as the admin wrote it; empty before a run has started.
    name: String,
    open: usize,
    connecting: Option<Instant>,
    away: Option<Away>,
    met: bool,
}

/// It can't be reached.
#[derive(Debug)]
struct Away {
    since: Instant,
    reason: String,
}

impl ReplicaState {
    /// A run against this replica starts.
    pub(crate) fn start(&mut self, name: String) {
        *self = ReplicaState { name, ..ReplicaState::default() };
    }

    /// A connection is being made.
    pub(crate) fn connecting(&mut self, now: Instant) {
        if self.open == 0 {
            self.connecting.get_or_insert(now);
        }
    }

    /// A connection is open: a login succeeded.
    pub(crate) fn connected(&mut self, open: usize) {
        self.open = open;
        self.met = true;
        self.connecting = None;
        self.away = None;
    }

    /// This many connections are left.
    pub(crate) fn left(&mut self, open: usize) {
        self.open = open;
    }

    /// A connection could not be made.
    pub(crate) fn failed(&mut self, reason: &str, now: Instant) {
        if self.open > 0 {
            return;
        }
        let since = match (&self.away, self.connecting) {
            (Some(before), _) => before.since,
            (None, connecting) => connecting.unwrap_or(now),
        };
        self.away = Some(Away { since, reason: words::without_number(reason).to_string() });
        self.connecting = None;
    }

    /// Whether a login has succeeded since the start.
    pub(crate) fn was_met(&self) -> bool {
        self.met
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// The words below if there is no connection because none can be made.
    pub(crate) fn trouble(&self, now: Instant) -> Option<String> {
        let is_away = self.open == 0 && (self.away.is_some() || self.connecting.is_some());
        if is_away { self.words(now) } else { None }
    }

    /// `replica 10.0.0.5:2005: 4 connections`, or the problem; `None` before a run has started.
    pub(crate) fn words(&self, now: Instant) -> Option<String> {
        if self.name.is_empty() {
            return None;
        }
        let seconds = |since: Instant| {
            let time = now.saturating_duration_since(since);
            words::duration(std::time::Duration::from_secs(time.as_secs()))
        };
        let state = match (self.open, &self.away, self.connecting) {
            (0, Some(away), _) => {
                format!("not reachable for {} ({})", seconds(away.since), away.reason)
            }
            (0, None, Some(since)) => format!("connecting for {}", seconds(since)),
            (0, None, None) => "no connection".into(),
            (open, _, _) => words::count(open as u64, "connection"),
        };
        Some(format!("replica {}: {state}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn it_tells_how_many_connections_there_are_or_since_when_there_are_none() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut state = ReplicaState::default();
        assert_eq!(state.words(start), None);
        state.start("10.0.0.5:2005".into());
        let says = |state: &ReplicaState, seconds, words: &str| {
            let wanted = format!("replica 10.0.0.5:2005: {words}");
            assert_eq!(state.words(at(seconds)).unwrap(), wanted);
        };
        says(&state, 0, "no connection");
        state.connecting(at(0));
        state.connecting(at(3));
        says(&state, 4, "connecting for 4s");
        state.failed("Connection refused (os error 111)", at(4));
        state.connecting(at(19));
        says(&state, 130, "not reachable for 2m 10s (Connection refused)");
        assert!(!state.was_met());
        state.connected(1);
        state.connected(4);
        assert!(state.was_met());
        says(&state, 131, "4 connections");
        // A failed connection beside open ones says nothing about the replica.
        state.connecting(at(132));
        state.failed("too many", at(132));
        says(&state, 133, "4 connections");
        state.left(0);
        says(&state, 134, "no connection");
        state.failed("no route", at(140));
        says(&state, 141, "not reachable for 1s (no route)");
    }
}
