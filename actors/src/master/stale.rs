//! Errors that only mean that a mailbox was renamed or removed meanwhile.

use cyrus_store::{ErrorClass, MboxEntry, MboxList, StoreError};

/// Whether an error only means that the mailbox no longer matches its entry.
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
