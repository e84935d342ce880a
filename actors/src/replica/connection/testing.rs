//! For tests: an open connection to a peer that follows a script.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::BytesMut;
use csync::{Framing, Handshake, HandshakeOptions, HandshakeStep, Session};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::queue::Queue;
use super::{Around, CompressionState, serve};
use crate::monitor::command_stats::CommandStats;
use crate::monitor::events::{Event, EventSink};
use crate::replica::answer::Budget;
use crate::replica::ask::Asker;
use crate::replica::client::Client;
use crate::replica::command_error::CommandError;
use crate::replica::features::Features;
use crate::replica::frames::{Closed, FRAMES_WAITING, FrameSender};
use crate::replica::testing::given::{PASSWORD, TIMEOUT};
use crate::replica::testing::peer::{Peer, peer};
use crate::replica::transport::Ready;

/// How to make a connection for a test.
pub(crate) struct Given {
    pub(crate) framing: Framing,
    /// Bytes that may be in transit in each direction.
    pub(crate) room: usize,
    /// Whether it is opened early, and how long the rest of the handshake may take.
    pub(crate) early: Option<Duration>,
}

impl Default for Given {
    fn default() -> Given {
        Given { framing: Framing::Csync, room: 1 << 20, early: None }
    }
}

/// An open connection.
pub(crate) struct Line {
    pub(crate) frames: FrameSender,
    pub(crate) clear: Arc<CompressionState>,
    pub(crate) session: Arc<Session>,
    events: EventSink,
    _told: mpsc::Receiver<Event>,
    serving: JoinHandle<()>,
}

/// A connection for csync that is open, to a peer that follows this script.
pub(crate) fn open(script: &str) -> (Line, Peer) {
    Given::default().open(script)
}

impl Given {
    /// Such a connection, before anything is sent on it.
    pub(crate) fn ready(self, script: &str) -> (Ready, Peer) {
        let (read, write, peer) = peer(script, self.room);
        let (session, opening) = match self.early {
            Some(_) => early_session(),
            None => (Session { framing: self.framing, ..Session::default() }, None),
        };
        let until = Instant::now() + self.early.unwrap_or_default();
        let unread = BytesMut::new();
        (Ready { read, write, unread, session, opening, until }, peer)
    }

    /// Such a connection.
    pub(crate) fn open(self, script: &str) -> (Line, Peer) {
        let (ready, peer) = self.ready(script);
        let session = Arc::new(ready.session.clone());
        let clear = Arc::new(CompressionState {
            compressible: AtomicBool::new(true),
            ..CompressionState::default()
        });
        let (events, told) = EventSink::channel(false, false);
        let (sender, frames) = mpsc::channel(FRAMES_WAITING);
        let queue = Queue::default();
        queue.set_opening(ready.opening.is_some());
        let around = Around {
            number: 1,
            budget: Budget::default(),
            stats: CommandStats::default(),
            clear: clear.clone(),
            timeout: TIMEOUT,
            events: events.clone(),
        };
        let (end, asker) = (queue.end.clone(), Asker::default());
        let serving = actix_rt::spawn(serve(around, ready, frames, queue));
        let frames = FrameSender { frames: sender, end, asker };
        (Line { frames, clear, session, events, _told: told, serving }, peer)
    }
}

impl Line {
    /// A shared asker: the lease of this number.
    pub(crate) fn asker(&self, number: u64) -> Client {
        self.client(Asker { number, beside_others: true })
    }

    /// An exclusive asker.
    pub(crate) fn worker(&self) -> Client {
        self.client(Asker { number: 1, beside_others: false })
    }

    fn client(&self, asker: Asker) -> Client {
        let features = Features::of(&self.session);
        Client::new(self.frames.clone(), asker, self.events.clone(), false, features)
    }

    /// Waits until the connection ends, by itself or because no client is left.
    pub(crate) async fn ended(self) -> Closed {
        let Line { frames: FrameSender { frames, end, .. }, serving, .. } = self;
        drop(frames);
        serving.await.expect("a connection that does not panic");
        end.get().cloned().expect("a connection that ended knows why")
    }
}

/// A session that is lent before the last answers of the handshake, and the receiver of these answers.
fn early_session() -> (Session, Option<Handshake>) {
    let options = HandshakeOptions {
        authname: "cyrus".into(),
        password: PASSWORD.into(),
        want_compress: true,
        early: true,
        ..HandshakeOptions::default()
    };
    let mut handshake = Handshake::new(options);
    let said = "* SASL PLAIN\r\n* SIEVE-MAILBOX\r\n* COMPRESS DEFLATE\r\n\
                * OK replica Cyrus sync server 3.6.1\r\n";
    let mut heard = BytesMut::from(said);
    assert!(matches!(handshake.handle(&mut heard), Ok(HandshakeStep::Send(_))));
    let mut heard = BytesMut::from("OK Success\r\n");
    assert!(matches!(handshake.handle(&mut heard), Ok(HandshakeStep::Send(_))));
    match handshake.handle(&mut heard) {
        Ok(HandshakeStep::Early(session)) => (session, Some(handshake)),
        other => panic!("not open early: {other:?}"),
    }
}

/// Why a command was lost, and whether another user's answer was due; fails for any other result.
pub(crate) fn lost<T: std::fmt::Debug>(result: Result<T, CommandError>) -> (String, bool) {
    match result {
        Err(CommandError::Lost { reason, behind, .. }) => (reason, behind),
        other => panic!("it was not lost: {other:?}"),
    }
}
