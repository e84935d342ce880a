//! Rolling replication: the changes in the log arrive, in every mode, and nothing else is looked at.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use testkit::fill::{self, RandomWork};
use testkit::{Cyrus, DeleteMode, Via};

use crate::common::{Pair, Running, summary};

/// A pair whose master keeps a sync log, and whose users fill it.
pub(crate) fn logging_pair() -> Pair {
    Pair::with(Cyrus::master().sync_log(&[]), Cyrus::replica(), Via::Csync)
}

/// The log without a channel, and its log-run.
pub(crate) fn log_files(pair: &Pair) -> [PathBuf; 2] {
    let sync = pair.master.config_dir().join("sync");
    [sync.join("log"), sync.join("log-run")]
}

/// Waits until everything that was logged is done.
pub(crate) fn settle(pair: &Pair, running: &mut Running) {
    settle_within(pair, running, Duration::from_secs(30));
}

/// As [`settle`], within this time.
pub(crate) fn settle_within(pair: &Pair, running: &mut Running, time: Duration) {
    let files = log_files(pair);
    let mut quiet = 0;
    let started = Instant::now();
    while quiet < 40 {
        assert!(running.is_running(), "it ended: {}", running.stderr());
        quiet = if files.iter().any(|file| file.exists()) { 0 } else { quiet + 1 };
        std::thread::sleep(Duration::from_millis(5));
        if started.elapsed() > time {
            let left = files.iter().map(|file| fs::read_to_string(file).unwrap_or_default());
            let left: String = left.collect();
            panic!("the log is not worked off; left:\n{left}\n{}", last_said(pair));
        }
    }
}

/// The ends of both sides' logs.
pub(crate) fn last_said(pair: &Pair) -> String {
    let last = |side: &Cyrus| {
        let lines: Vec<String> = side.syslog().into_iter().map(|line| line.text).collect();
        let told: Vec<String> = lines.into_iter().filter(|line| !line.contains("login:")).collect();
        told.get(told.len().saturating_sub(40)..).unwrap_or_default().join("\n")
    };
    format!("the master said:\n{}\nthe replica said:\n{}", last(&pair.master), last(&pair.replica))
}

/// Several rounds of all kinds of work: after each, everything is there, and one reading of the log was enough.
#[test]
fn what_is_logged_arrives() {
    arrives(&logging_pair());
}

/// The same with a replica that is only an imapd.
#[test]
fn what_is_logged_arrives_over_imap() {
    let replica = Cyrus::replica().csync(false);
    arrives(&Pair::with(Cyrus::master().sync_log(&[]), replica, Via::Imap));
}

fn arrives(pair: &Pair) {
    let mut running = pair.start_sync(&["-R", "-d", "0", "-j", "4", "-v"]);
    let users = fill::uniform(&pair.master, 4, 3, 5, 700).unwrap();
    settle(pair, &mut running);
    pair.assert_equal(&users);
    let mut work = RandomWork::new(77);
    for _ in 0..4 {
        let tally = work.run(&pair.master, &users, 60).unwrap();
        assert!(tally.total_done() > 20, "{tally:?}");
        settle(pair, &mut running);
        pair.assert_equal(&users);
    }
    running.terminate();
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!ended.stdout.contains("USER "), "whole users were looked at:\n{}", ended.stdout);
    let errors = pair
        .master
        .syslog()
        .into_iter()
        .filter(|line| line.text.contains("sync_client[") && line.text.contains("ERROR"));
    let errors: Vec<String> = errors.map(|line| line.text).collect();
    assert_eq!(errors, [""; 0], "a clean run complains of nothing");
    // Nothing is left to be done.
    let run = pair.sync_well(&["-A"]);
    assert_eq!(summary(&run), "4 users: 4 already equal");
}

/// The same with mailboxes that are removed at once.
#[test]
fn immediate_deletions_arrive() {
    let master = Cyrus::master().sync_log(&[]).delete_mode(DeleteMode::Immediate);
    let replica = Cyrus::replica().delete_mode(DeleteMode::Immediate);
    let pair = Pair::with(master, replica, Via::Csync);
    let mut running = pair.start_sync(&["-R", "-d", "0"]);
    let users = fill::uniform(&pair.master, 3, 3, 5, 700).unwrap();
    let mut work = RandomWork::new(78);
    for _ in 0..3 {
        work.run(&pair.master, &users, 60).unwrap();
        settle(&pair, &mut running);
        pair.assert_equal(&users);
    }
    running.terminate();
    assert_eq!(running.wait().code, Some(0));
    assert!(!fs::exists(pair.master.config_dir().join("sync/log-unread")).unwrap());
}
