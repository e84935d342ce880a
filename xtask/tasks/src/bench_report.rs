//! What was measured, shown as tables and written as pages for docs/.

use std::fmt::{self, Write as _};
use std::process::Command;

use crate::bench_results::{Client, Results, Sample, median, output, spread};
use crate::bench_sink::SinkWork;
use crate::{bench_rolling, chart};

/// Kept with the first results, whose lines do not say when they were made.
const FIRST_RESULTS: &str = "works and sink: 2026-11-25, ours at commit 880ac89; compilers and tests ran beside it at low \
     priority part of the time, which slows ours more than the C client: ours keeps both cores busy, the C client mostly waits";

/// A work between real servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    All,
    Idle,
    Changed,
    Wide,
}

impl Work {
    pub(crate) const ALL: [Work; 4] = [Work::All, Work::Idle, Work::Changed, Work::Wide];

    pub(crate) fn of(name: &str) -> Option<Work> {
        Work::ALL.into_iter().find(|work| work.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Work::All => "all",
            Work::Idle => "idle",
            Work::Changed => "changed",
            Work::Wide => "wide",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Work::All => {
                "`-A`: 200 users, 4 mailboxes each, 25 messages of 2 KB in each; empty replica"
            }
            Work::Idle => "`-A`, the same: nothing changed",
            Work::Changed => "`-A`, the same: one message new in ten mailboxes of ten users",
            Work::Wide => "`-u`: one user, 400 mailboxes of 10 messages of 2 KB; empty replica",
        }
    }

    /// How many times as fast as the C client ours is meant to be at 0, 20 and 50 ms.
    fn targets(self) -> [(u64, f64); 3] {
        let [at_0, at_20, at_50] = match self {
            Work::All => [1.6, 8.0, 16.0],
            Work::Idle => [3.0, 25.0, 40.0],
            Work::Changed => [2.0, 15.0, 25.0],
            Work::Wide => [1.2, 8.0, 15.0],
        };
        [(0, at_0), (20, at_20), (50, at_50)]
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How many times as fast ours was, by the median of the pairs, and the range.
pub(crate) fn speed(pairs: &[(Sample, Sample)], of: fn(&Sample) -> f64) -> (f64, f64, f64) {
    spread(pairs.iter().map(|(c, ours)| of(c) / of(ours)).collect())
}

/// All that was measured, as tables.
pub(crate) fn tables(results: &Results) -> String {
    let mut text = String::new();
    let head = "| work | round trip | C client | ours | as fast (range) | target | CPU C / ours | peak RSS C / ours |\n\
         |---|---|---|---|---|---|---|---|\n";
    for work in Work::ALL {
        for rtt in results.round_trips(work.name()) {
            let pairs = results.pairs(work.name(), rtt);
            if pairs.is_empty() {
                continue;
            }
            if text.is_empty() {
                text += head;
            }
            let (times, least, most) = speed(&pairs, |run| run.wall);
            let target = work.targets().into_iter().find(|(at, _)| *at == rtt);
            let verdict = match target {
                None => String::new(),
                Some((_, wanted)) if times >= wanted => format!("≥ {wanted}: met"),
                Some((_, wanted)) => format!("≥ {wanted}: **not met**"),
            };
            let _ = writeln!(
                text,
                "| {work} | {rtt} ms | {:.2} s | {:.2} s | **{times:.1}** ({least:.1} to {most:.1}, {} pairs) | {verdict} | {:.2} s / {:.2} s | {:.0} / {:.0} MB |",
                middle(&pairs, Client::C, |run| run.wall),
                middle(&pairs, Client::Ours, |run| run.wall),
                pairs.len(),
                middle(&pairs, Client::C, |run| run.cpu),
                middle(&pairs, Client::Ours, |run| run.cpu),
                middle(&pairs, Client::C, |run| run.rss / 1e6),
                middle(&pairs, Client::Ours, |run| run.rss / 1e6),
            );
        }
    }
    for work in SinkWork::ALL {
        let pairs = results.pairs(work.name(), 0);
        if !pairs.is_empty() {
            text += &sink_lines(work, &pairs);
        }
    }
    text.truncate(text.trim_end().len());
    text
}

fn sink_lines(work: SinkWork, pairs: &[(Sample, Sample)]) -> String {
    let mut text = String::new();
    let thousands = work.messages() as f64 / 1000.0;
    let gigabytes = work.messages() as f64 * work.message_bytes() as f64 / 1e9;
    let _ = writeln!(text, "\nInto the sink, {} ({} pairs):", work.words(), pairs.len());
    for client in [Client::C, Client::Ours] {
        let wall = middle(pairs, client, |run| run.wall);
        let cpu = middle(pairs, client, |run| run.cpu);
        let _ = writeln!(
            text,
            "- {client}: {wall:.2} s, {:.2} GB/s; CPU {:.1} ms per 1,000 messages; peak RSS {:.0} MiB",
            gigabytes / wall,
            cpu / thousands * 1e3,
            middle(pairs, client, |run| run.rss / 1_048_576.0),
        );
    }
    let (times, _, _) = speed(pairs, |run| run.cpu);
    let _ = writeln!(text, "- CPU, ours of C's: {:.2}", 1.0 / times);
    text
}

fn middle(pairs: &[(Sample, Sample)], client: Client, of: fn(&Sample) -> f64) -> f64 {
    let one = |(c, ours): &(Sample, Sample)| of(if client == Client::C { c } else { ours });
    median(pairs.iter().map(one).collect())
}

/// The files for docs/: their names and texts.
pub(crate) fn pages(results: &Results) -> Vec<(&'static str, String)> {
    let works: Vec<String> =
        Work::ALL.iter().map(|work| format!("- **{work}**: {}", work.words())).collect();
    let page = format!(
        "# Benchmarks\n\n\
         Written by `cargo xtask bench` (`--sink`, `--lag`, `--backlog`) and `cargo xtask bench --report`; what bounds the numbers stands in \
         [performance.md](performance.md).\n\n\
         ![Times as fast as the C client, by round trip](benchmarks.svg)\n\n\
         {}\n\n\
         ## How it was measured\n{}\n\n\
         Both clients run in turn from one master's store (written by the testkit, index version 17) to a real Cyrus \
         replica of their own, in memory, on the same machine; round trips are added by the testkit's relay, and at 0 ms there \
         is none. Who goes first changes from pair to pair. A replica is wiped before each run of `all` and `wide`, outside the \
         measured time. \"As fast\" is the median of the pairs' ratios of wall time, C client's over ours; other figures are medians \
         of their own. CPU is user and system time of the client's process alone. After each run all messages were counted on the \
         replica; at the end both replicas said the same.\n\
         The sink is a replica of our own that counts messages and throws them away: what is left is the client's cost.\n\n\
         ```\n/usr/lib/cyrus/bin/sync_client -C imapd.conf -A            # or -u USER\n\
         target/release/sync_client -C imapd.conf -A -j 16          # or -u USER\n```\n\n{}\
         ## Machine\n{}\n",
        tables(results),
        works.join("\n"),
        bench_rolling::section(results),
        machine(results),
    );
    let mut lines = Vec::new();
    for work in Work::ALL {
        let times = results.round_trips(work.name()).into_iter();
        let points = times.map(|rtt| (rtt, speed(&results.pairs(work.name(), rtt), |r| r.wall).0));
        lines.push((work.name(), points.collect()));
    }
    vec![("benchmarks.md", page), ("benchmarks.svg", chart::svg(&lines))]
}

/// The machine, the versions, and when what was measured, as a list.
fn machine(results: &Results) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, model)| model);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cyrus = output(Command::new("dpkg-query").args(["-W", "-f", "${Version}", "cyrus-imapd"]));
    let rustc = output(Command::new("rustc").arg("--version"));
    let mut lines = vec![
        format!(
            "{cores} cores for both clients, both replicas and the relays; {model}, Linux {}",
            kernel.trim()
        ),
        format!("cyrus-imapd {cyrus}; {rustc}"),
    ];
    for (words, rolling) in [("works and sink", false), ("rolling", true)] {
        for stamp in results.stamps(|kind| bench_rolling::is_kind(kind) == rolling) {
            lines.push(match stamp.and_then(|stamp| stamp.split_once(' ')) {
                Some((date, commit)) => format!("{words}: {date}, ours at commit {commit}"),
                None => FIRST_RESULTS.to_owned(),
            });
        }
    }
    lines.extend(results.notes().iter().cloned());
    lines.iter().map(|line| format!("- {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(wall: f64) -> Sample {
        Sample { wall, cpu: wall / 2.0, rss: 1e6 }
    }

    #[test]
    fn the_ratio_is_the_median_of_the_pairs() {
        // One pair on a machine that was busy: slow on both sides, no worse a ratio.
        let pairs = [(run(1.0), run(0.5)), (run(8.0), run(4.0)), (run(1.0), run(0.4))];
        assert_eq!(speed(&pairs, |run| run.wall), (2.0, 2.0, 2.5));
    }

    #[test]
    fn results_come_back_as_they_went() {
        let dir = std::env::temp_dir().join(format!("bench-results-{}", std::process::id()));
        let path = dir.join("results.tsv");
        let mut results = Results::open(&path).unwrap();
        for (client, wall) in [(Client::C, 3.0), (Client::Ours, 1.0)] {
            results.add("idle", 20, client, run(wall)).unwrap();
        }
        let again = Results::open(&path).unwrap();
        assert_eq!(again.pairs("idle", 20), [(run(3.0), run(1.0))]);
        assert!(tables(&again).contains(
            "| idle | 20 ms | 3.00 s | 1.00 s | **3.0** (3.0 to 3.0, 1 pairs) | ≥ 25: **not met** |"
        ));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
