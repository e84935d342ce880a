//! `--failed-users`: who is not on the replica, one user a line, as `-u -f` reads it.

use std::io::{self, Write};
use std::path::Path;

use crate::monitor::events::Event;
use crate::monitor::plain;
use crate::monitor::progress::Progress;
use crate::monitor::report::RunReport;
use crate::monitor::sink::{Ending, Sink, SinkError};
use crate::monitor::whole_file::WholeFile;

/// What it is, for people.
const WHAT: &str = "the list of failed users";

/// The openings of comments: the first three are about what must still be done, but can't be with -f.
const SHARED: &str = "# shared mailboxes: ";
const NO_LINE: &str = "# not possible in a file, ";
const NO_NAME: &str = "# not the name of a mailbox: ";
const NOBODY: &str = "# nobody was replicated: ";

/// Whether this line of a list, which `-u -f` skips as a comment, was written by `--failed-users` about something that is
/// still to be done.
#[must_use]
pub fn is_left_to_do(line: &str) -> bool {
    [SHARED, NO_LINE, NO_NAME].iter().any(|opening| line.starts_with(opening))
}

/// A list of users, checked to be writable but empty.
#[derive(Debug)]
pub(crate) struct FailedUsers {
    file: WholeFile,
    /// The prefix of -A.
    prefix: Option<String>,
}

impl FailedUsers {
    /// A list that will have this name.
    ///
    /// # Errors
    /// It can't be written there.
    pub(crate) fn create(path: &Path) -> Result<FailedUsers, SinkError> {
        let failed = |source| SinkError { path: path.to_path_buf(), what: WHAT, source };
        Ok(FailedUsers { file: WholeFile::begin(path).map_err(failed)?, prefix: None })
    }

    /// The run is one of -A with this prefix.
    pub(crate) fn begin(&mut self, prefix: Option<&str>) {
        self.prefix = prefix.map(str::to_string);
    }
}

impl Sink for FailedUsers {
    fn take(&mut self, _: &Event, _: &Progress) -> Result<(), SinkError> {
        Ok(())
    }

    fn end(mut self: Box<Self>, ending: &Ending<'_>) -> Result<(), SinkError> {
        let Some(report) = ending.report else { return Ok(()) };
        let path = self.file.path().to_path_buf();
        let written = write(&mut self.file, report, self.prefix.as_deref());
        let written = written.and_then(|()| self.file.finish());
        written.map_err(|source| SinkError { path, what: WHAT, source })
    }
}

fn write(file: &mut impl Write, report: &RunReport, prefix: Option<&str>) -> io::Result<()> {
    for line in &report.left_to_do {
        writeln!(file, "{line}")?;
    }
    for owner in report.missing() {
        match owner.userid() {
            None => write_shared(file, prefix)?,
            Some(userid) if is_line(userid) => writeln!(file, "{userid}")?,
            Some(userid) => {
                let shown = plain::line(userid);
                writeln!(file, "{NO_LINE}name it after -u: {shown}")?;
            }
        }
    }
    if let Some(why) = report.stopped.as_ref().filter(|_| report.is_without_list()) {
        writeln!(file, "{NOBODY}{}", plain::line(&why.to_string()))?;
    }
    for text in &report.no_names {
        writeln!(file, "{NO_NAME}{}", plain::line(text))?;
    }
    Ok(())
}

/// Shared mailboxes have no user to name.
fn write_shared(file: &mut impl Write, prefix: Option<&str>) -> io::Result<()> {
    match prefix {
        Some(prefix) => {
            let shown = plain::line(prefix);
            writeln!(file, "{SHARED}repeat them with -A {shown}")
        }
        None => writeln!(
            file,
            "{SHARED}repeat them with -A and the beginning of their names, or with -A alone"
        ),
    }
}

/// Whether -f reads this line as this name (`src/bin/sync_client/names.rs`): it skips comments, and takes blanks away.
fn is_line(userid: &str) -> bool {
    !userid.is_empty()
        && userid.trim() == userid
        && !userid.starts_with('#')
        && !userid.contains(['\n', '\r'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::report::{Outcome, Sent, UserReport};
    use crate::monitor::stopped::Stopped;
    use cyrus_types::Owner;
    use std::time::Duration;

    fn list(report: &RunReport, prefix: Option<&str>) -> String {
        let mut file = Vec::new();
        write(&mut file, report, prefix).unwrap();
        String::from_utf8(file).unwrap()
    }

    #[test]
    fn whoever_makes_a_run_fail_is_listed() {
        let user = |name: &str, outcome| UserReport {
            owner: name.into(),
            outcome,
            sent: Sent::default(),
            tries: 1,
            took: Duration::ZERO,
        };
        let mut report = RunReport::default();
        for user in [
            user("a", Outcome::Done),
            user("b", Outcome::Failed { reason: "no index".into() }),
            user("c", Outcome::Locked),
            user("d", Outcome::Absent),
            user("e", Outcome::Skipped),
        ] {
            report.add(user);
        }
        assert_eq!(list(&report, None), "b\nc\n");
        report.by_name = true;
        assert_eq!(list(&report, None), "b\nc\nd\ne\n");
        report.broken_off.push("f".into());
        report.not_reached = vec!["g".into(), Owner::Shared];
        let shared = "# shared mailboxes: repeat them with -A public";
        assert_eq!(list(&report, Some("public")), format!("b\nc\nd\ne\nf\ng\n{shared}\n"));
        let no_names = vec!["a\nb".to_string()];
        let report = RunReport { no_names, ..RunReport::default() };
        assert_eq!(list(&report, None), "# not the name of a mailbox: a\\nb\n");
        assert_eq!(list(&RunReport::default(), None), "");
    }

    #[test]
    fn a_run_that_knew_nobody_leaves_no_empty_list() {
        let stopped = Some(Stopped::Listing("no mailboxes.db".into()));
        let report = RunReport { stopped, ..RunReport::default() };
        let lines = list(&report, None);
        assert!(lines.starts_with("# nobody was replicated: "), "{lines}");
        assert!(lines.contains("no mailboxes.db") && lines.lines().count() == 1, "{lines}");
    }

    #[test]
    fn a_name_that_no_line_can_hold_is_a_comment() {
        let not_reached = ["#x", "a\nb", " c", "", "d e"].map(Owner::from).to_vec();
        let report = RunReport { not_reached, ..RunReport::default() };
        let lines = list(&report, None);
        let names: Vec<&str> = lines.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!((names, lines.lines().count()), (vec!["d e"], 5));
        assert!(lines.lines().all(|line| is_left_to_do(line) != (line == "d e")), "{lines}");
        assert!(lines.contains("# not possible in a file, name it after -u: a\\nb\n"), "{lines}");
    }
}
