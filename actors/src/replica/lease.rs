//! Leases: a connection for one user's work or, shared, for a look.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::prelude::*;
use tokio::sync::mpsc;

use crate::replica::client::Client;
use crate::replica::connection::CompressionState;
use crate::replica::connection::queue::Queue;

/// What a connection is lent for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To ask, beside others who ask.
    Shared,
    /// To work on one user, alone.
    Exclusive,
}

/// A lease ended.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Returned {
    pub(crate) number: u64,
    pub(crate) purpose: Purpose,
    pub(crate) usable: bool,
}

/// One connection, for one user's work or, shared, for a look. Dropping it gives it back.
pub(crate) struct Lease {
    pub(crate) number: u64,
    pub(crate) purpose: Purpose,
    /// What is said on it.
    pub(crate) client: Client,
    pub(crate) clear: Arc<CompressionState>,
    /// Tells when all is agreed on with the replica.
    pub(super) queue: Queue,
    /// It was idle for so long that it may be gone.
    pub(crate) stale: bool,
    /// Where it is given back. Never full, so that no lease is lost: a connection has one at a time, and each look one more.
    pub(crate) back: mpsc::UnboundedSender<Returned>,
    /// Whether it can be lent again.
    pub(crate) usable: bool,
}

impl Lease {
    /// The connection stands in the middle of a command, or nobody knows where: it is closed, not
    /// given back.
    pub(crate) fn spoil(&mut self) {
        self.usable = false;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let returned = Returned { number: self.number, purpose: self.purpose, usable: self.usable };
        // Without a pool there is nobody to have it.
        let _ = self.back.send(returned);
    }
}

/// The lease, compressed if that can be; none when its connection is lost.
pub(crate) async fn compressed(mut lease: Lease) -> Option<Lease> {
    if !lease.clear.compressible.load(Ordering::Relaxed) {
        return Some(lease);
    }
    if lease.client.compress().await.is_err() {
        lease.spoil();
        return None;
    }
    Some(lease)
}

/// The lease, once all is agreed on with the replica; none when that failed. Questions need not wait for it.
pub(crate) async fn opened(mut lease: Lease) -> Option<Lease> {
    lease.queue.opened().await;
    if lease.client.end().get().is_some() {
        lease.spoil();
        return None;
    }
    Some(lease)
}

/// The lease, if its connection answers: one that idled for long is tried first.
pub(crate) async fn living(mut lease: Lease) -> Option<Lease> {
    if !lease.stale {
        return Some(lease);
    }
    if lease.client.noop().await.is_err() {
        lease.spoil();
        return None;
    }
    Some(lease)
}
