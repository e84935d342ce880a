//! A peer that follows a script, as the replica at the other end of a connection.

use std::collections::VecDeque;
use std::io::Cursor;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::script::{Step, steps};
use crate::replica::transport;

/// How long the peer waits for the next expected bytes.
const PATIENCE: Duration = Duration::from_secs(2 * 60 * 60);

/// A running peer.
pub(crate) struct Peer {
    played: oneshot::Receiver<()>,
    task: JoinHandle<Vec<Vec<u8>>>,
}

impl Peer {
    /// Waits until the script is finished.
    pub(crate) async fn played(self) {
        if self.played.await.is_err()
            && let Err(e) = self.task.await
        {
            std::panic::resume_unwind(e.into_panic());
        }
    }

    /// Waits until the script is finished and the other side has ended; returns the commands that arrived. Those that no
    /// line of the script expected are in one piece at the end.
    pub(crate) async fn heard(self) -> Vec<Vec<u8>> {
        match self.task.await {
            Ok(heard) => heard,
            Err(e) => std::panic::resume_unwind(e.into_panic()),
        }
    }

    /// The same as text, for commands that are text.
    pub(crate) async fn heard_text(self) -> Vec<String> {
        self.heard().await.iter().map(|c| String::from_utf8_lossy(c).into_owned()).collect()
    }
}

/// A peer that follows this script; `room` bytes may be in transit in each direction. Returns our end.
pub(crate) fn peer(script: &str, room: usize) -> (transport::ReadHalf, transport::WriteHalf, Peer) {
    // A pipe for each direction, so that it ends when its sending half is dropped, like a socket's.
    let (write, peer_read) = tokio::io::duplex(room);
    let (peer_write, read) = tokio::io::duplex(room);
    let playing = Playing {
        read: Box::new(peer_read),
        write: Box::new(peer_write),
        unread: BytesMut::new(),
        heard: Vec::new(),
    };
    let (tell, played) = oneshot::channel();
    let task = actix_rt::spawn(playing.play(steps(script).into(), tell));
    (Box::new(read), Box::new(write), Peer { played, task })
}

struct Playing {
    read: transport::ReadHalf,
    write: transport::WriteHalf,
    unread: BytesMut,
    heard: Vec<Vec<u8>>,
}

impl Playing {
    async fn play(
        mut self,
        mut steps: VecDeque<(usize, Step)>,
        played: oneshot::Sender<()>,
    ) -> Vec<Vec<u8>> {
        while let Some((number, step)) = steps.pop_front() {
            match step {
                Step::Expect { text, open } => self.expect(number, &text, open).await,
                Step::Say(text) => self.say(&text).await,
                Step::Pause(time) => tokio::time::sleep(time).await,
                Step::Quiet(time) => {
                    let came = timeout(time, self.read_some()).await;
                    let unread = self.shown();
                    assert!(came.is_err(), "line {number}: something came: {unread}");
                }
                Step::Deflate => self.deflate(),
                Step::End => {
                    let ended = timeout(PATIENCE, self.read_some()).await;
                    let unread = self.shown();
                    assert_eq!(ended, Ok(false), "line {number}: it goes on with {unread:?}");
                    assert!(unread.is_empty(), "line {number}: {unread}");
                }
                Step::Close => {
                    let _ = played.send(());
                    return self.heard;
                }
            }
        }
        let _ = played.send(());
        // Our end stays open until the other one is closed.
        while self.read_some().await {}
        if !self.unread.is_empty() {
            self.heard.push(self.unread.to_vec());
        }
        self.heard
    }

    async fn expect(&mut self, number: usize, text: &[u8], open: bool) {
        let wanted = String::from_utf8_lossy(text).into_owned();
        let end = loop {
            if let Some(end) = end_of_command(&self.unread) {
                break end;
            }
            let came = timeout(PATIENCE, self.read_some()).await;
            let unread = self.shown();
            assert_eq!(came, Ok(true), "line {number}: {wanted:?} did not come, but {unread:?}");
        };
        let command = self.unread.split_to(end).to_vec();
        let right = if open { command.starts_with(text) } else { command == text };
        let came = shown(&command);
        assert!(right, "line {number}: {wanted:?} was to come, and {came:?} came");
        self.heard.push(command);
    }

    async fn say(&mut self, text: &[u8]) {
        // A peer that is gone can't be reached, which may be the subject of the script.
        let _ = self.write.write_all(text).await;
        let _ = self.write.flush().await;
    }

    /// Whether anything arrived; false at the end.
    async fn read_some(&mut self) -> bool {
        self.read.read_buf(&mut self.unread).await.is_ok_and(|count| count > 0)
    }

    fn deflate(&mut self) {
        let read = std::mem::replace(&mut self.read, Box::new(tokio::io::empty()));
        let write = std::mem::replace(&mut self.write, Box::new(tokio::io::sink()));
        let before = Cursor::new(Bytes::from(self.unread.split()));
        self.read = transport::inflated(Box::new(before.chain(read)));
        self.write = transport::deflated(write);
    }

    fn shown(&self) -> String {
        shown(&self.unread)
    }
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..200).unwrap_or(bytes)).into_owned()
}

/// Where the first command ends, including its literals and CRLF; `None` while it is incomplete.
fn end_of_command(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = bytes.get(at..)?;
        let line = rest.windows(2).position(|end| end == b"\r\n")?;
        at += line + 2;
        match literal(rest.get(..line)?) {
            // The command goes on after a literal.
            Some(length) => at += length,
            None => return Some(at),
        }
    }
}

/// The length of the literal that follows this line: `{5+}`, or `%{default GUID 5}` of a message.
fn literal(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"}")?;
    let start = line.iter().rposition(|b| *b == b'{')? + 1;
    let inside = std::str::from_utf8(line.get(start..)?).ok()?;
    inside.rsplit(' ').next()?.trim_end_matches('+').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_ends_behind_its_literals() {
        let plain = b"NOOP\r\nNOOP\r\n";
        assert_eq!(end_of_command(plain), Some(6));
        assert_eq!(end_of_command(b"NOOP\r"), None);
        let message =
            b"APPLY MESSAGE (%{default ab12 4}\r\n\r\n\r\n %{default cd34 1}\r\nx)\r\nNOOP\r\n";
        assert_eq!(end_of_command(message), Some(message.len() - 6));
        assert_eq!(end_of_command(b"APPLY SIEVE %(CONTENT {9+}\r\nkeep;)\r\n"), None);
    }
}
