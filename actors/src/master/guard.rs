//! A panic while the store is read becomes that user's failure; the thread lives on.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::UserError;

/// Turns a panic into the user's failure.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, UserError>) -> Result<T, UserError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(panic) => Err(UserError::Internal(panic_text(panic.as_ref()))),
    }
}

pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_else(|| "panic".into())
}
