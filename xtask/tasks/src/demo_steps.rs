//! What both demos print: steps with their times, numbers of a run, and the program's own output.

use std::time::{Duration, Instant};

use testkit::{c_client, oracle};

use crate::say;

/// A step under way: its line is printed when it is done.
pub(crate) struct Step {
    what: String,
    since: Instant,
}

impl Step {
    pub(crate) fn start(what: &str) -> Self {
        Self { what: what.to_owned(), since: Instant::now() }
    }

    pub(crate) fn done(&self, outcome: &str) {
        say(&format!("{:>7.2} s  {}: {outcome}", self.since.elapsed().as_secs_f64(), self.what));
    }
}

/// How a run ended and what it cost.
pub(crate) fn figures(outcome: &c_client::Outcome) -> String {
    let seconds = |time: Duration| time.as_secs_f64();
    let ended =
        outcome.code.map_or("ended by a signal".to_owned(), |code| format!("exit code {code}"));
    format!(
        "{ended}, {:.2} s of CPU, {:.1} MiB of memory",
        seconds(outcome.cpu()),
        outcome.peak_rss_bytes as f64 / 1_048_576.0
    )
}

/// Prints the program's output, indented and shortened.
pub(crate) fn quote(outcome: &c_client::Outcome) {
    const HEAD: usize = 8;
    const TAIL: usize = 12;
    let lines: Vec<&str> = outcome.stdout.lines().chain(outcome.stderr.lines()).collect();
    for (nr, line) in lines.iter().enumerate() {
        if lines.len() > HEAD + TAIL && nr == HEAD {
            say(&format!("           | … {} more lines …", lines.len() - HEAD - TAIL));
        }
        if nr < HEAD || nr + TAIL >= lines.len() {
            say(&format!("           | {}", shortened(line)));
        }
    }
}

/// A line that fits a terminal: the fill makes folder names of any length.
fn shortened(line: &str) -> String {
    const MOST: usize = 120;
    match line.char_indices().nth(MOST) {
        Some((end, _)) if line.starts_with(char::is_uppercase) => {
            format!("{}…", line.get(..end).unwrap_or(line))
        }
        _ => line.to_owned(),
    }
}

/// The result of a comparison.
pub(crate) fn verdict(report: &oracle::Report) -> String {
    if report.is_empty() { "equal".to_owned() } else { format!("{} differences", report.len()) }
}
