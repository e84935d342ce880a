//! Which of a user's new messages the replica may already have, and in which of its folders.
//!
//! An old replica reads every folder that RESERVE names, so only folders that can hold a wanted
//! message are named. Where we have the same mailbox, our own index tells; a folder that we do not
//! have (renamed or deleted here) may hold anything.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use csync::Guid;
use cyrus_store::{MboxEntry, Store};

use crate::error::UserError;

/// GUIDs in one RESERVE, as the C client's bound.
const GUIDS: usize = 8192;

/// What is to be sent, and where the replica may have it.
pub(crate) struct Wanted {
    pub(crate) entries: Arc<HashMap<String, MboxEntry>>,
    /// Mailboxes to be sent: unique id, and the replica's last UID.
    pub(crate) updates: Vec<(String, u32)>,
    /// The replica's mailboxes with messages: unique id, name there, last UID.
    pub(crate) holders: Vec<(String, String, u32)>,
    /// -p.
    pub(crate) partition: Option<String>,
}

/// One question to the replica.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reserve {
    pub(crate) partition: String,
    pub(crate) folders: Vec<String>,
    pub(crate) guids: Vec<Guid>,
}

/// Finds what is worth asking for.
pub(crate) fn find(store: &Store, msg: &Wanted) -> Result<Vec<Reserve>, UserError> {
    let wanted = wanted(store, msg)?;
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let mut folders: Vec<String> = Vec::new();
    let mut held: HashSet<Guid> = HashSet::new();
    let mut anything = false;
    for (uniqueid, name, last_uid) in &msg.holders {
        let Some(entry) = msg.entries.get(uniqueid) else {
            folders.push(name.clone());
            anything = true;
            continue;
        };
        // A mailbox that vanished or broke meanwhile can't be searched; it costs only an upload.
        let Ok(mailbox) = store.open_mailbox(entry) else { continue };
        let before = held.len();
        for record in mailbox.records(0) {
            let Ok(record) = record else { break };
            if record.uid > *last_uid {
                break;
            }
            let guid = Guid(record.guid.0);
            if !record.is_unlinked() && wanted.contains_key(&guid) {
                held.insert(guid);
            }
        }
        if held.len() > before {
            folders.push(name.clone());
        }
    }
    let mut by_partition: BTreeMap<&str, Vec<Guid>> = BTreeMap::new();
    for (guid, partition) in &wanted {
        if anything || held.contains(guid) {
            by_partition.entry(partition).or_default().push(*guid);
        }
    }
    let mut reserves = Vec::new();
    for (partition, guids) in by_partition {
        for guids in guids.chunks(GUIDS) {
            reserves.push(Reserve {
                partition: partition.to_string(),
                folders: folders.clone(),
                guids: guids.to_vec(),
            });
        }
    }
    Ok(reserves)
}

/// The new messages of all mailboxes to be sent, and the partition each belongs on.
fn wanted(store: &Store, msg: &Wanted) -> Result<HashMap<Guid, String>, UserError> {
    let mut wanted = HashMap::new();
    for (uniqueid, replica_last_uid) in &msg.updates {
        let Some(entry) = msg.entries.get(uniqueid) else { continue };
        // What is wrong with a mailbox is said when it is sent.
        let Ok(mailbox) = store.open_mailbox(entry) else { continue };
        if mailbox.index.last_uid <= *replica_last_uid {
            continue;
        }
        let partition = msg.partition.as_ref().unwrap_or(&entry.partition);
        for record in mailbox.records(0) {
            let Ok(record) = record else { break };
            if record.uid > *replica_last_uid && !record.is_unlinked() {
                wanted.insert(Guid(record.guid.0), partition.clone());
            }
        }
    }
    Ok(wanted)
}
