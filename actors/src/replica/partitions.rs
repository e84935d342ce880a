//! Which partitions the replica is known to have.
//!
//! A replica dies of a message for a partition that it does not have (`imap/dlist.c:dlist_reserve_path` of cyrus-imapd
//! 3.6.1 asserts that there is one). So the first user that needs a partition finds out (`user/apply/partition.rs`), and
//! all others wait for the result. A partition that exists is never asked for again; one that is missing may be added by an
//! admin, so it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use tokio::sync::OnceCell;

/// How long a missing partition counts as missing without another check.
const MISSING_FOR: Duration = Duration::from_secs(10);

/// What is known of the replica's partitions. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Partitions(Arc<DashMap<String, Arc<Partition>>>);

/// What is known of one partition.
#[derive(Debug, Default)]
pub(crate) struct Partition {
    /// Set once the replica is known to have it. The user that finds out holds it, and others wait.
    pub(crate) there: OnceCell<()>,
    missing_since: std::sync::Mutex<Option<Instant>>,
}

impl Partition {
    /// It was found to be missing now.
    pub(crate) fn set_missing(&self, now: Instant) {
        *self.missing_since.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(now);
    }

    /// Whether it was just found missing, so that no check is needed.
    pub(crate) fn is_missing(&self, now: Instant) -> bool {
        let since = *self.missing_since.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        since.is_some_and(|at| now.saturating_duration_since(at) < MISSING_FOR)
    }
}

impl Partitions {
    /// What is known of a partition.
    pub(crate) fn of(&self, partition: &str) -> Arc<Partition> {
        if let Some(known) = self.0.get(partition) {
            return known.clone();
        }
        self.0.entry(partition.to_string()).or_default().clone()
    }

    /// Whether the replica is known to have it.
    pub(crate) fn has(&self, partition: &str) -> bool {
        self.0.get(partition).is_some_and(|known| known.there.initialized())
    }

    /// The replica has it: it has a mailbox there.
    pub(crate) fn seen(&self, partition: &str) {
        // A user that is just finding out will find the same.
        let _ = self.of(partition).there.set(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays_and_what_is_missing_may_come() {
        let (partitions, now) = (Partitions::default(), Instant::now());
        assert!(!partitions.has("ssd"));
        partitions.clone().seen("ssd");
        assert!(partitions.has("ssd") && !partitions.has("hdd"));
        let hdd = partitions.of("hdd");
        assert!(!hdd.is_missing(now));
        hdd.set_missing(now);
        assert!(hdd.is_missing(now) && !partitions.has("hdd"));
        assert!(!hdd.is_missing(now + MISSING_FOR));
        partitions.seen("hdd");
        assert!(partitions.has("hdd"));
    }
}
