//! What a benchmark measured, as a table, as verdicts on the targets, and as a page for docs/.

use std::fmt;
use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

/// One run of one client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) wall: Duration,
    /// User and system time of the client's process alone.
    pub(crate) cpu: Duration,
    pub(crate) peak_rss_bytes: u64,
}

/// Both clients, one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair {
    pub(crate) c: Measured,
    pub(crate) ours: Measured,
}

impl Pair {
    fn wall_ratio(&self) -> f64 {
        self.ours.wall.as_secs_f64() / self.c.wall.as_secs_f64()
    }

    fn cpu_ratio(&self) -> f64 {
        self.ours.cpu.as_secs_f64() / self.c.cpu.as_secs_f64()
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "wall {:.3} s / {:.3} s = {:.2}, cpu {:.3} s / {:.3} s = {:.2} (ours / C)",
            self.ours.wall.as_secs_f64(),
            self.c.wall.as_secs_f64(),
            self.wall_ratio(),
            self.ours.cpu.as_secs_f64(),
            self.c.cpu.as_secs_f64(),
            self.cpu_ratio(),
        )
    }
}

/// All pairs.
#[derive(Debug)]
pub(crate) struct Numbers {
    /// The replica wiped before each run.
    pub(crate) full: Vec<Pair>,
    /// Nothing to do.
    pub(crate) idle: Vec<Pair>,
}

/// The most that the ratios may be.
const FULL_WALL: f64 = 0.65;
const FULL_CPU: f64 = 0.70;
const IDLE_WALL: f64 = 0.50;

/// The figures of both kinds of pairs.
pub(crate) fn table(numbers: &Numbers) -> String {
    let mut text = String::from(
        "| run | figure | C client | ours | ours / C | range of the pairs |\n|---|---|---|---|---|---|\n",
    );
    let kinds = [("replica wiped", &numbers.full), ("nothing to do", &numbers.idle)];
    for (kind, pairs) in kinds {
        let seconds = |time: Duration| format!("{:.3} s", time.as_secs_f64());
        let walls = [time(pairs, |p| p.c.wall), time(pairs, |p| p.ours.wall)];
        let cpus = [time(pairs, |p| p.c.cpu), time(pairs, |p| p.ours.cpu)];
        for (figure, [c, ours], ratio) in
            [("wall", walls, Pair::wall_ratio as fn(&Pair) -> f64), ("CPU", cpus, Pair::cpu_ratio)]
        {
            let ratios: Vec<f64> = pairs.iter().map(ratio).collect();
            let (least, most) = range(&ratios);
            let _ = writeln!(
                text,
                "| {kind} ({} pairs) | {figure} | {} | {} | **{:.2}** | {least:.2} to {most:.2} |",
                pairs.len(),
                seconds(c),
                seconds(ours),
                median(ratios),
            );
        }
        let memory = |of: fn(&Pair) -> u64| {
            let values = pairs.iter().map(|pair| of(pair) as f64 / 1e6).collect();
            format!("{:.1} MB", median(values))
        };
        let _ = writeln!(
            text,
            "| {kind} ({} pairs) | peak RSS | {} | {} | | |",
            pairs.len(),
            memory(|pair| pair.c.peak_rss_bytes),
            memory(|pair| pair.ours.peak_rss_bytes),
        );
    }
    text.truncate(text.trim_end().len());
    text
}

/// Where the numbers stand against the targets.
pub(crate) fn targets(numbers: &Numbers) -> String {
    let of = |pairs: &[Pair], ratio: fn(&Pair) -> f64| median(pairs.iter().map(ratio).collect());
    let verdicts = [
        ("wall time, replica wiped", of(&numbers.full, Pair::wall_ratio), FULL_WALL),
        ("CPU time, replica wiped", of(&numbers.full, Pair::cpu_ratio), FULL_CPU),
        ("wall time, nothing to do", of(&numbers.idle, Pair::wall_ratio), IDLE_WALL),
    ];
    let lines = verdicts.map(|(what, got, most)| {
        let verdict = if got <= most { "reached" } else { "NOT reached" };
        format!("- {what}: {got:.2} of the C client's, target at most {most:.2}: {verdict}")
    });
    lines.join("\n")
}

/// The page for docs/.
pub(crate) fn page(numbers: &Numbers, load: &str, commands: &[String]) -> String {
    format!(
        "# Benchmarks\n\n\
         Written by `cargo xtask bench`; do not edit. Our client and Cyrus' own run in turn in one \
         go, and change who goes first from pair to pair. The ratio is the median of the pairs' \
         ratios, the other figures are medians of their own. CPU time is user and system time of \
         the client's process alone; the servers' is not counted.\n\n\
         {}\n\n## Targets\n{}\n\n## Load\n{load}\n\n## Commands\n```\n{}\n```\n\n## Machine\n{}\n",
        table(numbers),
        targets(numbers),
        commands.join("\n"),
        machine(),
    )
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
        "- {cores} cores, {model}, Linux {}\n- cyrus-imapd {cyrus}; ours at commit {commit}; {rustc}\n- {date}",
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

fn time(pairs: &[Pair], of: fn(&Pair) -> Duration) -> Duration {
    Duration::from_secs_f64(median(pairs.iter().map(|pair| of(pair).as_secs_f64()).collect()))
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

fn range(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, 0.0), |(least, most), v| (v.min(least), v.max(most)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(ours_ms: u64, c_ms: u64) -> Pair {
        let run = |ms| Measured {
            wall: Duration::from_millis(ms),
            cpu: Duration::from_millis(ms / 2),
            peak_rss_bytes: 1_000_000,
        };
        Pair { c: run(c_ms), ours: run(ours_ms) }
    }

    #[test]
    fn the_ratio_is_the_median_of_the_pairs() {
        // One pair on a machine that was busy: slow on both sides, no worse a ratio.
        let pairs = vec![pair(500, 1000), pair(4000, 8000), pair(600, 1000)];
        let numbers = Numbers { full: pairs.clone(), idle: pairs };
        let table = table(&numbers);
        assert!(
            table.contains("| wall | 1.000 s | 0.600 s | **0.50** | 0.50 to 0.60 |"),
            "{table}"
        );
        assert_eq!(targets(&numbers).matches(": reached").count(), 3);
    }

    #[test]
    fn medians() {
        assert_eq!(median(vec![]), 0.0);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
