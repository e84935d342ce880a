//! What actors report to the [`Monitor`](crate::monitor::monitor::Monitor): typed events over a bounded channel.
//!
//! Only the Monitor writes to a terminal. If the channel is full, the sender waits, so no line is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::monitor::report::UserReport;

/// How many events may wait for the Monitor: enough for a burst of short lines, small enough that
/// a blocked terminal stops the run instead of filling the memory.
const EVENTS_WAITING: usize = 1024;

/// The direction of traced bytes.
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
        /// The direction.
        direction: Direction,
        /// The bytes, before compression.
        bytes: Bytes,
    },
    /// A user has ended, well or not.
    User(Box<UserReport>),
    /// No event follows.
    End,
}

/// Where events are sent to. Clones share one channel.
#[derive(Debug, Clone)]
pub(crate) struct EventSink {
    sender: mpsc::Sender<Event>,
    narrate: bool,
    trace: bool,
    /// Whether a first sender was found already.
    asked: Arc<AtomicBool>,
}

impl EventSink {
    /// A channel of events; actions and traces are dropped at the source unless enabled.
    pub(crate) fn channel(narrate: bool, trace: bool) -> (EventSink, mpsc::Receiver<Event>) {
        let (sender, receiver) = mpsc::channel(EVENTS_WAITING);
        (EventSink { sender, narrate, trace, asked: Arc::default() }, receiver)
    }

    /// True for the first caller: for a message that several may report and that is reported once.
    pub(crate) fn is_first(&self) -> bool {
        !self.asked.swap(true, Ordering::Relaxed)
    }

    /// Sends an event. A Monitor that is gone is not an error: the run goes on unseen.
    pub(crate) async fn tell(&self, event: Event) {
        let _ = self.sender.send(event).await;
    }

    /// Reports a command, if enabled.
    pub(crate) async fn action(&self, line: impl FnOnce() -> String) {
        if self.narrate {
            self.tell(Event::Action(line())).await;
        }
    }

    /// Reports traffic, if enabled.
    pub(crate) async fn trace(&self, connection: u64, direction: Direction, bytes: &[u8]) {
        if self.trace {
            let bytes = Bytes::copy_from_slice(bytes);
            self.tell(Event::Trace { connection, direction, bytes }).await;
        }
    }
}
