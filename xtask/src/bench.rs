//! `cargo xtask bench`: our client and Cyrus' own in turn, from one master to one replica.
//!
//! ```text
//!   a pair (full):  wipe the replica, run one client, check; wipe, run the other, check
//!   a pair (idle):  one client, the other; both sides are equal already
//! ```
//! Who goes first changes from pair to pair. What counts is the median of the pairs' ratios: a
//! machine that is slow for a minute slows both halves of a pair.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use testkit::c_client::{self, Outcome};
use testkit::{Cyrus, Via, fill};

use crate::bench_report::{Measured, Numbers, Pair};
use crate::{bench_report, program, say};

const USERS: usize = 60;
const MAILBOXES: usize = 4;
const MESSAGES: usize = 25;
const MESSAGE_BYTES: usize = 2048;

/// What both clients are told, and ours on top.
const ALL: [&str; 1] = ["-A"];
const OURS: [&str; 3] = ["-A", "-j", "4"];

const HELP: &str = "\
cargo xtask bench [--quick] [--markdown FILE] [--program FILE] [--memory]

  --quick           3 pairs instead of 7, and no file unless one is named
  --markdown FILE   write the results there [default: docs/benchmarks.md]
  --program FILE    measure this sync_client instead of building one
  --memory          keep the stores in memory: less like real life, steadier for tuning";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wishes {
    pairs: usize,
    markdown: Option<PathBuf>,
    program: Option<PathBuf>,
    on_disk: bool,
}

/// Measures and reports; 0 whatever the numbers are, since they are no test.
pub(crate) fn run(args: &[String]) -> Result<u8> {
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        say(HELP);
        return Ok(0);
    }
    let wishes = wishes(args)?;
    let built = match &wishes.program {
        Some(path) => path.clone(),
        None => program::build()?,
    };
    let load = loadavg();
    let replica = Cyrus::replica().on_disk(wishes.on_disk).start()?;
    let mut master = Cyrus::master().on_disk(wishes.on_disk).start()?;
    master.replicate_to(&replica, Via::Csync)?;
    say(&format!(
        "filling the master: {USERS} users, {MAILBOXES} mailboxes each, {MESSAGES} messages of \
         {MESSAGE_BYTES} bytes in each"
    ));
    fill::uniform(&master, USERS, MAILBOXES, MESSAGES, MESSAGE_BYTES)?;

    // A copy, so that a build meanwhile does not change what is measured.
    let program = master.dir().join("sync_client");
    std::fs::copy(&built, &program)
        .with_context(|| format!("failed to copy {}", built.display()))?;
    let mut bench = Bench { master, replica, program };
    let full = bench.pairs("replica wiped", wishes.pairs, true)?;
    // These are short: twice as many cost little and steady the median.
    let idle = bench.pairs("nothing to do", wishes.pairs * 2 + 1, false)?;

    let numbers = Numbers { full, idle };
    say(&bench_report::table(&numbers));
    say(&bench_report::targets(&numbers));
    if let Some(path) = &wishes.markdown {
        std::fs::write(path, page(&numbers, wishes.on_disk, &load))
            .with_context(|| format!("failed to write {}", path.display()))?;
        say(&format!("written to {}", path.display()));
    }
    Ok(0)
}

fn wishes(args: &[String]) -> Result<Wishes> {
    let mut quick = false;
    let mut markdown = None;
    let mut program = None;
    let mut on_disk = true;
    let file = |arg: &str, path: Option<&String>| match path {
        Some(path) => Ok(PathBuf::from(path)),
        None => bail!("{arg} needs a file\n\n{HELP}"),
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--quick" => quick = true,
            "--memory" => on_disk = false,
            "--markdown" => markdown = Some(file(arg, args.next())?),
            "--program" => program = Some(file(arg, args.next())?),
            other => bail!("bench knows no {other:?}\n\n{HELP}"),
        }
    }
    let standard = || program::checkout().join("docs/benchmarks.md");
    Ok(Wishes {
        pairs: if quick { 3 } else { 7 },
        markdown: markdown.or_else(|| (!quick && on_disk).then(standard)),
        program,
        on_disk,
    })
}

/// How busy the machine was with other things in the minute before.
fn loadavg() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// The page for docs/.
fn page(numbers: &Numbers, on_disk: bool, loadavg: &str) -> String {
    let load = format!(
        "{USERS} users, {MAILBOXES} mailboxes each, {MESSAGES} messages of {MESSAGE_BYTES} bytes in \
         each: {} messages in all. Master and replica are real Cyrus servers on this machine, \
         their stores {}; compression and conversations are on. The load average of the \
         machine just before was {loadavg}: anything much above 0 is other work, which makes wall \
         times, and those of a disk that all share most of all, less to be trusted.",
        USERS * MAILBOXES * MESSAGES,
        if on_disk { "on its disk" } else { "in memory" },
    );
    let commands = [
        format!("/usr/lib/cyrus/bin/sync_client -C imapd.conf {}", ALL.join(" ")),
        format!("target/release/sync_client -C imapd.conf {}", OURS.join(" ")),
    ];
    bench_report::page(numbers, &load, &commands)
}

struct Bench {
    master: Cyrus,
    replica: Cyrus,
    program: PathBuf,
}

impl Bench {
    fn pairs(&mut self, what: &str, pairs: usize, wipe: bool) -> Result<Vec<Pair>> {
        let mut done: Vec<Pair> = Vec::new();
        for nr in 0..pairs {
            let (c, ours) = if nr % 2 == 0 {
                let c = self.theirs(wipe)?;
                (c, self.ours(wipe)?)
            } else {
                let ours = self.ours(wipe)?;
                (self.theirs(wipe)?, ours)
            };
            let pair = Pair { c, ours };
            say(&format!("{what}, pair {} of {pairs}: {pair}", nr + 1));
            done.push(pair);
        }
        Ok(done)
    }

    fn theirs(&mut self, wipe: bool) -> Result<Measured> {
        self.prepare(wipe)?;
        let outcome = c_client::run(&self.master, &ALL)?;
        self.checked(outcome)
    }

    fn ours(&mut self, wipe: bool) -> Result<Measured> {
        self.prepare(wipe)?;
        let mut command = self.master.root_command(&self.program);
        command.arg("-C").arg(self.master.imapd_conf()).args(OURS);
        self.checked(c_client::measure(command)?)
    }

    fn prepare(&mut self, wipe: bool) -> Result<()> {
        if wipe {
            self.replica.wipe()?;
        }
        // What the run before left for the disk to write is not this run's to wait for.
        std::process::Command::new("sync").status().context("failed to run sync")?;
        std::thread::sleep(Duration::from_millis(300));
        Ok(())
    }

    /// A run that failed or left something out is no measurement.
    fn checked(&self, outcome: Outcome) -> Result<Measured> {
        let outcome = outcome.must_succeed()?;
        let (here, there) = (messages(&self.master.spool()), messages(&self.replica.spool()));
        ensure!(
            here == there,
            "{} left {there} of {here} messages on the replica",
            outcome.program
        );
        Ok(Measured {
            wall: outcome.wall,
            cpu: outcome.cpu(),
            peak_rss_bytes: outcome.peak_rss_bytes,
        })
    }
}

/// Message files below a folder.
fn messages(folder: &Path) -> usize {
    let mut found = 0;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found += messages(&path);
        } else if path.to_string_lossy().ends_with('.') {
            found += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Wishes> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        wishes(&args)
    }

    #[test]
    fn only_a_full_run_writes_the_docs_by_itself() {
        assert!(parsed("").unwrap().markdown.unwrap().ends_with("docs/benchmarks.md"));
        let quick = Wishes { pairs: 3, markdown: None, program: None, on_disk: true };
        assert_eq!(parsed("--quick").unwrap(), quick);
        assert_eq!(parsed("--memory").unwrap().markdown, None);
        let named = parsed("--quick --markdown x.md").unwrap();
        assert_eq!(named.markdown, Some(PathBuf::from("x.md")));
        assert!(parsed("--markdown").is_err() && parsed("--fast").is_err());
    }
}
