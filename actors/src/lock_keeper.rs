//! The LockKeeper actor: one holder of a user's sync lock at a time, in all processes.
//!
//! The lock is Cyrus' own lock file (`*S*server*user`), taken as an open file description lock, so
//! that the C client, our other processes and our own other users of it all exclude each other.
//! Waiting is done by asking again from a timer: no thread is stuck in it, and a thousand waiting
//! users cost nothing.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use cyrus_store::{Config, FileLock, StoreError, sync_lock};
use tracing::info;

use crate::report::is_shared;

/// The first pause between two tries, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// Keeps nobody waiting but who asked.
pub(crate) struct LockKeeper {
    config: Arc<Config>,
    server: Arc<str>,
}

impl LockKeeper {
    /// A keeper of the locks for this server, named as -S or sync_host name it.
    pub(crate) fn new(config: Arc<Config>, server: &str) -> LockKeeper {
        LockKeeper { config, server: server.into() }
    }
}

impl Actor for LockKeeper {
    type Context = Context<Self>;
}

/// A held lock; dropping it lets go.
pub(crate) struct UserLock {
    _file: FileLock,
}

/// Asks for a user's lock: none is the answer to [`LockUser::wait`] = false when somebody else
/// holds it.
#[derive(Message)]
#[rtype(result = "Result<Option<UserLock>, StoreError>")]
pub(crate) struct LockUser {
    pub(crate) userid: Arc<str>,
    pub(crate) wait: bool,
}

impl Handler<LockUser> for LockKeeper {
    type Result = ResponseFuture<Result<Option<UserLock>, StoreError>>;

    fn handle(&mut self, msg: LockUser, _: &mut Context<Self>) -> Self::Result {
        let (config, server) = (self.config.clone(), self.server.clone());
        Box::pin(async move {
            let (mut pause, longest) = PAUSES;
            let mut told = false;
            loop {
                let tried = try_lock(config.clone(), server.clone(), msg.userid.clone()).await?;
                if tried.is_some() || !msg.wait {
                    return Ok(tried);
                }
                if !told {
                    info!("waiting for the sync lock of {}", msg.userid);
                    told = true;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(longest);
            }
        })
    }
}

/// Lock files live on a disk: off the event loop.
async fn try_lock(
    config: Arc<Config>,
    server: Arc<str>,
    userid: Arc<str>,
) -> Result<Option<UserLock>, StoreError> {
    // Shared mailboxes have no user, and Cyrus' name for their lock none either.
    let blocking = move || {
        let user = (!is_shared(&userid)).then_some(&*userid);
        sync_lock(&config, &server, user, true)
    };
    let taken = match actix_rt::task::spawn_blocking(blocking).await {
        Ok(taken) => taken?,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    };
    Ok(taken.map(|file| UserLock { _file: file }))
}
