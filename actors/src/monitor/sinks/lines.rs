//! Lines: commands on stdout and in syslog, notices and traces on stderr, and now and then the status.

use std::mem;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tracing::info;

use crate::monitor::events::{Direction, Event};
use crate::monitor::plain::{self, ACTION_BYTES, line_of};
use crate::monitor::progress::Progress;
use crate::monitor::report::{Outcome, UserReport};
use crate::monitor::screen;
use crate::monitor::screen_queue::Stream;
use crate::monitor::sink::{Sink, SinkError};

/// How often a long run prints its status.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// Which lines to write, and where.
#[derive(Debug, Clone, Copy, Default)]
pub struct Verbosity {
    /// Commands on stdout (-v).
    pub actions_on_stdout: bool,
    /// Commands in syslog (-l).
    pub actions_in_syslog: bool,
    /// Only what an admin must see (--quiet).
    pub quiet: bool,
}

/// Writes lines.
pub(crate) struct Lines {
    verbosity: Verbosity,
    /// Whether the status is printed now and then.
    says_status: bool,
    said: Option<Instant>,
    /// What is not written yet, in order.
    unwritten: Vec<(Kind, Vec<u8>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Action,
    Trace,
    Notice,
}

impl Lines {
    /// Lines as wanted; with the status, if `says_status`, each half minute.
    pub(crate) fn new(verbosity: Verbosity, says_status: bool) -> Lines {
        Lines { verbosity, says_status, said: None, unwritten: Vec::new() }
    }

    fn push(&mut self, kind: Kind, bytes: &[u8]) {
        match self.unwritten.last_mut() {
            Some((last, text)) if *last == kind => text.extend_from_slice(bytes),
            _ => self.unwritten.push((kind, bytes.to_vec())),
        }
    }

    fn notice(&mut self, text: &str) {
        self.push(Kind::Notice, &screen::noted(text));
    }

    fn trace(&mut self, connection: u64, direction: Direction, bytes: &[u8]) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mark = match direction {
            Direction::Sent => format!("<{now}<"),
            Direction::Received => format!(">{now}>"),
        };
        self.push(Kind::Trace, format!("[{connection}]{mark}").as_bytes());
        self.push(Kind::Trace, bytes);
    }

    fn user(&mut self, user: &UserReport) {
        if !self.verbosity.actions_on_stdout {
            return;
        }
        let userid = plain::line(user.name());
        match &user.outcome {
            Outcome::Locked => self.notice(&format!("Skipping locked user {userid}")),
            Outcome::Skipped => self.notice(&format!("Skipping user {userid} (skipuser file)")),
            Outcome::Failed { reason } => {
                let reason = plain::line(reason);
                self.notice(&format!("Error from sync_do_user({userid}): bailing out! ({reason})"));
            }
            Outcome::Done | Outcome::Unchanged | Outcome::Absent => {}
        }
    }
}

impl Sink for Lines {
    fn take(&mut self, event: &Event, _: &Progress) -> Result<(), SinkError> {
        match event {
            Event::Action(line) => {
                if self.verbosity.actions_on_stdout {
                    let line = format!("{}\n", line_of(line, ACTION_BYTES));
                    self.push(Kind::Action, line.as_bytes());
                }
                if self.verbosity.actions_in_syslog {
                    info!(target: "actions", "{line}");
                }
            }
            Event::Notice(text) => self.notice(text),
            Event::Remark(text) if !self.verbosity.quiet => self.notice(text),
            Event::Trace { connection, direction, bytes } => {
                self.trace(*connection, *direction, bytes);
            }
            Event::Finished(user) => self.user(user),
            _ => {}
        }
        Ok(())
    }

    fn flush(&mut self) {
        for (kind, bytes) in mem::take(&mut self.unwritten) {
            match kind {
                Kind::Action => screen::write_owed(Stream::Out, bytes),
                Kind::Trace => screen::write_owed(Stream::Err, bytes),
                Kind::Notice => screen::write_lines(bytes),
            }
        }
    }

    fn tick(&mut self, progress: &Progress, now: Instant) {
        if !self.says_status {
            return;
        }
        let since = *self.said.get_or_insert(now);
        if now.saturating_duration_since(since) >= SAY_EVERY {
            self.said = Some(now);
            self.notice(&progress.line(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Shows that a run prints its status after each half minute, not before, and even though nothing else happens.
    #[test]
    fn a_long_run_says_a_line_every_half_minute() {
        let progress = Progress::default();
        progress.add(&Event::Listed { users: 3 });
        let start = Instant::now();
        for (says_status, seconds, wanted) in
            [(true, 29, 0), (true, 31, 1), (true, 89, 2), (true, 95, 3), (false, 95, 0)]
        {
            let mut lines = Lines::new(Verbosity::default(), says_status);
            for second in 0..=seconds {
                lines.tick(&progress, start + Duration::from_secs(second));
            }
            let said = lines.unwritten.pop().map(|(_, said)| String::from_utf8(said).unwrap());
            let said = said.unwrap_or_default();
            assert_eq!(said.lines().count(), wanted, "in {seconds} s: {said:?}");
            let start = "sync_client: 0 of 3 users finished, 3 left; sent";
            assert!(said.lines().all(|line| line.starts_with(start)), "{said}");
        }
    }

    #[test]
    fn a_quiet_run_says_only_what_an_admin_must_see() {
        for (quiet, wanted) in
            [(false, "sync_client: connecting\nsync_client: lost\n"), (true, "sync_client: lost\n")]
        {
            let mut lines = Lines::new(Verbosity { quiet, ..Verbosity::default() }, false);
            for event in [Event::Remark("connecting".into()), Event::Notice("lost".into())] {
                lines.take(&event, &Progress::default()).unwrap();
            }
            assert_eq!(lines.unwritten, [(Kind::Notice, wanted.as_bytes().to_vec())]);
        }
    }
}
