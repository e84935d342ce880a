//! Waiting for a connection: to ask on it beside others, or to have it alone.

use std::time::Duration;

use actix::prelude::*;

use crate::replica::lease::{Lease, compressed, living, opened};
use crate::replica::pool::{ConnectionPool, NoLease, PoolError, WantExclusive, WantShared};

/// How long a user may wait for a connection to be worked on, after it was looked at.
const WORK_WAIT: Duration = Duration::from_secs(10);

/// A connection to look at a user on, beside others who look.
///
/// # Errors
/// [`NoLease`] when there is none to be had.
pub(crate) async fn acquire_shared(pool: &Addr<ConnectionPool>) -> Result<Lease, NoLease> {
    loop {
        let lease = pool.send(WantShared).await.map_err(|_| PoolError::Stopped)??;
        if let Some(lease) = living(lease).await {
            return Ok(lease);
        }
    }
}

/// A connection to look at a user on that nobody else uses: after one was lost with its answer due, it shall take no other
/// user's with it.
///
/// # Errors
/// [`NoLease`] when there is none to be had.
pub(crate) async fn acquire_exclusive_look(pool: &Addr<ConnectionPool>) -> Result<Lease, NoLease> {
    loop {
        let lease = pool.send(WantExclusive).await.map_err(|_| PoolError::Stopped)??;
        if let Some(lease) = opened(lease).await
            && let Some(lease) = living(lease).await
        {
            return Ok(lease);
        }
    }
}

/// A connection for one user's work.
///
/// # Errors
/// [`NoLease`] when there is none to be had; [`NoLease::NotStarted`] after [`WORK_WAIT`], by when
/// what was seen of the user is old.
pub(crate) async fn acquire_exclusive(pool: &Addr<ConnectionPool>) -> Result<Lease, NoLease> {
    loop {
        let waiting = tokio::time::timeout(WORK_WAIT, pool.send(WantExclusive));
        let lease = match waiting.await {
            Ok(answer) => answer.map_err(|_| PoolError::Stopped)??,
            Err(_) => return Err(NoLease::NotStarted),
        };
        if let Some(lease) = opened(lease).await
            && let Some(lease) = living(lease).await
            && let Some(lease) = compressed(lease).await
        {
            return Ok(lease);
        }
    }
}
