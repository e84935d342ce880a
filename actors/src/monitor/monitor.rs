//! The Monitor actor: the only one that writes to a terminal.
//!
//! Actions go to stdout as the C client words them (-v) and to syslog (-l); notices and traces go
//! to stderr. It lives on an event loop of its own, because writing to a terminal may block.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use actix::prelude::*;
use tokio::sync::mpsc;
use tracing::info;

use crate::monitor::events::{Direction, Event, EventSink};
use crate::monitor::plain::{self, ACTION_BYTES, line_of};
use crate::monitor::report::{Outcome, UserReport};

/// Where to write what.
#[derive(Debug, Clone, Copy, Default)]
pub struct Verbosity {
    /// Commands on stdout (-v).
    pub actions_on_stdout: bool,
    /// Commands in syslog (-l).
    pub actions_in_syslog: bool,
}

/// Writes events out.
pub(crate) struct Monitor {
    verbosity: Verbosity,
}

impl Monitor {
    pub(crate) fn new(verbosity: Verbosity) -> Monitor {
        Monitor { verbosity }
    }
}

impl Actor for Monitor {
    type Context = Context<Self>;
}

/// Writes all events up to [`Event::End`].
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Watch(pub(crate) mpsc::Receiver<Event>);

impl Handler<Watch> for Monitor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Watch(mut events): Watch, _: &mut Context<Self>) -> Self::Result {
        let verbosity = self.verbosity;
        Box::pin(async move {
            while let Some(event) = events.recv().await {
                match event {
                    Event::End => break,
                    event => tell(&event, verbosity),
                }
            }
        })
    }
}

/// A running Monitor, on an event loop of its own.
pub(crate) struct Watching {
    monitor_loop: Arbiter,
    /// Kept until the end. An actor stops with a message unread if its last address is dropped between the moment it finds
    /// its mailbox empty and the moment it checks whether an address is left; then no event would be written at all.
    _monitor: Addr<Monitor>,
    told: Request<Monitor, Watch>,
}

impl Watching {
    /// Starts one.
    pub(crate) fn start(verbosity: Verbosity, events: mpsc::Receiver<Event>) -> Watching {
        let monitor_loop = Arbiter::new();
        let monitor =
            Monitor::start_in_arbiter(&monitor_loop.handle(), move |_| Monitor::new(verbosity));
        Watching { told: monitor.send(Watch(events)), _monitor: monitor, monitor_loop }
    }

    /// Ends it when all earlier events are written.
    pub(crate) async fn end(self, events: &EventSink) {
        events.tell(Event::End).await;
        let _ = self.told.await;
        self.monitor_loop.stop();
    }
}

/// A closed stdout or stderr is not a reason to stop replicating.
pub(crate) fn tell(event: &Event, verbosity: Verbosity) {
    match event {
        Event::Action(line) => {
            if verbosity.actions_on_stdout {
                let _ = writeln!(io::stdout().lock(), "{}", line_of(line, ACTION_BYTES));
            }
            if verbosity.actions_in_syslog {
                info!(target: "actions", "{line}");
            }
        }
        Event::Notice(text) => notice(text),
        Event::Trace { connection, direction, bytes } => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let mark = match direction {
                Direction::Sent => format!("<{now}<"),
                Direction::Received => format!(">{now}>"),
            };
            let mut stderr = io::stderr().lock();
            let _ = write!(stderr, "[{connection}]{mark}");
            let _ = stderr.write_all(bytes);
        }
        Event::User(user) => tell_user(user, verbosity),
        Event::End => {}
    }
}

fn tell_user(user: &UserReport, verbosity: Verbosity) {
    if !verbosity.actions_on_stdout {
        return;
    }
    let userid = user.name();
    match &user.outcome {
        Outcome::Locked => notice(&format!("Skipping locked user {}", plain::line(userid))),
        Outcome::Skipped => {
            notice(&format!("Skipping user {} (skipuser file)", plain::line(userid)));
        }
        Outcome::Failed { reason } => {
            let (userid, reason) = (plain::line(userid), plain::line(reason));
            notice(&format!("Error from sync_do_user({userid}): bailing out! ({reason})"));
        }
        Outcome::Done | Outcome::Unchanged | Outcome::Absent => {}
    }
}

/// Writes lines for the admin to stderr, each with the program's name in front.
pub fn notice(text: &str) {
    let mut stderr = io::stderr().lock();
    for line in text.lines() {
        // A closed stderr is not a reason to stop.
        let _ = writeln!(stderr, "sync_client: {}", plain::line(line));
    }
}
