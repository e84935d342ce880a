//! The results, kept in a file of lines, so that a long benchmark can be made in parts.
//!
//! ```text
//! KIND TAB round trip in ms TAB client TAB numbers, tab between them [TAB #ROUND] [TAB @DATE COMMIT]
//! note TAB words about the runs, for the report
//! ```
//! Runs of one round are compared with each other. If lines have no round, a client's first line belongs to the other's
//! first, and so on.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use testkit::c_client::Outcome;

pub(crate) use crate::bench::clients::Client;

/// One run: seconds and bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    pub(crate) wall: f64,
    /// User and system time of the client's process alone; of all the clients of xargs.
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

    fn numbers(self) -> [f64; 3] {
        [self.wall, self.cpu, self.rss]
    }
}

/// A line of the file.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    kind: String,
    rtt: u64,
    client: Client,
    numbers: Vec<f64>,
    /// Which runs it may be compared with; old lines, and those of other benchmarks, have none.
    round: Option<u64>,
    /// Date and commit; old lines have none.
    stamp: Option<String>,
}

impl Row {
    fn sample(&self) -> Option<Sample> {
        match *self.numbers {
            [wall, cpu, rss, ..] => Some(Sample { wall, cpu, rss }),
            _ => None,
        }
    }
}

/// All runs so far.
#[derive(Debug)]
pub(crate) struct Results {
    path: PathBuf,
    rows: Vec<Row>,
    notes: Vec<String>,
    stamp: String,
}

impl Results {
    pub(crate) fn open(path: &Path) -> Result<Results> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let rows = text.lines().filter_map(parsed).collect();
        let notes = text.lines().filter_map(|line| line.strip_prefix("note\t"));
        let notes = notes.map(str::to_owned).collect();
        let date = output(Command::new("date").args(["-u", "+%Y-%m-%d"]));
        let commit =
            output(Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=8"]));
        Ok(Results { path: path.to_path_buf(), rows, notes, stamp: format!("{date} {commit}") })
    }

    pub(crate) fn forget(&mut self) -> Result<()> {
        self.rows.clear();
        self.notes.clear();
        File::create(&self.path)
            .with_context(|| format!("failed to empty {}", self.path.display()))?;
        Ok(())
    }

    /// Keeps a run.
    pub(crate) fn add(&mut self, kind: &str, rtt: u64, client: Client, run: Sample) -> Result<()> {
        self.add_numbers(kind, rtt, client, &run.numbers())
    }

    /// Keeps a run of any kind.
    pub(crate) fn add_numbers(
        &mut self,
        kind: &str,
        rtt: u64,
        client: Client,
        numbers: &[f64],
    ) -> Result<()> {
        self.keep(kind, rtt, client, numbers, None)
    }

    /// Keeps a run of a round.
    pub(crate) fn add_to_round(
        &mut self,
        round: u64,
        kind: &str,
        rtt: u64,
        client: Client,
        run: Sample,
    ) -> Result<()> {
        self.keep(kind, rtt, client, &run.numbers(), Some(round))
    }

    /// The number of a round that begins.
    pub(crate) fn next_round(&self) -> u64 {
        self.rows.iter().filter_map(|row| row.round).max().unwrap_or(0) + 1
    }

    fn keep(
        &mut self,
        kind: &str,
        rtt: u64,
        client: Client,
        numbers: &[f64],
        round: Option<u64>,
    ) -> Result<()> {
        let mut line = format!("{kind}\t{rtt}\t{client}");
        for number in numbers {
            line += &format!("\t{number}");
        }
        if let Some(round) = round {
            line += &format!("\t#{round}");
        }
        self.write(&format!("{line}\t@{}", self.stamp))?;
        self.rows.push(Row {
            kind: kind.to_owned(),
            rtt,
            client,
            numbers: numbers.to_vec(),
            round,
            stamp: Some(self.stamp.clone()),
        });
        Ok(())
    }

    /// Keeps a remark about the runs.
    pub(crate) fn note(&mut self, words: &str) -> Result<()> {
        self.write(&format!("note\t{words}"))?;
        self.notes.push(words.to_owned());
        Ok(())
    }

    fn write(&self, line: &str) -> Result<()> {
        let failed = || format!("failed to write {}", self.path.display());
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).with_context(failed)?;
        }
        let mut file =
            OpenOptions::new().create(true).append(true).open(&self.path).with_context(failed)?;
        writeln!(file, "{line}").with_context(failed)
    }

    fn of(&self, kind: &str, rtt: u64, client: Client) -> impl Iterator<Item = &Row> {
        let wanted = move |row: &&Row| row.kind == kind && (row.rtt, row.client) == (rtt, client);
        self.rows.iter().filter(wanted)
    }

    /// The runs of one client, in the order of the pairs.
    pub(crate) fn numbers(&self, kind: &str, rtt: u64, client: Client) -> Vec<&[f64]> {
        self.of(kind, rtt, client).map(|row| row.numbers.as_slice()).collect()
    }

    /// The same, as samples.
    pub(crate) fn samples(&self, kind: &str, rtt: u64, client: Client) -> Vec<Sample> {
        self.of(kind, rtt, client).filter_map(Row::sample).collect()
    }

    /// The C client's runs and ours, as pairs.
    pub(crate) fn pairs(&self, kind: &str, rtt: u64) -> Vec<(Sample, Sample)> {
        self.pairs_with(Client::C, kind, rtt)
    }

    /// Another client's runs and ours of the same rounds, as pairs.
    pub(crate) fn pairs_with(&self, other: Client, kind: &str, rtt: u64) -> Vec<(Sample, Sample)> {
        let theirs = self.by_round(kind, rtt, other);
        let mut ours = self.by_round(kind, rtt, Client::Ours);
        theirs
            .into_iter()
            .filter_map(|(round, theirs)| Some((theirs, ours.remove(&round)?)))
            .collect()
    }

    /// Runs by their round, or by their place among those without one.
    fn by_round(
        &self,
        kind: &str,
        rtt: u64,
        client: Client,
    ) -> BTreeMap<(Option<u64>, usize), Sample> {
        let mut without = 0;
        let mut runs = BTreeMap::new();
        for row in self.of(kind, rtt, client) {
            let place = if row.round.is_none() { without } else { 0 };
            without += usize::from(row.round.is_none());
            runs.extend(row.sample().map(|sample| ((row.round, place), sample)));
        }
        runs
    }

    /// Whether there are runs of this kind.
    pub(crate) fn has(&self, kind: &str) -> bool {
        self.rows.iter().any(|row| row.kind == kind)
    }

    pub(crate) fn round_trips(&self, kind: &str) -> Vec<u64> {
        let mut times: Vec<u64> =
            self.rows.iter().filter(|row| row.kind == kind).map(|row| row.rtt).collect();
        times.sort_unstable();
        times.dedup();
        times
    }

    /// The dates and commits of runs of the wanted kinds; `None` for a line without.
    pub(crate) fn stamps(&self, wanted: impl Fn(&str) -> bool) -> Vec<Option<&str>> {
        let rows = self.rows.iter().filter(|row| wanted(&row.kind));
        let mut stamps: Vec<Option<&str>> = rows.map(|row| row.stamp.as_deref()).collect();
        stamps.sort_unstable();
        stamps.dedup();
        stamps
    }

    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }
}

fn parsed(line: &str) -> Option<Row> {
    let (line, stamp) = match line.split_once("\t@") {
        Some((line, stamp)) => (line, Some(stamp.to_owned())),
        None => (line, None),
    };
    let (line, round) = match line.split_once("\t#") {
        Some((line, round)) => (line, Some(round.parse().ok()?)),
        None => (line, None),
    };
    let mut fields = line.split('\t');
    let kind = fields.next()?.to_owned();
    let rtt = fields.next()?.parse().ok()?;
    let client = Client::of(fields.next()?)?;
    let numbers = fields.map(|field| field.parse().ok()).collect::<Option<_>>()?;
    Some(Row { kind, rtt, client, numbers, round, stamp })
}

/// The output of a program; a word in its place if it can't be run.
pub(crate) fn output(command: &mut Command) -> String {
    match command.output() {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => "unknown".to_owned(),
    }
}

/// The median of the ratios of pairs, the least and the most.
pub(crate) fn spread(ratios: Vec<f64>) -> (f64, f64, f64) {
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let most = ratios.iter().copied().fold(0.0, f64::max);
    (median(ratios), least, most)
}

/// The middle value, the mean of both middle ones, or 0 of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.len() % 2) {
        (None, _) => 0.0,
        (Some(upper), 0) => values.get(middle - 1).map_or(*upper, |lower| (lower + upper) / 2.0),
        (Some(value), _) => *value,
    }
}

/// The value that 99 of 100 do not exceed, or 0 of none.
pub(crate) fn percentile_99(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() * 99).div_ceil(100);
    rank.checked_sub(1).and_then(|at| values.get(at)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_back_as_they_went() {
        let dir = std::env::temp_dir().join(format!("bench-lines-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("results.tsv");
        std::fs::write(&path, "idle\t20\tC\t3\t1.5\t1000000\n").unwrap();
        let mut results = Results::open(&path).unwrap();
        let sample = Sample { wall: 1.0, cpu: 0.5, rss: 2e6 };
        results.add("idle", 20, Client::Ours, sample).unwrap();
        results.add_numbers("lag", 0, Client::C, &[1.0, 2.0, 3.0, 4.0]).unwrap();
        results.note("a machine at rest").unwrap();
        let again = Results::open(&path).unwrap();
        let theirs = Sample { wall: 3.0, cpu: 1.5, rss: 1e6 };
        assert_eq!(again.pairs("idle", 20), [(theirs, sample)]);
        assert_eq!(again.numbers("lag", 0, Client::C), [&[1.0, 2.0, 3.0, 4.0]]);
        assert_eq!(again.stamps(|kind| kind == "idle"), [None, Some(results.stamp.as_str())]);
        assert_eq!(again.notes(), ["a machine at rest"]);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn only_runs_of_one_round_are_compared() {
        let dir = std::env::temp_dir().join(format!("bench-rounds-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("results.tsv");
        // Two old pairs, and a round that was aborted.
        let old = "all\t0\tC\t4\t1\t1\nall\t0\tours\t1\t1\t1\nall\t0\tours\t2\t1\t1\nall\t0\tC\t5\t1\t1\n";
        std::fs::write(&path, format!("{old}all\t0\txargs\t9\t1\t1\t#1\t@today x\n")).unwrap();
        let mut results = Results::open(&path).unwrap();
        let round = results.next_round();
        for (client, wall) in [(Client::Ours, 3.0), (Client::C, 6.0), (Client::Xargs, 7.0)] {
            let sample = Sample { wall, cpu: 1.0, rss: 1.0 };
            results.add_to_round(round, "all", 0, client, sample).unwrap();
        }
        let again = Results::open(&path).unwrap();
        std::fs::remove_dir_all(dir).unwrap();
        let walls = |other| {
            let pairs = again.pairs_with(other, "all", 0).into_iter();
            pairs.map(|(theirs, ours)| (theirs.wall, ours.wall)).collect::<Vec<_>>()
        };
        assert_eq!((round, again.next_round()), (2, 3));
        assert_eq!(walls(Client::C), [(4.0, 1.0), (5.0, 2.0), (6.0, 3.0)]);
        assert_eq!(walls(Client::Xargs), [(7.0, 3.0)]);
        assert_eq!(walls(Client::Before), []);
    }

    #[test]
    fn medians_and_percentiles() {
        assert_eq!(median(vec![]), 0.0);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(percentile_99(vec![]), 0.0);
        assert_eq!(percentile_99(vec![7.0]), 7.0);
        assert_eq!(percentile_99((1..=200).map(f64::from).collect()), 198.0);
        assert_eq!(percentile_99((1..=900).map(f64::from).collect()), 891.0);
    }
}
