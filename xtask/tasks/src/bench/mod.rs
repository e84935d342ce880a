//! `cargo xtask bench`: our client, Cyrus' own, and several of Cyrus' at once, in turn, over links of different latency.
//!
//! ```text
//!   a master's store (no server)  --ours-------> relay --> replica of ours    (real Cyrus)
//!                                 --C----------> relay --> replica of C's     (real Cyrus)
//!                                 --xargs -P C-> relay --> replica of xargs'  (real Cyrus)
//!                                 --before-----> relay --> replica of an older build's, if one is given
//!   for each work and round trip: rounds of a run each; who goes first changes from round to round
//! ```
//! The result is the median of the rounds' ratios: a machine that is slow for a minute slows a whole round. Every run is
//! kept in a file of results, so that a long benchmark can be made in parts.

pub(crate) mod backlog;
pub(crate) mod clients;
pub(crate) mod lag;
pub(crate) mod lag_client;
pub(crate) mod lag_load;
pub(crate) mod log;
pub(crate) mod readme;
pub(crate) mod report;
pub(crate) mod results;
pub(crate) mod rolling;
pub(crate) mod runs;
pub(crate) mod samples;
pub(crate) mod sink;
pub(crate) mod works;
pub(crate) mod xargs;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Parser;

use crate::bench::lag::Lag;
use crate::bench::results::Results;
use crate::bench::runs::Bench;
use crate::bench::works::{Medium, Work};

use crate::{program, say};

/// The messages of the large user in `--lag`, and lines of the log in `--backlog`, that the report is about.
const BIG_MESSAGES: u32 = 50_000;
const LOG_LINES: usize = 1_000_000;

/// The options of the command line.
#[derive(Debug, PartialEq, Eq, Parser)]
#[command(bin_name = "cargo xtask bench", about = "Measures our client against Cyrus' own")]
struct Wishes {
    /// Only these works
    #[arg(long = "work", value_name = "LIST", value_delimiter = ',', default_values_t = Work::ALL)]
    works: Vec<Work>,
    /// Only these round trips, in milliseconds [default: 0,5,20,50; 0,20 with --lag]
    #[arg(long = "rtt", value_name = "LIST", value_delimiter = ',')]
    round_trips: Vec<u64>,
    /// So many rounds of each [default: 5; 3 with --lag and --backlog]
    #[arg(long, value_name = "N")]
    pairs: Option<usize>,
    /// Measure this sync_client, and build none
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Measure this older sync_client of ours in the same rounds, too
    #[arg(long, value_name = "FILE")]
    before: Option<PathBuf>,
    /// Measure into a replica that throws messages away, too
    #[arg(long)]
    sink: bool,
    /// Measure into no real replica
    #[arg(long)]
    no_replica: bool,
    /// Keep the stores, the master's and the replicas', on disk (/tmp) instead of in memory; the results of both go into one
    /// file and one report
    #[arg(long)]
    disk: bool,
    /// Measure rolling replication instead: from the end of an APPEND to the message's presence on the replica, while a user of
    /// many messages is copied
    #[arg(long)]
    lag: bool,
    /// With --lag: append for so long
    #[arg(long, value_name = "N", default_value_t = 45)]
    seconds: u64,
    /// With --lag: messages of the large user
    #[arg(long, value_name = "N", default_value_t = BIG_MESSAGES)]
    big: u32,
    /// Measure instead how a log of many lines is merged and worked off; the C client does it too, once, and takes five minutes
    #[arg(long)]
    backlog: bool,
    /// With --backlog: lines of the log
    #[arg(long, value_name = "N", default_value_t = LOG_LINES)]
    lines: usize,
    /// Words about these runs that the report shall have
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Keep results there instead of in target/bench-results.tsv
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
    /// Forget the results of runs before
    #[arg(long)]
    fresh: bool,
    /// Measure nothing; write docs/benchmarks.md and its chart from the results, and print README's table
    #[arg(long)]
    report: bool,
}

impl Wishes {
    fn medium(&self) -> Medium {
        if self.disk { Medium::Disk } else { Medium::Memory }
    }

    /// The round trips that are asked for, or else these.
    fn round_trips_or<'a>(&'a self, usual: &'a [u64]) -> &'a [u64] {
        if self.round_trips.is_empty() { usual } else { &self.round_trips }
    }
}

/// Measures and reports; returns 0 whatever the numbers are, because this is not a test.
pub(crate) fn run(args: &[String]) -> Result<u8> {
    let wishes = match wishes(args) {
        Err(help) if !help.use_stderr() => {
            say(&help.to_string());
            return Ok(0);
        }
        Err(wrong) => bail!("{}", wrong.to_string().trim_start_matches("error: ").trim_end()),
        Ok(wishes) => wishes,
    };
    let usual =
        (wishes.big, wishes.lines) == (BIG_MESSAGES, LOG_LINES) && !(wishes.lag && wishes.disk);
    if !usual && wishes.results.is_none() {
        bail!(
            "--big, --lines and --lag on disk want --results: the report is about runs of the usual size, in memory"
        );
    }
    let file = wishes.results.clone();
    let file = file.unwrap_or_else(|| program::checkout().join("target/bench-results.tsv"));
    let mut results = Results::open(&file)?;
    if wishes.fresh {
        results.forget()?;
    }
    if let Some(words) = &wishes.note {
        results.note(words)?;
    }
    if !wishes.report {
        let program = match &wishes.program {
            Some(path) => path.clone(),
            None => program::build()?,
        };
        measure(&wishes, &program, &mut results)?;
    }
    for tables in [report::tables(&results), rolling::tables(&results)] {
        if !tables.is_empty() {
            say(&tables);
        }
    }
    if wishes.report {
        say(&format!("\n{}\n", readme::table(&results)));
        for (name, text) in report::pages(&results) {
            let path = program::checkout().join("docs").join(name);
            std::fs::write(&path, text)
                .with_context(|| format!("failed to write {}", path.display()))?;
            say(&format!("written: {}", path.display()));
        }
    }
    Ok(0)
}

fn measure(wishes: &Wishes, program: &Path, results: &mut Results) -> Result<()> {
    let rolling = wishes.lag || wishes.backlog;
    if wishes.lag {
        let before = wishes.before.as_deref();
        let mut lag = Lag::new(program, before, wishes.disk, wishes.big, wishes.seconds)?;
        for rtt in wishes.round_trips_or(&[0, 20]) {
            lag.measure(*rtt, wishes.pairs.unwrap_or(3), results)?;
        }
    }
    if wishes.backlog {
        backlog::measure(program, wishes.lines, wishes.pairs.unwrap_or(3), results)?;
    }
    let rounds = wishes.pairs.unwrap_or(5);
    let before = wishes.before.as_deref();
    if !wishes.no_replica && !rolling {
        let mut bench = Bench::new(program, before, wishes.medium())?;
        for work in &wishes.works {
            for rtt in wishes.round_trips_or(&[0, 5, 20, 50]) {
                bench.measure(*work, *rtt, rounds, results)?;
            }
            bench.check_equal(*work)?;
        }
    }
    if wishes.sink {
        sink::measure(program, before, rounds, results)?;
    }
    Ok(())
}

fn wishes(args: &[String]) -> Result<Wishes, clap::Error> {
    Wishes::try_parse_from(std::iter::once("bench").chain(args.iter().map(String::as_str)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Wishes, clap::Error> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        wishes(&args)
    }

    #[test]
    fn parts_of_the_whole_can_be_asked_for() {
        let all = parsed("").unwrap();
        assert_eq!((all.works.len(), all.round_trips_or(&[7]), all.pairs), (5, &[7][..], None));
        let some = parsed("--work idle,wide --rtt 20 --pairs 1").unwrap();
        assert_eq!(some.works, [Work::Idle, Work::Wide]);
        assert_eq!((some.round_trips_or(&[7]), some.pairs), (&[20][..], Some(1)));
        let disk = parsed("--disk --before target/old --work big").unwrap();
        assert_eq!((disk.medium(), disk.before), (Medium::Disk, Some(PathBuf::from("target/old"))));
        let lag = parsed("--lag --seconds 10 --big 100").unwrap();
        assert_eq!((lag.lag, lag.backlog, lag.seconds, lag.big), (true, false, 10, 100));
        for wrong in ["--lines many", "--work most", "--rtt soon", "--pairs", "--faster"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
