//! One of our mailboxes against all of the replica's records.

use csync::Guid;
use cyrus_store::{Mailbox, MboxEntry, Store, StoreError};
use sync_plan::{FullMaster, FullReplica, PlanError, RecordState, plan_full};

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
