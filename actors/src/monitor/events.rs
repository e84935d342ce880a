//! What actors tell the [`Monitor`](crate::monitor::monitor::Monitor): typed events over a bounded channel.
//!
//! Nobody but the Monitor knows a terminal. A full channel makes the teller wait, so no line is
//! ever lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::monitor::report::UserReport;

/// How many events may wait for the Monitor: enough for a burst of short lines, small enough that
/// a blocked terminal stops the run instead of filling the memory.
const EVENTS_WAITING: usize = 1024;

/// Which way traced bytes went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To the replica.
    Sent,
    /// From the replica.
    Received,
}

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// A command as the C client words it (`USER anna`): stdout with -v, syslog with -l.
    Action(String),
    /// A line for the admin on stderr, whatever the verbosity.
    Notice(String),
    /// Protocol traffic (-v -v).
    Trace {
        /// The connection's number.
        connection: u64,
        /// Which way.
        direction: Direction,
        /// The bytes, before compression.
        bytes: Bytes,
    },
    /// A user is done, one way or another.
    User(Box<UserReport>),
    /// There is nothing more to tell.
    End,
}

/// Where events are sent to. Clones share one channel.
#[derive(Debug, Clone)]
pub(crate) struct EventSink {
    sender: mpsc::Sender<Event>,
    narrate: bool,
    trace: bool,
    /// Whether somebody asked already who is first.
    asked: Arc<AtomicBool>,
}

impl EventSink {
    /// A channel of events; actions and traces are dropped at the source unless asked for.
    pub(crate) fn channel(narrate: bool, trace: bool) -> (EventSink, mpsc::Receiver<Event>) {
        let (sender, receiver) = mpsc::channel(EVENTS_WAITING);
        (EventSink { sender, narrate, trace, asked: Arc::default() }, receiver)
    }

    /// Whether nobody asked before: for what is told once, by the first of several that know it.
    pub(crate) fn is_first(&self) -> bool {
        !self.asked.swap(true, Ordering::Relaxed)
    }

    /// Tells of an event. A Monitor that is gone is no error: the run goes on unseen.
    pub(crate) async fn tell(&self, event: Event) {
        let _ = self.sender.send(event).await;
    }

    /// Tells of a command, when anybody wants to know.
    pub(crate) async fn action(&self, line: impl FnOnce() -> String) {
        if self.narrate {
            self.tell(Event::Action(line())).await;
        }
    }

    /// Tells of traffic, when anybody wants to know.
    pub(crate) async fn trace(&self, connection: u64, direction: Direction, bytes: &[u8]) {
        if self.trace {
            let bytes = Bytes::copy_from_slice(bytes);
            self.tell(Event::Trace { connection, direction, bytes }).await;
        }
    }
}
