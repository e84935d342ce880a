//! What a run over a list writes, and where: the sinks that the command line asks for.

use std::path::Path;

use crate::monitor::events::Event;
use crate::monitor::monitor::Sinks;
use crate::monitor::progress::Progress;
use crate::monitor::report::RunReport;
use crate::monitor::sink::{Sink, SinkError};
use crate::monitor::sinks::failed_users::FailedUsers;
use crate::monitor::sinks::json::JsonReport;
use crate::monitor::sinks::lines::Lines;
pub use crate::monitor::sinks::lines::Verbosity;
use crate::monitor::sinks::terminal::Bar;

/// How the progress of a run is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ShownProgress {
    /// Not at all.
    None,
    /// A line now and then.
    #[default]
    Lines,
    /// A bar on the terminal.
    Bar {
        /// With colours.
        colours: bool,
    },
}

/// What a run over a list writes.
#[derive(Debug)]
pub struct Reporting {
    verbosity: Verbosity,
    progress: ShownProgress,
    exit_code: fn(&RunReport) -> u8,
    report: Option<JsonReport>,
    failed_users: Option<FailedUsers>,
    left_to_do: Vec<String>,
}

/// Lines, and no files.
impl Default for Reporting {
    fn default() -> Reporting {
        let exit_code = |report: &RunReport| u8::from(!report.all_well());
        Reporting::new(Verbosity::default(), ShownProgress::default(), exit_code)
    }
}

impl Reporting {
    /// These lines, this progress, and no files. The exit code is the program's for a run that ended like this; the report
    /// names it.
    pub fn new(
        verbosity: Verbosity,
        progress: ShownProgress,
        exit_code: fn(&RunReport) -> u8,
    ) -> Reporting {
        let (report, failed_users, left_to_do) = (None, None, Vec::new());
        Reporting { verbosity, progress, exit_code, report, failed_users, left_to_do }
    }

    /// Writes a report in JSON to this file when the run has ended.
    ///
    /// # Errors
    /// It can't be written there.
    pub fn report_to(&mut self, path: &Path) -> Result<(), SinkError> {
        self.report = Some(JsonReport::create(path)?);
        Ok(())
    }

    /// Writes the users that are not on the replica to this file when the run has ended.
    ///
    /// # Errors
    /// It can't be written there.
    pub fn failed_users_to(&mut self, path: &Path) -> Result<(), SinkError> {
        self.failed_users = Some(FailedUsers::create(path)?);
        Ok(())
    }

    /// These lines of the list say what it can't name ([`crate::is_left_to_do`]): the run does not do it, and reports so.
    pub fn leave(&mut self, lines: Vec<String>) {
        self.left_to_do = lines;
    }

    /// What the list can't name.
    pub(crate) fn left_to_do(&self) -> &[String] {
        &self.left_to_do
    }

    /// The sinks of a run against this replica, of -A with this prefix.
    pub(crate) fn sinks(self, server: &str, channel: Option<&str>, prefix: Option<&str>) -> Sinks {
        let says_status = self.progress == ShownProgress::Lines;
        // The bar leaves the screen before anything else ends.
        let mut all: Vec<Box<dyn Sink>> = Vec::new();
        if let ShownProgress::Bar { colours } = self.progress {
            all.push(Box::new(Bar::new(colours)));
        }
        all.push(Box::new(Lines::new(self.verbosity, says_status)));
        if let Some(mut list) = self.failed_users {
            list.begin(prefix);
            all.push(Box::new(list));
        }
        let mut sinks = Sinks::new(all, self.exit_code);
        // The last one: it names the exit code, which depends on the other files, too.
        if let Some(mut report) = self.report {
            match report.begin(server, channel) {
                Ok(()) => sinks.add(Box::new(report)),
                Err(e) => drop(sinks.problem(&e)),
            }
        }
        sinks
    }
}

/// The sinks of rolling replication.
pub(crate) fn rolling_sinks(verbosity: Verbosity) -> Sinks {
    Sinks::new(vec![Box::new(Lines::new(verbosity, false))], |_| 0)
}

/// Writes what this event says, where there is no Monitor yet.
pub(crate) fn write_line(event: &Event) {
    let mut lines = Lines::new(Verbosity::default(), false);
    // Lines know of no failure: a closed stderr is none.
    let _ = lines.take(event, &Progress::default());
    lines.flush();
}
