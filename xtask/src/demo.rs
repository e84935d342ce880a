//! `cargo xtask demo`: the program at work, between two real servers, in half a minute.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use testkit::{Cyrus, Via, c_client, fill, oracle};

use crate::{program, say};

const USERS: usize = 20;

/// Starts a master and a replica, fills the master, replicates and compares; 0 when both sides are equal.
pub(crate) fn run(args: &[String]) -> Result<u8> {
    if let Some(arg) = args.first() {
        bail!("demo takes no arguments, not even {arg:?}");
    }
    let program = program::build()?;

    let mut step = Step::start("starting a Cyrus master and a Cyrus replica");
    let replica = Cyrus::replica().start()?;
    let mut master = Cyrus::master().start()?;
    master.replicate_to(&replica, Via::Csync)?;
    step.done(&format!("imap on ports {} and {}", master.imap_port()?, replica.imap_port()?));

    step = Step::start(&format!("filling the master with {USERS} users over IMAP"));
    let users = fill::fill_with(&master, &fill::FillOptions::new(1, USERS))?;
    let size = folder_size(&master.spool());
    step.done(&format!("{} message files, {:.1} MB", size.messages, size.bytes as f64 / 1e6));

    let shown = ["-A", "-j", "4", "-v"];
    step = Step::start(&format!("sync_client {}", shown.join(" ")));
    let mut command = master.root_command(&program);
    command.arg("-C").arg(master.imapd_conf()).args(shown);
    let outcome = c_client::measure(command)?;
    step.done(&figures(&outcome));
    quote(&outcome);

    step = Step::start("once more, with nothing to do");
    let mut command = master.root_command(&program);
    command.arg("-C").arg(master.imapd_conf()).args(["-A", "-j", "4"]);
    let again = c_client::measure(command)?;
    step.done(&figures(&again));
    quote(&again);

    step = Step::start("comparing master and replica, as their own sync_servers describe them");
    let report = oracle::compare(&master, &replica, &users)?;
    step.done(&verdict(&report));
    step = Step::start("comparing the bytes of every message");
    let bytes = oracle::compare_bytes(&master, &replica, &users)?;
    step.done(&verdict(&bytes));
    for text in [&report, &bytes].into_iter().filter(|report| !report.is_empty()) {
        say(&text.to_string());
    }
    let well =
        outcome.code == Some(0) && again.code == Some(0) && report.is_empty() && bytes.is_empty();
    say("");
    if well {
        say("Both sides are equal. The servers are gone again, and so are their folders.");
        return Ok(0);
    }
    say("Something went wrong: see above.");
    Ok(1)
}

/// A step under way: its line is printed when it is done.
struct Step {
    what: String,
    since: Instant,
}

impl Step {
    fn start(what: &str) -> Self {
        Self { what: what.to_owned(), since: Instant::now() }
    }

    fn done(&self, outcome: &str) {
        say(&format!("{:>7.2} s  {}: {outcome}", self.since.elapsed().as_secs_f64(), self.what));
    }
}

fn figures(outcome: &c_client::Outcome) -> String {
    let seconds = |time: Duration| time.as_secs_f64();
    let ended =
        outcome.code.map_or("ended by a signal".to_owned(), |code| format!("exit code {code}"));
    format!(
        "{ended}, {:.2} s of CPU, {:.1} MB of memory",
        seconds(outcome.cpu()),
        outcome.peak_rss_bytes as f64 / 1e6
    )
}

/// Prints what the program wrote, set off, and not too much of it.
fn quote(outcome: &c_client::Outcome) {
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

fn verdict(report: &oracle::Report) -> String {
    if report.is_empty() { "equal".to_owned() } else { format!("{} differences", report.len()) }
}

#[derive(Default)]
struct Size {
    messages: usize,
    bytes: u64,
}

/// Counts the message files below a spool.
fn folder_size(folder: &std::path::Path) -> Size {
    let mut size = Size::default();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            let below = folder_size(&path);
            size.messages += below.messages;
            size.bytes += below.bytes;
        } else if path.to_string_lossy().ends_with('.') {
            size.messages += 1;
            size.bytes += entry.metadata().map_or(0, |meta| meta.len());
        }
    }
    size
}
