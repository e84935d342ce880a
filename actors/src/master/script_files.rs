//! Checks whether a user's Sieve scripts are still files (`user/scripts.rs` says why that matters).

use crate::error::MasterError;
use crate::master::source::Source;

/// Call it on a reading thread. Fails if they are.
///
/// # Errors
/// [`MasterError::ScriptFiles`], or it can't be found out.
pub(crate) fn check(source: &dyn Source, userid: &str) -> Result<(), MasterError> {
    match source.scripts_only_in_folder(userid)? {
        Some(folder) => Err(MasterError::ScriptFiles { folder }),
        None => Ok(()),
    }
}
