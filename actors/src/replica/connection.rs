//! The Connection actor: one socket to the replica; commands go ahead of their answers.
//!
//! ```text
//!   Lease --Frame--> writer task --bytes--> replica --bytes--> reader task --Answer--> the caller
//!                        '------ names of commands, in order ------^
//! ```
//! The writer never waits for an answer and the reader never waits for the writer, so answers and commands of any size
//! can't block each other. Answers come in the order of the commands, so a queue matches them.
//!
//! States: *connecting* (until the reply to [`Connect`]), *open*, *closed* (the socket or the protocol broke, the replica
//! said BYE, or the pool dropped it). A closed connection answers every command in flight with [`CommandError::Lost`] and
//! sends [`Down`] to the pool, once. The error says whether the command's own answer was due, or whether it waited behind
//! another; the latter counts as never asked.
//!
//! A connection that is opened *early* takes commands as soon as the login is through. They follow the rest of the
//! handshake without waiting for it, which saves a round trip, and go uncompressed; COMPRESS follows when the pool finds it
//! worth a round trip of its own. If the handshake fails, commands that were sent ahead count as never asked, like those
//! behind another's answer. Only questions are sent ahead: a user gets the connection for work when the handshake is over.

pub(crate) mod queue;
mod reader;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use actix::prelude::*;
use csync::command::Tags;
use csync::{Decoder, Limits};
use tokio::sync::{mpsc, oneshot};
use tracing::{Instrument, debug};

use crate::monitor::command_stats::CommandStats;
use crate::monitor::events::{Event, EventSink};
use crate::monitor::spans;
use crate::replica::answer::Budget;
use crate::replica::ask::Asker;
use crate::replica::features::Features;
use crate::replica::frames::{Closed, FRAMES_WAITING, Frame, FrameSender};
use crate::replica::transport::{ConnectError, Dial, Ready};
use crate::settings::Settings;
use queue::Queue;
pub(crate) use reader::SAID_BYE;
use reader::{Opening, Reader};
use writer::{WRITE_BYTES, Writer};

/// One connection.
pub(crate) struct Connection {
    number: u64,
    means: Means,
    down: Recipient<Down>,
}

/// What all connections of a run share.
#[derive(Clone)]
pub(crate) struct Means {
    pub(crate) settings: Arc<Settings>,
    pub(crate) events: EventSink,
    /// The memory budget for answers.
    pub(crate) budget: Budget,
    /// Counts and times answers.
    pub(crate) stats: CommandStats,
    /// Makes the connections.
    pub(crate) dial: Arc<dyn Dial>,
}

impl Connection {
    /// A connection that is not made yet; `down` gets a message at its end.
    pub(crate) fn new(number: u64, means: Means, down: Recipient<Down>) -> Connection {
        Connection { number, means, down }
    }
}

impl Actor for Connection {
    type Context = Context<Self>;
}

/// Connects and logs in.
#[derive(Message)]
#[rtype(result = "Result<Opened, ConnectError>")]
pub(crate) struct Connect {
    /// Whether to accept questions before the end of the handshake, without compression.
    pub(crate) early: bool,
    /// Whether to report it if it takes long.
    pub(crate) announce: bool,
}

/// A connection is open: where its commands go.
pub(crate) struct Opened {
    pub(crate) frames: FrameSender,
    pub(crate) features: Features,
    pub(crate) clear: Arc<CompressionState>,
    /// Reports for how long an answer has been due.
    pub(crate) queue: Queue,
}

/// What a connection sends and receives uncompressed.
#[derive(Debug, Default)]
pub(crate) struct CompressionState {
    /// Whether it could be compressed, but is not.
    pub(crate) compressible: AtomicBool,
    /// Bytes received, after inflating.
    pub(crate) received: AtomicU64,
}

/// A connection ended.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Down {
    pub(crate) number: u64,
    pub(crate) reason: String,
    /// It was opened early, and the questions sent ahead were not answered.
    pub(crate) unopened: bool,
}

impl Handler<Connect> for Connection {
    type Result = ResponseFuture<Result<Opened, ConnectError>>;

    fn handle(&mut self, msg: Connect, ctx: &mut Context<Self>) -> Self::Result {
        let number = self.number;
        let Means { settings, events, budget, stats, dial } = self.means.clone();
        let (down, myself) = (self.down.clone(), ctx.address());
        Box::pin(async move {
            let ready = dial.dial(number, msg.early, msg.announce).await?;
            debug!(connection = number, software = %ready.session.capabilities.software, "connected");
            let (sender, frames) = mpsc::channel(FRAMES_WAITING);
            let features = Features::of(&ready.session);
            // The C client reports it for each connection.
            if events.is_first()
                && let Some(line) = features.tell(&settings)
            {
                events.tell(Event::Notice(line)).await;
            }
            let compressible = AtomicBool::new(ready.session.capabilities.compress_later);
            let clear = Arc::new(CompressionState { compressible, received: AtomicU64::default() });
            let shared = clear.clone();
            let queue = Queue::default();
            let end = queue.end.clone();
            let shown = queue.clone();
            actix_rt::spawn(async move {
                queue.set_opening(ready.opening.is_some());
                let last = queue.clone();
                let around = Around {
                    number,
                    budget,
                    stats,
                    clear: shared,
                    timeout: settings.replica.timeout,
                    events,
                };
                let span = spans::connection(number, settings.run.channel.as_deref());
                serve(around, ready, frames, queue).instrument(span).await;
                let closed = last.end.get().cloned();
                let Closed { reason, unopened, .. } = closed.unwrap_or_default();
                // The pool's mailbox has room for one Down a connection (see pool.rs).
                if down.try_send(Down { number, reason, unopened }).is_err() {
                    debug!(connection = number, "nobody is left to hear of the connection's end");
                }
                // Keeps the actor alive as long as its socket.
                drop(myself);
            });
            let frames = FrameSender { frames: sender, end, asker: Asker::default() };
            Ok(Opened { frames, features, clear, queue: shown })
        })
    }
}

/// What a connection needs beside its socket.
struct Around {
    number: u64,
    budget: Budget,
    stats: CommandStats,
    clear: Arc<CompressionState>,
    timeout: Duration,
    events: EventSink,
}

/// Runs the socket until it ends; then the queue knows the reason.
async fn serve(around: Around, ready: Ready, frames: mpsc::Receiver<Frame>, queue: Queue) {
    let Around { number, budget, stats, clear, timeout, events } = around;
    let framing = ready.session.framing;
    let writer = Writer {
        number,
        write: ready.write,
        frames,
        queue: queue.clone(),
        framing,
        tags: Tags::new(),
        gathered: Vec::with_capacity(WRITE_BYTES),
        within_command: None,
        timeout,
        events: events.clone(),
    };
    let reader = Reader {
        number,
        read: ready.read,
        unread: ready.unread,
        opening: ready.opening.map(|handshake| Opening {
            handshake,
            expected: Features::of(&ready.session),
            until: ready.until,
        }),
        queue: queue.clone(),
        decoder: Decoder::new(framing, Limits::default()),
        clear,
        timeout,
        budget,
        stats,
        silent: false,
        events,
    };
    let (go_on, stop) = oneshot::channel();
    let mut writing = actix_rt::spawn(writer.run(stop));
    let mut reading = actix_rt::spawn(reader.run());
    tokio::select! {
        done = &mut writing => {
            queue.close(&done.unwrap_or_else(|e| format!("the writer failed: {e}")));
            reading.abort();
        }
        done = &mut reading => {
            let (reason, silent) =
                done.unwrap_or_else(|e| (format!("the reader failed: {e}"), None));
            queue.close_as(&reason, silent.is_some());
            drop(go_on);
            // The writer takes its half with it: the replica sees that nothing follows.
            let _ = writing.await;
            if let Some(read) = silent {
                let end = queue.end.clone();
                actix_rt::spawn(async move {
                    reader::listen_to_the_end(read).await;
                    end.set_gone();
                });
            }
        }
    }
}

#[cfg(test)]
mod compress_tests;
#[cfg(test)]
mod opening_tests;
#[cfg(test)]
mod order_tests;
#[cfg(test)]
mod stream_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod time_tests;
