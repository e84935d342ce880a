//! The half of a connection that sends.

use std::time::Duration;

use bytes::Bytes;
use csync::command::{self, Tags};
use csync::{CommandKind, Framing};
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::queue::{Awaited, Queue};
use crate::monitor::events::{Direction, EventSink};
use crate::replica::ask::Ask;
use crate::replica::command_error::CommandError;
use crate::replica::frames::Frame;
use crate::replica::transport::{self, WriteHalf};

/// How many bytes are collected before they are written.
pub(super) const WRITE_BYTES: usize = 64 * 1024;
/// Frames of this size are written directly, without collecting.
const LARGE_FRAME: usize = 32 * 1024;
/// How long the EXIT may take.
const FAREWELL: Duration = Duration::from_secs(2);

pub(super) struct Writer {
    pub(super) number: u64,
    pub(super) write: WriteHalf,
    pub(super) frames: mpsc::Receiver<Frame>,
    pub(super) queue: Queue,
    pub(super) framing: Framing,
    pub(super) tags: Tags,
    pub(super) gathered: Vec<u8>,
    /// The command that is open and not yet closed.
    pub(super) within_command: Option<CommandKind>,
    pub(super) timeout: Duration,
    pub(super) events: EventSink,
}

impl Writer {
    /// Writes until there is nothing more to come, or writing fails, or the reader has ended (`stop`). Commands that were
    /// not written fail with the reason of the closed queue.
    pub(super) async fn run(mut self, stop: oneshot::Receiver<()>) -> String {
        let ended = tokio::select! {
            ended = self.write_all_frames() => ended,
            _ = stop => Err("nothing is read any more".to_string()),
        };
        let reason = match ended {
            Ok(()) => {
                self.say_farewell().await;
                "closed by us".into()
            }
            Err(reason) => reason,
        };
        self.queue.close(&reason);
        self.frames.close();
        // Not `try_recv`: a frame that is being sent at this moment, on another thread, would stay in the channel, and its
        // sender, who keeps the channel alive, would wait for the answer for ever.
        while let Some(frame) = self.frames.recv().await {
            let ask = match frame {
                Frame::Command { ask, .. } | Frame::Open { ask, .. } | Frame::Compress { ask } => {
                    ask
                }
                Frame::More(_) | Frame::Close(_) => continue,
            };
            self.await_answer(ask, None, None);
        }
        reason
    }

    async fn write_all_frames(&mut self) -> Result<(), String> {
        loop {
            let frame = match self.frames.try_recv() {
                Ok(frame) => frame,
                Err(mpsc::error::TryRecvError::Disconnected) => break,
                Err(mpsc::error::TryRecvError::Empty) => {
                    // No more frames for now: everything so far must reach the replica.
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
            Frame::Command { ask, bytes } => {
                self.begin(ask, None)?;
                self.put(&bytes).await
            }
            Frame::Compress { ask } => self.compress(ask).await,
            Frame::Open { ask, bytes } => {
                let kind = ask.kind;
                self.begin(ask, None)?;
                self.within_command = Some(kind);
                self.put(&bytes).await
            }
            Frame::More(bytes) => self.put(&bytes).await,
            Frame::Close(bytes) => {
                self.within_command = None;
                self.put(&bytes).await
            }
        }
    }

    /// Enters the queue before a byte is sent: so the answer can't come before its command is in the queue.
    fn begin(&mut self, ask: Ask, compress: Option<oneshot::Sender<bool>>) -> Result<(), String> {
        if let Some(open) = self.within_command {
            let kind = ask.kind;
            let _ = ask.reply.send(Err(CommandError::closed(kind)));
            return Err(format!("{open} was broken off in the middle"));
        }
        let number = self.tags.take();
        let tag = (self.framing == Framing::Imap).then_some(number);
        command::tag(&mut self.gathered, self.framing, number, ask.kind);
        self.await_answer(ask, tag, compress);
        Ok(())
    }

    fn await_answer(&self, ask: Ask, tag: Option<u64>, compress: Option<oneshot::Sender<bool>>) {
        self.queue.push(Awaited { ask, tag, compress, written: false, given_up: false });
    }

    /// Nothing may follow COMPRESS before its answer: the replica would read it as uncompressed.
    async fn compress(&mut self, ask: Ask) -> Result<(), String> {
        let (heard, answer) = oneshot::channel();
        let bytes = Bytes::from(command::compress().bytes);
        self.begin(ask, Some(heard))?;
        self.put(&bytes).await?;
        self.flush().await?;
        // The reader ends without an answer only together with the connection.
        if answer.await.map_err(|_| "it ended while compression was asked for".to_string())? {
            let clear: WriteHalf = Box::new(tokio::io::sink());
            self.write = transport::deflated(std::mem::replace(&mut self.write, clear));
        }
        Ok(())
    }

    async fn put(&mut self, bytes: &Bytes) -> Result<(), String> {
        if bytes.len() >= LARGE_FRAME {
            self.write_gathered().await?;
            self.events.trace(self.number, Direction::Sent, bytes).await;
            timed(self.timeout, self.write.write_all(bytes)).await?;
            self.queue.written(self.within_command.is_some(), Instant::now());
            return Ok(());
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
        self.queue.written(self.within_command.is_some(), Instant::now());
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), String> {
        self.write_gathered().await?;
        timed(self.timeout, self.write.flush()).await
    }

    /// EXIT, or LOGOUT to an imapd. It does not matter whether it arrives.
    async fn say_farewell(&mut self) {
        let mut farewell = Vec::new();
        let exit = command::exit(self.framing);
        command::tag(&mut farewell, self.framing, self.tags.take(), exit.kind);
        farewell.extend(exit.bytes);
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
