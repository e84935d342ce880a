//! Waits for a connection: a shared one to ask on, or an exclusive one.

use std::time::Duration;

use actix::prelude::*;

use crate::replica::lease::{Lease, compressed, living, opened};
use crate::replica::pool::{ConnectionPool, WantExclusive, WantShared};
use crate::replica::pool_error::{NoLease, PoolError};

/// How long a user may wait for a connection to work on, after it was looked at.
const WORK_WAIT: Duration = Duration::from_secs(10);

/// A shared connection to look at a user on, beside other looks.
///
/// # Errors
/// [`NoLease`] if none can be had.
pub(crate) async fn acquire_shared(pool: &Addr<ConnectionPool>) -> Result<Lease, NoLease> {
    loop {
        let lease = pool.send(WantShared).await.map_err(|_| PoolError::Stopped)??;
        if let Some(lease) = living(lease).await {
            return Ok(lease);
        }
    }
}

/// A connection for one look alone: after a connection was lost while this user's answer was due, the user must not take
/// others' answers with it again.
///
/// # Errors
/// [`NoLease`] if none can be had.
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
/// [`NoLease`] if none can be had; [`NoLease::NotStarted`] after [`WORK_WAIT`], because what was seen of the user is old by
/// then.
pub(crate) async fn acquire_exclusive(pool: &Addr<ConnectionPool>) -> Result<Lease, NoLease> {
    loop {
        let opened = async {
            let lease = pool.send(WantExclusive).await.map_err(|_| PoolError::Stopped)??;
            Ok::<_, NoLease>(opened(lease).await)
        };
        let opened = tokio::time::timeout(WORK_WAIT, opened).await;
        if let Some(lease) = opened.unwrap_or(Err(NoLease::NotStarted))?
            && let Some(lease) = living(lease).await
            && let Some(lease) = compressed(lease).await
        {
            return Ok(lease);
        }
    }
}
