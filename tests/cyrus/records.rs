//! Which records of a mailbox are sent, and which counters make two mailboxes differ: nothing is left out silently, and no
//! counter that can be left out fails a user.

use std::time::{Duration, Instant};

use testkit::fill::{self, Load, LoadOptions};
use testkit::imap::Client;
use testkit::oracle::PrivateServer;
use testkit::{Cyrus, Via, c_client};

use crate::common::{Pair, summary};
use crate::rolling::settle_within;

fn message(nr: usize) -> Vec<u8> {
    format!(
        "From: a@example.com\r\nSubject: message {nr}\r\nMessage-ID: <{nr}@example.com>\r\n\r\nbody {nr}\r\n"
    )
    .into_bytes()
}

fn append(imap: &mut Client, nr: usize) {
    imap.append("INBOX", &[], None, &message(nr)).unwrap();
}

/// Anna with `n` messages on both sides, put there by ours.
fn replicated(master: testkit::Builder, replica: testkit::Builder, n: usize) -> (Pair, Client) {
    let pair = Pair::with(master, replica, Via::Csync);
    pair.master.create_user("anna").unwrap();
    let mut imap = pair.master.login("anna").unwrap();
    for nr in 0..n {
        append(&mut imap, nr);
    }
    pair.sync_well(&["-u", "anna"]);
    pair.assert_equal(&["anna".to_string()]);
    (pair, imap)
}

/// A key of anna's INBOX on one side.
fn number(side: &Cyrus, key: &str) -> u64 {
    let mut server = PrivateServer::start(side).unwrap();
    let items = server.items("USER", "anna").unwrap();
    let inbox =
        items.iter().find(|item| item.value.text("MBOXNAME").as_deref() == Some("user.anna"));
    inbox.unwrap().value.number(key).unwrap_or(0)
}

/// A flag that is set on the replica gets the modseq that the next message here gets. The message must arrive all the same:
/// once the replica's LAST_UID is past its UID, it never could. Cyrus' client sends it as well, by merging both sides; ours
/// names the flag that only the replica has.
#[test]
fn a_new_message_arrives_whatever_modseq_the_replica_has_reached() {
    let diverged = || {
        let (pair, mut here) = replicated(
            Cyrus::master().conversations(false),
            Cyrus::replica().conversations(false),
            2,
        );
        let mut there = pair.replica.login("anna").unwrap();
        there.select("INBOX").unwrap();
        there.store("1", "+FLAGS", &["\\Flagged"]).unwrap();
        drop(there);
        append(&mut here, 7);
        let reached = number(&pair.replica, "HIGHESTMODSEQ");
        assert_eq!(
            number(&pair.master, "HIGHESTMODSEQ"),
            reached,
            "the test is about equal modseqs"
        );
        pair
    };
    let messages = |pair: &Pair| {
        let mut there = pair.replica.login("anna").unwrap();
        there.examine("INBOX").unwrap();
        let mut bodies: Vec<Vec<u8>> =
            there.fetch_bodies("1:*").unwrap().into_iter().map(|(_, body)| body).collect();
        bodies.sort();
        bodies
    };

    let theirs = diverged();
    c_client::run(&theirs.master, &["-u", "anna"]).unwrap().must_succeed().unwrap();
    assert_eq!(messages(&theirs).len(), 3);

    let ours = diverged();
    let run = ours.sync(&["-u", "anna"]);
    assert!(messages(&ours) == messages(&theirs), "{}", run.stderr);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("uid 1 was changed on the replica"), "{}", run.stderr);
    // It goes on so.
    append(&mut ours.master.login("anna").unwrap(), 8);
    assert_eq!(ours.sync(&["-u", "anna"]).code, Some(1));
    assert_eq!(messages(&ours).len(), 4);
}

/// Many batches into a mailbox that the replica knows, with conversations: no batch is refused because of the state before
/// the first one.
#[test]
fn many_steps_into_a_mailbox_with_conversations() {
    let master = Cyrus::master().conversations(true).option("sync_batchsize", "3");
    let (pair, mut here) = replicated(master, Cyrus::replica().conversations(true), 3);
    for nr in 3..17 {
        append(&mut here, nr);
    }
    here.select("INBOX").unwrap();
    here.store("1,2,9", "+FLAGS", &["\\Seen"]).unwrap();
    drop(pair.master.take_syslog());
    let run = pair.sync_well(&["-u", "anna"]);
    pair.assert_equal(&["anna".to_string()]);
    let refused: Vec<_> =
        pair.master.syslog().into_iter().filter(|line| line.text.contains("NO response")).collect();
    assert!(refused.is_empty(), "{refused:?}\n{}", run.stderr);
    assert!(summary(&pair.sync_well(&["-u", "anna"])).contains(" 1 already equal"));
}

/// The modseq of conversations is lower here after they are counted again, and that of a folder after its rights were
/// changed on the replica. Replication goes on, and "unchanged" is reached.
#[test]
fn counters_that_are_higher_on_the_replica_are_no_difference() {
    let (pair, mut here) =
        replicated(Cyrus::master().conversations(true), Cyrus::replica().conversations(true), 4);
    let mut there = PrivateServer::start(&pair.replica).unwrap();
    // As the master's own client would, except for a number that is far ahead.
    let mine =
        PrivateServer::start(&pair.master).unwrap().get_named("FULLMAILBOX", "user.anna").unwrap();
    let line = String::from_utf8(mine[0].clone()).unwrap();
    let line = line.strip_prefix("* ").unwrap();
    let (before, after) = line.split_once("XCONVMODSEQ ").unwrap();
    let (_, after) = after.split_once(' ').unwrap();
    let (records, _) = after.split_once("RECORD (").unwrap();
    there.command(&format!("APPLY {before}XCONVMODSEQ 9000 {records}RECORD ())")).unwrap();
    drop(there);
    assert_eq!(number(&pair.replica, "XCONVMODSEQ"), 9000);
    let run = pair.sync_well(&["-u", "anna"]);
    assert!(summary(&run).contains(" 1 already equal"), "{}", run.stderr);
    append(&mut here, 5);
    for args in [["-u", "anna", "-v"], ["-O", "-u", "anna"]] {
        append(&mut here, 6);
        pair.sync_well(&args);
        assert_eq!(number(&pair.replica, "LAST_UID"), number(&pair.master, "LAST_UID"));
        // What the replica knows is never taken away.
        assert_eq!(number(&pair.replica, "XCONVMODSEQ"), 9000);
        let run = pair.sync_well(&args);
        assert!(summary(&run).contains(" 1 already equal"), "{}", run.stderr);
    }

    // The folder's modseq rises there with its rights, and -O restores the rights.
    let mut admin = pair.replica.admin().unwrap();
    let inbox = pair.replica.name(&["user", "anna"]);
    admin.set_acl(&inbox, "anyone", "lr").unwrap();
    assert!(number(&pair.replica, "FOLDERMODSEQ") > number(&pair.master, "FOLDERMODSEQ"));
    let run = pair.sync_well(&["-O", "-u", "anna"]);
    assert!(summary(&run).contains(" 1 replicated"), "{}", run.stderr);
    let run = pair.sync_well(&["-O", "-u", "anna"]);
    assert!(summary(&run).contains(" 1 already equal"), "{}", run.stderr);
}

/// Rolling, beside clients at work and cyr_expire, which every Cyrus runs at night: no user fails.
#[test]
fn rolling_beside_cyr_expire() {
    let master = Cyrus::master().lmtp(true).sieve(true).sync_log(&[]).conversations(true);
    let pair = Pair::with(master, Cyrus::replica().conversations(true), Via::Csync);
    let users = fill::uniform(&pair.master, 12, 3, 5, 800).unwrap();
    let mut running = pair.start_sync(&["-R", "-j", "4", "-d", "0"]);
    let options = LoadOptions { per_second: 25.0, ..LoadOptions::new(51, 3) };
    let load = Load::start_with(&pair.master, &users, &options).unwrap();
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(25) {
        pair.master.tool("cyr_expire", &["-X", "0"]).unwrap();
        std::thread::sleep(Duration::from_secs(1));
    }
    let report = load.stop().unwrap();
    settle_within(&pair, &mut running, Duration::from_secs(60));
    running.terminate();
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let failed: Vec<_> = pair
        .master
        .syslog()
        .into_iter()
        .filter(|line| line.text.contains("user replication failed"))
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
    let mut different = pair.differences(&report.present);
    different.0.retain(|d| !d.key.ends_with("XCONVMODSEQ"));
    assert!(different.is_empty(), "{different}");
    let run = pair.sync_well(&["-A"]);
    assert!(!run.stderr.contains(" replicated"), "{}", run.stderr);
}
