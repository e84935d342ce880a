//! `--report`: a file in JSON about a run, one line for each user. `docs/report.md` describes it.
//!
//! Users are written as they end, so the memory does not grow with their number. The file appears when it is complete.

use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use cyrus_types::Owner;
use serde::Serialize;

use crate::monitor::events::Event;
use crate::monitor::progress::Progress;
use crate::monitor::report::{Outcome, RunReport, Sent, UserReport};
use crate::monitor::sink::{Ending, Sink, SinkError};
use crate::monitor::whole_file::WholeFile;

/// The version of the format. It changes when a reader of the old one could go wrong; new fields do not change it.
const VERSION: u32 = 1;

/// What it is, for people.
const WHAT: &str = "the report";

/// A report, checked to be writable but empty.
#[derive(Debug)]
pub(crate) struct JsonReport {
    file: WholeFile,
    /// Whether a user is in it.
    any: bool,
}

/// The first lines.
#[derive(Serialize)]
struct Head<'a> {
    version: u32,
    program: &'a str,
    started: String,
    server: &'a str,
    channel: Option<&'a str>,
}

/// The last lines.
#[derive(Serialize)]
struct Tail<'a> {
    left_to_do: &'a [String],
    no_names: &'a [String],
    totals: Totals,
    ended: String,
    seconds: f64,
    complete: bool,
    stopped: Option<Stop<'a>>,
    exit_code: u8,
}

#[derive(Serialize)]
struct Stop<'a> {
    why: &'a str,
    text: String,
}

#[derive(Serialize)]
struct Totals {
    users: u64,
    replicated: u64,
    equal: u64,
    locked: u64,
    skipped: u64,
    absent: u64,
    failed: u64,
    broken_off: u64,
    not_reached: u64,
    #[serde(flatten)]
    sent: Counts,
}

/// What was sent; null: not known, because the user did not end.
#[derive(Serialize, Default)]
struct Counts {
    mailboxes: Option<u64>,
    messages: Option<u64>,
    bytes: Option<u64>,
    removed: Option<u64>,
    mailboxes_overwritten: Option<u64>,
    messages_overwritten: Option<u64>,
}

#[derive(Serialize)]
struct User<'a> {
    user: Option<&'a str>,
    outcome: &'a str,
    #[serde(flatten)]
    sent: Counts,
    tries: Option<u32>,
    seconds: Option<f64>,
    reason: Option<&'a str>,
}

impl From<Sent> for Counts {
    fn from(sent: Sent) -> Counts {
        Counts {
            mailboxes: Some(sent.mailboxes),
            messages: Some(sent.messages),
            bytes: Some(sent.bytes),
            removed: Some(sent.removed),
            mailboxes_overwritten: Some(sent.overwritten),
            messages_overwritten: Some(sent.lost),
        }
    }
}

/// Milliseconds are exact enough.
fn seconds(time: std::time::Duration) -> f64 {
    time.as_millis() as f64 / 1e3
}

fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

impl JsonReport {
    /// A report that will have this name.
    ///
    /// # Errors
    /// It can't be written there.
    pub(crate) fn create(path: &Path) -> Result<JsonReport, SinkError> {
        let failed = |source| SinkError { path: path.to_path_buf(), what: WHAT, source };
        let file = WholeFile::begin(path).map_err(failed)?;
        Ok(JsonReport { file, any: false })
    }

    /// Writes what is known at the start of the run.
    ///
    /// # Errors
    /// The disk is full or broken.
    pub(crate) fn begin(&mut self, server: &str, channel: Option<&str>) -> Result<(), SinkError> {
        let program = concat!("sync_client ", env!("CARGO_PKG_VERSION"));
        let head = Head { version: VERSION, program, started: now(), server, channel };
        let written = self.object_without_end(&head);
        let written = written.and_then(|()| self.file.write_all(b",\n\"users\":["));
        written.map_err(|e| self.failed(e))
    }

    fn failed(&self, source: io::Error) -> SinkError {
        SinkError { path: self.file.path().to_path_buf(), what: WHAT, source }
    }

    /// Writes an object up to its last brace.
    fn object_without_end(&mut self, object: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string(object)?;
        self.file.write_all(text.strip_suffix('}').unwrap_or(&text).as_bytes())
    }

    fn user(&mut self, user: &User<'_>) -> io::Result<()> {
        let before = if self.any { ",\n" } else { "\n" };
        self.any = true;
        self.file.write_all(before.as_bytes())?;
        serde_json::to_writer(&mut self.file, user)?;
        Ok(())
    }

    fn ended(&mut self, user: &UserReport) -> io::Result<()> {
        let reason = match &user.outcome {
            Outcome::Failed { reason } => Some(reason.as_str()),
            _ => None,
        };
        self.user(&User {
            user: user.owner.userid(),
            outcome: user.outcome.word(),
            sent: user.sent.into(),
            tries: Some(user.tries),
            seconds: Some(seconds(user.took)),
            reason,
        })
    }

    fn unfinished(&mut self, owners: &[Owner], outcome: &str) -> io::Result<()> {
        owners.iter().try_for_each(|owner| {
            let sent = Counts::default();
            let user = owner.userid();
            self.user(&User { user, outcome, sent, tries: None, seconds: None, reason: None })
        })
    }

    fn last_lines(&mut self, report: &RunReport, ending: &Ending<'_>) -> io::Result<()> {
        self.unfinished(&report.broken_off, BROKEN_OFF)?;
        self.unfinished(&report.not_reached, NOT_REACHED)?;
        let totals = ending.progress.totals();
        let ended = totals.ended;
        let (broken_off, not_reached) =
            (report.broken_off.len() as u64, report.not_reached.len() as u64);
        let tail = Tail {
            left_to_do: &report.left_to_do,
            no_names: &report.no_names,
            totals: Totals {
                users: ended.all() + broken_off + not_reached,
                replicated: ended.replicated,
                equal: ended.equal,
                locked: ended.locked,
                skipped: ended.skipped,
                absent: ended.absent,
                failed: ended.failed,
                broken_off,
                not_reached,
                sent: totals.sent.into(),
            },
            ended: now(),
            seconds: seconds(report.took),
            complete: report.is_complete() && !report.is_without_list(),
            stopped: report
                .stopped
                .as_ref()
                .map(|stopped| Stop { why: stopped.word(), text: stopped.to_string() }),
            exit_code: ending.exit,
        };
        let tail = serde_json::to_string(&tail)?;
        // Its fields belong to the object that the head began.
        let fields = tail.strip_prefix('{').unwrap_or(&tail);
        write!(self.file, "\n],\n{fields}\n")
    }
}

/// Users that did not end in time after a request to stop.
const BROKEN_OFF: &str = "broken_off";
/// Users that were not replicated, because the run stopped before.
const NOT_REACHED: &str = "not_reached";

impl Sink for JsonReport {
    fn take(&mut self, event: &Event, _: &Progress) -> Result<(), SinkError> {
        match event {
            Event::Finished(user) => self.ended(user).map_err(|e| self.failed(e)),
            _ => Ok(()),
        }
    }

    fn end(mut self: Box<Self>, ending: &Ending<'_>) -> Result<(), SinkError> {
        let Some(report) = ending.report else { return Ok(()) };
        self.last_lines(report, ending).map_err(|e| self.failed(e))?;
        let path = self.file.path().to_path_buf();
        self.file.finish().map_err(|source| SinkError { path, what: WHAT, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::stopped::Stopped;
    use std::time::Duration;

    // Shows that the memory of a report does not grow with its users.
    #[test]
    fn users_are_written_as_they_end() {
        let dir = tempfile::tempdir().unwrap();
        let mut report = JsonReport::create(&dir.path().join("report")).unwrap();
        report.begin("replica", Some("ch")).unwrap();
        let progress = Progress::default();
        let mut most = 0;
        for nr in 0..20_000 {
            let outcome = Outcome::Failed { reason: format!("no index of user{nr}") };
            let owner = Owner::from(format!("user{nr}").as_str());
            let (sent, took) = (Sent::default(), Duration::from_millis(1_234));
            let user = UserReport { owner, outcome, sent, tries: 4, took };
            report.take(&Event::Finished(Box::new(user)), &progress).unwrap();
            most = most.max(report.file.held());
        }
        assert!((1..=8 << 10).contains(&most), "{most} bytes");
    }

    #[test]
    fn a_run_without_a_list_is_not_complete() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report");
        let mut sink = Box::new(JsonReport::create(&path).unwrap());
        sink.begin("replica", None).unwrap();
        let stopped = Some(Stopped::Listing("no mailboxes.db".into()));
        let report = RunReport { stopped, ..RunReport::default() };
        let progress = Progress::default();
        sink.end(&Ending { report: Some(&report), progress: &progress, exit: 1 }).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["complete"], false);
        assert_eq!(value["stopped"]["why"], "listing");
    }

    #[test]
    fn a_report_of_nobody_is_a_report() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report");
        let mut sink = Box::new(JsonReport::create(&path).unwrap());
        sink.begin("replica \"}", None).unwrap();
        let report = RunReport::default();
        let progress = Progress::default();
        sink.end(&Ending { report: Some(&report), progress: &progress, exit: 1 }).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["server"], "replica \"}");
        assert_eq!((&value["users"], &value["exit_code"]), (&serde_json::json!([]), &1.into()));
    }
}
