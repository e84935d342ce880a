//! Cyrus' sync locks: one replicator at a time works on a user, whichever program it is.

use cyrus_store::{Config, FileLock, sync_lock};
use testkit::relay::Relay;
use testkit::{Cyrus, c_client, fill};

use crate::common::{Pair, Running, summary, wait_for};

/// The replica's name in locks: that of `sync_host`, without the port.
const SERVER: &str = "127.0.0.1";

/// A user's sync lock on the master, or `None` if somebody has it. The file must exist already: one made by root would lock
/// out the Cyrus user.
pub(crate) fn try_lock(master: &Cyrus, user: &str) -> Option<FileLock> {
    let config = Config::load_as(master.imapd_conf(), "sync_client").unwrap();
    sync_lock(&config, SERVER, Some(user), true).unwrap()
}

fn is_locked(master: &Cyrus, user: &str) -> bool {
    try_lock(master, user).is_none()
}

/// Some users that were replicated once, so that their lock files exist, and have changes since.
fn with_news(users: usize) -> (Pair, Vec<String>) {
    let pair = Pair::start();
    let users = fill::uniform(&pair.master, users, 4, 3, 500).unwrap();
    pair.sync_well(&["-A"]);
    for user in &users {
        news(&pair.master, user);
    }
    (pair, users)
}

/// A new message for a user, in each of several folders.
fn news(master: &Cyrus, user: &str) {
    let mut client = master.login(user).unwrap();
    for folder in client.list("", "*").unwrap() {
        client.append(&folder, &[], None, b"Subject: news\r\n\r\nNews.\r\n").unwrap();
    }
}

/// Waits until syslog says that a process of ours waits for these users' locks.
fn wait_until_waiting(master: &Cyrus, users: &[&str]) {
    for user in users {
        master.wait_for_syslog(&format!("waiting for the sync lock of {user}")).unwrap();
    }
}

/// Two of our processes on the same users: with -N the second skips them all, reports it and ends with 1; without it, it
/// waits until the first is done, and then finds nothing to do.
#[test]
fn two_of_ours() {
    let (mut pair, users) = with_news(3);
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    // It locks users once it is connected, so it is stalled during its work.
    let relay = Relay::start(pair.replica.csync_port().unwrap()).unwrap();
    relay.set_delay(std::time::Duration::from_millis(100));
    pair.master.replicate_to_port(relay.port(), testkit::Via::Csync).unwrap();
    let mut first = pair.start_sync(&["-A", "-j", "4"]);
    wait_for("the first one's locks", || users.iter().all(|user| is_locked(&pair.master, user)));
    relay.stall(true);
    relay.set_delay(std::time::Duration::ZERO);

    // The others connect to the replica directly, with the same name in the lock.
    pair.master.replicate_to(&pair.replica, testkit::Via::Csync).unwrap();
    let skipping = pair.sync(&[&["-N", "-v", "-u"], &names[..]].concat());
    assert_eq!(skipping.code, Some(1), "as with Cyrus' client: {skipping:?}");
    assert!(summary(&skipping).starts_with("3 users: 3 locked"), "{}", skipping.stderr);
    for user in &users {
        assert!(skipping.stderr.contains(&format!("Skipping locked user {user}")), "{skipping:?}");
        let named = format!("sync_client: locked: {user}: somebody else holds the sync lock\n");
        assert!(skipping.stderr.contains(&named), "{skipping:?}");
    }
    let mut second = pair.start_sync(&[&["-u"], &names[..]].concat());
    wait_until_waiting(&pair.master, &names);
    assert!(first.is_running() && second.is_running());

    relay.stall(false);
    let (first, second) = (first.wait().well(), second.wait().well());
    assert!(first.starts_with("3 users: 3 replicated"), "{first}");
    assert!(second.starts_with("3 users: 3 already equal"), "{second}");
    pair.assert_equal(&users);
}

/// A user whose lock somebody holds delays no other, even with one job: all others are finished first. Then the lock is
/// released, and that user is replicated.
#[test]
fn a_locked_user_delays_only_itself() {
    let (pair, users) = with_news(5);
    let (locked, others) = users.split_first().unwrap();
    let lock = try_lock(&pair.master, locked).unwrap();
    let mut run = pair.start_sync(&["-A", "-j", "1", "-v"]);
    wait_for("the other users", || pair.differences(others).is_empty());
    assert!(run.is_running());
    assert!(!run.stdout().contains(&format!("USER {locked}\n")), "{}", run.stdout());
    assert!(!pair.differences(&users).is_empty());
    drop(lock);
    let end = run.wait().well();
    assert!(end.starts_with("5 users: 5 replicated"), "{end}");
    pair.assert_equal(&users);
}

/// Users that wait for locks do not delay the end once the program is asked to stop; they are not failures, and users whose
/// turn had come are complete.
#[test]
fn a_signal_ends_the_waiting() {
    let (pair, users) = with_news(4);
    let (free, held) = users.split_first().unwrap();
    let locks: Vec<FileLock> =
        held.iter().map(|user| try_lock(&pair.master, user).unwrap()).collect();
    let run = pair.start_sync(&["-A", "-j", "2"]);
    wait_until_waiting(&pair.master, &held.iter().map(String::as_str).collect::<Vec<_>>());
    wait_for("the free user", || pair.differences(std::slice::from_ref(free)).is_empty());
    run.terminate();
    let end = run.wait();
    assert_eq!(end.code, Some(75), "{}", end.stderr);
    let wanted = "sync_client: interrupted: 1 of 4 users finished, 3 not reached; run the same command again to go on\n";
    assert!(end.stderr.contains(wanted), "{}", end.stderr);
    drop(locks);
    pair.sync_well(&["-A"]);
    pair.assert_equal(&users);
}

/// Cyrus' own sync_client and ours exclude each other on a user, whichever is first, because both take the same lock: with
/// -N the later one skips the user, without it ours waits.
#[test]
fn the_c_client_and_ours() {
    let (mut pair, users) = with_news(2);
    let relay = Relay::start(pair.replica.csync_port().unwrap()).unwrap();
    let user = users.first().unwrap().as_str();

    // The C client first. It takes the lock after connecting, so it is stalled during its work.
    relay.set_delay(std::time::Duration::from_millis(100));
    pair.master.replicate_to_port(relay.port(), testkit::Via::Csync).unwrap();
    let mut command = pair.master.command("/usr/lib/cyrus/bin/sync_client");
    command.arg("-C").arg(pair.master.imapd_conf()).args(["-v", "-u", user]);
    let mut theirs = Running::start(command);
    wait_for("the C client's lock", || is_locked(&pair.master, user));
    relay.stall(true);
    relay.set_delay(std::time::Duration::ZERO);
    pair.master.replicate_to(&pair.replica, testkit::Via::Csync).unwrap();
    let skipping = pair.sync(&["-A", "-N", "-v"]);
    assert_eq!(skipping.code, Some(1), "not all is on the replica: {skipping:?}");
    assert!(
        summary(&skipping).starts_with("2 users: 1 replicated, 1 locked"),
        "{}",
        skipping.stderr
    );
    let mut ours = pair.start_sync(&["-u", user]);
    wait_until_waiting(&pair.master, &[user]);
    assert!(theirs.is_running() && ours.is_running());
    relay.stall(false);
    assert_eq!(theirs.wait().code, Some(0));
    let end = ours.wait().well();
    assert!(end.starts_with("1 user: 1 already equal"), "{end}");
    pair.assert_equal(&users);

    // Ours first.
    for user in &users {
        news(&pair.master, user);
    }
    relay.set_delay(std::time::Duration::from_millis(100));
    pair.master.replicate_to_port(relay.port(), testkit::Via::Csync).unwrap();
    let mut ours = pair.start_sync(&["-u", user]);
    wait_for("our lock", || is_locked(&pair.master, user));
    relay.stall(true);
    relay.set_delay(std::time::Duration::ZERO);
    pair.master.replicate_to(&pair.replica, testkit::Via::Csync).unwrap();
    let theirs = c_client::run(&pair.master, &["-v", "-N", "-A"]).unwrap().must_succeed().unwrap();
    let skipped = format!("Skipping locked user {user}");
    assert!(theirs.stderr.contains(&skipped) || theirs.stdout.contains(&skipped), "{theirs:?}");
    assert!(ours.is_running());
    assert!(!pair.differences(&users[..1]).is_empty(), "the C client did not skip {user}");
    assert!(pair.differences(&users[1..]).is_empty(), "the C client left others out");
    relay.stall(false);
    let end = ours.wait().well();
    assert!(end.starts_with("1 user: 1 replicated"), "{end}");
    pair.assert_equal(&users);
}
