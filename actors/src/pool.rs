//! The ConnectionPool actor: makes connections, lends them, replaces lost ones.
//!
//! ```text
//!   UserSync --Acquire--> ConnectionPool --Connect--> Connection
//!        <---- Lease ----'      ^  ^---Down----------'
//!        '--Returned (on drop)--'
//! ```
//! A lease is one connection for one user's work: the replica keeps what it was sent for a
//! connection until RESTART, so a user's commands must not be spread over several.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use csync::Session;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use crate::connection::{Connect, Connection, Down, Opened};
use crate::events::{Event, EventSink};
use crate::frames::{CommandError, FrameSender, InFlight};
use crate::pool_plan::{Action, PoolPlan};
use crate::settings::Settings;
use crate::transport::ConnectError;

/// A connection that was idle for longer is asked for a sign of life before it is lent.
const IDLE_TRUST: Duration = Duration::from_secs(60);

/// Why nobody gets a connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// Trying again would not help: the login, a certificate or the configuration is wrong.
    #[error("{0}")]
    Fatal(String),
    /// The replica can't be reached and -o forbids to wait.
    #[error("{0}")]
    NoConnection(String),
    /// The program was told to stop.
    #[error("stopped while the replica could not be reached")]
    Stopped,
}

/// Lends connections.
pub(crate) struct ConnectionPool {
    plan: PoolPlan,
    settings: Arc<Settings>,
    events: EventSink,
    /// Event loops for the connections, used in turn.
    loops: Vec<ArbiterHandle>,
    members: HashMap<u64, Member>,
    waiting: VecDeque<oneshot::Sender<Result<Lease, PoolError>>>,
    next_number: u64,
    failure: PoolError,
}

struct Member {
    frames: FrameSender,
    session: Arc<Session>,
    since: Instant,
}

impl ConnectionPool {
    /// A pool of at most `settings.jobs` connections on these event loops.
    pub(crate) fn new(
        settings: Arc<Settings>,
        events: EventSink,
        loops: Vec<ArbiterHandle>,
    ) -> ConnectionPool {
        ConnectionPool {
            plan: PoolPlan::new(settings.jobs, settings.connect_once, settings.reconnect_maxwait),
            settings,
            events,
            loops,
            members: HashMap::new(),
            waiting: VecDeque::new(),
            next_number: 1,
            failure: PoolError::Stopped,
        }
    }

    fn act(&mut self, actions: Vec<Action>, ctx: &mut Context<Self>) {
        for action in actions {
            match action {
                Action::Grant(number) => self.grant(number, ctx),
                Action::Connect { after } if after.is_zero() => self.connect(ctx),
                Action::Connect { after } => {
                    ctx.run_later(after, |pool, ctx| {
                        if pool.plan.has_given_up() {
                            return;
                        }
                        if pool.plan.still_wanted() {
                            pool.connect(ctx);
                        }
                    });
                }
                Action::Announce { wait } => self.announce(wait, ctx),
                Action::FailWaiting => {
                    for waiter in self.waiting.drain(..) {
                        let _ = waiter.send(Err(self.failure.clone()));
                    }
                }
            }
        }
    }

    fn grant(&mut self, number: u64, ctx: &mut Context<Self>) {
        let Some(member) = self.members.get(&number) else { return };
        let lease = Lease {
            number,
            frames: member.frames.clone(),
            session: member.session.clone(),
            stale: member.since.elapsed() > IDLE_TRUST,
            pool: ctx.address(),
            usable: true,
        };
        match self.waiting.pop_front() {
            // Who gave up waiting drops the lease, and it comes back by itself.
            Some(waiter) => drop(waiter.send(Ok(lease))),
            None => drop(lease),
        }
    }

    fn connect(&mut self, ctx: &mut Context<Self>) {
        let number = self.next_number;
        self.next_number += 1;
        let (settings, events) = (self.settings.clone(), self.events.clone());
        let down = ctx.address().recipient();
        let on_loop = self.loops.get(number as usize % self.loops.len().max(1));
        let connection = match on_loop {
            Some(handle) => Connection::start_in_arbiter(handle, move |_| {
                Connection::new(number, settings, events, down)
            }),
            None => Connection::new(number, settings, events, down).start(),
        };
        let connecting = async move { connection.send(Connect).await };
        ctx.spawn(connecting.into_actor(self).map(move |result, pool, ctx| {
            let actions = match result {
                Ok(Ok(opened)) => pool.admit(number, opened),
                Ok(Err(e)) => pool.connect_failed(&e),
                Err(_) => {
                    error!("a connection failed while it was being made; trying again");
                    pool.plan.connect_failed(false)
                }
            };
            pool.act(actions, ctx);
        }));
    }

    fn admit(&mut self, number: u64, opened: Opened) -> Vec<Action> {
        let Opened { frames, session } = opened;
        self.members.insert(number, Member { frames, session, since: Instant::now() });
        self.plan.connected(number)
    }

    fn connect_failed(&mut self, e: &ConnectError) -> Vec<Action> {
        if e.is_fatal() {
            error!("can't use server '{}': {e}", self.settings.server);
            self.failure = PoolError::Fatal(e.to_string());
        } else {
            warn!("no connection to server '{}': {e}", self.settings.server);
            self.failure = PoolError::NoConnection(format!(
                "Can not connect to server '{}': {e}",
                self.settings.server
            ));
            if self.settings.connect_once && !self.plan.is_connected() {
                error!("Can not connect to server '{}'", self.settings.server);
            }
        }
        self.plan.connect_failed(e.is_fatal())
    }

    fn announce(&self, wait: Duration, ctx: &mut Context<Self>) {
        let line = format!(
            "Can not connect to server '{}', retrying in {} seconds",
            self.settings.server,
            wait.as_secs()
        );
        let events = self.events.clone();
        ctx.spawn(async move { events.tell(Event::Notice(line)).await }.into_actor(self));
    }
}

impl Actor for ConnectionPool {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        // Room for a Returned and a Down of every connection at once, since neither may be lost.
        ctx.set_mailbox_capacity(self.settings.jobs * 4 + 16);
    }
}

/// Asks for a connection; waits until there is one.
#[derive(Message)]
#[rtype(result = "Result<Lease, PoolError>")]
pub(crate) struct Acquire;

/// No more waiting for a replica that can't be reached.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct StopWaiting;

/// A lease ended.
#[derive(Message)]
#[rtype(result = "()")]
struct Returned {
    number: u64,
    usable: bool,
}

impl Handler<Acquire> for ConnectionPool {
    type Result = ResponseFuture<Result<Lease, PoolError>>;

    fn handle(&mut self, _: Acquire, ctx: &mut Context<Self>) -> Self::Result {
        let (grant, granted) = oneshot::channel();
        self.waiting.push_back(grant);
        let actions = self.plan.acquire();
        self.act(actions, ctx);
        Box::pin(async move { granted.await.unwrap_or(Err(PoolError::Stopped)) })
    }
}

impl Handler<Returned> for ConnectionPool {
    type Result = ();

    fn handle(&mut self, msg: Returned, ctx: &mut Context<Self>) {
        if let Some(member) = self.members.get_mut(&msg.number) {
            member.since = Instant::now();
        }
        let actions = if msg.usable {
            self.plan.released(msg.number)
        } else {
            // Dropping the member closes its channel, which ends the connection.
            self.members.remove(&msg.number);
            self.plan.down(msg.number)
        };
        self.act(actions, ctx);
    }
}

impl Handler<Down> for ConnectionPool {
    type Result = ();

    fn handle(&mut self, msg: Down, ctx: &mut Context<Self>) {
        if self.members.remove(&msg.number).is_some() {
            info!("connection {} to '{}' ended: {}", msg.number, self.settings.server, msg.reason);
        }
        let actions = self.plan.down(msg.number);
        self.act(actions, ctx);
    }
}

impl Handler<StopWaiting> for ConnectionPool {
    type Result = ();

    fn handle(&mut self, _: StopWaiting, ctx: &mut Context<Self>) {
        if !self.plan.is_connected() && !self.plan.has_given_up() {
            self.failure = PoolError::Stopped;
            let actions = self.plan.give_up();
            self.act(actions, ctx);
            // A pause or a login under way would keep this actor, and so the program, alive.
            ctx.stop();
        }
    }
}

/// One connection, for one user's work. Dropping it gives the connection back.
pub(crate) struct Lease {
    number: u64,
    /// Where commands go.
    pub(crate) frames: FrameSender,
    /// What the replica can do.
    pub(crate) session: Arc<Session>,
    stale: bool,
    pool: Addr<ConnectionPool>,
    usable: bool,
}

impl Lease {
    /// Sends a command ahead of its answer.
    ///
    /// # Errors
    /// [`CommandError::Lost`] when the connection is gone.
    pub(crate) async fn send(
        &self,
        name: &'static str,
        bytes: Vec<u8>,
    ) -> Result<InFlight, CommandError> {
        self.frames.command(name, bytes).await
    }

    /// The connection stands in the middle of a command, or nobody knows where: it is closed, not
    /// given back.
    pub(crate) fn spoil(&mut self) {
        self.usable = false;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let returned = Returned { number: self.number, usable: self.usable };
        if self.pool.try_send(returned).is_err() {
            warn!("connection {} could not be given back", self.number);
        }
    }
}

/// A connection that answers: one that idled for long is tried first.
///
/// # Errors
/// [`PoolError`] when there is none to be had.
pub(crate) async fn acquire(pool: &Addr<ConnectionPool>) -> Result<Lease, PoolError> {
    loop {
        let mut lease = pool.send(Acquire).await.map_err(|_| PoolError::Stopped)??;
        if !lease.stale {
            return Ok(lease);
        }
        let alive = match lease.send("NOOP", b"NOOP\r\n".to_vec()).await {
            Ok(asked) => asked.answer().await.is_ok(),
            Err(_) => false,
        };
        if alive {
            return Ok(lease);
        }
        lease.spoil();
    }
}
