//! Compares one of our mailboxes with all of the replica's records.

use std::collections::HashSet;

use csync::ReplicaMailbox;
use cyrus_store::{MboxEntry, StoreError};
use cyrus_types::{Guid, ModSeq, SyncCrcs, Uid};
use sync_plan::{CopybackReason, FullMaster, FullReplica, PlanError, RecordState, plan_full};

use crate::error::{MasterError, UserError};
use crate::master::source::{MailboxSource, Message, Source, Which};
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
    source: &dyn Source,
    entry: &MboxEntry,
    full: &FullReplica,
    overwrite: bool,
) -> Result<FullChecked, UserError> {
    let Some(mut mailbox) = source.open(entry)? else { return Ok(FullChecked::default()) };
    let Compared { mut found, lacking, .. } = compare(&*mailbox, full, overwrite)?;
    let mut checked = FullChecked { found, ..FullChecked::default() };
    if found.again && found.live as usize > STAGED {
        // It is removed before ours is sent.
        check_what_both_have(&mut *mailbox, full)?;
        return Ok(checked);
    }
    checked.half_made = !found.again && full.last_uid > Uid::NONE && full.records.is_empty();
    if found.again || checked.half_made || lacking.is_empty() {
        return Ok(checked);
    }
    let damaged = |e: StoreError| MasterError::of_mailbox(&entry.name, e);
    let is_lacking = |message: &Message| lacking.binary_search(&message.uid).is_ok();
    let first = lacking.first().copied().unwrap_or_default();
    let messages = messages(&*mailbox, Which::From(first), is_lacking).map_err(damaged)?;
    checked.crcs = mailbox.recomputed_crcs(&lacking).map_err(damaged)?;
    mailbox.release_index();
    let mut small = Vec::new();
    for message in &messages {
        match mailbox.message(message, &mut small) {
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
fn check_what_both_have(
    mailbox: &mut dyn MailboxSource,
    full: &FullReplica,
) -> Result<(), MasterError> {
    let theirs: HashSet<Guid> =
        full.records.iter().filter(|r| !r.expunged).map(|r| r.guid).collect();
    let have_both = |message: &Message| !message.expunged && theirs.contains(&message.guid);
    let messages = messages(mailbox, Which::Since(ModSeq::ZERO), have_both)
        .map_err(|e| MasterError::of_mailbox(&mailbox.entry().name, e))?;
    mailbox.release_index();
    let mut small = Vec::new();
    messages.iter().try_for_each(|message| mailbox.message(message, &mut small).map(drop))
}

/// The messages among these records that are wanted.
fn messages(
    mailbox: &dyn MailboxSource,
    which: Which,
    wanted: impl Fn(&Message) -> bool,
) -> Result<Vec<Message>, StoreError> {
    let mut messages = Vec::new();
    for record in mailbox.records(which) {
        messages.extend(Some(Message::from(&record?)).filter(&wanted));
    }
    Ok(messages)
}

/// Whether our checksums, computed again, still differ from the replica's. A mailbox that can't be read is not compared;
/// its errors are reported when it is sent.
pub(crate) fn do_checksums_differ(
    source: &dyn Source,
    entry: &MboxEntry,
    replica: &ReplicaMailbox,
) -> bool {
    let Ok(mailbox) = source.open(entry) else { return false };
    // If it is no longer what it was, that is found when it is compared further.
    let Some(mailbox) = mailbox else { return true };
    mailbox.recomputed_crcs(&[]).is_ok_and(|crcs| !crcs.agree(replica.crcs))
}

/// How many messages that may be live on the replica have been expunged here since it was last updated; none if it has no
/// such mailbox. Of a mailbox that is gone meanwhile nothing is sent.
///
/// # Errors
/// One of the records that would be sent can't be read: then the mailbox will not be sent either.
pub(crate) fn count_expunged(
    source: &dyn Source,
    entry: &MboxEntry,
    replica: Option<&ReplicaMailbox>,
) -> Result<u64, MasterError> {
    let Some(mailbox) = source.open(entry)? else { return Ok(0) };
    let (since, last_uid) =
        replica.map_or((ModSeq::ZERO, Uid::NONE), |r| (r.highestmodseq, r.last_uid));
    let mut expunged = 0;
    for record in mailbox.records(Which::Since(since)) {
        let record = record.map_err(|e| MasterError::of_mailbox(&entry.name, e))?;
        expunged += u64::from(record.uid <= last_uid && record.is_expunged());
    }
    Ok(expunged)
}

/// How many of these messages are not live here. One whose file is missing or damaged counts as not live: it could not be
/// sent. `None` if the mailbox was renamed or removed meanwhile.
pub(crate) fn count_lacking(
    source: &dyn Source,
    entry: &MboxEntry,
    mut guids: HashSet<Guid>,
) -> Result<Option<usize>, MasterError> {
    let Some(mut mailbox) = source.open(entry)? else { return Ok(None) };
    let is_live = |message: &Message| !message.expunged && guids.contains(&message.guid);
    let messages = messages(&*mailbox, Which::Since(ModSeq::ZERO), is_live)?;
    mailbox.release_index();
    let mut small = Vec::new();
    for message in &messages {
        if guids.contains(&message.guid) && mailbox.message(message, &mut small).is_ok() {
            guids.remove(&message.guid);
        }
    }
    Ok(Some(guids.len()))
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
    mailbox: &dyn MailboxSource,
    full: &FullReplica,
    overwrite: bool,
) -> Result<Compared, UserError> {
    let name = &mailbox.entry().name;
    let index = mailbox.index();
    let master = FullMaster {
        last_uid: index.last_uid,
        uidvalidity: index.uidvalidity,
        deletedmodseq: index.deletedmodseq,
    };
    let ours = mailbox.records(Which::Since(ModSeq::ZERO)).map(|record| {
        record.map(|r| RecordState {
            uid: r.uid,
            modseq: r.modseq,
            guid: r.guid,
            expunged: r.is_expunged(),
        })
    });
    let plan = plan_full(master, ours, full).map_err(|e| MasterError::of_mailbox(name, e))?;
    let copyback = |reason| PlanError::Copyback { mailbox: name.clone(), reason };
    let plan = plan.permitted(overwrite).map_err(copyback)?;
    let overwritten = plan.must_be_made_again || plan.unproven > 0;
    let live = index.exists;
    let found = Found {
        again: plan.must_be_made_again,
        overwritten,
        removed: plan.removed as u64,
        unproven: plan.unproven as u64,
        live,
    };
    Ok(Compared { found, expunge: plan.expunge, lacking: plan.lacking })
}
