//! `sync_cache_db_path`: the replica's state of a mailbox is remembered, and forgotten after any failure.

use std::fs;
use std::os::unix::fs::MetadataExt;

use embedded_replica::{Options, Replica};
use testkit::oracle::PrivateServer;
use testkit::{Cyrus, DeleteMode, Via, c_client, fill};

use crate::common::{Pair, Running, wait_for};
use crate::rolling::settle;

/// A pair with a cache; the C client has made its users equal, and keeps its own cache at that very path.
fn with_a_cache() -> (Pair, Vec<String>) {
    let mut pair = Pair::with(
        Cyrus::master().sync_log(&[]),
        Cyrus::replica().delete_mode(DeleteMode::Immediate),
        Via::Csync,
    );
    let path = pair.master.config_dir().join("sync_cache.db");
    pair.master.set_option("sync_cache_db_path", path.to_str().unwrap()).unwrap();
    let users = fill::uniform(&pair.master, 3, 3, 4, 600).unwrap();
    c_client::run(&pair.master, &["-R", "-1"]).unwrap().must_succeed().unwrap();
    pair.assert_equal(&users);
    assert!(path.exists(), "the C client has no cache");
    (pair, users)
}

fn news(pair: &Pair, user: &str, mailbox: &str) {
    let mut client = pair.master.login(user).unwrap();
    client.append(mailbox, &["\\Seen"], None, b"Subject: news\r\n\r\nnews\r\n").unwrap();
}

fn rolling(pair: &Pair) -> Running {
    pair.start_sync(&["-R", "-d", "0", "-v"])
}

/// How often a mailbox was asked for, and how often it was sent.
fn asked_and_sent(running: &Running, mailbox: &str) -> (usize, usize) {
    let said = running.stdout();
    let asked = said.lines().filter(|line| {
        line.strip_prefix("MAILBOXES ").is_some_and(|n| n.split(' ').any(|name| name == mailbox))
    });
    let sent = said.lines().filter(|line| line.strip_prefix("MAILBOX ") == Some(mailbox));
    (asked.count(), sent.count())
}

/// A known mailbox is not asked for any more, not even by the next process; the C client's file does not change.
#[test]
fn a_known_mailbox_is_not_asked_for() {
    let (pair, users) = with_a_cache();
    let path = pair.master.config_dir().join("sync_cache.db");
    let theirs = fs::read(&path).unwrap();
    let inbox = format!("user.{}", users[0]);
    let mut running = rolling(&pair);
    for times in 1..=3 {
        news(&pair, &users[0], "INBOX");
        settle(&pair, &mut running);
        let (asked, sent) = asked_and_sent(&running, &inbox);
        assert_eq!(asked, 1, "asked again by time {times}");
        assert!(sent >= times, "sent {sent} times by time {times}");
    }
    running.terminate();
    assert_eq!(running.wait().code, Some(0));
    let mut running = rolling(&pair);
    news(&pair, &users[0], "INBOX");
    settle(&pair, &mut running);
    assert_eq!(asked_and_sent(&running, &inbox).0, 0);
    assert!(asked_and_sent(&running, &inbox).1 > 0);
    pair.assert_equal(&users);
    assert_eq!(fs::read(&path).unwrap(), theirs, "the C client's cache was touched");
}

/// A replica that was changed by others, one that lost a mailbox, and another replica: the remembered state is wrong, and
/// does no harm.
#[test]
fn what_is_remembered_wrongly_does_no_harm() {
    let (mut pair, users) = with_a_cache();
    let mut running = rolling(&pair);
    for user in &users {
        news(&pair, user, "INBOX");
        news(&pair, user, "INBOX/folder1");
    }
    settle(&pair, &mut running);
    // Another process of ours does a user's work, and the cache does not know.
    running.signal("STOP");
    news(&pair, &users[0], "INBOX");
    pair.sync_well(&["-u", &users[0]]);
    running.signal("CONT");
    news(&pair, &users[0], "INBOX");
    settle(&pair, &mut running);
    pair.assert_equal(&users);
    // A mailbox was removed there.
    let mut admin = pair.replica.admin().unwrap();
    let folder = pair.replica.name(&["user", &users[1], "folder1"]);
    admin.set_acl(&folder, "cyrus", "lrswipkxtecda").unwrap();
    admin.delete(&folder).unwrap();
    news(&pair, &users[1], "INBOX/folder1");
    settle(&pair, &mut running);
    let live = |cyrus: &Cyrus| {
        let mut server = testkit::oracle::PrivateServer::start(cyrus).unwrap();
        server.get(&format!("MAILBOXES (user.{}.folder1)", users[1])).unwrap()
    };
    assert_eq!(live(&pair.master), live(&pair.replica));
    running.terminate();
    assert_eq!(running.wait().code, Some(0));

    // Another replica altogether.
    pair.replica = Cyrus::replica().start().unwrap();
    pair.master.replicate_to(&pair.replica, Via::Csync).unwrap();
    let mut running = rolling(&pair);
    for user in &users {
        news(&pair, user, "INBOX");
    }
    settle(&pair, &mut running);
    wait_for("the users to be sent", || {
        users.iter().all(|user| asked_and_sent(&running, &format!("user.{user}")).1 > 0)
    });
    pair.sync_well(&["-A"]);
    pair.assert_equal(&users);
    assert_eq!(running.stderr(), "");
}

// A replica that was rebuilt under the same name and port: mailboxes remembered as equal were not sent to it until they
// changed. Both while the daemon runs, whose connections end with the old replica, and with the next one.
#[test]
fn a_replica_made_anew_under_the_same_name_is_noticed() {
    let (mut pair, users) = with_a_cache();
    let replica = Replica::new(Options::default()).unwrap();
    let server = replica.serve("127.0.0.1:0").unwrap();
    let port = server.address().port();
    pair.master.replicate_to_port(port, Via::Csync).unwrap();
    let folder = format!("user.{}.folder1", users[0]);
    let has_folder = || {
        let mut said = PrivateServer::over_tcp(port).unwrap();
        !said.get(&format!("MAILBOXES ({folder})")).unwrap().is_empty()
    };
    let log_it = || {
        // With the Cyrus user as owner, and complete.
        let folder_of_log = pair.master.config_dir().join("sync");
        let (new, log) = (folder_of_log.join("new"), folder_of_log.join("log"));
        fs::write(&new, format!("MAILBOX {folder}\n")).unwrap();
        let owner = fs::metadata(&folder_of_log).unwrap();
        std::os::unix::fs::chown(&new, Some(owner.uid()), Some(owner.gid())).unwrap();
        fs::rename(new, log).unwrap();
    };
    let mut running = rolling(&pair);
    for again_by_another_process in [false, true] {
        log_it();
        settle(&pair, &mut running);
        assert!(has_folder());
        log_it();
        settle(&pair, &mut running);
        let forget = || {
            replica.wipe();
            server.disconnect();
        };
        if again_by_another_process {
            running.terminate();
            assert_eq!(running.wait().code, Some(0));
            forget();
            running = rolling(&pair);
        } else {
            forget();
        }
        log_it();
        settle(&pair, &mut running);
        assert!(
            has_folder(),
            "not sent to the new replica; another process: {again_by_another_process}"
        );
    }
}
