//! Where events go: each sink takes all of them, and knows nothing of the others.

use std::path::PathBuf;
use std::time::Instant;
use std::{fmt, io};

use crate::monitor::events::Event;
use crate::monitor::progress::Progress;
use crate::monitor::report::RunReport;
use crate::monitor::words::without_number;

/// Something that shows, keeps or sends on what happens. It runs on the Monitor's thread: while it writes, events wait in
/// their channel, and when that is full, so does the run.
pub(crate) trait Sink: Send {
    /// Takes one event; `progress` has it in its totals already.
    ///
    /// # Errors
    /// It can't go on. The admin is told, it gets nothing more, and the run goes on without it.
    fn take(&mut self, event: &Event, progress: &Progress) -> Result<(), SinkError>;

    /// All events that had come by now are taken.
    fn flush(&mut self) {}

    /// Comes several times a second.
    fn tick(&mut self, _progress: &Progress, _now: Instant) {}

    /// The run is over.
    ///
    /// # Errors
    /// What it was to write is not written.
    fn end(self: Box<Self>, _ending: &Ending<'_>) -> Result<(), SinkError> {
        Ok(())
    }
}

/// How a run over a list ended.
pub(crate) struct Ending<'a> {
    /// Its report; `None` for rolling replication.
    pub(crate) report: Option<&'a RunReport>,
    /// The totals, and all other numbers.
    pub(crate) progress: &'a Progress,
    /// The exit code of the program, as far as it is known.
    pub(crate) exit: u8,
}

/// A file that could not be written.
#[derive(Debug, thiserror::Error)]
pub struct SinkError {
    /// The file.
    pub path: PathBuf,
    /// What it was to be, in words.
    pub what: &'static str,
    /// What went wrong.
    pub source: io::Error,
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = self.source.to_string();
        write!(f, "can't write {} {}: {}", self.what, self.path.display(), without_number(&why))
    }
}
