//! The results of rolling replication: tables and a section of docs/benchmarks.md.

use std::fmt::Write as _;

use crate::bench::results::{Client, Results, Sample, median, spread};
use crate::bench::runs::JOBS;
use crate::bench::samples::{LagSample, MIB};

/// Ours should have at most this fraction of the C client's 99th percentile.
const LAG_TARGET: f64 = 0.1;
const MERGE_SECONDS: f64 = 3.0;
const MERGE_MIB: f64 = 300.0;

/// Whether results of this kind are of rolling replication.
pub(crate) fn is_kind(kind: &str) -> bool {
    matches!(kind, "lag" | "merge" | "backlog")
}

/// The C client's runs and ours, as pairs.
fn lag_pairs(results: &Results, rtt: u64) -> Vec<(LagSample, LagSample)> {
    let of = |client| results.numbers("lag", rtt, client).into_iter().filter_map(LagSample::of);
    of(Client::C).zip(of(Client::Ours)).collect()
}

/// All of it, as tables; empty if nothing was measured.
pub(crate) fn tables(results: &Results) -> String {
    [lag_table(results), backlog_list(results)].concat()
}

fn lag_table(results: &Results) -> String {
    let mut text = String::new();
    for rtt in results.round_trips("lag") {
        let pairs = lag_pairs(results, rtt);
        if pairs.is_empty() {
            continue;
        }
        if text.is_empty() {
            text += "| round trip | client | lag: median | 99 % within | longest | the large user | CPU | peak RSS |\n\
                     |---|---|---|---|---|---|---|---|\n";
        }
        for client in [Client::C, Client::Ours] {
            let all: Vec<LagSample> =
                pairs.iter().map(|(c, ours)| *if client == Client::C { c } else { ours }).collect();
            let middle = |of: fn(&LagSample) -> f64| median(all.iter().map(of).collect());
            let _ = writeln!(
                text,
                "| {rtt} ms | {client} | {} | {} | {} | {} | {:.2} s | {:.0} MiB |",
                time(middle(|run| run.median)),
                time(middle(|run| run.p99)),
                time(middle(|run| run.most)),
                time(middle(|run| run.big)),
                middle(|run| run.cpu),
                middle(|run| run.rss / MIB),
            );
        }
    }
    if text.is_empty() {
        return text;
    }
    text += "\n";
    for rtt in results.round_trips("lag") {
        let pairs = lag_pairs(results, rtt);
        if pairs.is_empty() {
            continue;
        }
        let (part, least, most) = spread(pairs.iter().map(|(c, ours)| ours.p99 / c.p99).collect());
        let verdict = if part <= LAG_TARGET { "met" } else { "**not met**" };
        let _ = writeln!(
            text,
            "- 99th percentile at {rtt} ms, ours of C's: **{part:.3}** ({least:.3} to {most:.3}, {} pairs); target ≤ {LAG_TARGET}: {verdict}",
            pairs.len(),
        );
    }
    text
}

fn backlog_list(results: &Results) -> String {
    let mut text = String::new();
    let merges = results.samples("merge", 0, Client::Ours);
    let middle = |of: fn(&Sample) -> f64| median(merges.iter().map(of).collect());
    if !merges.is_empty() {
        let (wall, mib) = (middle(|run| run.wall), middle(|run| run.rss / MIB));
        let met = wall < MERGE_SECONDS && mib < MERGE_MIB;
        let _ = writeln!(
            text,
            "- A log of a million lines, read and merged: {wall:.2} s, CPU {:.2} s, peak RSS {mib:.0} MiB ({} runs); \
             target < {MERGE_SECONDS:.0} s and {MERGE_MIB:.0} MiB: {}",
            middle(|run| run.cpu),
            merges.len(),
            if met { "met" } else { "**not met**" },
        );
    }
    for client in [Client::C, Client::Ours] {
        let runs = results.samples("backlog", 0, client);
        let middle = |of: fn(&Sample) -> f64| median(runs.iter().map(of).collect());
        if !runs.is_empty() {
            let _ = writeln!(
                text,
                "- The same log worked off into the sink by {client}: {:.1} s, CPU {:.1} s, peak RSS {:.0} MiB ({} runs)",
                middle(|run| run.wall),
                middle(|run| run.cpu),
                middle(|run| run.rss / MIB),
                runs.len(),
            );
        }
    }
    let pairs = results.pairs("backlog", 0);
    if !pairs.is_empty() {
        let (times, _, _) = spread(pairs.iter().map(|(c, ours)| c.wall / ours.wall).collect());
        let _ = writeln!(text, "- As fast as the C client: **{times:.0}**; no target");
    }
    text
}

/// Milliseconds below a second, else seconds.
fn time(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.0} ms", seconds * 1e3) } else { format!("{seconds:.1} s") }
}

/// The section of docs/benchmarks.md.
pub(crate) fn section(results: &Results) -> String {
    let (lag, backlog) = (lag_table(results), backlog_list(results));
    let mut text = String::new();
    if lag.is_empty() && backlog.is_empty() {
        return text;
    }
    text += "## Rolling replication\n";
    if !lag.is_empty() {
        let counts: Vec<f64> = results
            .round_trips("lag")
            .into_iter()
            .flat_map(|rtt| lag_pairs(results, rtt))
            .flat_map(|(c, ours)| [c.count, ours.count])
            .collect();
        let _ = write!(
            text,
            "How long after the end of an APPEND on the master the message is on the replica, while a user of 50,000 messages is \
             copied in the middle of the run (`cargo xtask bench --lag`):\n\n{lag}\n\
             A real Cyrus master, and a real replica for each client, in memory, all on this machine, without conversations. 20 users \
             are in step when a run begins; 20 messages of 2 KB a second are appended to them at random over IMAP, {:.0} a run. \
             After two ninths of the time `MAILBOX user.big` is logged; nothing of that user is on the replica, and no two of its \
             messages (2 KB) are equal. A message counts as present when its file is in the mailbox's folder on the replica, \
             which is looked for every 2 ms; its record follows within the same command. All messages are counted, those \
             that came after the appends had ended too; after each run the small users were equal on both sides and the large one's files all \
             there. `sync_repeat_interval` is 0 for both: the C \
             client looks at an empty log every 100 ms then. The large user's time is from the line in the log to its last file. Figures \
             are medians of the runs' own; CPU and memory are the client's process's. The master's imapd, the replica, the relay \
             and the watcher share the cores with the client.\n\n\
             ```\n/usr/lib/cyrus/bin/sync_client -C imapd.conf -R\n\
             target/release/sync_client -C imapd.conf -R -j {}\n```\n",
            median(counts),
            crate::bench::lag_client::JOBS,
        );
    }
    if !backlog.is_empty() {
        let _ = write!(
            text,
            "\nA backlog (`cargo xtask bench --backlog`):\n{backlog}\n\
             ```\n/usr/lib/cyrus/bin/sync_client -C imapd.conf -R -f backlog\n\
             target/release/sync_client -C imapd.conf -R -f backlog -j {JOBS}\n```\n\n\
             The log is made up, with the mix of verbs in `xtask/tasks/src/bench/log.rs`: 2,000 users, each with 10 to 500 mailboxes that it \
             names. Two mailboxes of each, with three messages in them, are on the master; of the others neither side knows anything, \
             so that little but questions remain to be sent. Reading and merging is measured as a process of its own, its start \
             included, the log in the page cache. The C client keeps what it has read in lists and searches them for each further \
             line: one list each for all that is seen, subscribed, limited and deleted, and one of mailboxes a user.\n",
        );
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_says_whether_targets_are_met() {
        let dir = std::env::temp_dir().join(format!("bench-rolling-{}", std::process::id()));
        let mut results = Results::open(&dir.join("results.tsv")).unwrap();
        assert_eq!(section(&results), "");
        for (client, p99) in [(Client::C, 40.0), (Client::Ours, 0.2)] {
            let numbers = [p99 / 2.0, p99, p99 * 1.5, 900.0, 30.0, 2.0, 2e7];
            results.add_numbers("lag", 20, client, &numbers).unwrap();
        }
        let sample = Sample { wall: 3.5, cpu: 1.0, rss: 1e8 };
        results.add("merge", 0, Client::Ours, sample).unwrap();
        let text = section(&results);
        std::fs::remove_dir_all(dir).unwrap();
        for words in [
            "| 20 ms | C | 20.0 s | 40.0 s | 60.0 s | 30.0 s | 2.00 s | 19 MiB |",
            "| 20 ms | ours | 100 ms | 200 ms | 300 ms | 30.0 s | 2.00 s | 19 MiB |",
            "ours of C's: **0.005** (0.005 to 0.005, 1 pairs); target ≤ 0.1: met",
            "3.50 s, CPU 1.00 s, peak RSS 95 MiB (1 runs); target < 3 s and 300 MiB: **not met**",
        ] {
            assert!(text.contains(words), "no {words} in\n{text}");
        }
    }
}
