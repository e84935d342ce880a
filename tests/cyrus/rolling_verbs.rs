//! Each verb of the log alone: the change arrives and leaves the replica equal.

use std::io::Write;
use std::time::Duration;

use testkit::fill;
use testkit::oracle::{self, PrivateServer};
use testkit::relay::Relay;
use testkit::{Cyrus, DeleteMode, Via};

use crate::common::{Pair, Running};
use crate::rolling::{logging_pair, settle};

fn rolling(pair: &Pair) -> Running {
    pair.start_sync(&["-R", "-d", "0", "-v"])
}

fn message(text: &str) -> Vec<u8> {
    format!("From: a@example.com\r\nSubject: {text}\r\n\r\n{text}\r\n").into_bytes()
}

/// Users that are created, removed and created again under the same name; the removed one's mailboxes stay below DELETED on
/// both sides.
#[test]
fn users_come_and_go() {
    let pair = logging_pair();
    let mut running = rolling(&pair);
    let users = fill::uniform(&pair.master, 3, 3, 4, 500).unwrap();
    settle(&pair, &mut running);
    pair.assert_equal(&users);
    let (gone, others) = users.split_first().unwrap();
    pair.master.login(gone).unwrap().subscribe("INBOX/folder1").unwrap();
    settle(&pair, &mut running);
    let mut admin = pair.master.admin().unwrap();
    let inbox = pair.master.name(&["user", gone]);
    admin.set_acl(&inbox, "cyrus", "lrswipkxtecda").unwrap();
    admin.delete(&inbox).unwrap();
    settle(&pair, &mut running);
    assert!(running.stdout().contains(&format!("UNUSER {gone}\n")), "{}", running.stdout());
    // What is left of it is below DELETED, on both sides.
    pair.assert_equal(&users);

    // A new user of that name, with other data.
    pair.master.create_user(gone).unwrap();
    let mut client = pair.master.login(gone).unwrap();
    client.append("INBOX", &[], None, &message("new")).unwrap();
    client.create("INBOX/folder1").unwrap();
    client.append("INBOX/folder1", &[], None, &message("new too")).unwrap();
    settle(&pair, &mut running);
    pair.assert_equal(&users);

    // Removed and created again before the log was read: one pass sees both.
    running.terminate();
    assert_eq!(running.wait().code, Some(0));
    // A deleted mailbox's name contains the second of its deletion: a name can't be deleted twice in one second.
    std::thread::sleep(Duration::from_millis(2100));
    let mut admin = pair.master.admin().unwrap();
    admin.set_acl(&inbox, "cyrus", "lrswipkxtecda").unwrap();
    admin.delete(&inbox).unwrap();
    pair.master.create_user(gone).unwrap();
    pair.master.login(gone).unwrap().append("INBOX", &[], None, &message("third")).unwrap();
    let mut running = rolling(&pair);
    settle(&pair, &mut running);
    pair.assert_equal(&users);
    pair.assert_equal(others);
}

/// Users that were created and removed again, with all their data, before the log was read: what is left of them below
/// DELETED arrives, including their Sieve scripts.
#[test]
fn users_who_are_gone_before_they_arrive() {
    let pair = Pair::with(Cyrus::master().sieve(true).sync_log(&[]), Cyrus::replica(), Via::Csync);
    let users = fill::uniform(&pair.master, 2, 3, 4, 500).unwrap();
    let mut admin = pair.master.admin().unwrap();
    for user in &users {
        let mut sieve = pair.master.access().sieve(user).unwrap();
        sieve.put("first", "keep;\r\n").unwrap();
        sieve.put("second", "discard;\r\n").unwrap();
        sieve.activate("first").unwrap();
        drop(sieve);
        let inbox = pair.master.name(&["user", user]);
        admin.set_acl(&inbox, "cyrus", "lrswipkxtecda").unwrap();
        admin.delete(&inbox).unwrap();
    }
    let mut running = rolling(&pair);
    settle(&pair, &mut running);
    pair.assert_equal(&users);
}

/// A mailbox of which only the new name is in the log is found under its former one, without a refusal by the replica.
#[test]
fn former_names_are_asked_for() {
    let pair = logging_pair();
    let users = fill::uniform(&pair.master, 1, 2, 3, 500).unwrap();
    pair.sync_well(&["-1"]);
    let user = &users[0];
    pair.master.login(user).unwrap().rename("INBOX/folder1", "INBOX/later").unwrap();
    let log = pair.master.config_dir().join("sync/log");
    std::fs::write(&log, format!("MAILBOX user.{user}.later\n")).unwrap();
    let run = pair.sync_well(&["-1", "-v"]);
    let asked = run.stdout.lines().find(|line| line.starts_with("MAILBOXES ")).unwrap();
    assert!(asked.contains(&format!("user.{user}.folder1")), "{asked}");
    assert!(run.stdout.contains(&format!("RENAME user.{user}.folder1 -> user.{user}.later")));
    let refused = pair.master.syslog().into_iter().any(|line| line.text.contains("NO response"));
    assert!(!refused);
    pair.assert_equal(&users);
}

/// Scripts of a user arrive at a replica that does not accept #sieve mailboxes, such as those before 3.6.
#[test]
fn scripts_reach_old_replicas() {
    let mut pair =
        Pair::with(Cyrus::master().sieve(true).sync_log(&[]), Cyrus::replica(), Via::Csync);
    let relay = Relay::start(pair.replica.csync_port().unwrap()).unwrap();
    relay.hide("SIEVE-MAILBOX");
    pair.master.replicate_to_port(relay.port(), Via::Csync).unwrap();
    let users = fill::uniform(&pair.master, 1, 2, 3, 500).unwrap();
    let mut running = rolling(&pair);
    settle(&pair, &mut running);
    let sieve = || pair.master.access().sieve(&users[0]).unwrap();
    let scripts = || {
        let mut server = PrivateServer::start_plain(&pair.replica).unwrap();
        let lines = server.get(&format!("META {}", users[0])).unwrap();
        let lines = lines.iter().map(|line| String::from_utf8_lossy(line).into_owned());
        let mut found: Vec<String> = lines.filter(|line| line.contains("SIEVE")).collect();
        found.sort();
        found
    };
    sieve().put("first", "keep;\r\n").unwrap();
    sieve().put("second", "discard;\r\n").unwrap();
    sieve().activate("first").unwrap();
    settle(&pair, &mut running);
    let found = scripts().join("\n");
    assert!(found.contains("first.script") && found.contains("second.script"), "{found}");
    assert!(found.contains("first.bc"), "{found}");
    sieve().activate("second").unwrap();
    sieve().delete("first").unwrap();
    settle(&pair, &mut running);
    let found = scripts().join("\n");
    assert!(!found.contains("first.") && found.contains("second.bc"), "{found}");
}

/// A replica that gets a mailbox below one it does not have creates that one, with a unique id that nobody knows. We avoid
/// that if possible, and a mailbox that it created makes room.
#[test]
fn parents_come_before_their_children() {
    let pair = logging_pair();
    let users = fill::uniform(&pair.master, 1, 2, 3, 500).unwrap();
    let user = &users[0];
    let mut client = pair.master.login(user).unwrap();
    for name in ["INBOX/up", "INBOX/up/middle", "INBOX/up/middle/down"] {
        client.create(name).unwrap();
        client.append(name, &[], None, &message(name)).unwrap();
    }
    // Only the lowest one is in the log, as if the others' lines came a moment later.
    let log = pair.master.config_dir().join("sync/log");
    std::fs::write(&log, format!("MAILBOX user.{user}.up.middle.down\n")).unwrap();
    pair.sync_well(&["-1"]);
    let asked = format!("MAILBOXES (user.{user} user.{user}.up user.{user}.up.middle)");
    let lines = |cyrus: &Cyrus| PrivateServer::start(cyrus).unwrap().get(&asked).unwrap();
    assert_eq!(lines(&pair.master), lines(&pair.replica));
    let mut there = pair.replica.admin().unwrap();
    there.create(&pair.replica.name(&["user", user, "other"])).unwrap();
    client.create("INBOX/other").unwrap();
    let mut running = rolling(&pair);
    client.append("INBOX/other", &[], None, &message("other")).unwrap();
    std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(&log)
        .and_then(|mut log| writeln!(log, "USER {user}"))
        .unwrap();
    settle(&pair, &mut running);
    pair.assert_equal(&users);
}

/// As [`Pair::assert_equal`], without the modseq of conversations: on the master a mailbox that came from another user has
/// none (3.6.1), on the replica it gets one, and no command removes it.
fn assert_equal_but_for_conversations(pair: &Pair, users: &[String]) {
    let ignore = oracle::Ignore { absent_users: true, ..oracle::Ignore::default() };
    let mut report = oracle::compare_with(&pair.master, &pair.replica, users, ignore).unwrap();
    report.0.retain(|difference| !difference.key.ends_with("XCONVMODSEQ"));
    assert!(report.is_empty(), "{report}");
}

/// A mailbox that an admin gives from one user to another is renamed on the replica, not sent again, whichever of the two
/// comes first; so is a renamed user.
#[test]
fn mailboxes_go_from_user_to_user() {
    let master = Cyrus::master().sync_log(&[]).option("allowusermoves", "yes");
    let replica = Cyrus::replica().option("allowusermoves", "yes");
    let pair = Pair::with(master, replica, Via::Csync);
    let mut running = rolling(&pair);
    let users = fill::uniform(&pair.master, 4, 3, 4, 500).unwrap();
    settle(&pair, &mut running);
    let mut admin = pair.master.admin().unwrap();
    for (from, to) in [(0, 1), (3, 2)] {
        for (user, folder) in [(from, "folder1"), (to, "")] {
            let name = pair.master.name(&["user", &users[user], folder]);
            admin.set_acl(name.trim_end_matches('/'), "cyrus", "lrswipkxtecda").unwrap();
        }
        let name = |user: usize, folder| pair.master.name(&["user", &users[user], folder]);
        admin.rename(&name(from, "folder1"), &name(to, "gift")).unwrap();
    }
    settle(&pair, &mut running);
    assert_equal_but_for_conversations(&pair, &users);
    let said = running.stdout();
    for (from, to) in [(0, 1), (3, 2)] {
        let line = format!("RENAME user.{}.folder1 -> user.{}.gift", users[from], users[to]);
        assert!(said.contains(&line), "{said}");
    }

    // Only half of it is in the log: we find the other user's half.
    running.terminate();
    assert_eq!(running.wait().code, Some(0));
    let name = |user: usize, folder| pair.master.name(&["user", &users[user], folder]);
    admin.set_acl(&name(0, "folder2"), "cyrus", "lrswipkxtecda").unwrap();
    admin.rename(&name(0, "folder2"), &name(1, "second")).unwrap();
    let log = pair.master.config_dir().join("sync/log");
    std::fs::write(&log, format!("MAILBOX user.{}.folder2\n", users[0])).unwrap();
    let mut running = rolling(&pair);
    settle(&pair, &mut running);
    assert_equal_but_for_conversations(&pair, &users);

    let everybody = [users.clone(), vec!["renamed".to_string()]].concat();
    let (old, new) =
        (pair.master.name(&["user", &users[3]]), pair.master.name(&["user", "renamed"]));
    admin.set_acl(&old, "cyrus", "lrswipkxtecda").unwrap();
    admin.rename(&old, &new).unwrap();
    settle(&pair, &mut running);
    assert_equal_but_for_conversations(&pair, &everybody);
    let said = running.stdout();
    let line = format!("RENAME user.{} -> user.renamed", users[3]);
    assert!(said.contains(&line), "{said}");
}

/// The server's own annotations, shared mailboxes, seen state of others' mailboxes, Sieve scripts and limits.
#[test]
fn what_is_no_users_mailbox() {
    let pair = logging_pair();
    let mut running = rolling(&pair);
    let users = fill::uniform(&pair.master, 2, 2, 3, 500).unwrap();
    let (anna, bert) = (users[0].as_str(), users[1].as_str());
    let mut admin = pair.master.admin().unwrap();
    admin.create("shared").unwrap();
    admin.set_acl("shared", "anyone", "lrsip").unwrap();
    admin.set_metadata("", "/shared/comment", Some("the server's")).unwrap();
    admin.set_quota(&pair.master.name(&["user", anna]), &[("STORAGE", 5000)]).unwrap();
    let mut client = pair.master.login(anna).unwrap();
    client.append("shared", &[], None, &message("for all")).unwrap();
    client.subscribe("shared").unwrap();
    let mut client = pair.master.login(bert).unwrap();
    client.select("shared").unwrap();
    client.store("1", "+FLAGS", &["\\Seen"]).unwrap();
    client.unselect().unwrap();
    settle(&pair, &mut running);
    pair.assert_equal(&users);
    for asked in ["ANNOTATION \"\"", "MAILBOXES (shared)"] {
        let lines = |cyrus: &Cyrus| PrivateServer::start(cyrus).unwrap().get(asked).unwrap();
        let (here, there) = (lines(&pair.master), lines(&pair.replica));
        assert_eq!(here.len(), 1, "{asked}");
        assert_eq!(here, there, "{asked}");
    }
    let said = running.stdout();
    for line in ["ANNOTATION \"\"\n", "META ", "QUOTA user."] {
        assert!(said.contains(line), "no {line} in\n{said}");
    }

    // And all of it is removed again.
    admin.set_metadata("", "/shared/comment", None).unwrap();
    admin.set_quota(&pair.master.name(&["user", anna]), &[]).unwrap();
    admin.set_acl("shared", "cyrus", "lrswipkxtecda").unwrap();
    admin.delete("shared").unwrap();
    pair.master.login(anna).unwrap().unsubscribe("shared").unwrap();
    settle(&pair, &mut running);
    pair.assert_equal(&users);
    let lines = |cyrus: &Cyrus, what: &str| PrivateServer::start(cyrus).unwrap().get(what).unwrap();
    assert!(lines(&pair.replica, "ANNOTATION \"\"").is_empty());
    assert!(lines(&pair.replica, "MAILBOXES (shared)").is_empty());
}

/// A user with a second quota root is removed and made again, and its folder only after that was replicated: the old
/// user's root, which nothing here names any more, does not stay behind and count the new folder.
#[test]
fn a_user_made_again_inherits_no_quota_root() {
    let modes = [DeleteMode::Delayed, DeleteMode::Immediate];
    let by = [&["-R", "-1"][..], &["-u", "guest"]];
    for (mode, args) in modes.into_iter().flat_map(|mode| by.map(|args| (mode, args))) {
        let master = Cyrus::master().delete_mode(mode).sync_log(&[]);
        let pair = Pair::with(master, Cyrus::replica().delete_mode(mode), Via::Csync);
        let mut admin = pair.master.admin().unwrap();
        let [inbox, sent] =
            [&["user", "guest"][..], &["user", "guest", "Sent"]].map(|name| pair.master.name(name));
        pair.master.create_user("guest").unwrap();
        pair.master.login("guest").unwrap().create("INBOX/Sent").unwrap();
        admin.set_quota(&sent, &[("STORAGE", 800_000)]).unwrap();
        pair.sync_well(&["-R", "-1"]);
        admin.set_acl(&inbox, "cyrus", "lrswipkxtecda").unwrap();
        admin.delete(&inbox).unwrap();
        pair.master.create_user("guest").unwrap();
        pair.sync_well(args);
        let mut guest = pair.master.login("guest").unwrap();
        guest.create("INBOX/Sent").unwrap();
        guest.append("INBOX/Sent", &[], None, &message("new")).unwrap();
        pair.sync_well(args);
        pair.assert_equal(&["guest".to_string()]);
    }
}
