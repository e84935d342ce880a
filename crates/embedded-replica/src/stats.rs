//! Counts of what a replica was asked and sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::state::lock;

/// What a replica was asked and sent so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Commands by name, such as `GET USER` and `APPLY MAILBOX`, including refused ones.
    pub commands: BTreeMap<String, u64>,
    /// Message files received.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many of the files came with REPLICATION-ARCHIVE switched on, so that Cyrus would stage them on the archive
    /// partition.
    pub archived: u64,
    /// Connections accepted.
    pub connections: u64,
    /// What APPLY CAPABILITIES asked for, each list once.
    pub capabilities: BTreeSet<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    commands: Mutex<BTreeMap<String, u64>>,
    messages: AtomicU64,
    bytes: AtomicU64,
    archived: AtomicU64,
    connections: AtomicU64,
    capabilities: Mutex<BTreeSet<String>>,
}

impl Counters {
    pub(crate) fn command(&self, name: &str) {
        let mut commands = lock(&self.commands);
        match commands.get_mut(name) {
            Some(count) => *count += 1,
            None => drop(commands.insert(name.to_string(), 1)),
        }
    }

    pub(crate) fn message(&self, bytes: u64, archive: bool) {
        self.archived.fetch_add(archive.into(), Ordering::Relaxed);
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn asked_for(&self, names: &[&str]) {
        lock(&self.capabilities).insert(names.join(" "));
    }

    pub(crate) fn read(&self) -> Stats {
        Stats {
            commands: lock(&self.commands).clone(),
            messages: self.messages.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            archived: self.archived.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
            capabilities: lock(&self.capabilities).clone(),
        }
    }
}
