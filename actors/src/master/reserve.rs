//! Finds which of a user's new messages the replica may already have, and in which of its folders.
//!
//! ```text
//!   new messages of the mailboxes to be sent                      -> wanted
//!   older messages of those same mailboxes (moved within, or from)    |
//!   messages of unchanged mailboxes (copied from), if worth reading   |-- in both -> RESERVE
//!   folders that only the replica has (renamed, deleted here)         |
//! ```
//! An old replica reads every folder that RESERVE names, so only folders that can hold a wanted message are named. For a
//! mailbox that we have too, our own index shows that; a folder that only the replica has may hold anything. Asking saves
//! an upload, but costs a round trip and some reading: a few small messages are sent without asking, and the indexes of
//! unchanged mailboxes are read only if sending would take longer.
//!
//! Moved messages are always asked for: the replica expunges them in their old mailbox, perhaps before we find that their
//! new file here is damaged. Then the replica's copy is the only good one, and RESERVE keeps it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cyrus_store::{IndexRecord, MboxEntry};
use cyrus_types::{Guid, MailboxName, ModSeq, Uid, UniqueId};

use crate::error::MasterError;
use crate::master::source::{MailboxSource, Source, Which};

/// GUIDs in one RESERVE, the same bound as the C client's.
pub(crate) const GUIDS: usize = 8192;
/// How many new messages are looked for: about 40 bytes of memory each. Further ones are sent.
const MOST_WANTED: usize = 100_000;
/// This many bytes are sent without asking.
const NOT_WORTH_ASKING: u64 = 64 * 1024;
/// For fewer bytes the indexes of unchanged mailboxes are not read.
const WORTH_READING_ALL: u64 = 1024 * 1024;

/// What is to be sent, and where the replica may have it.
pub(crate) struct Wanted {
    pub(crate) entries: Arc<HashMap<UniqueId, MboxEntry>>,
    /// Mailboxes to be sent that have new messages: unique id, and the replica's last UID.
    pub(crate) updates: Vec<(UniqueId, Uid)>,
    /// The replica's mailboxes with messages.
    pub(crate) holders: Vec<Holder>,
    /// -p.
    pub(crate) partition: Option<String>,
    /// Ask even for little: a mailbox is to be made again, and the replica's copy of a message may be the only good one.
    pub(crate) at_any_size: bool,
}

/// A mailbox on the replica that has messages.
pub(crate) struct Holder {
    pub(crate) uniqueid: UniqueId,
    /// Its name there.
    pub(crate) name: MailboxName,
    /// The highest UID there.
    pub(crate) last_uid: Uid,
    /// The highest modseq there: it does not know later changes.
    pub(crate) highestmodseq: ModSeq,
    /// It is one of those to be sent.
    pub(crate) changed: bool,
}

/// One question to the replica.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reserve {
    pub(crate) partition: String,
    pub(crate) folders: Vec<MailboxName>,
    pub(crate) guids: Vec<Guid>,
}

/// The new messages of all mailboxes to be sent.
#[derive(Default)]
struct New {
    /// GUID, and the number of its partition.
    guids: HashMap<Guid, usize>,
    partitions: Vec<String>,
    bytes: u64,
}

/// Finds what is worth asking for.
pub(crate) fn find(source: &dyn Source, msg: &Wanted) -> Result<Vec<Reserve>, MasterError> {
    let new = new_messages(source, msg)?;
    if new.guids.is_empty() {
        return Ok(Vec::new());
    }
    let moved_alone = new.bytes < NOT_WORTH_ASKING && !msg.at_any_size;
    // A message that moved within one mailbox is found there when a bad file is asked for: the mailbox's records are sent
    // later.
    let within_one =
        |holder: &Holder| matches!(&msg.updates[..], [(to, _)] if *to == holder.uniqueid);
    let mut folders: Vec<MailboxName> = Vec::new();
    let mut held: HashSet<Guid> = HashSet::new();
    let mut anything = false;
    for holder in &msg.holders {
        let Some(entry) = msg.entries.get(&holder.uniqueid) else {
            // It may be about to be removed.
            folders.push(holder.name.clone());
            anything = true;
            continue;
        };
        if (!holder.changed && new.bytes < WORTH_READING_ALL) || (moved_alone && within_one(holder))
        {
            continue;
        }
        // A mailbox that vanished or broke meanwhile can't be searched; that costs only an upload.
        let Ok(Some(mailbox)) = source.open(entry) else { continue };
        if mailbox.index().deletedmodseq > holder.highestmodseq {
            // If the old record was cleaned up here since the replica was last updated, there is nothing to compare.
            folders.push(holder.name.clone());
            anything = true;
            continue;
        }
        let before = held.len();
        let is_new = |guid: &Guid| new.guids.contains_key(guid);
        if moved_alone {
            held.extend(removed(&*mailbox, holder).filter(is_new));
        } else {
            held.extend(older(&*mailbox, holder).filter(is_new));
        }
        if held.len() > before {
            folders.push(holder.name.clone());
        }
    }
    let mut by_partition: Vec<Vec<Guid>> = vec![Vec::new(); new.partitions.len()];
    for (guid, partition) in &new.guids {
        if let Some(guids) = by_partition.get_mut(*partition)
            && (anything || held.contains(guid))
        {
            guids.push(*guid);
        }
    }
    let mut reserves = Vec::new();
    for (partition, guids) in new.partitions.into_iter().zip(by_partition) {
        for guids in guids.chunks(GUIDS) {
            reserves.push(Reserve {
                partition: partition.clone(),
                folders: folders.clone(),
                guids: guids.to_vec(),
            });
        }
    }
    Ok(reserves)
}

/// The messages of this mailbox that the replica may have. A damaged one is reported when it is sent.
fn older<'m>(
    mailbox: &'m dyn MailboxSource,
    there: &Holder,
) -> impl Iterator<Item = Guid> + use<'m> {
    let (last_uid, heard_of) = (there.last_uid, there.highestmodseq);
    let known = mailbox.records(Which::Since(ModSeq::ZERO)).map_while(Result::ok);
    let known = known.take_while(move |record| record.uid <= last_uid);
    // The replica does not know yet that it must expunge the message, whose file is gone here.
    let has = move |record: &IndexRecord| !record.is_unlinked() || record.modseq > heard_of;
    known.filter(has).map(|record| record.guid)
}

/// The messages of this mailbox that the replica has and will soon be told to expunge.
fn removed<'m>(
    mailbox: &'m dyn MailboxSource,
    there: &Holder,
) -> impl Iterator<Item = Guid> + use<'m> {
    let last_uid = there.last_uid;
    let none = mailbox.index().records == mailbox.index().exists;
    let changed =
        (!none).then(|| mailbox.records(Which::Since(there.highestmodseq))).into_iter().flatten();
    let known = changed.map_while(Result::ok).take_while(move |record| record.uid <= last_uid);
    known.filter(IndexRecord::is_expunged).map(|record| record.guid)
}

fn new_messages(source: &dyn Source, msg: &Wanted) -> Result<New, MasterError> {
    let mut new = New::default();
    for (uniqueid, replica_last_uid) in &msg.updates {
        let Some(entry) = msg.entries.get(uniqueid) else { continue };
        // The mailbox's errors are reported when it is sent.
        let Ok(Some(mailbox)) = source.open(entry) else { continue };
        let partition = msg.partition.as_ref().unwrap_or(&entry.partition);
        let number = new.partitions.iter().position(|p| p == partition).unwrap_or_else(|| {
            new.partitions.push(partition.clone());
            new.partitions.len() - 1
        });
        for record in mailbox.records(Which::From(replica_last_uid.next())) {
            let Ok(record) = record else { break };
            if new.guids.len() >= MOST_WANTED {
                return Ok(new);
            }
            if !record.is_unlinked() {
                new.guids.insert(record.guid, number);
                new.bytes += record.size;
            }
        }
    }
    Ok(new)
}
