//! Checks whether a user's Sieve scripts are still files (`user/scripts.rs` says why that matters).

use cyrus_store::Store;

use crate::error::MasterError;

/// Call it on a reading thread. Fails if they are.
///
/// # Errors
/// [`MasterError::ScriptFiles`], or the store can't be read.
pub(crate) fn check(store: &Store, userid: &str) -> Result<(), MasterError> {
    match store.scripts_only_in_folder(&store.mailboxes()?, userid)? {
        Some(folder) => Err(MasterError::ScriptFiles { folder }),
        None => Ok(()),
    }
}
