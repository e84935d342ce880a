//! `cargo xtask bench`: our client, Cyrus' own, and several of Cyrus' at a time, in turn, over links of different lengths.
//!
//! ```text
//!   a master's store (no server)  --ours-------> relay --> replica of ours    (real Cyrus)
//!                                 --C----------> relay --> replica of C's     (real Cyrus)
//!                                 --xargs -P C-> relay --> replica of xargs'  (real Cyrus)
//!                                 --before-----> relay --> replica of an older build's, if one is given
//!   for each work and round trip: rounds of a run each; who goes first changes from round to round
//! ```
//! What counts is the median of the rounds' ratios: a machine that is slow for a minute slows all of a round.
//! Every run is kept in a file of results, so that a long benchmark may be made in parts.

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
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use crate::bench::lag::Lag;
use crate::bench::results::Results;
use crate::bench::runs::Bench;
use crate::bench::works::{Medium, Work};

use crate::{program, say};

const HELP: &str = "\
cargo xtask bench [--work all,idle,changed,wide,big] [--rtt 0,5,20,50] [--pairs 5] [--program FILE] [--before FILE]
                  [--disk] [--sink] [--no-replica] [--fresh] [--note TEXT] [--results FILE] [--report]
cargo xtask bench --lag [--rtt 0,20] [--pairs 3] [--seconds 45] [--big 50000]
cargo xtask bench --backlog [--pairs 3] [--lines 1000000]

  --work LIST       only these works          --rtt LIST   only these round trips, in milliseconds
  --pairs N         so many rounds of each    --program F  measure this sync_client, build none
  --before FILE     measure this older sync_client of ours in the same rounds, too
  --sink            measure into a replica that throws messages away, too
  --no-replica      and into nothing else
  --disk            keep the stores, the master's and the replicas', on disk (/tmp) instead of in memory; the results
                    of both go into one file and one report

  --lag             measure rolling replication instead: from the end of an APPEND to the message's presence on the
                    replica, while a user of many messages (--big) is copied; appends go on for so many --seconds
  --backlog         measure instead how a log of a million lines is merged and worked off; the C client does
                    it too, once, and takes five minutes

  --fresh           forget the results of runs before
  --note TEXT       words about these runs that the report shall have
  --results FILE    keep results there instead of in target/bench-results.tsv
  --report          measure nothing; write docs/benchmarks.md and its chart from the results, and print README's table";

/// Messages of the large user in `--lag`, and lines of the log in `--backlog`, that the report is about.
const BIG_MESSAGES: u32 = 50_000;
const LOG_LINES: usize = 1_000_000;

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wishes {
    works: Vec<Work>,
    round_trips: Option<Vec<u64>>,
    pairs: Option<usize>,
    program: Option<PathBuf>,
    before: Option<PathBuf>,
    sink: bool,
    replica: bool,
    medium: Medium,
    lag: bool,
    seconds: u64,
    big: u32,
    backlog: bool,
    lines: usize,
    note: Option<String>,
    results: Option<PathBuf>,
    fresh: bool,
    report: bool,
}

/// Measures and reports; 0 whatever the numbers are, since they are no test.
pub(crate) fn run(args: &[String]) -> Result<u8> {
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        say(HELP);
        return Ok(0);
    }
    let wishes = wishes(args)?;
    let usual = (wishes.big, wishes.lines) == (BIG_MESSAGES, LOG_LINES)
        && !(wishes.lag && wishes.medium == Medium::Disk);
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
        let on_disk = wishes.medium == Medium::Disk;
        let mut lag = Lag::new(program, on_disk, wishes.big, wishes.seconds)?;
        for rtt in wishes.round_trips.as_deref().unwrap_or(&[0, 20]) {
            lag.measure(*rtt, wishes.pairs.unwrap_or(3), results)?;
        }
    }
    if wishes.backlog {
        backlog::measure(program, wishes.lines, wishes.pairs.unwrap_or(3), results)?;
    }
    let rounds = wishes.pairs.unwrap_or(5);
    let before = wishes.before.as_deref();
    if wishes.replica && !rolling {
        let mut bench = Bench::new(program, before, wishes.medium)?;
        for work in &wishes.works {
            for rtt in wishes.round_trips.as_deref().unwrap_or(&[0, 5, 20, 50]) {
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

fn wishes(args: &[String]) -> Result<Wishes> {
    let mut wishes = Wishes {
        works: Work::ALL.to_vec(),
        round_trips: None,
        pairs: None,
        program: None,
        before: None,
        sink: false,
        replica: true,
        medium: Medium::Memory,
        lag: false,
        seconds: 45,
        big: BIG_MESSAGES,
        backlog: false,
        lines: LOG_LINES,
        note: None,
        results: None,
        fresh: false,
        report: false,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value\n\n{HELP}"));
        match arg.as_str() {
            "--work" => {
                let names = value()?.split(',');
                wishes.works = names
                    .map(|name| {
                        Work::of(name).with_context(|| format!("there is no work {name:?}"))
                    })
                    .collect::<Result<_>>()?;
            }
            "--rtt" => {
                let times = value()?.split(',').map(str::parse);
                let times: Result<_, _> = times.collect();
                wishes.round_trips = Some(times.context("--rtt wants milliseconds")?);
            }
            "--pairs" => wishes.pairs = Some(number(value()?)?),
            "--seconds" => wishes.seconds = number(value()?)?,
            "--big" => wishes.big = number(value()?)?,
            "--lines" => wishes.lines = number(value()?)?,
            "--lag" => wishes.lag = true,
            "--backlog" => wishes.backlog = true,
            "--note" => wishes.note = Some(value()?.clone()),
            "--results" => wishes.results = Some(PathBuf::from(value()?)),
            "--program" => wishes.program = Some(PathBuf::from(value()?)),
            "--before" => wishes.before = Some(PathBuf::from(value()?)),
            "--sink" => wishes.sink = true,
            "--no-replica" => wishes.replica = false,
            "--disk" => wishes.medium = Medium::Disk,
            "--fresh" => wishes.fresh = true,
            "--report" => wishes.report = true,
            other => bail!("bench knows no {other:?}\n\n{HELP}"),
        }
    }
    Ok(wishes)
}

fn number<T: FromStr>(text: &str) -> Result<T> {
    text.parse().ok().with_context(|| format!("{text:?} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Wishes> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        wishes(&args)
    }

    #[test]
    fn parts_of_the_whole_can_be_asked_for() {
        let all = parsed("").unwrap();
        assert_eq!((all.works.len(), all.round_trips, all.pairs), (5, None, None));
        let some = parsed("--work idle,wide --rtt 20 --pairs 1").unwrap();
        assert_eq!(some.works, [Work::Idle, Work::Wide]);
        assert_eq!((some.round_trips, some.pairs), (Some(vec![20]), Some(1)));
        let disk = parsed("--disk --before target/old --work big").unwrap();
        assert_eq!((disk.medium, disk.before), (Medium::Disk, Some(PathBuf::from("target/old"))));
        let lag = parsed("--lag --seconds 10 --big 100").unwrap();
        assert_eq!((lag.lag, lag.backlog, lag.seconds, lag.big), (true, false, 10, 100));
        for wrong in ["--lines many", "--work most", "--rtt soon", "--pairs", "--faster"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
