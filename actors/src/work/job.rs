//! A work, and what was done for it so far: what the queue hands out and takes back.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use cyrus_types::Owner;
use sync_plan::backlog::WorkUnit;

use crate::monitor::report::Sent;

/// A work, and what was done for it so far.
#[derive(Debug)]
pub(crate) struct WorkJob<L> {
    /// For whom it is reported.
    pub(crate) owner: Owner,
    pub(crate) work: Arc<WorkUnit>,
    /// Locks that the work waited for and got, by user.
    pub(crate) locks: Vec<(Owner, L)>,
    /// A connection was lost while an answer about one of its users was due: they are asked about alone.
    pub(crate) alone: bool,
    /// Which try this is, from 1 on.
    pub(crate) tries: u32,
    /// When the last try began: when its locks were taken or, before that, when its turn came.
    pub(crate) since: Instant,
    /// What was sent in all tries.
    pub(crate) sent: Sent,
    /// Becomes true when a change on the replica is started.
    pub(crate) begun: Arc<AtomicBool>,
}

impl<L> WorkJob<L> {
    /// A work that was not tried yet.
    pub(crate) fn new(work: Arc<WorkUnit>, since: Instant) -> WorkJob<L> {
        WorkJob {
            owner: work.key(),
            work,
            locks: Vec::new(),
            alone: false,
            tries: 1,
            since,
            sent: Sent::default(),
            begun: Arc::default(),
        }
    }
}
