//! The client alone: synthetic users, in memory, into a replica that throws messages away.
//!
//! ```text
//!   this process: the replica (Keep::Count)  <--loopback--  a child: synthetic users and the client
//! ```
//! `cargo bench --bench synthetic` sends 100,000 messages of 2 KB, and then a million, and prints the child's CPU time and
//! memory. Its own process, because the replica keeps all records. `-- 50000 2000000` takes other numbers of messages.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a benchmark that can't go on fails by panicking")]
#![allow(clippy::print_stdout, reason = "it reports to a terminal")]

use std::process::Command;
use std::sync::Arc;

use actors::{Progress, ReplicaSettings, Reporting, Selection, Settings};
use embedded_replica::{Keep, Options, Replica};
use synthetic_source::{Plan, Sizes, Synthetic};
use testkit::c_client;

const SIZE: u64 = 2048;
/// Of each user, in two mailboxes.
const MESSAGES: usize = 1000;
const JOBS: usize = 4;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [client, port, users] = &args[..]
        && client == "client"
    {
        return replicate(port, users.parse().unwrap());
    }
    let counts: Vec<usize> = args.iter().map(|arg| arg.parse().unwrap()).collect();
    let counts = if counts.is_empty() { vec![100_000, 1_000_000] } else { counts };
    println!(
        "{:>10} {:>8} {:>8} {:>14} {:>12}",
        "messages", "s", "CPU s", "a CPU second", "peak MiB"
    );
    for messages in counts {
        measure(messages);
    }
}

fn measure(messages: usize) {
    let options =
        Options { keep: Keep::Count, compress: false, conversations: false, ..Options::default() };
    let replica = Replica::new(options).unwrap();
    let server = replica.serve("127.0.0.1:0").unwrap();
    let users = messages.div_ceil(MESSAGES);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("client").arg(server.address().port().to_string()).arg(users.to_string());
    let run = c_client::measure(command).unwrap().must_succeed().unwrap();
    let sent = replica.stats().messages;
    assert_eq!(sent, (users * MESSAGES) as u64, "{}", run.stderr);
    println!(
        "{sent:>10} {:>8.2} {:>8.2} {:>14.0} {:>12}",
        run.wall.as_secs_f64(),
        run.cpu().as_secs_f64(),
        sent as f64 / run.cpu().as_secs_f64(),
        run.peak_rss_bytes >> 20
    );
}

/// The child: replicates and ends.
fn replicate(port: &str, users: usize) {
    let plan =
        Plan { seed: 1, users, mailboxes: 2, messages: MESSAGES / 2, sizes: Sizes::Fixed(SIZE) };
    let mut settings = Settings {
        replica: ReplicaSettings {
            server: "127.0.0.1".into(),
            port: Some(port.into()),
            authname: "cyrus".into(),
            password: "secret".into(),
            try_imap: false,
            ..ReplicaSettings::default()
        },
        ..Settings::default()
    };
    settings.run.jobs = JOBS;
    let report = actix_rt::System::new().block_on(async move {
        let (_keep, stop) = tokio::sync::watch::channel(false);
        let (source, all) = (Arc::new(Synthetic::new(plan)), Selection::AllUsers { prefix: None });
        let (reporting, progress) = (Reporting::default(), Progress::default());
        actors::replicate(settings, source, all, reporting, stop, progress).await
    });
    assert!(report.named.is_empty() && report.stopped.is_none(), "{report:?}");
}
