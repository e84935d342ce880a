//! What the replica keeps for a connection.

use std::collections::{HashMap, HashSet};

use cyrus_types::Guid;

/// How many messages the replica may keep for us before it is told to forget them: they are files there and hashes here,
/// and must not grow with the user.
pub(crate) const STAGED: usize = 100_000;

/// Messages that the replica keeps for this connection until RESTART, by partition: uploaded or
/// found by RESERVE. They need no second upload.
#[derive(Debug, Default)]
pub(crate) struct Staged(HashMap<String, HashSet<Guid>>);

impl Staged {
    pub(crate) fn add(&mut self, partition: &str, guids: impl Iterator<Item = Guid>) {
        self.0.entry(partition.to_string()).or_default().extend(guids);
    }

    pub(crate) fn contains(&self, partition: &str, guid: &Guid) -> bool {
        self.0.get(partition).is_some_and(|set| set.contains(guid))
    }

    /// How many messages there are.
    pub(crate) fn len(&self) -> usize {
        self.0.values().map(HashSet::len).sum()
    }

    /// The replica was told to forget them.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
