//! What both feeders, the list and the log, share: which user is next, one attempt at it, and the locks.

pub(crate) mod aside;
pub(crate) mod attempt;
pub(crate) mod attempts;
pub(crate) mod event_loop;
pub(crate) mod job;
pub(crate) mod lock_keeper;
pub(crate) mod lone_failures;
pub(crate) mod outcomes;
pub(crate) mod pause;
pub(crate) mod queue;
pub(crate) mod retry;
pub(crate) mod trouble;
pub(crate) mod turns;
pub(crate) mod worker_pool;
pub(crate) mod works;
