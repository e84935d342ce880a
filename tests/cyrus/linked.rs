//! A mailbox that went from one user to another: both users' locks are needed, and one of them can't be had.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use testkit::cyrus::ADMIN;
use testkit::{Cyrus, Via};

use crate::common::{Pair, Running, summary, wait_for};
use crate::locks::try_lock;
use crate::mailbox_mode::lines;
use crate::rolling::{log_files, settle};
use crate::running::Ended;

const GIVEN: &str = "user.anna.kept user.bert.given";

/// Anna's folder was given to bert, and the replica does not know it yet. The master keeps a log.
fn given() -> Pair {
    let master = Cyrus::master().sync_log(&[]).option("allowusermoves", "yes");
    let pair = Pair::with(master, Cyrus::replica(), Via::Csync);
    let mut admin = pair.master.admin().unwrap();
    ["anna", "bert"].iter().for_each(|user| pair.master.create_user(user).unwrap());
    admin.create("user/anna/kept").unwrap();
    pair.sync_well(&["-A"]);
    log_files(&pair).iter().for_each(|file| drop(fs::remove_file(file)));
    admin.set_acl("user/anna/kept", ADMIN, "lrswipkxtecda").unwrap();
    admin.set_acl("user/bert", ADMIN, "lrswipkxtecda").unwrap();
    admin.rename("user/anna/kept", "user/bert/given").unwrap();
    pair
}

fn assert_given(pair: &Pair) {
    assert_eq!(lines(&pair.replica, GIVEN), lines(&pair.master, GIVEN));
}

fn skip_file(pair: &Pair) -> PathBuf {
    pair.master.config_dir().join("sync/skipuser-bert")
}

/// The end, which must come within this time.
fn within(mut run: Running, seconds: u64) -> Ended {
    let since = Instant::now();
    while run.is_running() {
        assert!(
            since.elapsed() < Duration::from_secs(seconds),
            "it does not end: {}",
            run.stderr()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    run.wait()
}

/// A single pass over the log ends, although the user that must come along never does. Both stay in the log, with a reason.
#[test]
fn a_single_pass_leaves_both_if_one_is_skipped() {
    let pair = given();
    fs::write(skip_file(&pair), "").unwrap();
    let end = within(pair.start_sync(&["-R", "-1"]), 40);
    assert!(end.stderr.contains("2 left in the log (1 failed, 1 skipped)"), "{}", end.stderr);
    assert!(end.stderr.contains("both must be replicated together"), "{}", end.stderr);
    fs::remove_file(skip_file(&pair)).unwrap();
    pair.sync_well(&["-R", "-1"]);
    assert_given(&pair);
}

/// Rolling replication goes on as soon as the other user may be worked on, and looks for that once a second, not more.
#[test]
fn rolling_replication_waits_for_the_other_without_hurry() {
    let pair = given();
    fs::write(skip_file(&pair), "").unwrap();
    let mut running = pair.start_sync(&["-R", "-d", "0", "-v"]);
    std::thread::sleep(Duration::from_secs(16));
    let said = running.stdout();
    let looks = said.matches("user.anna.kept").count();
    assert!(looks < 100, "{looks} looks: {said}");
    fs::remove_file(skip_file(&pair)).unwrap();
    settle(&pair, &mut running);
    assert_given(&pair);
    running.terminate();
    assert_eq!(running.wait().code, Some(0));
}

/// Somebody else holds the lock of one of them: with -N both are left out; without it the run waits, and so does nobody
/// who does not need that lock. Our own locks are never called somebody else's.
#[test]
fn named_mailboxes_wait_only_for_others_locks() {
    let pair = given();
    let both = ["-m", "user/anna/kept", "user/bert/given"];
    for jobs in ["1", "4"] {
        let lock = try_lock(&pair.master, "bert").unwrap();
        let run = pair.sync(&[&["-N", "-j", jobs][..], &both].concat());
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        assert!(summary(&run).starts_with("2 mailboxes (2 users): 2 locked"), "{}", run.stderr);
        drop(lock);
    }
    let lock = try_lock(&pair.master, "anna").unwrap();
    let mut waiting = pair.start_sync(&[&["-j", "2"][..], &both].concat());
    wait_for("the wait", || {
        pair.master.syslog().iter().any(|l| l.text.contains("waiting for the sync lock of anna"))
    });
    std::thread::sleep(Duration::from_secs(1));
    assert!(waiting.is_running());
    drop(lock);
    within(waiting, 20).well();
    assert_given(&pair);
    let run = pair.sync_well(&[&["-N"][..], &both].concat());
    assert!(summary(&run).contains("already equal"), "{}", run.stderr);
}
