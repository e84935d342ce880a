//! The Monitor actor: takes all events, keeps the totals, and gives each event to the sinks.
//!
//! ```text
//!   all actors --Event--> Monitor --> Totals (aggregate.rs)
//!                            '------> sinks: lines, bar, report, failed users (sinks/)
//! ```
//! What goes to a terminal goes through `screen.rs`, which has a thread for that. The Monitor lives on an event loop of its
//! own, because disks may block, and because it waits for room where lines that were asked for go to (-v, -v -v).

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tracing::error;

use crate::monitor::events::{Event, EventSink};
use crate::monitor::progress::Progress;
use crate::monitor::report::RunReport;
use crate::monitor::screen;
use crate::monitor::sink::{Ending, Sink, SinkError};

/// How often sinks can show how the time goes by.
const TICK: Duration = Duration::from_millis(250);

/// How many events are taken before what they say is written.
const AT_ONCE: usize = 256;

/// Gives events to sinks.
pub(crate) struct Monitor;

impl Actor for Monitor {
    type Context = Context<Self>;
}

/// Takes all events up to [`Event::End`]. Returns which files could not be written, in words.
#[derive(Message)]
#[rtype(result = "Vec<String>")]
pub(crate) struct Watch {
    events: mpsc::Receiver<Event>,
    sinks: Sinks,
    progress: Progress,
}

impl Handler<Watch> for Monitor {
    type Result = ResponseFuture<Vec<String>>;

    fn handle(&mut self, msg: Watch, _: &mut Context<Self>) -> Self::Result {
        let Watch { mut events, mut sinks, progress } = msg;
        Box::pin(async move {
            let mut ticks = interval(TICK);
            // After a pause of the whole machine one tick is enough.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut taken = Vec::with_capacity(AT_ONCE);
            loop {
                tokio::select! {
                    number = events.recv_many(&mut taken, AT_ONCE) => {
                        if number == 0 {
                            return sinks.end(None, &progress);
                        }
                        for event in taken.drain(..) {
                            if let Event::End(report) = event {
                                return sinks.end(report.as_deref(), &progress);
                            }
                            progress.add(&event);
                            sinks.take(&event, &progress);
                        }
                        sinks.flush();
                    }
                    _ = ticks.tick() => {
                        let now = Instant::now();
                        progress.note(now);
                        sinks.tick(&progress, now);
                        sinks.flush();
                    }
                }
            }
        })
    }
}

/// All sinks of a run.
pub(crate) struct Sinks {
    all: Vec<Box<dyn Sink>>,
    /// What was not written, in words.
    problems: Vec<String>,
    /// The program's exit code for a run that ended like this.
    exit_code: fn(&RunReport) -> u8,
}

/// The program's exit code if a file that was asked for could not be written, and all else is well.
const NOT_WRITTEN: u8 = 1;

impl Sinks {
    /// These, in this order. Each sees at its end the exit code that follows from the ends of those before it.
    pub(crate) fn new(all: Vec<Box<dyn Sink>>, exit_code: fn(&RunReport) -> u8) -> Sinks {
        Sinks { all, problems: Vec::new(), exit_code }
    }

    /// One more, which ends after the others.
    pub(crate) fn add(&mut self, sink: Box<dyn Sink>) {
        self.all.push(sink);
    }

    fn take(&mut self, event: &Event, progress: &Progress) {
        let mut failed = Vec::new();
        self.all.retain_mut(|sink| match sink.take(event, progress) {
            Ok(()) => true,
            Err(e) => {
                failed.push(e);
                false
            }
        });
        for e in failed {
            let text = format!("{}; the run goes on", self.problem(&e));
            self.take(&Event::Notice(text), progress);
        }
    }

    /// Reports the problem in syslog, and keeps it for the end of the run.
    pub(crate) fn problem(&mut self, e: &SinkError) -> String {
        error!("IOERROR: {e}");
        self.problems.push(e.to_string());
        e.to_string()
    }

    fn flush(&mut self) {
        self.all.iter_mut().for_each(|sink| sink.flush());
    }

    fn tick(&mut self, progress: &Progress, now: Instant) {
        self.all.iter_mut().for_each(|sink| sink.tick(progress, now));
    }

    fn end(mut self, report: Option<&RunReport>, progress: &Progress) -> Vec<String> {
        self.flush();
        for sink in std::mem::take(&mut self.all) {
            let exit = report.map_or(0, self.exit_code);
            let exit = if exit == 0 && !self.problems.is_empty() { NOT_WRITTEN } else { exit };
            if let Err(e) = sink.end(&Ending { report, progress, exit }) {
                self.problem(&e);
            }
        }
        screen::finish();
        self.problems
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
    /// Starts one that writes the totals of `progress`.
    pub(crate) fn start(
        sinks: Sinks,
        events: mpsc::Receiver<Event>,
        progress: Progress,
    ) -> Watching {
        screen::start();
        let monitor_loop = Arbiter::new();
        let monitor = Monitor::start_in_arbiter(&monitor_loop.handle(), |_| Monitor);
        let told = monitor.send(Watch { events, sinks, progress });
        Watching { told, _monitor: monitor, monitor_loop }
    }

    /// Ends it when all earlier events are taken. Returns which files could not be written, in words.
    pub(crate) async fn end(
        self,
        events: &EventSink,
        report: Option<Arc<RunReport>>,
    ) -> Vec<String> {
        events.tell(Event::End(report)).await;
        let told = self.told.await;
        self.monitor_loop.stop();
        told.unwrap_or_else(|e| vec![format!("internal error: the Monitor ended: {e}")])
    }
}

#[cfg(test)]
#[path = "monitor_tests.rs"]
mod tests;
