//! What is reported during a run: its status, on request and now and then, and what it waits for.

use std::time::{Duration, Instant};

use cyrus_store::{Config, FileLock, sync_lock};
use testkit::relay::Relay;
use testkit::{Via, fill};

use crate::common::{Pair, wait_for};
use crate::rolling::{logging_pair, settle};

/// A new message for a user.
fn news(pair: &Pair, user: &str) {
    let text = format!("Subject: {:?}\r\n\r\nnews\r\n", Instant::now());
    pair.master.login(user).unwrap().append("INBOX", &[], None, text.as_bytes()).unwrap();
}

/// The sync locks of these users; the files must exist already.
fn lock(pair: &Pair, users: &[String]) -> Vec<FileLock> {
    let config = Config::load_as(pair.master.imapd_conf(), "sync_client").unwrap();
    let lock = |user: &String| sync_lock(&config, "127.0.0.1", Some(user), true).unwrap().unwrap();
    users.iter().map(lock).collect()
}

/// How often this text appears.
fn times(text: &str, words: &str) -> usize {
    text.matches(words).count()
}

/// A run that waits for locks: some of those users are named after some seconds, once, and one line says that there are
/// more; SIGUSR1 shows the totals, in syslog too; and after half a minute in which nothing happened a line shows the
/// status. -v reports finished users.
#[test]
fn a_run_that_waits() {
    let pair = Pair::start();
    let users = fill::uniform(&pair.master, 9, 2, 3, 500).unwrap();
    pair.sync_well(&["-A"]);
    users.iter().for_each(|user| news(&pair, user));
    let (free, held) = users.split_first().unwrap();
    let locks = lock(&pair, held);
    let since = Instant::now();
    let running = pair.start_sync(&["-A", "-j", "3", "-v"]);
    wait_for("the free user", || {
        running.stdout().contains(&format!("DONE {free}: 1 mailbox, 1 message, "))
    });

    let port = pair.replica.csync_port().unwrap();
    running.signal("USR1");
    let first = "sync_client: 1 of 9 users finished, 8 left; sent 1 message, ";
    wait_for("the status", || running.stderr().contains("users in flight"));
    let said = running.stderr();
    assert!(said.starts_with(first), "{said}");
    assert!(
        said.contains(&format!("; replica 127.0.0.1:{port}: ")) && said.contains(" connection"),
        "{said}"
    );
    // The one mailbox, and what was accepted.
    assert!(
        said.contains("sync_client: answers: ") && said.contains(" MAILBOX 1 (mean "),
        "{said}"
    );
    assert_eq!(times(&said, ": waiting for the sync lock ("), 8, "{said}");
    wait_for("syslog", || {
        let log = pair.master.syslog();
        log.iter().any(|l| l.text.contains(&first["sync_client: ".len()..]))
            && log.iter().any(|l| l.text.contains("8 users in flight"))
    });

    let named = "sync_client: waiting for the sync lock of ";
    let more = "sync_client: waiting for the sync locks of more users (SIGUSR1 shows them) …\n";
    wait_for("the waits to be said", || running.stderr().contains(more));
    assert!(since.elapsed() > Duration::from_secs(4), "{:?}", since.elapsed());
    wait_for("the half minute", || times(&running.stderr(), first) == 2);
    let took = since.elapsed();
    assert!(took > Duration::from_secs(28) && took < Duration::from_secs(45), "{took:?}");
    let said = running.stderr();
    assert_eq!((times(&said, named), times(&said, more)), (5, 1), "{said}");
    assert_eq!(times(&said, " (held by another process) …\n"), 5, "{said}");
    assert!(said.contains(" (0 messages/s, 0.0 MB/s); replica "), "{said}");
    let log = pair.master.syslog();
    for user in held {
        let words = format!("waiting for the sync lock of {user}");
        assert_eq!(log.iter().filter(|l| l.text.contains(&words)).count(), 1, "{user}");
    }

    drop(locks);
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(times(&ended.stdout, "DONE "), 9, "{}", ended.stdout);
    assert_eq!(times(&ended.stderr, first), 2, "{}", ended.stderr);
    pair.assert_equal(&users);
    let again = pair.sync_well(&["-A", "-v"]);
    assert_eq!(times(&again.stdout, "already equal in "), 9, "{}", again.stdout);
}

/// A replica that does not answer: after three seconds a line says what we wait for, and the status says for how long there
/// has been no connection, and why.
#[test]
fn a_run_without_a_replica() {
    let mut pair = Pair::start();
    let users = fill::uniform(&pair.master, 2, 2, 3, 500).unwrap();
    let relay = Relay::start(pair.replica.csync_port().unwrap()).unwrap();
    relay.stall(true);
    pair.master.replicate_to_port(relay.port(), Via::Csync).unwrap();
    let running = pair.start_sync(&["-A"]);
    let address = format!("127.0.0.1:{}", relay.port());
    wait_for("the notice", || !running.stderr().is_empty());
    assert_eq!(running.stderr(), format!("sync_client: connecting to {address} …\n"));
    running.signal("USR1");
    let status = format!(
        "sync_client: 0 of 2 users finished, 2 left; sent 0 messages, 0 bytes (0 messages/s, 0.0 MB/s); replica {address}: connecting for "
    );
    wait_for("the status", || running.stderr().contains(&status));
    relay.stall(false);
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains(": 2 replicated; "), "{}", ended.stderr);
    pair.assert_equal(&users);

    pair.master.replicate_to(&pair.replica, Via::Csync).unwrap();
    pair.replica.stop();
    let running = pair.start_sync(&["-u", &users[0]]);
    wait_for("the first try", || running.stderr().contains("retrying in 15 seconds"));
    running.signal("USR1");
    let status =
        format!("; replica 127.0.0.1:{}: not reachable for ", pair.replica.csync_port().unwrap());
    wait_for("the status", || running.stderr().contains(&status));
    assert!(running.stderr().contains("s (Connection refused)\n"), "{}", running.stderr());
    assert!(
        running.stderr().contains("\nsync_client: 0 users in flight, 1 waiting for a connection\n")
    );
    running.terminate();
    assert_eq!(running.wait().code, Some(75));
}

/// In rolling replication the status shows what was sent and the state of the replica, and -v reports finished works; the
/// status line of long runs is not printed.
#[test]
fn rolling() {
    let pair = logging_pair();
    let users = fill::uniform(&pair.master, 2, 2, 3, 500).unwrap();
    let mut running = pair.start_sync(&["-R", "-d", "0", "-v"]);
    settle(&pair, &mut running);
    pair.assert_equal(&users);
    for user in &users {
        let done = running
            .stdout()
            .lines()
            .any(|l| l.starts_with(&format!("DONE {user}: ")) && l.contains(" in "));
        assert!(done, "{user}: {}", running.stdout());
    }
    let port = pair.replica.csync_port().unwrap();
    let replica = format!("; replica 127.0.0.1:{port}: ");
    wait_for("the status", || {
        running.signal("USR1");
        let said = running.stderr();
        let mut lines = said
            .lines()
            .filter(|l| l.starts_with("sync_client: 0s behind, 0 users waiting (0 in flight), "));
        lines.any(|l| l.contains(" done, sent 12 messages, ") && l.contains(&replica))
    });
    wait_for("syslog", || {
        pair.master.syslog().iter().any(|l| l.text.contains(" done, sent 12 messages, "))
    });
}
