//! A panic while the store is read becomes that user's failure; the thread lives on.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::MasterError;

/// Turns a panic into the user's failure.
pub(super) fn guarded<T, E: From<MasterError>>(
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(panic) => Err(MasterError::Internal(panic_text(panic.as_ref())).into()),
    }
}

pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_else(|| "panic".into())
}
