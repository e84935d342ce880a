//! -O: what only the replica has is never removed by accident. What was certainly removed here is removed there; a mailbox
//! with anything else is left as it is and named; `--overwrite` and `--max-deletes` set how much more may be removed.

use testkit::c_client::{self, Outcome};
use testkit::imap::Client;
use testkit::oracle::PrivateServer;
use testkit::{Cyrus, DeleteMode, Via};

use crate::common::{Pair, summary};
use crate::errors::{assert_no_bug, failure_of, path_of};

fn append(imap: &mut Client, folder: &str, nr: usize) {
    let message = format!("From: a@example.com\r\nSubject: {nr}\r\n\r\nbody of {nr}\r\n");
    imap.append(folder, &[], None, message.as_bytes()).unwrap();
}

/// Users with six messages in the INBOX and two in a folder, on both sides.
fn replicated(users: usize) -> (Pair, Vec<String>) {
    let conversations = |side: testkit::Builder| side.conversations(true);
    let pair =
        Pair::with(conversations(Cyrus::master()), conversations(Cyrus::replica()), Via::Csync);
    let users: Vec<String> = (0..users).map(|nr| format!("anna{nr}")).collect();
    for user in &users {
        pair.master.create_user(user).unwrap();
        let mut here = pair.master.login(user).unwrap();
        here.create("INBOX/folder").unwrap();
        for nr in 0..6 {
            append(&mut here, "INBOX", nr);
        }
        for nr in 6..8 {
            append(&mut here, "INBOX/folder", nr);
        }
    }
    pair.sync_well(&["-A"]);
    (pair, users)
}

/// A client that has the INBOX open.
fn client(side: &Cyrus, user: &str) -> Client {
    let mut client = side.login(user).unwrap();
    client.select("INBOX").unwrap();
    client
}

fn expire(side: &Cyrus) {
    side.tool("cyr_expire", &["-E", "0", "-X", "0", "-D", "0"]).unwrap();
}

/// All that a side says of a user's INBOX, all records.
fn inbox_of(side: &Cyrus, user: &str) -> Vec<Vec<u8>> {
    PrivateServer::start(side).unwrap().get_named("FULLMAILBOX", &format!("user.{user}")).unwrap()
}

/// A message can be appended to the INBOX on that side, and its server survives.
fn takes_a_message(side: &Cyrus, user: &str, nr: usize) {
    drop(side.take_syslog());
    append(&mut side.login(user).unwrap(), "INBOX", nr);
    let died = side.syslog().into_iter().find(|line| line.text.contains("signaled to death"));
    assert!(died.is_none(), "{died:?}");
}

/// Gives the user's INBOX there a higher UIDVALIDITY.
fn raise_uidvalidity(replica: &Cyrus, user: &str) {
    let mut server = PrivateServer::start(replica).unwrap();
    let said = server.get(&format!("MAILBOXES (user.{user})")).unwrap();
    let said = String::from_utf8(said.first().unwrap().clone()).unwrap();
    let (before, after) = said.split_once("UIDVALIDITY ").unwrap();
    let (number, after) = after.split_once(' ').unwrap();
    let number: u32 = number.parse().unwrap();
    let header = format!("{before}UIDVALIDITY {} {after}", number + 1000);
    let header = header.trim_end().trim_start_matches("* ").strip_suffix(')').unwrap();
    server.command(&format!("APPLY {header} RECORD ())")).unwrap();
}

/// What is done to a user, the text of the failure, and how many messages of its own the replica then has.
type Case = (&'static str, fn(&Pair, &str), &'static str, usize);

const IN_THE_WAY: &[Case] = &[
    (
        "mail of its own",
        |pair, user| append(&mut client(&pair.replica, user), "INBOX", 90),
        "uid 7 exists only on the replica",
        1,
    ),
    (
        "mail of its own, removed again",
        |pair, user| {
            let mut there = client(&pair.replica, user);
            append(&mut there, "INBOX", 90);
            there.remove("7").unwrap();
        },
        "the last UID is 7 on the replica and 6 here",
        0,
    ),
    (
        "mail of its own, removed and cleaned up",
        |pair, user| {
            let mut there = client(&pair.replica, user);
            append(&mut there, "INBOX", 90);
            there.remove("7").unwrap();
            drop(there);
            expire(&pair.replica);
        },
        "the last UID is 7 on the replica and 6 here",
        0,
    ),
    (
        "a flag",
        |pair, user| client(&pair.replica, user).store("2", "+FLAGS", &["\\Flagged"]).unwrap(),
        "uid 2 was changed on the replica",
        0,
    ),
    (
        "a message gone",
        |pair, user| client(&pair.replica, user).remove("3").unwrap(),
        "uid 3 is live here and gone on the replica",
        0,
    ),
    (
        "one UID, two messages",
        |pair, user| {
            append(&mut client(&pair.replica, user), "INBOX", 90);
            append(&mut client(&pair.master, user), "INBOX", 91);
        },
        "uid 7 is one message here and another on the replica",
        1,
    ),
    (
        "one UID, two messages, the one here removed",
        |pair, user| {
            append(&mut client(&pair.replica, user), "INBOX", 90);
            let mut here = client(&pair.master, user);
            append(&mut here, "INBOX", 91);
            here.remove("7").unwrap();
        },
        "uid 7 is one message here and another on the replica",
        1,
    ),
    (
        "newer mail, of which Cyrus takes one message for one that is cleaned up here",
        |pair, user| {
            let mut there = client(&pair.replica, user);
            for nr in 90..93 {
                append(&mut there, "INBOX", nr);
            }
            let mut here = client(&pair.master, user);
            append(&mut here, "INBOX", 94);
            here.remove("7").unwrap();
            drop(here);
            expire(&pair.master);
        },
        "uid 8 exists only on the replica",
        2,
    ),
    (
        "a UIDVALIDITY that went up, as after the replica served",
        |pair, user| raise_uidvalidity(&pair.replica, user),
        "UIDVALIDITY is",
        0,
    ),
];

/// Each thing that only the replica has: -O leaves that mailbox as it is, exits with 1 and names it; everything else goes
/// on, and mail can be appended to the mailbox there. With --overwrite the replica's becomes equal to ours, and the run
/// reports it.
#[test]
fn what_only_the_replica_has_stays_unless_it_may_be_overwritten() {
    let (pair, users) = replicated(IN_THE_WAY.len());
    for (user, (what, damage, words, lost)) in users.iter().zip(IN_THE_WAY) {
        println!("{user}: {what}");
        let one = std::slice::from_ref(user);
        damage(&pair, user);
        append(&mut pair.master.login(user).unwrap(), "INBOX/folder", 100);
        let inboxes = || (inbox_of(&pair.master, user), inbox_of(&pair.replica, user));
        let before = inboxes();
        let run = pair.sync(&["-O", "-u", user]);
        assert_eq!(run.code, Some(1), "{what}: {}", run.stderr);
        assert_no_bug(&run);
        let line = failure_of(&run, user);
        println!("{line}");
        assert!(line.contains(&format!("mailbox user.{user} ")), "{what}: {line}");
        assert!(line.contains(words) && line.contains("--overwrite"), "{what}: {line}");
        assert!(before == inboxes(), "{what}: changed");
        let folder = format!("user.{user}.folder");
        let left = pair.differences(one).0;
        let left = left.into_iter().find(|left| left.mailbox.as_deref() == Some(&folder));
        assert!(left.is_none(), "{what}: {left:?}");

        let run = pair.sync_well(&["-O", "--overwrite", "-u", "-v", user]);
        let told = format!("OVERWRITE user.{user} (");
        assert!(run.stdout.contains(&told), "{what}: {}", run.stdout);
        let lost = format!("{lost} message{}", if *lost == 1 { "" } else { "s" });
        let told = format!("overwritten: {user}: 1 mailbox, {lost} that only the replica had");
        assert!(run.stderr.contains(&told), "{what}: {}", run.stderr);
        pair.assert_equal(one);
        assert!(before.0 == inbox_of(&pair.master, user), "{what}: the master was changed");
        let again = pair.sync_well(&["-O", "-u", user]);
        assert!(summary(&again).contains(" 1 already equal"), "{what}: {}", again.stderr);
        // Both sides work: a message here arrives there, and then one can be appended there.
        takes_a_message(&pair.master, user, 200);
        pair.sync_well(&["-u", user]);
        pair.assert_equal(one);
        takes_a_message(&pair.replica, user, 300);
    }
}

/// What was removed here is removed there, with and without -O: expunged, expunged and cleaned up, and repeatedly.
#[test]
fn what_was_removed_here_for_certain_goes_there() {
    let (pair, users) = replicated(1);
    let mut left = vec!["1", "2,3", "4", "5"];
    for args in [["-O", "-u", "anna0"], ["-O", "-u", "anna0"], ["-u", "-v", "anna0"]] {
        client(&pair.master, "anna0").remove(left.remove(0)).unwrap();
        expire(&pair.master);
        append(&mut client(&pair.master, "anna0"), "INBOX", 50 + left.len());
        pair.sync_well(&args);
        pair.assert_equal(&users);
        let again = pair.sync_well(&args);
        assert!(summary(&again).contains(" 1 already equal"), "{}", again.stderr);
        takes_a_message(&pair.master, "anna0", 70 + left.len());
    }
    // Flagged there after it was removed here: it is removed all the same, as by Cyrus' client.
    pair.sync_well(&["-u", "anna0"]);
    client(&pair.replica, "anna0").store("5", "+FLAGS", &["\\Flagged"]).unwrap();
    client(&pair.master, "anna0").remove("5").unwrap();
    pair.sync_well(&["-O", "-u", "anna0"]);
    assert!(!client(&pair.replica, "anna0").uids().unwrap().contains(&5));
    takes_a_message(&pair.replica, "anna0", 80);
}

/// --max-deletes: counted before anything of the user is sent, with -O and without.
#[test]
fn a_user_of_whom_too_much_would_go_is_left_alone() {
    let (pair, users) = replicated(2);
    for user in &users {
        let mut here = client(&pair.master, user);
        append(&mut here, "INBOX/folder", 20);
        here.remove(if user == "anna0" { "1:4" } else { "1" }).unwrap();
    }
    let before = inbox_of(&pair.replica, "anna0");
    for one_way in ["-O", "-v"] {
        let run = pair.sync(&[one_way, "-A", "--max-deletes", "3"]);
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        let line = failure_of(&run, "anna0");
        assert!(line.contains("4 messages would be removed on the replica"), "{line}");
        assert!(line.contains("--max-deletes"), "{line}");
        assert!(before == inbox_of(&pair.replica, "anna0"));
        let mut there = pair.replica.login("anna0").unwrap();
        assert_eq!(there.examine("INBOX/folder").unwrap(), 2, "its folder was sent");
        pair.assert_equal(&users[1..]);
    }
    // Cleaned up, so that only a comparison shows it.
    expire(&pair.master);
    let run = pair.sync(&["-u", "anna0", "--max-deletes", "3"]);
    assert!(failure_of(&run, "anna0").contains("4 messages"), "{}", run.stderr);
    assert!(before == inbox_of(&pair.replica, "anna0"));
    pair.sync_well(&["-u", "anna0", "--max-deletes", "4"]);
    pair.assert_equal(&users);

    // --overwrite has a bound of its own.
    let mut there = client(&pair.replica, "anna1");
    for nr in 0..101 {
        append(&mut there, "INBOX", 1000 + nr);
    }
    drop(there);
    let before = inbox_of(&pair.replica, "anna1");
    let run = pair.sync(&["-O", "--overwrite", "-u", "anna1"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let line = failure_of(&run, "anna1");
    assert!(line.contains("101 messages") && line.contains("--max-deletes"), "{line}");
    assert!(before == inbox_of(&pair.replica, "anna1"));
    pair.sync_well(&["-O", "--overwrite", "-u", "anna1", "--max-deletes", "102"]);
    pair.assert_equal(&users);
}

/// Mailboxes count as well, all of a user if it is removed.
#[test]
fn mailboxes_count_among_what_goes() {
    let immediate = |side: testkit::Builder| side.delete_mode(DeleteMode::Immediate);
    let master = immediate(Cyrus::master()).sync_log(&[]);
    let pair = Pair::with(master, immediate(Cyrus::replica()), Via::Csync);
    for user in ["anna", "bert"] {
        pair.master.create_user(user).unwrap();
        let mut here = pair.master.login(user).unwrap();
        for folder in ["INBOX/a", "INBOX/b"] {
            here.create(folder).unwrap();
        }
    }
    pair.sync_well(&["-A"]);
    pair.sync_well(&["-1"]);
    pair.master.login("anna").unwrap().delete("INBOX/a").unwrap();
    let run = pair.sync(&["-u", "anna", "--max-deletes", "0"]);
    assert!(failure_of(&run, "anna").contains("1 mailbox would be removed"), "{}", run.stderr);
    assert!(pair.replica.login("anna").unwrap().examine("INBOX/a").is_ok());
    pair.sync_well(&["-u", "anna", "--max-deletes", "1"]);
    pair.assert_equal(&["anna".to_string()]);

    let mut admin = pair.master.admin().unwrap();
    let inbox = pair.master.name(&["user", "bert"]);
    admin.set_acl(&inbox, "cyrus", "lrswipkxtecda").unwrap();
    admin.delete(&inbox).unwrap();
    let run = pair.sync(&["-1", "--max-deletes", "2"]);
    assert_ne!(run.code, Some(0), "{}", run.stderr);
    for folder in ["INBOX", "INBOX/b"] {
        assert!(pair.replica.login("bert").unwrap().examine(folder).is_ok(), "{}", run.stderr);
    }
    pair.sync_well(&["-1", "--max-deletes", "3"]);
    assert!(pair.replica.login("bert").unwrap().examine("INBOX").is_err());
}

/// With Cyrus' client for comparison: -O onto a replica with mail of its own. Both exit with 1; after ours the next message
/// there is accepted.
#[test]
fn the_replica_takes_mail_after_a_run_that_failed() {
    let run_with = |sync: fn(&Pair) -> Outcome| {
        let (pair, _) = replicated(1);
        append(&mut client(&pair.replica, "anna0"), "INBOX", 90);
        let run = sync(&pair);
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        pair
    };
    let theirs = run_with(|pair| c_client::run(&pair.master, &["-O", "-u", "anna0"]).unwrap());
    let messages = |side: &Cyrus| side.login("anna0").unwrap().examine("INBOX").unwrap();
    assert_eq!(messages(&theirs.replica), 7);
    let ours = run_with(|pair| pair.sync(&["-O", "-u", "anna0"]));
    assert_eq!(messages(&ours.replica), 7);
    takes_a_message(&ours.replica, "anna0", 91);
    assert_eq!(messages(&ours.replica), 8);
}

/// Another mailbox of that name on the replica has the same messages, and one of ours lost its file: the copy there is the
/// only one, and was removed with its mailbox, because our index knew the message. Now it stays; with the file restored
/// ours replaces it.
#[test]
fn a_message_without_a_file_is_no_reason_to_remove_the_replicas() {
    let pair = Pair::start();
    pair.master.create_user("anna").unwrap();
    pair.sync_well(&["-u", "anna"]);
    for side in [&pair.master, &pair.replica] {
        let mut anna = side.login("anna").unwrap();
        anna.create("INBOX/x").unwrap();
        append(&mut anna, "INBOX/x", 1);
        append(&mut anna, "INBOX/x", 2);
    }
    let file = path_of(&pair.master, "-D", "user/anna/x").join("1.");
    let whole = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let run = pair.sync(&["-O", "-u", "anna"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(failure_of(&run, "anna").contains("another mailbox of this name"), "{}", run.stderr);
    let there = |folder: &str| pair.replica.login("anna").unwrap().select(folder).unwrap();
    assert_eq!(there("INBOX/x"), 2, "the only copy is gone");
    std::fs::write(&file, whole).unwrap();
    pair.sync_well(&["-O", "-u", "anna"]);
    pair.assert_equal(&["anna".to_string()]);
}

/// A mailbox without records there looks like one that was left half made. If its last UID was never assigned here it had
/// mail of its own: it was made again with a lower one, and its UIDs were assigned twice under one UIDVALIDITY.
#[test]
fn an_emptied_mailbox_of_the_replica_keeps_its_last_uid() {
    let pair = Pair::start();
    pair.master.create_user("anna").unwrap();
    pair.master.login("anna").unwrap().create("INBOX/x").unwrap();
    let fill_and_empty = |side: &Cyrus, messages: usize| {
        let mut anna = side.login("anna").unwrap();
        for nr in 0..messages {
            append(&mut anna, "INBOX/x", nr);
        }
        anna.select("INBOX/x").unwrap();
        anna.remove("1:*").unwrap();
        drop(anna);
        expire(side);
    };
    let last_uid = || {
        let mut server = PrivateServer::start(&pair.replica).unwrap();
        let said = server.get_named("FULLMAILBOX", "user.anna.x").unwrap();
        String::from_utf8_lossy(&said[0]).contains("LAST_UID 3 ")
    };
    fill_and_empty(&pair.master, 1);
    pair.sync_well(&["-u", "anna"]);
    fill_and_empty(&pair.replica, 2);
    let run = pair.sync(&["-O", "-u", "anna"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let words = "the last UID is 3 on the replica and 1 here";
    assert!(failure_of(&run, "anna").contains(words), "{}", run.stderr);
    assert!(last_uid(), "it was lowered");
    pair.sync_well(&["-O", "--overwrite", "-u", "anna"]);
    pair.assert_equal(&["anna".to_string()]);
}
