//! A client without a connection, to inspect what it sends, frame by frame.

use std::collections::VecDeque;

use bytes::Bytes;
use csync::{CommandKind, Session};
use tokio::sync::mpsc;

use crate::monitor::events::EventSink;
use crate::replica::ask::{Asker, Reply};
use crate::replica::client::Client;
use crate::replica::features::Features;
use crate::replica::frames::{End, FRAMES_WAITING, Frame, FrameSender};

/// A client, and where its frames arrive.
pub(crate) fn client() -> (Client, Frames) {
    let (sender, frames) = mpsc::channel(FRAMES_WAITING);
    let (end, asker) = (End::default(), Asker::default());
    let sender = FrameSender { frames: sender, end, asker };
    let features = Features::of(&Session::default());
    let (events, _) = EventSink::channel(false, false);
    (Client::new(sender, asker, events, false, features), Frames(frames))
}

/// What a client sends.
pub(crate) struct Frames(mpsc::Receiver<Frame>);

/// A command as it was sent.
pub(crate) struct Sent {
    pub(crate) kind: CommandKind,
    pub(crate) pieces: Vec<Bytes>,
    /// Whether its end has arrived.
    pub(crate) closed: bool,
    /// Keeps the caller waiting.
    _reply: Reply,
}

impl Sent {
    /// All of it in one piece.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.pieces.concat()
    }
}

impl Frames {
    /// How many frames wait now.
    pub(crate) fn waiting(&self) -> usize {
        self.0.len()
    }

    /// All commands until the last client is gone, complete or not.
    pub(crate) fn commands(mut self) -> VecDeque<Sent> {
        let mut commands = VecDeque::new();
        while let Some(frame) = self.0.blocking_recv() {
            match frame {
                Frame::Command { ask, bytes } => {
                    let (kind, reply) = (ask.kind, ask.reply);
                    commands.push_back(Sent {
                        kind,
                        pieces: vec![bytes],
                        closed: true,
                        _reply: reply,
                    });
                }
                Frame::Open { ask, bytes } => {
                    let (kind, reply) = (ask.kind, ask.reply);
                    commands.push_back(Sent {
                        kind,
                        pieces: vec![bytes],
                        closed: false,
                        _reply: reply,
                    });
                }
                Frame::More(bytes) => open(&mut commands).pieces.push(bytes),
                Frame::Close(bytes) => {
                    let command = open(&mut commands);
                    command.pieces.push(bytes);
                    command.closed = true;
                }
                Frame::Compress { .. } => panic!("compression was not asked for"),
            }
        }
        commands
    }
}

fn open(commands: &mut VecDeque<Sent>) -> &mut Sent {
    let last = commands.back_mut().expect("a command that was opened");
    assert!(!last.closed, "it is not open any more");
    last
}
