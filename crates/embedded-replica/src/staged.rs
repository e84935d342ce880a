//! The messages that a connection has uploaded or found, until RESTART.
//!
//! Source: `sync_reserve_list` of `imap/sync_support.c` of cyrus-imapd 3.6.1.

use std::collections::HashMap;
use std::sync::Arc;

use cyrus_types::Guid;

/// A message's body, if bodies are kept.
pub(crate) type Body = Option<Arc<[u8]>>;

/// Messages by partition and GUID.
#[derive(Debug, Default)]
pub(crate) struct Staged(HashMap<String, HashMap<Guid, Body>>);

impl Staged {
    /// A message that arrived or was found; with its body if bodies are kept.
    pub(crate) fn insert(&mut self, partition: &str, guid: Guid, body: Body) {
        match self.0.get_mut(partition) {
            Some(messages) => drop(messages.insert(guid, body)),
            None => drop(self.0.insert(partition.to_string(), HashMap::from([(guid, body)]))),
        }
    }

    /// A message that is present.
    pub(crate) fn get(&self, partition: &str, guid: &Guid) -> Option<&Body> {
        self.0.get(partition)?.get(guid)
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
