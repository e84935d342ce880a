//! The event loop's time, and a pause until a wake-up or a given time.

use std::time::Instant;

/// The time by the event loop's clock: the system's time, except in tests.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Sleeps until this time, for ever without one.
pub(crate) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
