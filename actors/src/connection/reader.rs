//! The half of a connection that receives.

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use csync::{Decoder, Handshake, Item, Reply as Parsed, StatusKind, Step};
use tokio::io::AsyncReadExt;
use tracing::error;

use super::Clear;
use super::queue::{Awaited, Queue};
use crate::events::{Direction, EventSink};
use crate::frames::Answer;
use crate::transport::{self, ReadHalf};

pub(super) struct Reader {
    pub(super) number: u64,
    pub(super) read: ReadHalf,
    pub(super) unread: BytesMut,
    /// The end of the opening, where commands were sent ahead of it.
    pub(super) opening: Option<Opening>,
    pub(super) queue: Queue,
    pub(super) decoder: Decoder,
    pub(super) clear: Arc<Clear>,
    pub(super) timeout: Duration,
    pub(super) events: EventSink,
}

/// An opening whose last answers are to come.
pub(super) struct Opening {
    pub(super) handshake: Handshake,
    /// Whether Sieve scripts are to go as mailboxes: whoever asks ahead relies on it.
    pub(super) sieve_mailbox: bool,
}

impl Reader {
    /// Reads until the connection ends; says why it did.
    pub(super) async fn run(mut self) -> String {
        if let Some(opening) = self.opening.take() {
            if let Err(reason) = self.finish(opening).await {
                return reason;
            }
            self.queue.set_opening(false);
        }
        self.read_answers().await
    }

    async fn finish(&mut self, mut opening: Opening) -> Result<(), String> {
        loop {
            match opening.handshake.handle(&mut self.unread).map_err(|e| e.to_string())? {
                Step::NeedMore => self.read_more(true).await?,
                Step::Ready(session) => {
                    let kept = session.capabilities.sieve_mailbox_enabled == opening.sieve_mailbox;
                    let what = "it did not enable SIEVE-MAILBOX, which it offers";
                    return if kept { Ok(()) } else { Err(what.into()) };
                }
                Step::Send(_) | Step::StartCompression | Step::StartTls | Step::Early(_) => {
                    return Err("its opening went on where it should have ended".into());
                }
            }
        }
    }

    async fn read_answers(&mut self) -> String {
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
                    let Some(Awaited { name, reply, compress }) = self.queue.pop() else {
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
                    if let Some(writer) = compress {
                        let agreed = status.kind == StatusKind::Ok;
                        if agreed {
                            self.inflate();
                        }
                        self.clear.compressible.store(false, Ordering::Relaxed);
                        let _ = writer.send(agreed);
                    }
                    let out_of_step = (name == "MESSAGE" && status.kind != StatusKind::Ok)
                        .then(|| format!("it refused messages, and may read what is left of them as commands: {}", status.text));
                    // Who asked may have given up meanwhile.
                    let _ = reply.send(Ok(Answer { items: std::mem::take(&mut items), status }));
                    // A server that can't write a file skips to the end of the line that it stands in
                    // (`imap/sync_support.c:sync_parseline`), which is in the midst of the next message.
                    if let Some(reason) = out_of_step {
                        return reason;
                    }
                }
                Ok(None) => {
                    if let Err(reason) = self.read_more(false).await {
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

    /// All that comes from now on is deflated, what is here already included.
    fn inflate(&mut self) {
        let read = std::mem::replace(&mut self.read, Box::new(tokio::io::empty()));
        let before = Cursor::new(Bytes::from(self.unread.split()));
        self.read = transport::inflated(Box::new(before.chain(read)));
    }

    /// Silence is a fault only while an answer is due.
    async fn read_more(&mut self, opening: bool) -> Result<(), String> {
        let before = self.unread.len();
        self.unread.reserve(16 * 1024);
        loop {
            match tokio::time::timeout(self.timeout, self.read.read_buf(&mut self.unread)).await {
                Ok(Ok(0)) => return Err("the replica closed the connection".into()),
                Ok(Ok(_)) => break,
                Ok(Err(e)) => return Err(e.to_string()),
                Err(_) if self.queue.is_empty() && !opening => {}
                Err(_) => {
                    return Err(format!("no answer in {} seconds", self.timeout.as_secs()));
                }
            }
        }
        let new = self.unread.get(before..).unwrap_or_default();
        self.clear.received.fetch_add(new.len() as u64, Ordering::Relaxed);
        self.events.trace(self.number, Direction::Received, new).await;
        Ok(())
    }
}
