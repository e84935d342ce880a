//! What actors report to the [`Monitor`](crate::monitor::monitor::Monitor): typed events over a bounded channel.
//!
//! If the channel is full, the sender waits, so no event is lost.
//!
//! No event: what happens thousands of times a second (messages and bytes sent, commands with their times) and what must be
//! right at once (the replica's state, the users in flight). These are counters and tables in
//! [`Progress`](crate::monitor::progress::Progress) that are written where it happens, and only read here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cyrus_types::Owner;
use tokio::sync::mpsc;

use crate::monitor::report::{Outcome, RunReport, Sent, UserReport};

/// How many events may wait for the Monitor: enough for a burst of short lines, small enough that
/// a pipe that takes no more of -v's lines stops the run instead of filling the memory.
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
    /// A line on stderr that an admin must see, whatever the verbosity.
    Notice(String),
    /// A line on stderr that says what goes on; not with --quiet.
    Remark(String),
    /// Protocol traffic (-v -v).
    Trace {
        /// The connection's number.
        connection: u64,
        /// The direction.
        direction: Direction,
        /// The bytes, before compression.
        bytes: Bytes,
    },
    /// The list of a run is read: these users are queued.
    Listed {
        /// How many users it has; the shared mailboxes count as one.
        users: u64,
    },
    /// A try of a user of the list begins.
    Started {
        /// Which try it is, from 1 on.
        tries: u32,
    },
    /// A try failed, and there will be another one.
    Retry {
        /// Who.
        owner: Owner,
        /// Why, in words for an admin.
        reason: String,
        /// How long the user rests before; `None`: until the run ends (a single pass over a log has given it up).
        pause: Option<Duration>,
    },
    /// A user of the list has ended, well or not.
    Finished(Box<UserReport>),
    /// What a log asked for is done for some users that belong together. A user comes again with its next change.
    LogDone {
        /// How many users.
        users: u64,
        /// How it ended.
        outcome: Outcome,
        /// What was sent for all of them.
        sent: Sent,
    },
    /// A connection is open: the login succeeded.
    ConnectionOpened,
    /// An open connection has ended, before we ended it.
    ConnectionLost {
        /// Its number.
        number: u64,
        /// Why, in words for an admin.
        reason: String,
    },
    /// How far a channel's replica is behind.
    Lag(Lag),
    /// No event follows; the report is that of a run over a list.
    End(Option<Arc<RunReport>>),
}

/// How a channel of rolling replication stands at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lag {
    /// The arrival time of the oldest entry that is not done; `None` if all are.
    pub(crate) oldest: Option<Instant>,
    /// Users with open entries, including those in flight.
    pub(crate) waiting: u64,
    /// Users being worked on.
    pub(crate) in_flight: u64,
    /// Users whose last try failed.
    pub(crate) failing: u64,
    /// Those of them that have failed so often that they rest long.
    pub(crate) quarantined: u64,
    /// Users whose sync lock somebody else holds (-N).
    pub(crate) locked: u64,
    /// Users with a skipuser file.
    pub(crate) skipped: u64,
    /// Whether the log can be read.
    pub(crate) readable: bool,
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

    /// Sends a sample, or drops it if the channel is full: the next one comes soon.
    pub(crate) fn sample(&self, event: Event) {
        let _ = self.sender.try_send(event);
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
