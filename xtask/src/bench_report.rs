//! What was measured: kept in a file, shown as tables, written as pages for docs/.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use testkit::c_client::Outcome;

use crate::bench_sink::SinkWork;
use crate::chart;

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

/// Who ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    C,
    Ours,
}

impl Client {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Client::C => "C",
            Client::Ours => "ours",
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One run: seconds and bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    pub(crate) wall: f64,
    /// User and system time of the client's process alone.
    pub(crate) cpu: f64,
    pub(crate) rss: f64,
}

impl Sample {
    pub(crate) fn of(outcome: &Outcome) -> Sample {
        Sample {
            wall: outcome.wall.as_secs_f64(),
            cpu: outcome.cpu().as_secs_f64(),
            rss: outcome.peak_rss_bytes as f64,
        }
    }
}

/// All runs so far, in a file of lines: work, round trip, client, wall, CPU, peak RSS.
#[derive(Debug)]
pub(crate) struct Results {
    path: PathBuf,
    runs: Vec<(String, u64, Client, Sample)>,
}

impl Results {
    pub(crate) fn open(path: &Path) -> Result<Results> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let runs = text.lines().filter_map(parsed).collect();
        Ok(Results { path: path.to_path_buf(), runs })
    }

    pub(crate) fn forget(&mut self) -> Result<()> {
        self.runs.clear();
        File::create(&self.path)
            .with_context(|| format!("failed to empty {}", self.path.display()))?;
        Ok(())
    }

    pub(crate) fn add(&mut self, work: &str, rtt: u64, client: Client, run: Sample) -> Result<()> {
        let failed = || format!("failed to write {}", self.path.display());
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).with_context(failed)?;
        }
        let mut file =
            OpenOptions::new().create(true).append(true).open(&self.path).with_context(failed)?;
        let Sample { wall, cpu, rss } = run;
        writeln!(file, "{work}\t{rtt}\t{client}\t{wall}\t{cpu}\t{rss}").with_context(failed)?;
        self.runs.push((work.to_string(), rtt, client, run));
        Ok(())
    }

    /// The runs of one client, in the order of the pairs.
    fn of(&self, work: &str, rtt: u64, client: Client) -> Vec<Sample> {
        let wanted = |run: &&(String, u64, Client, Sample)| {
            (run.0.as_str(), run.1, run.2) == (work, rtt, client)
        };
        self.runs.iter().filter(wanted).map(|run| run.3).collect()
    }

    /// Both clients' runs as pairs: the C client's, ours.
    pub(crate) fn pairs(&self, work: &str, rtt: u64) -> Vec<(Sample, Sample)> {
        let (c, ours) = (self.of(work, rtt, Client::C), self.of(work, rtt, Client::Ours));
        c.into_iter().zip(ours).collect()
    }

    fn round_trips(&self, work: &str) -> Vec<u64> {
        let mut times: Vec<u64> = self.runs.iter().filter(|r| r.0 == work).map(|r| r.1).collect();
        times.sort_unstable();
        times.dedup();
        times
    }
}

fn parsed(line: &str) -> Option<(String, u64, Client, Sample)> {
    let mut fields = line.split('\t');
    let work = fields.next()?.to_string();
    let rtt = fields.next()?.parse().ok()?;
    let client = match fields.next()? {
        "C" => Client::C,
        _ => Client::Ours,
    };
    let mut number = || fields.next()?.parse().ok();
    Some((work, rtt, client, Sample { wall: number()?, cpu: number()?, rss: number()? }))
}

/// How many times as fast ours was, by the median of the pairs, and the range.
pub(crate) fn speed(pairs: &[(Sample, Sample)], of: fn(&Sample) -> f64) -> (f64, f64, f64) {
    let ratios: Vec<f64> = pairs.iter().map(|(c, ours)| of(c) / of(ours)).collect();
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let most = ratios.iter().copied().fold(0.0, f64::max);
    (median(ratios), least, most)
}

/// All that was measured, as tables.
pub(crate) fn tables(results: &Results) -> String {
    let mut text = String::from(
        "| work | round trip | C client | ours | as fast (range) | target | CPU C / ours | peak RSS C / ours |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for work in Work::ALL {
        for rtt in results.round_trips(work.name()) {
            let pairs = results.pairs(work.name(), rtt);
            if pairs.is_empty() {
                continue;
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
         Written by `cargo xtask bench --sink` and `cargo xtask bench --report`; what bounds the numbers stands in \
         [performance.md](performance.md).\n\n\
         ![Times as fast as the C client, by round trip](benchmarks.svg)\n\n\
         {}\n\n\
         ## How it was measured\n{}\n\n\
         Both clients run in turn from one master's store (written by the testkit, index version 17) to a real Cyrus \
         replica of their own, in memory, on the same machine; round trips are added by the testkit's relay, and at 0 ms there \
         is none. Who goes first changes from pair to pair. A replica is wiped before each run of `all` and `wide`, outside the \
         measured time. \"As fast\" is the median of the pairs' ratios of wall time, C client's over ours; other figures are medians \
         of their own. CPU is user and system time of the client's process alone. After each run all messages were counted on the \
         replica; at the end both replicas said the same.\n\n\
         ```\n/usr/lib/cyrus/bin/sync_client -C imapd.conf -A            # or -u USER\n\
         target/release/sync_client -C imapd.conf -A -j 16          # or -u USER\n```\n\n\
         ## Machine\n{}\n",
        tables(results),
        works.join("\n"),
        machine(),
    );
    let mut lines = Vec::new();
    for work in Work::ALL {
        let times = results.round_trips(work.name()).into_iter();
        let points = times.map(|rtt| (rtt, speed(&results.pairs(work.name(), rtt), |r| r.wall).0));
        lines.push((work.name(), points.collect()));
    }
    vec![("benchmarks.md", page), ("benchmarks.svg", chart::svg(&lines))]
}

/// The machine and the versions, as a list.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, model)| model);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cyrus = output(Command::new("dpkg-query").args(["-W", "-f", "${Version}", "cyrus-imapd"]));
    let commit =
        output(Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=8"]));
    let rustc = output(Command::new("rustc").arg("--version"));
    let date = output(Command::new("date").args(["-u", "+%Y-%m-%d"]));
    format!(
        "- {cores} cores for both clients, both replicas and the relays; {model}, Linux {}\n\
         - cyrus-imapd {cyrus}; ours at commit {commit}; {rustc}\n- {date}",
        kernel.trim(),
    )
}

/// What a program says; a word in its place where it can't be run.
fn output(command: &mut Command) -> String {
    match command.output() {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => "unknown".to_owned(),
    }
}

/// The middle value, the mean of both middle ones, or 0 of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.len() % 2) {
        (None, _) => 0.0,
        (Some(upper), 0) => values.get(middle - 1).map_or(*upper, |lower| (lower + upper) / 2.0),
        (Some(value), _) => *value,
    }
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

    #[test]
    fn medians() {
        assert_eq!(median(vec![]), 0.0);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
