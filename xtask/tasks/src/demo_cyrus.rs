//! `cargo xtask demo --cyrus`: the program at work between two real servers, in half a minute.

use anyhow::Result;
use testkit::{Cyrus, Via, c_client, fill, oracle};

use crate::demo_steps::{Step, figures, quote, verdict};
use crate::{program, say};

const USERS: usize = 20;

/// Starts a master and a replica, fills the master, replicates and compares; returns 0 if both sides are equal.
pub(crate) fn run() -> Result<u8> {
    testkit::ensure_cyrus()?;
    let program = program::build()?;

    let mut step = Step::start("starting a Cyrus master and a Cyrus replica");
    let replica = Cyrus::replica().start()?;
    let mut master = Cyrus::master().start()?;
    master.replicate_to(&replica, Via::Csync)?;
    step.done(&format!("imap on ports {} and {}", master.imap_port()?, replica.imap_port()?));

    step = Step::start(&format!("filling the master with {USERS} users over IMAP"));
    let users = fill::fill_with(&master, &fill::FillOptions::new(1, USERS))?;
    let size = folder_size(&master.spool());
    step.done(&format!("{} message files, {:.1} MB", size.messages, size.bytes as f64 / 1e6));

    let shown = ["-A", "-j", "4", "-v"];
    step = Step::start(&format!("sync_client {}", shown.join(" ")));
    let mut command = master.root_command(&program);
    command.arg("-C").arg(master.imapd_conf()).args(shown);
    let outcome = c_client::measure(command)?;
    step.done(&figures(&outcome));
    quote(&outcome);

    step = Step::start("once more, with nothing to do");
    let mut command = master.root_command(&program);
    command.arg("-C").arg(master.imapd_conf()).args(["-A", "-j", "4"]);
    let again = c_client::measure(command)?;
    step.done(&figures(&again));
    quote(&again);

    step = Step::start("comparing master and replica, as their own sync_servers describe them");
    let report = oracle::compare(&master, &replica, &users)?;
    step.done(&verdict(&report));
    step = Step::start("comparing the bytes of every message");
    let bytes = oracle::compare_bytes(&master, &replica, &users)?;
    step.done(&verdict(&bytes));
    for text in [&report, &bytes].into_iter().filter(|report| !report.is_empty()) {
        say(&text.to_string());
    }
    let well =
        outcome.code == Some(0) && again.code == Some(0) && report.is_empty() && bytes.is_empty();
    say("");
    if well {
        say("Both sides are equal. The servers are gone again, and so are their folders.");
        return Ok(0);
    }
    say("Something went wrong: see above.");
    Ok(1)
}

#[derive(Default)]
struct Size {
    messages: usize,
    bytes: u64,
}

/// Counts the message files below a spool.
fn folder_size(folder: &std::path::Path) -> Size {
    let mut size = Size::default();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            let below = folder_size(&path);
            size.messages += below.messages;
            size.bytes += below.bytes;
        } else if path.to_string_lossy().ends_with('.') {
            size.messages += 1;
            size.bytes += entry.metadata().map_or(0, |meta| meta.len());
        }
    }
    size
}
