//! `--metrics-listen` while real servers answer: the numbers are those of the run, and refusals have the server's codes.

use std::collections::BTreeMap;

use serde_json::Value;
use testkit::cyrus::ADMIN;
use testkit::{Cyrus, Via, fill};

use crate::common::{Pair, wait_for};
use crate::locks::try_lock;
use crate::running::scrape::{free_port, scrape};

fn is(port: u16, name: &str, holds: impl Fn(f64) -> bool) -> bool {
    let numbers = scrape(port).unwrap_or_default();
    numbers.get(&format!("sync_client_{name}")).is_some_and(|number| holds(*number))
}

/// One user waits for its lock, so the program can be asked when all others have ended.
#[test]
fn the_sums_of_a_run_are_those_of_its_report() {
    let pair = Pair::start();
    let users = fill::uniform(&pair.master, 5, 2, 3, 400).unwrap();
    pair.sync_well(&["-u", &users[4]]);
    let lock = try_lock(&pair.master, &users[4]).unwrap();
    let port = free_port();
    let report = pair.master.config_dir().join("report.json").display().to_string();
    let (listen, args) = (port.to_string(), ["-A", "-j", "2", "--metrics-listen"]);
    let running = pair.start_sync(&[&args[..], &[&listen, "--report", &report]].concat());
    let replicated = "users_done_total{outcome=\"replicated\"}";
    wait_for("all but one", || is(port, replicated, |done| done == 4.0));
    let numbers: BTreeMap<String, f64> = scrape(port).unwrap();
    let number = |name: &str| numbers[&format!("sync_client_{name}")];
    assert_eq!(number("users{state=\"waiting_for_lock\"}"), 1.0);
    assert!(number("command_duration_seconds_count{command=\"MAILBOX\"}") >= 4.0);
    drop(lock);
    assert_eq!(running.wait().code, Some(0));
    let report: Value = serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap();
    for (name, total) in [
        ("mailboxes_replicated_total", "mailboxes"),
        ("messages_replicated_total", "messages"),
        ("replicated_bytes_total", "bytes"),
        ("removed_total", "removed"),
    ] {
        assert_eq!(Some(number(name)), report["totals"][total].as_f64(), "{name}: {report}");
    }
    assert!(number("messages_replicated_total") >= 4.0 * 2.0 * 3.0);
}

/// The replica renames no users: the log's work fails with the server's code until it may.
#[test]
fn a_refusal_is_counted_by_the_servers_code() {
    let master = Cyrus::master().sync_log(&[]).option("allowusermoves", "yes");
    let mut pair = Pair::with(master, Cyrus::replica(), Via::Csync);
    pair.master.create_user("anna").unwrap();
    pair.sync_well(&["-A"]);
    let mut admin = pair.master.admin().unwrap();
    admin.set_acl("user/anna", ADMIN, "lrswipkxtecda").unwrap();
    admin.rename("user/anna", "user/berta").unwrap();
    let port = free_port();
    let running = pair.start_sync(&["-R", "-d", "0", "--metrics-listen", &port.to_string()]);
    let refused = "commands_refused_total{command=\"RENAME\",code=\"IMAP_MAILBOX_NOTSUPPORTED\"}";
    wait_for("the refusal", || is(port, refused, |count| count >= 1.0));
    wait_for("the failing user", || is(port, "users{state=\"resting\"}", |users| users >= 1.0));
    assert!(is(port, "lag_seconds", |lag| lag > 0.0));
    pair.replica.set_option("allowusermoves", "yes").unwrap();
    pair.replica.restart().unwrap();
    wait_for("the rename", || is(port, "lag_seconds", |lag| lag == 0.0));
    running.terminate();
    assert_eq!(running.wait().code, Some(0));
    pair.assert_equal(&["berta".into()]);
}
