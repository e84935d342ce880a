//! What both feeders, the list and the log, share: who is worked on next, one attempt at it, and the locks.

pub(crate) mod aside;
pub(crate) mod attempt;
pub(crate) mod lock_keeper;
pub(crate) mod pause;
pub(crate) mod queue;
pub(crate) mod trouble;
pub(crate) mod worker_pool;
