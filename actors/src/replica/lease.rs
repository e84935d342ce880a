//! Leases: a connection for one user's work (exclusive) or for a look (shared).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::prelude::*;
use tokio::sync::mpsc;

use crate::replica::client::Client;
use crate::replica::connection::CompressionState;
use crate::replica::connection::queue::Queue;

/// The kind of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To ask, beside others.
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

/// One connection, for one user's work or, shared, for a look. Dropping it returns the connection.
pub(crate) struct Lease {
    pub(crate) number: u64,
    pub(crate) purpose: Purpose,
    /// The commands that can be sent on it.
    pub(crate) client: Client,
    pub(crate) clear: Arc<CompressionState>,
    /// The commands whose answers are awaited; it also knows when the handshake is over.
    pub(super) queue: Queue,
    /// It was idle for so long that it may be gone.
    pub(crate) stale: bool,
    /// Where it is returned. Unbounded, so that no lease is lost: a connection has one exclusive lease at a time, or one
    /// for each look.
    pub(crate) back: mpsc::UnboundedSender<Returned>,
    /// Whether it can be lent again.
    pub(crate) usable: bool,
}

impl Lease {
    /// The connection is in the middle of a command, or its state is unknown: it is closed, not returned.
    pub(crate) fn spoil(&mut self) {
        self.usable = false;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // If its holder panicked, nobody knows what was sent on it, and nobody sends RESTART.
        let usable = self.usable && !std::thread::panicking();
        let returned = Returned { number: self.number, purpose: self.purpose, usable };
        // Without a pool there is nobody to have it.
        let _ = self.back.send(returned);
    }
}

/// The lease, compressed if possible; `None` if its connection is lost.
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

/// The lease, once the handshake is over; `None` if it failed. Questions need not wait for it.
pub(crate) async fn opened(mut lease: Lease) -> Option<Lease> {
    lease.queue.opened().await;
    if lease.client.end().get().is_some() {
        lease.spoil();
        return None;
    }
    Some(lease)
}

/// The lease, if its connection answers: one that idled for long is tested first.
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
