//! `cargo xtask bench`: our client and Cyrus' own in turn, over links of different lengths.
//!
//! ```text
//!   a master's store (no server)  --ours--> relay --> replica of ours    (real Cyrus)
//!                                 --C-----> relay --> replica of C's     (real Cyrus)
//!   for each work and round trip: pairs of runs; who goes first changes from pair to pair
//! ```
//! What counts is the median of the pairs' ratios: a machine that is slow for a minute slows both halves of a pair.
//! Every run is kept in a file of results, so that a long benchmark may be made in parts.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::bench_report::{self, Results, Work};
use crate::bench_runs::Bench;
use crate::bench_sink;
use crate::{program, say};

const HELP: &str = "\
cargo xtask bench [--work all,idle,changed,wide] [--rtt 0,5,20,50] [--pairs 5] [--program FILE]
                  [--sink] [--no-replica] [--disk] [--fresh] [--report]

  --work LIST       only these works          --rtt LIST   only these round trips, in milliseconds
  --pairs N         so many pairs of each     --program F  measure this sync_client, build none
  --sink            measure into a replica that throws messages away, too
  --no-replica      and into nothing else
  --disk            keep the stores on disk instead of in memory
  --fresh           forget the results of runs before
  --report          measure nothing; write docs/benchmarks.md and its chart from the results";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wishes {
    works: Vec<Work>,
    round_trips: Vec<u64>,
    pairs: usize,
    program: Option<PathBuf>,
    sink: bool,
    replica: bool,
    on_disk: bool,
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
    let mut results = Results::open(&program::checkout().join("target/bench-results.tsv"))?;
    if wishes.fresh {
        results.forget()?;
    }
    if !wishes.report {
        let program = match &wishes.program {
            Some(path) => path.clone(),
            None => program::build()?,
        };
        if wishes.replica {
            let mut bench = Bench::new(&program, wishes.on_disk)?;
            for work in &wishes.works {
                for rtt in &wishes.round_trips {
                    bench.measure(*work, *rtt, wishes.pairs, &mut results)?;
                }
                bench.check_equal(*work)?;
            }
        }
        if wishes.sink {
            bench_sink::measure(&program, wishes.pairs, &mut results)?;
        }
    }
    say(&bench_report::tables(&results));
    if wishes.report {
        for (name, text) in bench_report::pages(&results) {
            let path = program::checkout().join("docs").join(name);
            std::fs::write(&path, text)
                .with_context(|| format!("failed to write {}", path.display()))?;
            say(&format!("written: {}", path.display()));
        }
    }
    Ok(0)
}

fn wishes(args: &[String]) -> Result<Wishes> {
    let mut wishes = Wishes {
        works: Work::ALL.to_vec(),
        round_trips: vec![0, 5, 20, 50],
        pairs: 5,
        program: None,
        sink: false,
        replica: true,
        on_disk: false,
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
                wishes.round_trips =
                    times.collect::<Result<_, _>>().context("--rtt wants milliseconds")?;
            }
            "--pairs" => wishes.pairs = value()?.parse().context("--pairs wants a number")?,
            "--program" => wishes.program = Some(PathBuf::from(value()?)),
            "--sink" => wishes.sink = true,
            "--no-replica" => wishes.replica = false,
            "--disk" => wishes.on_disk = true,
            "--fresh" => wishes.fresh = true,
            "--report" => wishes.report = true,
            other => bail!("bench knows no {other:?}\n\n{HELP}"),
        }
    }
    Ok(wishes)
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
        assert_eq!((all.works.len(), all.round_trips.as_slice()), (4, [0, 5, 20, 50].as_slice()));
        let some = parsed("--work idle,wide --rtt 20 --pairs 1").unwrap();
        assert_eq!(some.works, [Work::Idle, Work::Wide]);
        assert_eq!((some.round_trips, some.pairs), (vec![20], 1));
        for wrong in ["--work most", "--rtt soon", "--pairs", "--faster"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
