//! One of our mailboxes against all of the replica's records.

use csync::{Guid, ReplicaMailbox};
use cyrus_store::{Mailbox, MboxEntry, Store, StoreError};
use sync_plan::{Crcs, FullMaster, FullReplica, PlanError, RecordState, crc_equal, plan_full};

use crate::error::UserError;

/// Whether the mailbox can be sent in full without copying anything back. A mailbox that is gone
/// meanwhile has nothing to be copied.
pub(crate) fn check(
    store: &Store,
    entry: &MboxEntry,
    full: &FullReplica,
    one_way: bool,
) -> Result<(), UserError> {
    match store.open_mailbox(entry) {
        Ok(mailbox) => to_expunge(&mailbox, full, one_way).map(|_| ()),
        // It is read again when it is sent, and what is wrong with it is said then.
        Err(_) => Ok(()),
    }
}

/// Whether our checksums, computed afresh, still differ from the replica's. A mailbox that can't be
/// read is not compared; what is wrong with it is said when it is sent.
pub(crate) fn do_checksums_differ(
    store: &Store,
    entry: &MboxEntry,
    replica: &ReplicaMailbox,
) -> bool {
    let Ok(crcs) = store.open_mailbox(entry).and_then(|m| m.recompute_crcs()) else {
        return false;
    };
    let ours = Crcs { basic: crcs.basic, annot: crcs.annot };
    !crc_equal(ours, Crcs { basic: replica.sync_crc, annot: replica.sync_crc_annot })
}

/// The UIDs that the replica must expunge before it gets all of our records.
pub(crate) fn to_expunge(
    mailbox: &Mailbox,
    full: &FullReplica,
    one_way: bool,
) -> Result<Vec<u32>, UserError> {
    let name = mailbox.name();
    let master =
        FullMaster { last_uid: mailbox.index.last_uid, deletedmodseq: mailbox.index.deletedmodseq };
    let ours = mailbox.records(0).map(|record| {
        record.map(|r| RecordState {
            uid: r.uid,
            modseq: r.modseq,
            guid: Guid(r.guid.0),
            expunged: r.is_expunged(),
        })
    });
    let damaged = |e: StoreError| UserError::Mailbox { mailbox: name.into(), source: Box::new(e) };
    let copyback = |reason| PlanError::Copyback { mailbox: name.into(), reason }.into();
    plan_full(master, ours, full, one_way).map_err(damaged)?.map_err(copyback)
}
