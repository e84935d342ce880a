//! The ConnectionPool actor: makes connections, lends them, replaces lost ones.
//!
//! ```text
//!   UserSync --WantShared, WantExclusive--> ConnectionPool --Connect--> Connection
//!        <-----------Lease----------'      ^  ^---Down----------'
//!        '---------Returned (on drop)------'
//! ```
//! An exclusive lease, for work, is one connection for one user: the replica keeps what it was sent for a connection until
//! RESTART, so a user's commands must not be spread over several. A shared lease, for a look, is shared with other looks
//! (`replica/pool_plan.rs`).
//!
//! A connection that is made for looks is opened early and uncompressed: that saves one of the four round trips of a run
//! with nothing to do, and deflate's CPU on both sides. It is compressed before the first work, or when it has received
//! [`MUCH_IN_CLEAR`].

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{Span, error, info, warn};

use crate::monitor::events::{Event, EventSink};
use crate::monitor::progress::Progress;
use crate::monitor::spans;
use crate::replica::ask::Asker;
use crate::replica::client::Client;
use crate::replica::connection::queue::Queue;
use crate::replica::connection::{
    CompressionState, Connect, Connection, Down, Means, Opened, SAID_BYE,
};
use crate::replica::features::Features;
use crate::replica::frames::FrameSender;
use crate::replica::lease::{Lease, Purpose, Returned, compressed};
use crate::replica::lookahead::Ahead;
use crate::replica::pool_error::{NoLease, PoolError};
use crate::replica::pool_plan::{Action, COMPLAINT_PAUSE, Fault, PoolPlan};
use crate::replica::transport::ConnectError;
use crate::settings::Settings;

/// A connection that was idle for longer is tested before it is lent.
const IDLE_TRUST: Duration = Duration::from_secs(60);

/// After this many uncompressed bytes received a connection is compressed. That takes a round trip in which nothing else is
/// asked on it.
const MUCH_IN_CLEAR: u64 = 512 * 1024;

/// How often to check, while a user waits, whether slow connections have become good again.
const PACE_TICK: Duration = Duration::from_secs(1);

/// Asks for a connection to look at a user; waits until there is one.
#[derive(Message)]
#[rtype(result = "Result<Lease, NoLease>")]
pub(crate) struct WantShared;

/// Asks for a connection to work on a user; waits until there is one.
#[derive(Message)]
#[rtype(result = "Result<Lease, NoLease>")]
pub(crate) struct WantExclusive;

/// Makes and lends connections.
pub(crate) struct ConnectionPool {
    plan: PoolPlan,
    settings: Arc<Settings>,
    events: EventSink,
    /// How to make connections.
    means: Means,
    /// Where to report the replica's state.
    progress: Progress,
    /// Event loops for the connections, used in turn.
    loops: Vec<ArbiterHandle>,
    members: HashMap<u64, Member>,
    /// Connections being made, and whether they ended before we were told that they were open.
    being_made: HashMap<u64, bool>,
    looks: VecDeque<Waiter>,
    work: VecDeque<Waiter>,
    next_number: u64,
    /// The number of leases so far.
    leases: Cell<u64>,
    /// Whether a check for slow answers is scheduled.
    ticking: bool,
    /// Whether connections may be opened early: until one did not keep its offer.
    early: bool,
    /// No connection is lent any more, for this reason.
    stopping: Option<NoLease>,
    failure: NoLease,
    /// The last connection ended because the replica said BYE.
    bye: bool,
    /// Why the last try to connect failed.
    reason: String,
    /// When the wrong login or setting was last reported.
    complained: Option<Instant>,
    /// Where leases are returned, and the returned ones until the actor runs.
    back: mpsc::UnboundedSender<Returned>,
    /// The channel in its log lines.
    span: Span,
    coming_back: Option<mpsc::UnboundedReceiver<Returned>>,
}

type Waiter = oneshot::Sender<Result<Lease, NoLease>>;

struct Member {
    frames: FrameSender,
    features: Features,
    clear: Arc<CompressionState>,
    queue: Queue,
    since: Instant,
}

impl ConnectionPool {
    /// A pool of at most `settings.run.jobs` connections on these event loops.
    pub(crate) fn new(
        means: Means,
        loops: Vec<ArbiterHandle>,
        progress: Progress,
    ) -> ConnectionPool {
        let (settings, events) = (means.settings.clone(), means.events.clone());
        let mut plan = PoolPlan::new(
            settings.run.jobs,
            settings.replica.connect_once,
            settings.replica.reconnect_maxwait,
        );
        if settings.replica.for_ever {
            plan.go_on_for_ever();
        }
        let span = spans::channel(settings.run.channel.as_deref());
        let (back, coming_back) = mpsc::unbounded_channel();
        ConnectionPool {
            plan,
            settings,
            events,
            means,
            progress,
            loops,
            members: HashMap::new(),
            being_made: HashMap::new(),
            looks: VecDeque::new(),
            work: VecDeque::new(),
            next_number: 1,
            leases: Cell::new(0),
            ticking: false,
            early: true,
            stopping: None,
            failure: NoLease::Failed(PoolError::Stopped),
            bye: false,
            reason: String::new(),
            complained: None,
            back,
            span,
            coming_back: Some(coming_back),
        }
    }

    fn act(&mut self, actions: Vec<Action>, ctx: &mut Context<Self>) {
        for action in actions {
            match action {
                Action::GrantShared(number) => {
                    let waiter = self.looks.pop_front();
                    self.grant(number, Purpose::Shared, waiter);
                }
                Action::GrantExclusive(number) => {
                    let waiter = self.work.pop_front();
                    self.grant(number, Purpose::Exclusive, waiter);
                }
                Action::Compress(number) => self.compress(number, ctx),
                Action::Connect => self.connect(ctx),
                Action::ConnectAfter(pause) => {
                    ctx.run_later(pause, |pool, ctx| {
                        if !pool.plan.has_given_up() && pool.plan.still_wanted() {
                            pool.connect(ctx);
                        }
                    });
                }
                Action::GrowAfter(pause) => {
                    ctx.run_later(pause, |pool, ctx| {
                        if !pool.plan.has_given_up() {
                            let actions = pool.plan.grow();
                            pool.act(actions, ctx);
                        }
                    });
                }
                Action::Announce { wait } => self.announce(wait, ctx),
                Action::FailWaiting => {
                    for waiter in self.looks.drain(..).chain(self.work.drain(..)) {
                        let _ = waiter.send(Err(self.failure.clone()));
                    }
                }
            }
        }
    }

    fn grant(&mut self, number: u64, purpose: Purpose, waiter: Option<Waiter>) {
        let Some(lease) = self.lease(number, purpose) else { return };
        // A caller that gave up waiting drops the lease, and so returns it.
        match waiter {
            Some(waiter) => drop(waiter.send(Ok(lease))),
            None => drop(lease),
        }
    }

    fn lease(&self, number: u64, purpose: Purpose) -> Option<Lease> {
        let member = self.members.get(&number)?;
        self.leases.set(self.leases.get() + 1);
        let beside_others = purpose == Purpose::Shared;
        let asker = Asker { number: self.leases.get(), beside_others };
        Some(Lease {
            number,
            purpose,
            client: Client::new(
                member.frames.clone(),
                asker,
                self.events.clone(),
                self.settings.sync.local_only,
                member.features,
            ),
            clear: member.clear.clone(),
            queue: member.queue.clone(),
            stale: member.since.elapsed() > IDLE_TRUST,
            back: self.back.clone(),
            usable: true,
        })
    }

    /// The connection is returned when the replica has answered.
    fn compress(&mut self, number: u64, ctx: &mut Context<Self>) {
        if let Some(lease) = self.lease(number, Purpose::Exclusive) {
            ctx.spawn(async move { drop(compressed(lease).await) }.into_actor(self));
        }
    }

    fn connect(&mut self, ctx: &mut Context<Self>) {
        let number = self.next_number;
        self.next_number += 1;
        let (means, down) = (self.means.clone(), ctx.address().recipient());
        let on_loop = self.loops.get(number as usize % self.loops.len().max(1));
        let connection = match on_loop {
            Some(handle) => {
                Connection::start_in_arbiter(handle, move |_| Connection::new(number, means, down))
            }
            None => Connection::new(number, means, down).start(),
        };
        self.being_made.insert(number, false);
        let early = self.early && !self.looks.is_empty() && self.work.is_empty();
        // While another connection is open, nobody waits in vain for this one.
        let announce = self.members.is_empty() && self.being_made.len() == 1;
        self.progress.replica().connecting(Instant::now().into_std());
        let connecting = async move { connection.send(Connect { early, announce }).await };
        ctx.spawn(connecting.into_actor(self).map(move |result, pool, ctx| {
            let fell = pool.being_made.remove(&number) == Some(true);
            let actions = match result {
                Ok(Ok(_)) if fell => pool.plan.fell(),
                Ok(Ok(opened)) => pool.admit(number, opened, ctx),
                Ok(Err(e)) => pool.connect_failed(&e),
                Err(_) => {
                    let _in = pool.span.clone().entered();
                    error!("a connection failed while it was being made; trying again");
                    pool.plan.connect_failed(Fault::Passing)
                }
            };
            pool.act(actions, ctx);
        }));
    }

    fn admit(&mut self, number: u64, opened: Opened, ctx: &mut Context<Self>) -> Vec<Action> {
        let Opened { frames, features, clear, queue } = opened;
        let since = Instant::now();
        self.bye = false;
        self.reason.clear();
        self.members.insert(number, Member { frames, features, clear, queue, since });
        self.progress.replica().connected(self.members.len());
        self.report(Event::ConnectionOpened, ctx);
        self.plan.connected(number)
    }

    fn connect_failed(&mut self, e: &ConnectError) -> Vec<Action> {
        let _in = self.span.clone().entered();
        let now = Instant::now();
        self.progress.replica().failed(e.problem(), now.into_std());
        let fault = match (e.is_refused(), e.is_fatal()) {
            (true, _) => Fault::Refused,
            (false, true) => Fault::Setting,
            (false, false) => Fault::Passing,
        };
        self.reason = e.to_string();
        if fault != Fault::Passing {
            // A run that goes on for ever fails often; somebody must look at it, but it must not fill syslog.
            if self.complained.is_none_or(|at| now.saturating_duration_since(at) >= COMPLAINT_PAUSE)
            {
                self.complained = Some(now);
                error!("can't use server '{}': {e}", self.settings.replica.server);
            }
            self.failure = PoolError::Fatal(e.to_string()).into();
        } else {
            warn!("no connection to server '{}': {e}", self.settings.replica.server);
            let why = format!("Can not connect to server '{}' ({e})", self.settings.replica.server);
            let e = if self.bye { PoolError::SaidBye(why) } else { PoolError::NoConnection(why) };
            self.failure = e.into();
            if self.settings.replica.connect_once && !self.plan.is_connected() && !self.bye {
                error!("Can not connect to server '{}'", self.settings.replica.server);
            }
        }
        self.plan.connect_failed(fault)
    }

    /// Tells the plan which connections are slow to answer. No event says when one is slow no longer, so it checks again as
    /// long as a user waits.
    fn note_pace(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        let mut any_due = false;
        for (number, member) in &self.members {
            let due = member.queue.due_for(now);
            any_due |= due.is_some();
            self.plan.note_pace(*number, due.unwrap_or_default());
        }
        let waiting = !self.looks.is_empty() || !self.work.is_empty();
        if any_due && waiting && !self.ticking && self.stopping.is_none() {
            self.ticking = true;
            ctx.run_later(PACE_TICK, |pool, ctx| {
                pool.ticking = false;
                pool.note_pace(ctx);
                if !pool.plan.has_given_up() {
                    let actions = pool.plan.serve();
                    pool.act(actions, ctx);
                }
            });
        }
    }

    fn announce(&self, wait: Duration, ctx: &mut Context<Self>) {
        let line = format!(
            "Can not connect to server '{}', retrying in {} seconds ({})",
            self.settings.replica.server,
            wait.as_secs(),
            self.reason,
        );
        self.report(Event::Notice(line), ctx);
    }

    fn report(&self, event: Event, ctx: &mut Context<Self>) {
        let events = self.events.clone();
        ctx.spawn(async move { events.tell(event).await }.into_actor(self));
    }
}

impl Actor for ConnectionPool {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        // Room for a Down of every connection at once, since none may be lost.
        ctx.set_mailbox_capacity(
            self.settings.run.jobs * 4 + Ahead::most(self.settings.run.jobs) + 16,
        );
        let Some(mut coming_back) = self.coming_back.take() else { return };
        let pool = ctx.address().downgrade();
        actix_rt::spawn(async move {
            while let Some(returned) = coming_back.recv().await {
                let Some(pool) = pool.upgrade() else { return };
                if pool.send(returned).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// No user is to be started any more, and nobody waits for a replica that can't be reached.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct StopWaiting;

impl Handler<WantShared> for ConnectionPool {
    type Result = ResponseFuture<Result<Lease, NoLease>>;

    fn handle(&mut self, _: WantShared, ctx: &mut Context<Self>) -> Self::Result {
        if let Some(why) = self.stopping.clone() {
            return Box::pin(async { Err(why) });
        }
        let (grant, granted) = oneshot::channel();
        self.looks.push_back(grant);
        self.note_pace(ctx);
        let actions = self.plan.want_shared();
        self.act(actions, ctx);
        Box::pin(async move { granted.await.unwrap_or(Err(PoolError::Stopped.into())) })
    }
}

impl Handler<WantExclusive> for ConnectionPool {
    type Result = ResponseFuture<Result<Lease, NoLease>>;

    fn handle(&mut self, _: WantExclusive, ctx: &mut Context<Self>) -> Self::Result {
        if let Some(why) = self.stopping.clone() {
            return Box::pin(async { Err(why) });
        }
        let (grant, granted) = oneshot::channel();
        self.work.push_back(grant);
        self.note_pace(ctx);
        let actions = self.plan.want_exclusive();
        self.act(actions, ctx);
        Box::pin(async move { granted.await.unwrap_or(Err(PoolError::Stopped.into())) })
    }
}

impl Handler<Returned> for ConnectionPool {
    type Result = ();

    fn handle(&mut self, msg: Returned, ctx: &mut Context<Self>) {
        if let Some(member) = self.members.get_mut(&msg.number) {
            member.since = Instant::now();
            let compressible = member.clear.compressible.load(Ordering::Relaxed);
            if compressible && member.clear.received.load(Ordering::Relaxed) > MUCH_IN_CLEAR {
                self.plan.received_much(msg.number);
            }
        }
        self.note_pace(ctx);
        let actions = match (msg.usable, msg.purpose) {
            (true, Purpose::Exclusive) => self.plan.released(msg.number),
            (true, Purpose::Shared) => self.plan.looked(msg.number),
            (false, _) => {
                // Dropping the member closes its channel, which ends the connection.
                self.members.remove(&msg.number);
                self.progress.replica().left(self.members.len());
                // Down will say whether it was ever open.
                self.plan.down(msg.number, false)
            }
        };
        self.act(actions, ctx);
    }
}

impl Handler<Down> for ConnectionPool {
    type Result = ();

    fn handle(&mut self, msg: Down, ctx: &mut Context<Self>) {
        let made = self.members.remove(&msg.number).is_some();
        self.progress.replica().left(self.members.len());
        let fell = self.being_made.get_mut(&msg.number).map(|fell| *fell = true).is_some();
        if made || fell {
            let channel = self.settings.run.channel.as_deref();
            spans::connection(msg.number, channel).in_scope(|| {
                info!("connection to '{}' ended: {}", self.settings.replica.server, msg.reason);
            });
            let (number, reason) = (msg.number, msg.reason.clone());
            self.report(Event::ConnectionLost { number, reason }, ctx);
        }
        self.bye |= made && msg.reason.starts_with(SAID_BYE);
        self.early &= !msg.unopened;
        // A connection that is being made still exists, until we hear that it is open.
        let actions = if fell { Vec::new() } else { self.plan.down(msg.number, !msg.unopened) };
        self.act(actions, ctx);
    }
}

impl Handler<StopWaiting> for ConnectionPool {
    type Result = ();

    fn handle(&mut self, _: StopWaiting, ctx: &mut Context<Self>) {
        self.stopping = Some(NoLease::NotStarted);
        if self.plan.is_connected() {
            self.plan.forget_waiting();
            for waiter in self.looks.drain(..).chain(self.work.drain(..)) {
                let _ = waiter.send(Err(NoLease::NotStarted));
            }
        } else if !self.plan.has_given_up() {
            // "Connecting" is not the same as "can't connect".
            let failed = !self.reason.is_empty();
            self.failure = if failed { PoolError::Stopped.into() } else { NoLease::NotStarted };
            // Who was about to ask is told the same.
            self.stopping = Some(self.failure.clone());
            let actions = self.plan.give_up();
            self.act(actions, ctx);
        }
    }
}
