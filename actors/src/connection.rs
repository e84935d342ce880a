//! The Connection actor: one socket to the replica, commands ahead of their answers.
//!
//! ```text
//!   Lease --Frame--> writer task --bytes--> replica --bytes--> reader task --Answer--> who asked
//!                        '------ names of commands, in order ------^
//! ```
//! The writer never waits for an answer and the reader never waits for the writer, so neither
//! answers nor commands of any size can lock the two sides up. Answers come in the order of the
//! commands, so a queue matches them.
//!
//! States: *connecting* (until the reply to [`Connect`]), *open*, *closed* (the socket or the
//! protocol broke, the replica said BYE, or the pool let go). A closed connection answers every
//! command in flight with [`CommandError::Lost`] and tells the pool once, by [`Down`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::prelude::*;
use bytes::{Bytes, BytesMut};
use csync::command::{self, Tags, Verb};
use csync::{Decoder, Framing, Item, Limits, Reply as Parsed, Session, StatusKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tracing::{debug, error};

use crate::events::{Direction, EventSink};
use crate::frames::{Answer, CommandError, FRAMES_WAITING, Frame, FrameSender, Reply, lost};
use crate::settings::Settings;
use crate::transport::{self, ConnectError, ReadHalf, Ready, WriteHalf};

/// How much is gathered before it is written, in bytes.
const WRITE_BYTES: usize = 64 * 1024;
/// Frames of this size are written as they are, without gathering.
const LARGE_FRAME: usize = 32 * 1024;
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// One connection.
pub(crate) struct Connection {
    number: u64,
    settings: Arc<Settings>,
    events: EventSink,
    down: Recipient<Down>,
}

impl Connection {
    /// A connection that is not yet made; `down` hears of its end.
    pub(crate) fn new(
        number: u64,
        settings: Arc<Settings>,
        events: EventSink,
        down: Recipient<Down>,
    ) -> Connection {
        Connection { number, settings, events, down }
    }
}

impl Actor for Connection {
    type Context = Context<Self>;
}

/// Connects and logs in.
#[derive(Message)]
#[rtype(result = "Result<Opened, ConnectError>")]
pub(crate) struct Connect;

/// A connection is open: where its commands go.
pub(crate) struct Opened {
    pub(crate) frames: FrameSender,
    pub(crate) session: Arc<Session>,
}

/// A connection ended.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Down {
    pub(crate) number: u64,
    pub(crate) reason: String,
}

impl Handler<Connect> for Connection {
    type Result = ResponseFuture<Result<Opened, ConnectError>>;

    fn handle(&mut self, _: Connect, ctx: &mut Context<Self>) -> Self::Result {
        let number = self.number;
        let settings = self.settings.clone();
        let events = self.events.clone();
        let down = self.down.clone();
        let myself = ctx.address();
        Box::pin(async move {
            let ready = transport::connect(&settings, &events, number).await?;
            debug!(connection = number, software = %ready.session.capabilities.software, "connected");
            let (sender, frames) = mpsc::channel(FRAMES_WAITING);
            let session = Arc::new(ready.session.clone());
            actix_rt::spawn(async move {
                let reason = serve(number, ready, frames, settings.timeout, events).await;
                // The pool's mailbox has room for one Down a connection (see pool.rs).
                if down.try_send(Down { number, reason }).is_err() {
                    debug!(connection = number, "nobody is left to hear of the connection's end");
                }
                // Keeps the actor alive as long as its socket.
                drop(myself);
            });
            Ok(Opened { frames: FrameSender(sender), session })
        })
    }
}

/// A command whose answer is awaited.
struct Awaited {
    name: &'static str,
    reply: Reply,
}

/// Commands in the order of their answers; none once the connection is closed.
#[derive(Clone, Default)]
struct Queue(Arc<Mutex<QueueState>>);

#[derive(Default)]
struct QueueState {
    awaited: VecDeque<Awaited>,
    closed: Option<String>,
}

impl Queue {
    fn with<T>(&self, f: impl FnOnce(&mut QueueState) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn push(&self, name: &'static str, reply: Reply) {
        let refused = self.with(|q| match &q.closed {
            Some(reason) => Some((reply, reason.clone())),
            None => {
                q.awaited.push_back(Awaited { name, reply });
                None
            }
        });
        if let Some((reply, reason)) = refused {
            let _ = reply.send(Err(CommandError::Lost { command: name, reason }));
        }
    }

    fn pop(&self) -> Option<Awaited> {
        self.with(|q| q.awaited.pop_front())
    }

    /// How much the answer that is due may say.
    fn limits(&self) -> Limits {
        match self.with(|q| q.awaited.front().map(|a| a.name)) {
            Some("FULLMAILBOX") => Limits::WHOLE_MAILBOX,
            _ => Limits::ANSWERS,
        }
    }

    fn is_empty(&self) -> bool {
        self.with(|q| q.awaited.is_empty())
    }

    /// Fails all that is in flight and all that will be pushed.
    fn close(&self, reason: &str) {
        let awaited = self.with(|q| {
            q.closed.get_or_insert_with(|| reason.to_string());
            std::mem::take(&mut q.awaited)
        });
        for Awaited { name, reply } in awaited {
            let _ = reply.send(Err(CommandError::Lost { command: name, reason: reason.into() }));
        }
    }
}

/// Runs the socket until it ends; returns why it did.
async fn serve(
    number: u64,
    ready: Ready,
    frames: mpsc::Receiver<Frame>,
    timeout: Duration,
    events: EventSink,
) -> String {
    let queue = Queue::default();
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
        queue: queue.clone(),
        decoder: Decoder::new(framing, Limits::default()),
        timeout,
        events,
    };
    let mut writing = actix_rt::spawn(writer.run());
    let mut reading = actix_rt::spawn(reader.run());
    let reason = tokio::select! {
        done = &mut writing => done.unwrap_or_else(|e| format!("the writer failed: {e}")),
        done = &mut reading => done.unwrap_or_else(|e| format!("the reader failed: {e}")),
    };
    queue.close(&reason);
    writing.abort();
    reading.abort();
    reason
}

struct Writer {
    number: u64,
    write: WriteHalf,
    frames: mpsc::Receiver<Frame>,
    queue: Queue,
    framing: Framing,
    tags: Tags,
    gathered: Vec<u8>,
    /// The command that is open and not yet closed.
    within_command: Option<&'static str>,
    timeout: Duration,
    events: EventSink,
}

impl Writer {
    async fn run(mut self) -> String {
        match self.write_all_frames().await {
            Ok(()) => {
                self.say_farewell().await;
                "closed by us".into()
            }
            Err(reason) => reason,
        }
    }

    async fn write_all_frames(&mut self) -> Result<(), String> {
        loop {
            let frame = match self.frames.try_recv() {
                Ok(frame) => frame,
                Err(mpsc::error::TryRecvError::Disconnected) => break,
                Err(mpsc::error::TryRecvError::Empty) => {
                    // Nothing more to say for now: what was said must reach the replica.
                    self.flush().await?;
                    match self.frames.recv().await {
                        Some(frame) => frame,
                        None => break,
                    }
                }
            };
            self.write_frame(frame).await?;
        }
        if let Some(name) = self.within_command {
            return Err(format!("{name} was broken off in the middle"));
        }
        self.flush().await
    }

    async fn write_frame(&mut self, frame: Frame) -> Result<(), String> {
        match frame {
            Frame::Command { name, bytes, reply } => {
                self.begin(name, &bytes, reply)?;
                self.put(&bytes).await
            }
            Frame::Open { name, bytes, reply } => {
                self.begin(name, &bytes, reply)?;
                self.within_command = Some(name);
                self.put(&bytes).await
            }
            Frame::More(bytes) => self.put(&bytes).await,
            Frame::Close(bytes) => {
                self.within_command = None;
                self.put(&bytes).await
            }
        }
    }

    /// Queues for the answer before a byte is sent: the answer can't overtake its question.
    fn begin(&mut self, name: &'static str, bytes: &[u8], reply: Reply) -> Result<(), String> {
        if let Some(open) = self.within_command {
            let _ = reply.send(Err(lost(name)));
            return Err(format!("{open} was broken off in the middle"));
        }
        self.queue.push(name, reply);
        command::tag(&mut self.gathered, self.framing, self.tags.take(), bytes);
        Ok(())
    }

    async fn put(&mut self, bytes: &Bytes) -> Result<(), String> {
        if bytes.len() >= LARGE_FRAME {
            self.write_gathered().await?;
            self.events.trace(self.number, Direction::Sent, bytes).await;
            return timed(self.timeout, self.write.write_all(bytes)).await;
        }
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= WRITE_BYTES { self.write_gathered().await } else { Ok(()) }
    }

    async fn write_gathered(&mut self) -> Result<(), String> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        self.events.trace(self.number, Direction::Sent, &self.gathered).await;
        timed(self.timeout, self.write.write_all(&self.gathered)).await?;
        self.gathered.clear();
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), String> {
        self.write_gathered().await?;
        timed(self.timeout, self.write.flush()).await
    }

    /// EXIT, or LOGOUT to an imapd. Whether it arrives does not matter any more.
    async fn say_farewell(&mut self) {
        let mut farewell = Vec::new();
        command::begin(&mut farewell, self.framing, self.tags.take(), Verb::Exit, "");
        farewell.extend_from_slice(b"\r\n");
        let saying = async {
            self.write.write_all(&farewell).await?;
            self.write.shutdown().await
        };
        let _ = tokio::time::timeout(FAREWELL, saying).await;
    }
}

/// Writes within the time that a replica may be silent.
async fn timed(
    timeout: Duration,
    io: impl Future<Output = std::io::Result<()>>,
) -> Result<(), String> {
    match tokio::time::timeout(timeout, io).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(e)) => Err(e.to_string()),
        Err(_) => Err(format!("the replica took nothing for {} seconds", timeout.as_secs())),
    }
}

struct Reader {
    number: u64,
    read: ReadHalf,
    unread: BytesMut,
    queue: Queue,
    decoder: Decoder,
    timeout: Duration,
    events: EventSink,
}

impl Reader {
    async fn run(mut self) -> String {
        let mut items: Vec<Item> = Vec::new();
        loop {
            self.decoder.set_limits(self.queue.limits());
            match self.decoder.decode(&mut self.unread) {
                Ok(Some(Parsed::Untagged(item))) => items.push(item),
                Ok(Some(Parsed::Continuation(_))) => {
                    return "the replica asked for more where nothing was to come".into();
                }
                Ok(Some(Parsed::Done(status))) => {
                    if status.kind == StatusKind::Bye {
                        return format!("the replica said BYE: {}", status.text);
                    }
                    let Some(Awaited { name, reply }) = self.queue.pop() else {
                        return format!("the replica answered unasked: {}", status.text);
                    };
                    match status.kind {
                        StatusKind::No => error!("{name} received NO response: {}", status.text),
                        StatusKind::Bad => error!(
                            "IOERROR: received bad response: command=<{name}> response=<BAD> errmsg=<{}>",
                            status.text
                        ),
                        StatusKind::Ok | StatusKind::Bye => {}
                    }
                    // Who asked may have given up meanwhile.
                    let _ = reply.send(Ok(Answer { items: std::mem::take(&mut items), status }));
                }
                Ok(None) => {
                    if let Err(reason) = self.read_more().await {
                        return reason;
                    }
                }
                Err(e) => {
                    error!("IOERROR: received bad response: {e}");
                    return format!("its answer can't be read: {e}");
                }
            }
        }
    }

    /// Silence is a fault only while an answer is due.
    async fn read_more(&mut self) -> Result<(), String> {
        let before = self.unread.len();
        self.unread.reserve(16 * 1024);
        loop {
            match tokio::time::timeout(self.timeout, self.read.read_buf(&mut self.unread)).await {
                Ok(Ok(0)) => return Err("the replica closed the connection".into()),
                Ok(Ok(_)) => break,
                Ok(Err(e)) => return Err(e.to_string()),
                Err(_) if self.queue.is_empty() => {}
                Err(_) => {
                    return Err(format!("no answer in {} seconds", self.timeout.as_secs()));
                }
            }
        }
        let new = self.unread.get(before..).unwrap_or_default();
        self.events.trace(self.number, Direction::Received, new).await;
        Ok(())
    }
}
