//! Divides a large mailbox into batches. After each, the replica's mailbox is in a state that could have existed.
//!
//! ```text
//!   UID       1 …… 8192 | …… 16384 | ……            a step ends after so many new messages or bytes
//!   modseq    9 …… 8300 | …… 16500 | ……
//!   step      8192, H   where H is just below the lowest modseq of all that comes after it
//! ```
//! After a batch the replica holds all records up to a UID, none with a modseq above H, and H as its highest modseq: like a
//! mailbox that has not received the rest yet. So the replica never works on one mailbox for long, and after an
//! interruption the next try continues. If an older record changed after H, it is sent with modseq H, and sent again when
//! its modseq is reached.
//!
//! Source: `imap/sync_support.c:calculate_intermediate_state` of cyrus-imapd 3.6.1.

use std::collections::VecDeque;

use csync::Since;
use cyrus_store::{IndexRecord, StoreError};
use cyrus_types::{ModSeq, Uid};

use crate::master::source::{MailboxSource, Which};

/// New messages' bytes in one batch. A larger message has a batch of its own.
pub(crate) const STEP_BYTES: u64 = 256 * 1024 * 1024;

/// The replica's state, as far as the next batch builds on it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Base {
    pub(crate) last_uid: Uid,
    /// The modseq up to which it has all changes.
    pub(crate) highestmodseq: ModSeq,
    /// The condition of the change; `None` if there is nothing there, or if it is not trusted.
    pub(crate) since: Option<Since>,
}

/// A batch that is not the last: up to this UID and modseq.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) last_uid: Uid,
    pub(crate) highestmodseq: ModSeq,
}

/// A run of new records.
#[derive(Debug, Default)]
struct Chunk {
    last_uid: Uid,
    messages: u32,
    bytes: u64,
    lowest_modseq: ModSeq,
}

/// Whether there may be more new messages than one batch should have (0: no bound).
pub(crate) fn are_many(mailbox: &dyn MailboxSource, base: &Base, batch: u32) -> bool {
    batch > 0 && mailbox.index().last_uid.0.saturating_sub(base.last_uid.0) > batch
}

/// The batches before the last one; empty if everything fits into one. They stay right whatever happens to the mailbox
/// between them, since modseqs only rise.
///
/// # Errors
/// A record can't be read.
pub(crate) fn plan(
    mailbox: &dyn MailboxSource,
    base: &Base,
    batch: u32,
) -> Result<VecDeque<Batch>, StoreError> {
    let new = mailbox.records(Which::From(base.last_uid.next()));
    plan_over(new, base.highestmodseq, mailbox.index().highestmodseq, batch)
}

fn plan_over(
    new: impl Iterator<Item = Result<IndexRecord, StoreError>>,
    base_modseq: ModSeq,
    highestmodseq: ModSeq,
    batch: u32,
) -> Result<VecDeque<Batch>, StoreError> {
    let chunks = chunks(new, if batch == 0 { u32::MAX } else { batch })?;
    let mut steps = VecDeque::new();
    let mut after: Option<ModSeq> = None;
    for chunk in chunks.iter().rev() {
        // Nothing comes after the last chunk: it is not a batch of this list.
        if let Some(after) = after {
            let step = Batch { last_uid: chunk.last_uid, highestmodseq: after.previous() };
            steps.push_front(step);
        }
        after = after.into_iter().chain([chunk.lowest_modseq]).min();
    }
    // Modseqs must rise from batch to batch; if they do not, two batches become one.
    let mut reached = base_modseq;
    steps.retain(|step| {
        let rises = step.highestmodseq > reached && step.highestmodseq < highestmodseq;
        if rises {
            reached = step.highestmodseq;
        }
        rises
    });
    Ok(steps)
}

fn chunks(
    new: impl Iterator<Item = Result<IndexRecord, StoreError>>,
    batch: u32,
) -> Result<Vec<Chunk>, StoreError> {
    let mut chunks: Vec<Chunk> = Vec::new();
    for record in new {
        let record = record?;
        let (messages, bytes) = if record.is_unlinked() { (0, 0) } else { (1, record.size) };
        match chunks.last_mut() {
            Some(chunk)
                if chunk.messages + messages <= batch
                    && (chunk.messages == 0 || chunk.bytes + bytes <= STEP_BYTES) =>
            {
                chunk.last_uid = record.uid;
                chunk.messages += messages;
                chunk.bytes += bytes;
                chunk.lowest_modseq = chunk.lowest_modseq.min(record.modseq);
            }
            _ => chunks.push(Chunk {
                last_uid: record.uid,
                messages,
                bytes,
                lowest_modseq: record.modseq,
            }),
        }
    }
    Ok(chunks)
}

/// The modseq with which a record is sent; `None` if it belongs to a later batch.
pub(crate) fn modseq_in_step(
    record: &IndexRecord,
    base: &Base,
    step: Option<Batch>,
) -> Option<ModSeq> {
    match step {
        Some(step) if record.modseq > step.highestmodseq => {
            (record.uid > base.last_uid).then_some(step.highestmodseq)
        }
        _ => Some(record.modseq),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(uid: u32, modseq: u64) -> IndexRecord {
        IndexRecord { uid: Uid(uid), modseq: ModSeq(modseq), size: 10, ..IndexRecord::default() }
    }

    fn planned(records: &[IndexRecord], base: u64, batch: u32) -> Vec<(u32, u64)> {
        let highest = records.iter().map(|r| r.modseq).max().unwrap_or_default();
        let steps =
            plan_over(records.iter().map(|r| Ok(*r)), ModSeq(base), highest, batch).unwrap();
        steps.iter().map(|s| (s.last_uid.0, s.highestmodseq.0)).collect()
    }

    #[test]
    fn a_step_ends_below_the_lowest_modseq_of_all_that_comes_after() {
        let records: Vec<_> = (1..=10).map(|n| record(n, u64::from(n) + 100)).collect();
        assert_eq!(planned(&records, 0, 4), [(4, 104), (8, 108)]);
        assert_eq!(planned(&records, 0, 10), []);
        assert_eq!(planned(&records, 0, 0), []);
        // The first record was flagged after all others: it is first sent with modseq 104.
        let mut flagged = records.clone();
        flagged[0].modseq = ModSeq(200);
        assert_eq!(planned(&flagged, 0, 4), [(4, 104), (8, 108)]);
    }

    #[test]
    fn steps_that_do_not_rise_become_one() {
        let mut records: Vec<_> = (1..=9).map(|n| record(n, u64::from(n) + 100)).collect();
        records[8].modseq = ModSeq(50);
        assert_eq!(planned(&records, 0, 3), [(3, 49)]);
        assert_eq!(planned(&records, 60, 3), []);
    }

    #[test]
    fn bytes_bound_a_step_as_well() {
        let mut records: Vec<_> = (1..=6).map(|n| record(n, u64::from(n))).collect();
        for large in [1, 2, 3] {
            records[large].size = STEP_BYTES - 5;
        }
        assert_eq!(planned(&records, 0, 100), [(1, 1), (2, 2), (3, 3), (4, 4)]);
        assert_eq!(planned(&records[..1], 0, 100), []);
    }

    #[test]
    fn new_records_are_shown_at_the_steps_modseq_and_old_ones_left_for_later() {
        let base = Base { last_uid: Uid(10), highestmodseq: ModSeq(5), since: None };
        let step = Some(Batch { last_uid: Uid(20), highestmodseq: ModSeq(9) });
        assert_eq!(modseq_in_step(&record(15, 8), &base, step), Some(ModSeq(8)));
        assert_eq!(modseq_in_step(&record(15, 12), &base, step), Some(ModSeq(9)));
        assert_eq!(modseq_in_step(&record(7, 12), &base, step), None);
        assert_eq!(modseq_in_step(&record(7, 12), &base, None), Some(ModSeq(12)));
    }
}
