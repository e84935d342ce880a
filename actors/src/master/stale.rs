//! Errors that mean no more than that a mailbox was renamed or removed meanwhile.

use cyrus_store::{ErrorClass, MboxEntry, MboxList, StoreError};

/// Whether an error is only that the mailbox is no longer what its entry said.
pub(crate) fn is_stale(
    list: &MboxList,
    entry: &MboxEntry,
    e: &StoreError,
) -> Result<bool, StoreError> {
    if !matches!(e.class(), ErrorClass::Missing | ErrorClass::Damaged) {
        return Ok(false);
    }
    let now = list.lookup(&entry.name)?;
    Ok(!now.is_some_and(|n| n.uniqueid == entry.uniqueid && !n.mbtype.is_deleted()))
}
