//! The half of a connection that receives.
//!
//! An answer that can't belong to the command that is next ends the connection: csync's answers have no tags, and a wrongly
//! assigned answer does harm. The connection also ends when a whole answer takes too long, however its bytes come, and when
//! there is no room for it.

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use csync::command::Tags;
use csync::{
    CommandKind, Decoder, Handshake, HandshakeStep, Item, Limits, Reply as Parsed, Status,
    StatusKind,
};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;
use tracing::{debug, error, info};

use super::CompressionState;
use super::queue::Queue;
use crate::monitor::command_stats::CommandStats;
use crate::monitor::events::{Direction, EventSink};
use crate::replica::answer::{Answer, Budget, Said};
use crate::replica::features::Features;
use crate::replica::refusal::{Meaning, meaning};
use crate::replica::transport::{self, ReadHalf};

/// The beginning of the reason if the replica ended a connection in good order, as when it is shut down.
pub(crate) const SAID_BYE: &str = "the replica said BYE";

/// How much is read at once, in bytes.
const READ_BYTES: usize = 16 * 1024;
/// How often to check an answer that is due.
const TICK: Duration = Duration::from_millis(500);
/// After this time the users behind the one whose answer is due ask elsewhere.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long to listen to a connection that fell silent after it was given up.
const LISTENING: Duration = Duration::from_secs(10 * 60);
/// How many bytes may arrive while nothing was asked: an imapd may send unrequested lines.
const UNASKED_BYTES: usize = 64 * 1024;

pub(super) struct Reader {
    pub(super) number: u64,
    pub(super) read: ReadHalf,
    pub(super) unread: BytesMut,
    /// The end of the handshake, if commands were sent ahead of it.
    pub(super) opening: Option<Opening>,
    pub(super) queue: Queue,
    pub(super) decoder: Decoder,
    pub(super) clear: Arc<CompressionState>,
    pub(super) timeout: Duration,
    pub(super) budget: Budget,
    pub(super) stats: CommandStats,
    /// An answer did not come in time.
    pub(super) silent: bool,
    pub(super) events: EventSink,
}

/// A handshake whose last answers are still to come.
pub(super) struct Opening {
    pub(super) handshake: Handshake,
    /// What the replica can do if it keeps its offer: commands sent ahead rely on it.
    pub(super) expected: Features,
    /// When it must be complete.
    pub(super) until: Instant,
}

impl Reader {
    /// Reads until the connection ends; returns why it did. A silent connection is returned, to be listened to.
    pub(super) async fn run(mut self) -> (String, Option<ReadHalf>) {
        if let Some(opening) = self.opening.take() {
            if let Err(reason) = self.finish(opening).await {
                return (reason, None);
            }
            self.queue.set_opening(false);
        }
        match self.read_answers().await {
            Ok(never) => match never {},
            Err(reason) => (reason, self.silent.then_some(self.read)),
        }
    }

    async fn finish(&mut self, mut opening: Opening) -> Result<(), String> {
        loop {
            match opening.handshake.handle(&mut self.unread).map_err(|e| e.to_string())? {
                HandshakeStep::NeedMore => {
                    match tokio::time::timeout_at(opening.until, self.read_some()).await {
                        Ok(read) => read?,
                        Err(_) => return Err("its opening took too long".into()),
                    }
                }
                HandshakeStep::Ready(session) => {
                    let broken = opening.expected.broken_promise(&Features::of(&session));
                    return broken.map_or(Ok(()), |what| Err(what.into()));
                }
                HandshakeStep::Send(_)
                | HandshakeStep::StartCompression
                | HandshakeStep::StartTls
                | HandshakeStep::Early(_) => {
                    return Err("its opening went on where it should have ended".into());
                }
            }
        }
    }

    async fn read_answers(&mut self) -> Result<std::convert::Infallible, String> {
        let mut said = Said::new(&self.budget);
        let mut unasked = 0;
        loop {
            let limits = self.queue.head().map_or(Limits::ANSWERS, |due| due.kind.limits());
            self.decoder.set_limits(limits);
            match self.decoder.decode(&mut self.unread) {
                Ok(Some(Parsed::Part(record))) => said.push_record(&record),
                Ok(Some(Parsed::Untagged(item))) => self.take_line(item, &mut said)?,
                Ok(Some(Parsed::Continuation(_))) => {
                    return Err("the replica asked for more where nothing was to come".into());
                }
                Ok(Some(Parsed::Done(status))) => {
                    let whole = std::mem::replace(&mut said, Said::new(&self.budget));
                    self.take_status(status, whole)?;
                    unasked = 0;
                    continue;
                }
                Ok(None) => {
                    let read = self.wait_for_more().await?;
                    unasked = if self.queue.head().is_some() { 0 } else { unasked + read };
                    if unasked > UNASKED_BYTES {
                        return Err("the replica talks without being asked".into());
                    }
                }
                Err(e) => {
                    let (connection, whose) = (self.number, self.queue.due_span());
                    whose.in_scope(|| {
                        error!(connection, "IOERROR: received bad response: {e}");
                    });
                    return Err(format!("its answer can't be read: {e}"));
                }
            }
            // Bytes of an unfinished line count, too.
            if !said.held.set(said.bytes() + self.decoder.memory_bytes() + self.unread.len()) {
                let name = self.queue.head().map_or("nothing", |due| due.kind.name());
                return Err(format!(
                    "its answer to {name}, with what else it answered at the same time, takes more memory than there is for answers ({} MiB)",
                    self.budget.room() >> 20,
                ));
            }
        }
    }

    /// A line of the answer that is due.
    fn take_line(&self, item: Item, said: &mut Said) -> Result<(), String> {
        let Some(due) = self.queue.head() else {
            return Err(format!("the replica said {} when nothing was asked", item.name));
        };
        if !due.kind.has_lines() {
            return Err(out_of_step(due.kind, &format!("a line {}", item.name)));
        }
        if let Some(what) = self.queue.foreign(&item) {
            return Err(out_of_step(due.kind, &what));
        }
        said.push(item, due.kind.tells_of_user());
        Ok(())
    }

    /// The end of the answer that is due.
    fn take_status(&mut self, status: Status, said: Said) -> Result<(), String> {
        if status.kind == StatusKind::Bye {
            return Err(format!("{SAID_BYE}: {}", status.text));
        }
        let unasked = || format!("the replica answered unasked: {}", status.text);
        let due = self.queue.head().ok_or_else(unasked)?;
        let kind = due.kind;
        if let Some(tag) = due.tag
            && status.tag.as_deref() != Some(Tags::text(tag).as_str())
        {
            return Err(out_of_step(
                kind,
                &format!("the answer to {}", status.tag.unwrap_or_default()),
            ));
        }
        // An answer can't arrive before all of its command is out, but a refusal can.
        if !due.written && status.kind == StatusKind::Ok {
            return Err(out_of_step(kind, "an OK before it was sent"));
        }
        if let (None, StatusKind::Ok, Some(word)) = (due.tag, status.kind, kind.ok_word())
            && (!status.text.starts_with(word) || !said.is_empty())
        {
            return Err(out_of_step(kind, &format!("OK {}", status.text)));
        }
        let (mut awaited, took) = self.queue.pop(Instant::now()).ok_or_else(unasked)?;
        let code = status.code.as_ref();
        let refusal = match status.kind {
            StatusKind::Ok => None,
            StatusKind::No => Some(meaning(kind, code)).filter(|m| *m != Meaning::NothingThere),
            _ => Some(Meaning::Refused),
        };
        self.stats.answered(kind, took, refusal != Some(Meaning::Refused));
        if refusal.is_some() {
            self.stats.refused_with(kind, code);
        }
        awaited.ask.span.in_scope(|| self.note_refusal(kind, &status));
        if let Some(writer) = awaited.compress.take() {
            let agreed = status.kind == StatusKind::Ok;
            if agreed {
                self.inflate();
            }
            self.clear.compressible.store(false, Ordering::Relaxed);
            let _ = writer.send(agreed);
        }
        // A server that can't write a file skips to the end of the current line (`imap/sync_support.c:sync_parseline`),
        // which is in the middle of the next message.
        let lost_place =
            (kind == CommandKind::Message && status.kind != StatusKind::Ok).then(|| {
                let text = &status.text;
                format!(
                    "it refused messages, and may read what is left of them as commands: {text}"
                )
            });
        awaited.answer(Answer { said, status });
        lost_place.map_or(Ok(()), Err)
    }

    /// The C client's line, which log watchers look for. A refusal that the caller handles is not an error.
    fn note_refusal(&self, kind: CommandKind, status: &Status) {
        let (connection, text) = (self.number, &status.text);
        match (status.kind, meaning(kind, status.code.as_ref())) {
            (StatusKind::Ok | StatusKind::Bye, _) => {}
            (StatusKind::Bad, _) => error!(
                connection,
                "IOERROR: received bad response: command=<{kind}> response=<BAD> errmsg=<{text}>"
            ),
            (StatusKind::No, Meaning::Refused) => {
                error!(connection, "{kind} received NO response: {text}");
            }
            (StatusKind::No, Meaning::CompareAfresh | Meaning::LookAgain) => {
                info!(connection, "{kind} received NO response: {text}");
            }
            (StatusKind::No, Meaning::NothingThere) => {
                debug!(connection, "{kind} received NO response: {text}");
            }
        }
    }

    /// From now on everything is deflated, including the bytes already here.
    fn inflate(&mut self) {
        let read = std::mem::replace(&mut self.read, Box::new(tokio::io::empty()));
        let before = Cursor::new(Bytes::from(self.unread.split()));
        self.read = transport::inflated(Box::new(before.chain(read)));
    }

    /// Waits for more bytes; silence is an error only while an answer is due. Returns how many arrived.
    async fn wait_for_more(&mut self) -> Result<usize, String> {
        let before = self.unread.len();
        loop {
            let read = tokio::time::timeout(TICK, self.read_some()).await;
            let now = Instant::now();
            if let Ok(read) = read {
                read?;
            }
            let new = self.unread.len() - before;
            self.queue.received(new, now);
            if self.queue.says_too_much() {
                return Err("its answer has no end".into());
            }
            if self.queue.is_overdue(now, self.timeout) {
                self.silent = true;
                return Err(format!("no answer in {} seconds", self.timeout.as_secs()));
            }
            if self.queue.due_for(now).is_some_and(|due| due > PATIENCE) {
                self.queue.give_up_behind("another user's answer is slow in coming");
            }
            if new > 0 {
                return Ok(new);
            }
        }
    }

    /// Reads available bytes, at least one. Cancelling it loses nothing.
    async fn read_some(&mut self) -> Result<(), String> {
        let before = self.unread.len();
        self.unread.reserve(READ_BYTES);
        match self.read.read_buf(&mut self.unread).await {
            Ok(0) => return Err("the replica closed the connection".into()),
            Ok(_) => {}
            Err(e) => return Err(e.to_string()),
        }
        let new = self.unread.get(before..).unwrap_or_default();
        self.clear.received.fetch_add(new.len() as u64, Ordering::Relaxed);
        self.events.trace(self.number, Direction::Received, new).await;
        Ok(())
    }
}

/// Listens to a connection that was given up until it ends.
pub(super) async fn listen_to_the_end(mut read: ReadHalf) {
    let mut nobody = vec![0; READ_BYTES];
    let listening = async { while read.read(&mut nobody).await.is_ok_and(|count| count > 0) {} };
    // By then it has ended, as far as we can know.
    let _ = tokio::time::timeout(LISTENING, listening).await;
}

fn out_of_step(kind: CommandKind, what: &str) -> String {
    format!("the replica's answers are out of step: {what} came as the answer to {kind}")
}
