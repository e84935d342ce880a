//! What was measured, kept in a file of lines, so that a long benchmark may be made in parts.
//!
//! ```text
//! KIND TAB round trip in ms TAB client TAB numbers, tab between them [TAB @DATE COMMIT]
//! note TAB words about the runs, for the report
//! ```

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use testkit::c_client::Outcome;

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

    /// Who runs first and second in a pair of this number.
    pub(crate) fn order(pair: usize) -> [Client; 2] {
        if pair.is_multiple_of(2) { [Client::C, Client::Ours] } else { [Client::Ours, Client::C] }
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
    /// Date and commit; lines of old have none.
    stamp: Option<String>,
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
        let mut line = format!("{kind}\t{rtt}\t{client}");
        for number in numbers {
            line += &format!("\t{number}");
        }
        self.write(&format!("{line}\t@{}", self.stamp))?;
        self.rows.push(Row {
            kind: kind.to_owned(),
            rtt,
            client,
            numbers: numbers.to_vec(),
            stamp: Some(self.stamp.clone()),
        });
        Ok(())
    }

    /// Keeps words about the runs.
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

    /// The runs of one client, in the order of the pairs.
    pub(crate) fn numbers(&self, kind: &str, rtt: u64, client: Client) -> Vec<&[f64]> {
        let wanted = |row: &&Row| (row.kind.as_str(), row.rtt, row.client) == (kind, rtt, client);
        self.rows.iter().filter(wanted).map(|row| row.numbers.as_slice()).collect()
    }

    /// The same, as samples.
    pub(crate) fn samples(&self, kind: &str, rtt: u64, client: Client) -> Vec<Sample> {
        let sample = |numbers: &[f64]| match *numbers {
            [wall, cpu, rss, ..] => Some(Sample { wall, cpu, rss }),
            _ => None,
        };
        self.numbers(kind, rtt, client).into_iter().filter_map(sample).collect()
    }

    /// Both clients' runs as pairs: the C client's, ours.
    pub(crate) fn pairs(&self, kind: &str, rtt: u64) -> Vec<(Sample, Sample)> {
        let (c, ours) = (self.samples(kind, rtt, Client::C), self.samples(kind, rtt, Client::Ours));
        c.into_iter().zip(ours).collect()
    }

    pub(crate) fn round_trips(&self, kind: &str) -> Vec<u64> {
        let mut times: Vec<u64> =
            self.rows.iter().filter(|row| row.kind == kind).map(|row| row.rtt).collect();
        times.sort_unstable();
        times.dedup();
        times
    }

    /// When runs were made and of which commit, for those whose kind is wanted; None stands for a line without.
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
    let mut fields = line.split('\t');
    let kind = fields.next()?.to_owned();
    let rtt = fields.next()?.parse().ok()?;
    let client = match fields.next()? {
        "C" => Client::C,
        _ => Client::Ours,
    };
    let numbers = fields.map(|field| field.parse().ok()).collect::<Option<_>>()?;
    Some(Row { kind, rtt, client, numbers, stamp })
}

/// What a program says; a word in its place where it can't be run.
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
