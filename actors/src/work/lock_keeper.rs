//! The LockKeeper actor: one holder of a user's sync lock at a time, in all processes.
//!
//! The lock is Cyrus' own lock file (`*S*server*user`), taken as an open file description lock, so
//! that the C client, our other processes and our own other users of it all exclude each other.
//! Waiting is done by asking again from a timer: no thread is stuck in it, and a thousand waiting
//! users cost nothing.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use cyrus_store::sync_log::skip_file;
use cyrus_store::{Config, FileLock, StoreError, sync_lock};
use tracing::{Instrument, info};

use crate::error::{MasterError, UserError};
use crate::monitor::events::{Event, EventSink};
use crate::monitor::report::{is_shared, name_of};
use crate::monitor::spans;

/// Who waits for so long is named on stderr, once.
const LONG_WAIT: Duration = Duration::from_secs(5);
/// So many users that wait are named; of others it is only said that there are any.
const NAMED: u32 = 5;

/// The first pause between two tries, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// Takes locks for users. Whoever has to wait for a lock does so alone: others are served meanwhile.
pub(crate) struct LockKeeper {
    config: Arc<Config>,
    server: Arc<str>,
    channel: Option<Arc<str>>,
    events: EventSink,
    /// How many users wait that were named, or would have been.
    waiting: Rc<Cell<u32>>,
}

impl LockKeeper {
    /// A keeper of the locks for this server, named as -S or sync_host name it.
    pub(crate) fn new(
        config: Arc<Config>,
        server: &str,
        channel: Option<&str>,
        events: EventSink,
    ) -> LockKeeper {
        let (server, channel) = (server.into(), channel.map(Into::into));
        LockKeeper { config, server, channel, events, waiting: Rc::default() }
    }
}

impl Actor for LockKeeper {
    type Context = Context<Self>;
}

/// A held lock; dropping it lets go.
pub(crate) struct UserLock {
    _file: FileLock,
}

/// What became of the wish for a lock.
pub(crate) enum LockOutcome {
    /// It is ours.
    Lock(UserLock),
    /// Somebody else holds it (never after a wait).
    Busy,
    /// This user is not to be replicated: there is a skipuser file.
    Skip,
}

/// Asks for a user's lock, and waits for it if so wished.
#[derive(Message)]
#[rtype(result = "Result<LockOutcome, MasterError>")]
pub(crate) struct LockUser {
    pub(crate) userid: Arc<str>,
    pub(crate) wait: bool,
}

impl Handler<LockUser> for LockKeeper {
    type Result = ResponseFuture<Result<LockOutcome, MasterError>>;

    fn handle(&mut self, msg: LockUser, _: &mut Context<Self>) -> Self::Result {
        let wish = LockRequest {
            config: self.config.clone(),
            server: self.server.clone(),
            channel: self.channel.clone(),
            userid: msg.userid.clone(),
        };
        let (events, waiting) = (self.events.clone(), self.waiting.clone());
        let span = spans::user(&msg.userid, self.channel.as_deref());
        let taking = async move {
            let (mut pause, longest) = PAUSES;
            let mut since = None;
            let mut named = None;
            loop {
                let tried = wish.clone().try_lock().await?;
                if !matches!(tried, LockOutcome::Busy) || !msg.wait {
                    return Ok(tried);
                }
                let now = Instant::now();
                if since.is_none() {
                    info!("waiting for the sync lock of {}", name_of(&msg.userid));
                }
                let waited = now.saturating_duration_since(*since.get_or_insert(now));
                if waited >= LONG_WAIT && named.is_none() {
                    named = Some(Waiting::one_more(&waiting, &msg.userid, &events).await);
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(longest);
            }
        };
        Box::pin(taking.instrument(span))
    }
}

/// A user who has waited for long, until it waits no more.
struct Waiting(Rc<Cell<u32>>);

impl Waiting {
    /// Says so, unless there are many already.
    async fn one_more(all: &Rc<Cell<u32>>, userid: &str, events: &EventSink) -> Waiting {
        all.set(all.get() + 1);
        let waiting = Waiting(all.clone());
        let line = match all.get() {
            ..=NAMED => format!(
                "waiting for the sync lock of {} (held by another process) …",
                name_of(userid)
            ),
            number if number == NAMED + 1 => {
                "waiting for the sync locks of more users (SIGUSR1 shows them) …".into()
            }
            _ => return waiting,
        };
        events.tell(Event::Notice(line)).await;
        waiting
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// Asks the keeper for a user's lock.
///
/// # Errors
/// The lock file can't be made or locked.
pub(crate) async fn lock(
    userid: &Arc<str>,
    wait: bool,
    locks: &Addr<LockKeeper>,
) -> Result<LockOutcome, UserError> {
    let asking = locks.send(LockUser { userid: userid.clone(), wait });
    Ok(asking.await??)
}

/// Whose lock is wished for.
#[derive(Clone)]
struct LockRequest {
    config: Arc<Config>,
    server: Arc<str>,
    channel: Option<Arc<str>>,
    userid: Arc<str>,
}

impl LockRequest {
    /// Lock files live on a disk: off the event loop.
    async fn try_lock(self) -> Result<LockOutcome, MasterError> {
        match actix_rt::task::spawn_blocking(move || self.blocking()).await {
            Ok(taken) => Ok(taken?),
            // It is this user's failure, not the end of all locks.
            Err(e) => Err(MasterError::Internal(e.to_string())),
        }
    }

    fn blocking(&self) -> Result<LockOutcome, StoreError> {
        if skip_file(&self.config, self.channel.as_deref(), &self.userid).exists() {
            return Ok(LockOutcome::Skip);
        }
        // Shared mailboxes have no user, and Cyrus' name for their lock none either.
        let user = (!is_shared(&self.userid)).then_some(&*self.userid);
        let taken = sync_lock(&self.config, &self.server, user, true)?;
        Ok(taken.map_or(LockOutcome::Busy, |file| LockOutcome::Lock(UserLock { _file: file })))
    }
}
