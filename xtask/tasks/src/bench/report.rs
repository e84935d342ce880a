//! The results, shown as tables and written as pages for docs/.

use std::fmt::Write as _;
use std::process::Command;

use crate::bench::results::{Client, Results, Sample, median, output, spread};
use crate::bench::samples::MIB;
use crate::bench::sink::SinkWork;
use crate::bench::works::{Medium, Work};
use crate::bench::{rolling, xargs};
use crate::chart;

/// Kept with the first results, whose lines have no date.
const FIRST_RESULTS: &str = "works and sink: 2026-11-25, ours at commit 880ac89; compilers and tests ran beside it at low \
     priority part of the time, which slows ours more than the C client: ours keeps both cores busy, the C client mostly waits";

/// How many times as fast ours was, by the median of the pairs, and the range.
pub(crate) fn speed(pairs: &[(Sample, Sample)], of: fn(&Sample) -> f64) -> (f64, f64, f64) {
    spread(pairs.iter().map(|(theirs, ours)| of(theirs) / of(ours)).collect())
}

/// All results, as tables.
pub(crate) fn tables(results: &Results) -> String {
    let mut text = [works_table(results), before_table(results)].concat();
    for work in SinkWork::ALL {
        let pairs = results.pairs(work.name(), 0);
        if !pairs.is_empty() {
            text += &sink_lines(work, &pairs);
        }
    }
    text.truncate(text.trim_end().len());
    text
}

fn works_table(results: &Results) -> String {
    let mut text = String::new();
    let head = "| work | stores in | round trip | C client | xargs | ours | as fast as C (range) | as fast as xargs (range) | \
         target | CPU C / xargs / ours | peak RSS C / xargs / ours |\n|---|---|---|---|---|---|---|---|---|---|---|\n";
    for (work, medium, kind) in kinds() {
        for rtt in results.round_trips(&kind) {
            let pairs = results.pairs(&kind, rtt);
            if pairs.is_empty() {
                continue;
            }
            if text.is_empty() {
                text += head;
            }
            let over_xargs = results.pairs_with(Client::Xargs, &kind, rtt);
            // The targets were set for stores in memory.
            let verdict = match work.target(rtt).filter(|_| medium == Medium::Memory) {
                None => String::new(),
                Some(wanted) if speed(&pairs, |run| run.wall).0 >= wanted => {
                    format!("≥ {wanted}: met")
                }
                Some(wanted) => format!("≥ {wanted}: **not met**"),
            };
            let middles = |of: fn(&Sample) -> f64, digits: usize, unit: &str| {
                [Client::C, Client::Xargs, Client::Ours].map(|client| {
                    let runs = results.samples(&kind, rtt, client);
                    match runs.is_empty() {
                        true => "–".to_owned(),
                        false => {
                            format!("{:.digits$}{unit}", median(runs.iter().map(of).collect()))
                        }
                    }
                })
            };
            let _ = writeln!(
                text,
                "| {work} | {medium} | {rtt} ms | {} | {} | {} | {verdict} | {} s | {} MiB |",
                middles(|run| run.wall, 2, " s").join(" | "),
                times_and_range(&pairs),
                times_and_range(&over_xargs),
                middles(|run| run.cpu, 2, "").join(" / "),
                middles(|run| run.rss / MIB, 0, "").join(" / "),
            );
        }
    }
    text
}

/// Every workload in every medium, and its name in the file of results.
fn kinds() -> impl Iterator<Item = (Work, Medium, String)> {
    let works = Work::ALL.into_iter();
    works.flat_map(|work| Medium::ALL.map(|medium| (work, medium, work.kind(medium))))
}

fn times_and_range(pairs: &[(Sample, Sample)]) -> String {
    if pairs.is_empty() {
        return "–".to_owned();
    }
    let (times, least, most) = speed(pairs, |run| run.wall);
    let rounds = if pairs.len() == 1 { "round" } else { "rounds" };
    format!("**{times:.1}** ({least:.1} to {most:.1}, {} {rounds})", pairs.len())
}

/// Our time as a fraction of an older build's, if one was measured too.
fn before_table(results: &Results) -> String {
    let mut text = String::new();
    let sinks = SinkWork::ALL.map(|work| work.name().to_owned());
    for kind in kinds().map(|(.., kind)| kind).chain(sinks) {
        for rtt in results.round_trips(&kind) {
            let pairs = results.pairs_with(Client::Before, &kind, rtt);
            if pairs.is_empty() {
                continue;
            }
            if text.is_empty() {
                text += "\nOurs in parts of what an older build of it took (below 1: ours takes less), with ranges:\n\n\
                         | work | round trip | rounds | wall | CPU | peak RSS |\n|---|---|---|---|---|---|\n";
            }
            let part = |of: fn(&Sample) -> f64| {
                let parts = pairs.iter().map(|(before, ours)| of(ours) / of(before));
                let (part, least, most) = spread(parts.collect());
                format!("**{part:.2}** ({least:.2} to {most:.2})")
            };
            let _ = writeln!(
                text,
                "| {kind} | {rtt} ms | {} | {} | {} | {} |",
                pairs.len(),
                part(|run| run.wall),
                part(|run| run.cpu),
                part(|run| run.rss),
            );
        }
    }
    text
}

fn sink_lines(work: SinkWork, pairs: &[(Sample, Sample)]) -> String {
    let mut text = String::new();
    let thousands = work.messages() as f64 / 1000.0;
    let gigabytes = work.messages() as f64 * work.message_bytes() as f64 / 1e9;
    let _ = writeln!(text, "\nInto the sink, {} ({} pairs):", work.words(), pairs.len());
    for client in Client::BOTH {
        let wall = middle(pairs, client, |run| run.wall);
        let cpu = middle(pairs, client, |run| run.cpu);
        let _ = writeln!(
            text,
            "- {client}: {wall:.2} s, {:.2} GB/s; CPU {:.1} ms per 1,000 messages; peak RSS {:.0} MiB",
            gigabytes / wall,
            cpu / thousands * 1e3,
            middle(pairs, client, |run| run.rss / MIB),
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
    let (at_once, each) = (xargs::CLIENTS, xargs::USERS_EACH);
    let page = format!(
        "# Benchmarks\n\n\
         Written by `cargo xtask bench` (`--sink`, `--lag`, `--backlog`) and `cargo xtask bench --report`; \
         [performance.md](performance.md) says what limits the numbers.\n\n\
         ![Times as fast as the C client, by round trip](benchmarks.svg)\n\n\
         {}\n\n\
         ## How it was measured\n{}\n\n\
         All clients run in turn from one master's store (written by the testkit, index version 17) to a real Cyrus \
         replica of their own, on the same machine. The testkit's relay adds the round trips; at 0 ms there \
         is no relay. In memory, all stores are in /dev/shm; on disk, all are below /tmp, where Cyrus' fsync calls take time, while \
         the master's files were just written and come from the page cache. \
         The client that runs first changes from round to round. A replica is wiped before each run of `all`, `wide` and `big`, outside the \
         measured time. \"As fast\" is the median of the rounds' ratios of wall time, the other's divided by ours; other numbers are medians \
         of their own. **xargs** is what people do today: up to {at_once} C clients at a time, {each} users each; a single user can't be divided. \
         CPU is user and system time of the client's process alone; for xargs of all its clients. Peak RSS for xargs is the most that its \
         living clients held together, sampled every 10 ms; shared memory, mostly libraries, counts for each client, though it exists once: about 15 of a client's 19 MiB. \
         After each run all messages were counted on the replica; at the end all replicas reported the same.\n\
         The sink is a replica of our own that counts messages and throws them away: what remains is the client's cost.\n\n\
         ```\n/usr/lib/cyrus/bin/sync_client -C imapd.conf -A            # or -u USER\n\
         xargs -a users -P {at_once} -n {each} /usr/lib/cyrus/bin/sync_client -C imapd.conf -u\n\
         target/release/sync_client -C imapd.conf -A -j 16          # or -u USER\n```\n\n{}\
         ## Machine\n{}\n",
        tables(results),
        works.join("\n"),
        rolling::section(results),
        machine(results),
    );
    vec![("benchmarks.md", page), ("benchmarks.svg", chart::svg(&lines(results)))]
}

/// The lines of the chart: each work with the stores in memory, over the C client and over xargs.
fn lines(results: &Results) -> Vec<chart::Line> {
    let mut lines = Vec::new();
    for work in Work::ALL {
        let kind = work.kind(Medium::Memory);
        let points = |other| -> Vec<(u64, f64)> {
            let pairs = |rtt| results.pairs_with(other, &kind, rtt);
            let times = results.round_trips(&kind).into_iter().map(|rtt| (rtt, pairs(rtt)));
            let measured = times.filter(|(_, pairs)| !pairs.is_empty());
            measured.map(|(rtt, pairs)| (rtt, speed(&pairs, |run| run.wall).0)).collect()
        };
        lines.push(chart::Line {
            name: work.name(),
            points: points(Client::C),
            beside: points(Client::Xargs),
        });
    }
    lines
}

/// The machine, the versions, and the dates of the runs, as a list.
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
        format!("{cores} cores for clients, replicas and relays; {model}, Linux {}", kernel.trim()),
        format!("cyrus-imapd {cyrus}; {rustc}"),
    ];
    if kinds().any(|(_, medium, kind)| medium == Medium::Disk && results.has(&kind)) {
        let disk = output(Command::new("df").args(["--output=fstype,source", "/tmp"]));
        let disk = disk.lines().last().unwrap_or_default().split_whitespace();
        lines.push(format!("the disk: {}", disk.collect::<Vec<_>>().join(" on ")));
    }
    for (words, rolling) in [("works and sink", false), ("rolling", true)] {
        for stamp in results.stamps(|kind| rolling::is_kind(kind) == rolling) {
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
        // One pair on a busy machine: slow on both sides, but the ratio is no worse.
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
            "| idle | memory | 20 ms | 3.00 s | – | 1.00 s | **3.0** (3.0 to 3.0, 1 round) | – | ≥ 25: **not met** | \
             1.50 / – / 0.50 s | 1 / – / 1 MiB |"
        ));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn xargs_disk_and_the_build_of_before_have_their_places() {
        let dir = std::env::temp_dir().join(format!("bench-tables-{}", std::process::id()));
        let mut results = Results::open(&dir.join("results.tsv")).unwrap();
        let walls =
            [(Client::C, 8.0), (Client::Xargs, 3.0), (Client::Before, 1.6), (Client::Ours, 2.0)];
        for (client, wall) in walls {
            results.add_to_round(1, "big/disk", 20, client, run(wall)).unwrap();
        }
        std::fs::remove_dir_all(dir).unwrap();
        let text = tables(&results);
        for words in [
            "| big | disk | 20 ms | 8.00 s | 3.00 s | 2.00 s | **4.0** (4.0 to 4.0, 1 round) | **1.5** (1.5 to 1.5, 1 round) |",
            "| big/disk | 20 ms | 1 | **1.25** (1.25 to 1.25) | **1.25** (1.25 to 1.25) | **1.00** (1.00 to 1.00) |",
        ] {
            assert!(text.contains(words), "no {words} in\n{text}");
        }
    }
}
