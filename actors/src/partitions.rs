//! Which partitions the replica is known to have.
//!
//! A replica dies of a message for a partition that it does not have (`imap/dlist.c:dlist_reserve_path` of
//! cyrus-imapd 3.6.1 asserts that there is one). So the first one who needs a partition finds out
//! (`act/partition.rs`); all others wait for that, and never ask again.

use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::OnceCell;

/// What is known of the replica's partitions. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Partitions(Arc<DashMap<String, Arc<OnceCell<bool>>>>);

impl Partitions {
    /// The answer for one partition: set once, true if the replica has it.
    pub(crate) fn of(&self, partition: &str) -> Arc<OnceCell<bool>> {
        if let Some(cell) = self.0.get(partition) {
            return cell.clone();
        }
        self.0.entry(partition.to_string()).or_default().clone()
    }

    /// Whether the replica is known to have it.
    pub(crate) fn has(&self, partition: &str) -> bool {
        self.0.get(partition).is_some_and(|cell| cell.get() == Some(&true))
    }

    /// The replica has it: it has a mailbox there.
    pub(crate) fn seen(&self, partition: &str) {
        // Whoever is finding out at the moment finds the same.
        let _ = self.of(partition).set(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_out_stays() {
        let partitions = Partitions::default();
        assert!(!partitions.has("ssd"));
        partitions.clone().seen("ssd");
        assert!(partitions.has("ssd") && !partitions.has("default"));
        partitions.of("hdd").set(false).unwrap();
        partitions.seen("hdd");
        assert!(!partitions.has("hdd"));
    }
}
