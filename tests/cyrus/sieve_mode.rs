//! `-s`: scripts, subscriptions and seen state alone, beside Cyrus' client on a copy of the same pair.

use std::fs;

use testkit::oracle::{self, PrivateServer};
use testkit::relay::Relay;
use testkit::{Cyrus, Via, c_client};

use crate::common::{Pair, summary};

/// What a server says of a user's data outside mailboxes, in no order. It reports scripts in any case.
fn meta(server: &Cyrus, user: &str) -> Vec<String> {
    let mut server = PrivateServer::start_plain(server).unwrap();
    let lines = server.get_named("META", user).unwrap();
    let mut lines: Vec<String> =
        lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    lines.sort();
    lines
}

/// A pair of which both sides were equal, and users with new scripts, subscriptions and seen state, and a new message.
fn changed(sieve_mailbox: bool) -> (Pair, Option<Relay>) {
    let mut pair = Pair::with(Cyrus::master().sieve(true), Cyrus::replica(), Via::Csync);
    let relay = (!sieve_mailbox).then(|| hidden(&mut pair));
    for user in ["anna", "bert"] {
        pair.master.create_user(user).unwrap();
        let mut client = pair.master.login(user).unwrap();
        client.create("INBOX/a").unwrap();
        client.subscribe("INBOX/a").unwrap();
        client.append("INBOX", &[], None, b"Subject: one\r\n\r\nOne.\r\n").unwrap();
        let mut sieve = pair.master.access().sieve(user).unwrap();
        sieve.put("first", "keep;\r\n").unwrap();
        sieve.activate("first").unwrap();
    }
    let mut admin = pair.master.admin().unwrap();
    admin.create("news").unwrap();
    admin.set_acl("news", testkit::cyrus::ADMIN, "lrswipkxtecda").unwrap();
    admin.set_acl("news", "anyone", "lrs").unwrap();
    admin.append("news", &[], None, b"Subject: news\r\n\r\nNews.\r\n").unwrap();
    pair.sync_well(&["-A"]);
    for user in ["anna", "bert"] {
        let mut client = pair.master.login(user).unwrap();
        client.append("INBOX", &[], None, b"Subject: two\r\n\r\nTwo.\r\n").unwrap();
        client.subscribe("INBOX").unwrap();
        client.unsubscribe("INBOX/a").unwrap();
        client.select("news").unwrap();
        client.store("1", "+FLAGS", &["\\Seen"]).unwrap();
        client.unselect().unwrap();
        let mut sieve = pair.master.access().sieve(user).unwrap();
        sieve.put("second", "discard;\r\n").unwrap();
        sieve.activate("second").unwrap();
        sieve.delete("first").unwrap();
    }
    (pair, relay)
}

/// From now on the replica seems not to accept #sieve mailboxes.
fn hidden(pair: &mut Pair) -> Relay {
    let relay = Relay::start(pair.replica.csync_port().unwrap()).unwrap();
    relay.hide("SIEVE-MAILBOX");
    pair.master.replicate_to_port(relay.port(), Via::Csync).unwrap();
    relay
}

/// Of the named user scripts, subscriptions and seen state arrive, and nothing else; of the other user nothing does.
fn assert_only_meta_of_anna(pair: &Pair) {
    assert_eq!(meta(&pair.replica, "anna"), meta(&pair.master, "anna"));
    assert_ne!(meta(&pair.replica, "bert"), meta(&pair.master, "bert"));
    let lines = pair.differences(&["anna".into()]);
    let mailboxes = lines.0.iter().map(|line| line.mailbox.as_deref());
    assert!(!lines.is_empty(), "the new message was not asked for");
    assert!(mailboxes.into_iter().all(|name| name == Some("user.anna")), "{lines}");
}

/// Replicas that take scripts one by one get the same from both clients.
#[test]
fn what_an_old_replica_gets_is_as_from_the_c_client() {
    let (pair, _relay) = changed(false);
    let mut twin = Pair::with(Cyrus::master().sieve(true), Cyrus::replica(), Via::Csync);
    twin.master.become_copy_of(&pair.master).unwrap();
    twin.replica.become_copy_of(&pair.replica).unwrap();
    twin.replica.start().unwrap();
    let _twins_relay = hidden(&mut twin);
    c_client::run(&twin.master, &["-s", "anna"]).unwrap().must_succeed().unwrap();
    let run = pair.sync_well(&["-v", "-s", "anna"]);
    assert!(summary(&run).starts_with("1 user: 1 replicated"), "{}", run.stderr);
    assert!(run.stdout.contains("META anna\n"), "{}", run.stdout);
    assert_eq!(meta(&pair.replica, "anna"), meta(&twin.replica, "anna"));
    // The replica itself makes messages of scripts that come one by one, and each makes others.
    let mut lines = oracle::compare(&twin.replica, &pair.replica, &["anna", "bert"]).unwrap();
    lines.0.retain(|line| line.mailbox.as_deref() != Some("user.anna.#sieve"));
    assert!(lines.is_empty(), "{lines}");
    assert!(meta(&pair.replica, "anna").iter().any(|line| line.contains("second.script")));
    let again = pair.sync_well(&["-s", "anna"]);
    assert_eq!(summary(&again), "1 user: 1 already equal");
}

/// Where scripts are in a #sieve mailbox, Cyrus' client leaves them out, and ours sends that mailbox.
#[test]
fn scripts_in_a_mailbox_arrive() {
    let (pair, _) = changed(true);
    pair.sync_well(&["-s", "anna"]);
    assert_only_meta_of_anna(&pair);
    let again = pair.sync_well(&["-s", "anna"]);
    assert_eq!(summary(&again), "1 user: 1 already equal");
}

/// Users from a file; one that is unknown here, or has been removed, fails by name.
#[test]
fn unknown_users_fail_by_name() {
    let (pair, _) = changed(true);
    let file = pair.master.dir().join("users");
    fs::write(&file, "nobody\n# bert\nanna\n").unwrap();
    let run = pair.sync(&["-s", "-f", file.to_str().unwrap()]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let said = "2 users: 1 replicated, 1 without an INBOX";
    assert!(summary(&run).starts_with(said), "{}", run.stderr);
    let said = "sync_client: no such user: \"nobody\" has no INBOX on this server\n";
    assert!(run.stderr.contains(said), "{}", run.stderr);
    assert_only_meta_of_anna(&pair);
}

/// A user who has no script, no subscription and no seen state, and one whom the replica does not have yet.
#[test]
fn users_with_little() {
    let pair = Pair::with(Cyrus::master().sieve(true), Cyrus::replica(), Via::Csync);
    for user in ["anna", "bert"] {
        pair.master.create_user(user).unwrap();
    }
    pair.master.access().sieve("bert").unwrap().put("mine", "keep;\r\n").unwrap();
    pair.sync_well(&["-u", "anna"]);
    let run = pair.sync_well(&["-s", "anna"]);
    assert_eq!(summary(&run), "1 user: 1 already equal");
    pair.sync_well(&["-s", "bert"]);
    assert_eq!(meta(&pair.replica, "bert"), meta(&pair.master, "bert"));
}
