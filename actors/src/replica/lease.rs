//! Leases: a connection for one user's work or, shared, for a look.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::prelude::*;
use bytes::Bytes;
use csync::{Framing, Session};
use tokio::sync::mpsc;

use crate::replica::ask::About;
use crate::replica::command_error::CommandError;
use crate::replica::connection::CompressionState;
use crate::replica::frames::{FrameSender, PendingCommand};

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
    /// Where commands go.
    pub(crate) frames: FrameSender,
    /// What the replica can do.
    pub(crate) session: Arc<Session>,
    pub(crate) clear: Arc<CompressionState>,
    /// It was idle for so long that it may be gone.
    pub(crate) stale: bool,
    /// Where it is given back. Never full, so that no lease is lost: a connection has one at a time, and each look one more.
    pub(crate) back: mpsc::UnboundedSender<Returned>,
    /// Whether it can be lent again.
    pub(crate) usable: bool,
}

impl Lease {
    /// Sends a command ahead of its answer.
    ///
    /// # Errors
    /// [`CommandError::Lost`] when the connection is gone.
    pub(crate) async fn send(
        &self,
        name: &'static str,
        bytes: impl Into<Bytes>,
    ) -> Result<PendingCommand, CommandError> {
        self.frames.command(name, bytes, About::Anything).await
    }

    /// The same with a question whose answer can only be about this.
    ///
    /// # Errors
    /// As [`send`](Lease::send).
    pub(crate) async fn ask(
        &self,
        name: &'static str,
        bytes: Vec<u8>,
        about: About,
    ) -> Result<PendingCommand, CommandError> {
        self.frames.command(name, bytes, about).await
    }

    /// Makes sure that the answers so far were the questions' own: the connection ends where they were not. An empty
    /// answer looks like any other command's OK, but the one to NOOP has words of its own. imapd's
    /// answers have tags, which are enough.
    ///
    /// # Errors
    /// [`CommandError::Lost`] when the connection ends.
    pub(crate) async fn prove_in_step(&self) -> Result<(), CommandError> {
        if self.session.framing == Framing::Csync {
            self.send("NOOP", b"NOOP\r\n".to_vec()).await?.answer().await?;
        }
        Ok(())
    }

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
    if lease.frames.compress().await.is_err() {
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
    let alive = match lease.send("NOOP", b"NOOP\r\n".to_vec()).await {
        Ok(asked) => asked.answer().await.is_ok(),
        Err(_) => false,
    };
    if !alive {
        lease.spoil();
        return None;
    }
    Some(lease)
}
