//! The LockKeeper actor: takes users' sync locks, so that one process at a time works on a user.
//!
//! The lock is Cyrus' own lock file (`*S*server*user`), taken as an open file description lock, so that the C client, our
//! other processes and the other tasks of this process all exclude each other. To wait, it tries again from a timer: no
//! thread is blocked, and a thousand waiting users cost nothing.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use cyrus_types::Owner;
use tracing::{Instrument, info};

use crate::error::{MasterError, UserError};
use crate::master::source::Source;
pub(crate) use crate::master::source::{LockOutcome, UserLock};
use crate::master::threads::Threads;
use crate::monitor::events::{Event, EventSink};
use crate::monitor::spans;

/// A user that waits this long is named on stderr, once.
const LONG_WAIT: Duration = Duration::from_secs(5);
/// At most this many waiting users are named; for others one line says only that there are some.
const NAMED: u32 = 5;

/// How many locks are tried at a time: each try is short, unless the disk hangs.
const TRIES: usize = 16;

/// The first pause between two tries, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// Takes locks for users. Each request waits alone: others are served meanwhile.
pub(crate) struct LockKeeper {
    source: Arc<dyn Source>,
    server: Arc<str>,
    channel: Option<Arc<str>>,
    events: EventSink,
    threads: Threads,
    /// How many users wait that were named, or would have been.
    waiting: Rc<Cell<u32>>,
}

impl LockKeeper {
    /// A keeper of the locks for this server, as -S or sync_host name it.
    pub(crate) fn new(
        source: Arc<dyn Source>,
        server: &str,
        channel: Option<&str>,
        events: EventSink,
    ) -> LockKeeper {
        let (server, channel) = (server.into(), channel.map(Into::into));
        let threads = Threads::new("locks", TRIES);
        LockKeeper { source, server, channel, events, threads, waiting: Rc::default() }
    }
}

impl Actor for LockKeeper {
    type Context = Context<Self>;
}

/// Asks for a user's lock, and waits for it if requested.
#[derive(Message)]
#[rtype(result = "Result<LockOutcome, MasterError>")]
pub(crate) struct LockUser {
    pub(crate) owner: Owner,
    pub(crate) wait: bool,
}

impl Handler<LockUser> for LockKeeper {
    type Result = ResponseFuture<Result<LockOutcome, MasterError>>;

    fn handle(&mut self, msg: LockUser, _: &mut Context<Self>) -> Self::Result {
        let (source, server, channel) =
            (self.source.clone(), self.server.clone(), self.channel.clone());
        let (events, waiting) = (self.events.clone(), self.waiting.clone());
        let threads = self.threads.clone();
        let span = spans::user(&msg.owner, self.channel.as_deref());
        let taking = async move {
            let (mut pause, longest) = PAUSES;
            let mut since = None;
            let mut named = None;
            loop {
                let (source, owner) = (source.clone(), msg.owner.clone());
                let (server, channel) = (server.clone(), channel.clone());
                // Lock files live on a disk: off the event loop.
                let trying = move || source.lock(&owner, &server, channel.as_deref());
                let tried = threads.run(trying).await??;
                if !matches!(tried, LockOutcome::Busy) || !msg.wait {
                    return Ok(tried);
                }
                let now = Instant::now();
                if since.is_none() {
                    info!("waiting for the sync lock of {}", msg.owner.name());
                }
                let waited = now.saturating_duration_since(*since.get_or_insert(now));
                if waited >= LONG_WAIT && named.is_none() {
                    named = Some(Waiting::one_more(&waiting, &msg.owner, &events).await);
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(longest);
            }
        };
        Box::pin(taking.instrument(span))
    }
}

/// A user that has waited long, until it waits no more.
struct Waiting(Rc<Cell<u32>>);

impl Waiting {
    /// Reports it, unless there are many already.
    async fn one_more(all: &Rc<Cell<u32>>, owner: &Owner, events: &EventSink) -> Waiting {
        all.set(all.get() + 1);
        let waiting = Waiting(all.clone());
        let line = match all.get() {
            ..=NAMED => {
                format!("waiting for the sync lock of {} (held by another process) …", owner.name())
            }
            number if number == NAMED + 1 => {
                "waiting for the sync locks of more users (SIGUSR1 shows them) …".into()
            }
            _ => return waiting,
        };
        events.tell(Event::Remark(line)).await;
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
    owner: &Owner,
    wait: bool,
    locks: &Addr<LockKeeper>,
) -> Result<LockOutcome, UserError> {
    let asking = locks.send(LockUser { owner: owner.clone(), wait });
    Ok(asking.await??)
}
