//! Compares one of our mailboxes with all of the replica's records.

use std::collections::HashSet;

use csync::ReplicaMailbox;
use cyrus_store::{Mailbox, MboxEntry, Store, StoreError};
use cyrus_types::{Guid, MailboxName, ModSeq, SyncCrcs, Uid};
use sync_plan::{CopybackReason, FullMaster, FullReplica, PlanError, RecordState, plan_full};

use crate::error::{MasterError, UserError};
use crate::master::message_files::{Message, MessageFiles};
use crate::master::stale::is_stale;
use crate::replica::staged::STAGED;

/// The result of comparing a mailbox record by record.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Found {
    /// The replica's mailbox has to be made again.
    pub(crate) again: bool,
    /// Something is removed without proof that it was removed here.
    pub(crate) overwritten: bool,
    /// Messages that would be removed there, because they were removed here.
    pub(crate) removed: u64,
    /// Messages that would be removed there although nothing shows that they were removed here.
    pub(crate) unproven: u64,
    /// Live messages here.
    pub(crate) live: u32,
}

impl Found {
    /// Mailboxes and messages to be removed.
    pub(crate) fn removals(&self) -> u64 {
        u64::from(self.again && self.overwritten) + self.removed + self.unproven
    }
}

/// The result of comparing a mailbox, including its files.
#[derive(Debug, Default)]
pub(crate) struct FullChecked {
    pub(crate) found: Found,
    /// Messages that never arrived and can't, because their files are missing or damaged.
    pub(crate) bad: Vec<MasterError>,
    /// Our checksums without these.
    pub(crate) crcs: SyncCrcs,
    /// The replica has assigned UIDs, but none that was not assigned here, and it has no record, not even an expunged one.
    pub(crate) half_made: bool,
}

/// How many bad files are named.
const NAMED: usize = 100;

/// Compares a mailbox; one that is gone meanwhile has nothing to compare.
///
/// # Errors
/// Something that only the replica has is in the way, and may not be removed; or the mailbox can't be read.
pub(crate) fn check(
    store: &Store,
    entry: &MboxEntry,
    full: &FullReplica,
    overwrite: bool,
) -> Result<FullChecked, UserError> {
    let Some(mut mailbox) = open(store, entry)? else { return Ok(FullChecked::default()) };
    let Compared { mut found, lacking, .. } = compare(&mailbox, full, overwrite)?;
    let mut checked = FullChecked { found, ..FullChecked::default() };
    if found.again && found.live as usize > STAGED {
        // It is removed before ours is sent.
        check_what_both_have(mailbox, full)?;
        return Ok(checked);
    }
    checked.half_made = !found.again && full.last_uid > Uid::NONE && full.records.is_empty();
    if found.again || checked.half_made || lacking.is_empty() {
        return Ok(checked);
    }
    let damaged = |e: StoreError| damaged(&entry.name, e);
    let mut messages = Vec::new();
    for uid in &lacking {
        messages.extend(mailbox.record(*uid).map_err(damaged)?.as_ref().map(Message::from));
    }
    checked.crcs = mailbox.recompute_crcs_without(&lacking).map_err(damaged)?;
    mailbox.release_index();
    let mut files = MessageFiles::new(&mailbox);
    for message in &messages {
        match files.check(message) {
            // A UID below the replica's LAST_UID can't be appended any more. As everything else there is ours, making the
            // mailbox again loses nothing.
            Ok(_) if found.live as usize <= STAGED => {
                found.again = true;
                return Ok(FullChecked { found, ..FullChecked::default() });
            }
            Ok(_) => {
                let reason = CopybackReason::GoneOnReplica { uid: message.uid };
                return Err(PlanError::Copyback { mailbox: entry.name.clone(), reason }.into());
            }
            Err(e) if checked.bad.len() < NAMED => checked.bad.push(e),
            Err(_) => {}
        }
    }
    Ok(checked)
}

/// Checks the files of those live messages that the replica has live, too: it loses them with its mailbox, and only our files
/// can bring them back. The error names the first bad one.
fn check_what_both_have(mut mailbox: Mailbox, full: &FullReplica) -> Result<(), MasterError> {
    let theirs: HashSet<Guid> =
        full.records.iter().filter(|r| !r.expunged).map(|r| r.guid).collect();
    let mut messages = Vec::new();
    for record in mailbox.records(ModSeq::ZERO) {
        let record = record.map_err(|e| damaged(mailbox.name(), e))?;
        if !record.is_expunged() && theirs.contains(&record.guid) {
            messages.push(Message::from(&record));
        }
    }
    mailbox.release_index();
    let mut files = MessageFiles::new(&mailbox);
    messages.iter().try_for_each(|message| files.check(message).map(drop))
}

fn damaged(mailbox: &MailboxName, e: StoreError) -> MasterError {
    MasterError::Mailbox { mailbox: mailbox.clone(), source: Box::new(e) }
}

/// Whether our checksums, computed again, still differ from the replica's. A mailbox that can't be read is not compared;
/// its errors are reported when it is sent.
pub(crate) fn do_checksums_differ(
    store: &Store,
    entry: &MboxEntry,
    replica: &ReplicaMailbox,
) -> bool {
    let Ok(crcs) = store.open_mailbox(entry).and_then(|m| m.recompute_crcs()) else {
        return false;
    };
    !crcs.agree(replica.crcs)
}

/// How many messages that may be live on the replica have been expunged here since it was last updated; none if it has no
/// such mailbox. Of a mailbox that is gone meanwhile nothing is sent.
///
/// # Errors
/// One of the records that would be sent can't be read: then the mailbox will not be sent either.
pub(crate) fn count_expunged(
    store: &Store,
    entry: &MboxEntry,
    replica: Option<&ReplicaMailbox>,
) -> Result<u64, MasterError> {
    let Some(mailbox) = open(store, entry)? else { return Ok(0) };
    let (since, last_uid) =
        replica.map_or((ModSeq::ZERO, Uid::NONE), |r| (r.highestmodseq, r.last_uid));
    let mut expunged = 0;
    for record in mailbox.records(since) {
        let record = record.map_err(|e| damaged(&entry.name, e))?;
        expunged += u64::from(record.uid <= last_uid && record.is_expunged());
    }
    Ok(expunged)
}

/// `None` if the mailbox was renamed or removed meanwhile.
fn open(store: &Store, entry: &MboxEntry) -> Result<Option<Mailbox>, MasterError> {
    match store.open_mailbox(entry) {
        Ok(mailbox) => Ok(Some(mailbox)),
        Err(e) if is_stale(&store.mailboxes()?, entry, &e)? => Ok(None),
        Err(e) => Err(damaged(&entry.name, e)),
    }
}

/// How many of these messages are not live here. One whose file is missing or damaged counts as not live: it could not be
/// sent.
pub(crate) fn count_lacking(
    store: &Store,
    entry: &MboxEntry,
    mut guids: HashSet<Guid>,
) -> Result<usize, MasterError> {
    let mut mailbox = store.open_mailbox(entry)?;
    let mut messages = Vec::new();
    for record in mailbox.records(ModSeq::ZERO) {
        let record = record?;
        if !record.is_expunged() && guids.contains(&record.guid) {
            messages.push(Message::from(&record));
        }
    }
    mailbox.release_index();
    let mut files = MessageFiles::new(&mailbox);
    for message in &messages {
        if guids.contains(&message.guid) && files.check(message).is_ok() {
            guids.remove(&message.guid);
        }
    }
    Ok(guids.len())
}

/// The result of a comparison, and what to do about it.
#[derive(Debug)]
pub(crate) struct Compared {
    pub(crate) found: Found,
    /// UIDs that the replica must expunge before it gets all of our records.
    pub(crate) expunge: Vec<Uid>,
    /// UIDs of live messages that the replica lacks although its LAST_UID is higher.
    pub(crate) lacking: Vec<Uid>,
}

/// Compares a mailbox with the replica's records, as far as it may be made equal.
///
/// # Errors
/// As [`check`]; or a record can't be read.
pub(crate) fn compare(
    mailbox: &Mailbox,
    full: &FullReplica,
    overwrite: bool,
) -> Result<Compared, UserError> {
    let name = mailbox.name();
    let index = &mailbox.index;
    let master = FullMaster {
        last_uid: index.last_uid,
        uidvalidity: index.uidvalidity,
        deletedmodseq: index.deletedmodseq,
    };
    let ours = mailbox.records(ModSeq::ZERO).map(|record| {
        record.map(|r| RecordState {
            uid: r.uid,
            modseq: r.modseq,
            guid: r.guid,
            expunged: r.is_expunged(),
        })
    });
    let plan = plan_full(master, ours, full).map_err(|e| damaged(name, e))?;
    let copyback = |reason| PlanError::Copyback { mailbox: name.clone(), reason };
    let plan = plan.permitted(overwrite).map_err(copyback)?;
    let overwritten = plan.must_be_made_again || plan.unproven > 0;
    let live = mailbox.index.exists;
    let found = Found {
        again: plan.must_be_made_again,
        overwritten,
        removed: plan.removed as u64,
        unproven: plan.unproven as u64,
        live,
    };
    Ok(Compared { found, expunge: plan.expunge, lacking: plan.lacking })
}
