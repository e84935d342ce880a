//! The table of speed for README.md: workloads by round trips, compared with the C client and with xargs.

use std::fmt::Write as _;

use crate::bench::report::speed;
use crate::bench::results::{Client, Results};
use crate::bench::runs::JOBS;
use crate::bench::works::{Medium, Work};
use crate::bench::xargs;

const ROUND_TRIPS: [u64; 3] = [0, 20, 50];

/// The table, with its introduction; columns that were not measured are left out.
pub(crate) fn table(results: &Results) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let mut text = format!(
        "How many times as fast as Cyrus' own client / as `xargs -P {} -n {}` over it, by where the stores are and the round trip to the \
         replica. One machine of {cores} cores for clients and replicas; small messages are of 2 KB, 25 in each of 4 mailboxes a user; ours \
         with `-j {JOBS}`:\n\n",
        xargs::CLIENTS,
        xargs::USERS_EACH,
    );
    let columns: Vec<(Medium, u64)> = Medium::ALL
        .into_iter()
        .flat_map(|medium| ROUND_TRIPS.map(|rtt| (medium, rtt)))
        .filter(|(medium, rtt)| {
            let measured = |work: &Work| cell(results, *work, *medium, *rtt).is_some();
            Work::ALL.iter().any(measured)
        })
        .collect();
    text += "| |";
    for (nr, (medium, rtt)) in columns.iter().enumerate() {
        let first = nr == 0 || columns.get(nr - 1).is_some_and(|(before, _)| before != medium);
        let head = match first {
            true => format!("{}, {rtt} ms", medium.place()),
            false => format!("{rtt} ms"),
        };
        let _ = write!(text, " {head} |");
    }
    let _ = write!(text, "\n|---|{}", "---|".repeat(columns.len()));
    for work in Work::ALL {
        let cells: Vec<_> =
            columns.iter().map(|(medium, rtt)| cell(results, work, *medium, *rtt)).collect();
        if cells.iter().any(Option::is_some) {
            let _ = write!(text, "\n| {} |", words(work));
            for cell in cells {
                let _ = write!(text, " {} |", cell.unwrap_or_else(|| "–".to_owned()));
            }
        }
    }
    text
}

fn words(work: Work) -> &'static str {
    match work {
        Work::All => "200 users of small messages to an empty replica",
        Work::Idle => "the same users, nothing to do",
        Work::Changed => "the same users, 10 of them with new messages",
        Work::Wide => "one user of 400 mailboxes, to an empty replica",
        Work::Big => "24 users of 60 KB messages, to an empty replica",
    }
}

/// Compared with the C client, and with xargs if that was measured.
fn cell(results: &Results, work: Work, medium: Medium, rtt: u64) -> Option<String> {
    let times = |other| {
        let pairs = results.pairs_with(other, &work.kind(medium), rtt);
        (!pairs.is_empty()).then(|| rounded(speed(&pairs, |run| run.wall).0))
    };
    match (times(Client::C), times(Client::Xargs)) {
        (Some(c), Some(xargs)) => Some(format!("{c} / {xargs}")),
        (Some(c), None) => Some(c),
        (None, _) => None,
    }
}

/// Two significant digits.
fn rounded(times: f64) -> String {
    if times < 9.95 { format!("{times:.1}") } else { format!("{times:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::Sample;

    #[test]
    fn memory_and_disk_side_by_side() {
        let dir = std::env::temp_dir().join(format!("bench-readme-{}", std::process::id()));
        let mut results = Results::open(&dir.join("results.tsv")).unwrap();
        let mut add = |round, kind: &str, rtt, walls: [f64; 3]| {
            for (client, wall) in [Client::C, Client::Xargs, Client::Ours].into_iter().zip(walls) {
                let sample = Sample { wall, cpu: 1.0, rss: 1e6 };
                results.add_to_round(round, kind, rtt, client, sample).unwrap();
            }
        };
        add(1, "all", 0, [3.0, 1.2, 1.0]);
        add(2, "all", 20, [51.0, 2.1, 1.5]);
        add(3, "all/disk", 0, [6.0, 1.96, 2.0]);
        results.add("wide", 20, Client::C, Sample { wall: 9.0, cpu: 1.0, rss: 1e6 }).unwrap();
        results.add("wide", 20, Client::Ours, Sample { wall: 3.0, cpu: 1.0, rss: 1e6 }).unwrap();
        let text = table(&results);
        std::fs::remove_dir_all(dir).unwrap();
        let (_, rows) = text.split_once("\n\n").unwrap();
        assert_eq!(
            rows,
            "| | in memory, 0 ms | 20 ms | on disk, 0 ms |\n|---|---|---|---|\n\
             | 200 users of small messages to an empty replica | 3.0 / 1.2 | 34 / 1.4 | 3.0 / 1.0 |\n\
             | one user of 400 mailboxes, to an empty replica | – | 3.0 | – |"
        );
    }
}
