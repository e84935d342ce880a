//! `-m`: some mailboxes alone, beside Cyrus' client on a copy of the same pair.

use std::fs;

use embedded_replica::{Fault, Options, Replica};
use testkit::oracle::{self, PrivateServer, Report};
use testkit::{Builder, Cyrus, DeleteMode, Via, c_client, fill};

use crate::common::{Pair, summary};
use crate::locks::try_lock;

/// A message of its own.
fn message(text: &str) -> Vec<u8> {
    format!("From: a@example.com\r\nSubject: {text}\r\n\r\n{text}\r\n").into_bytes()
}

/// A copy of the pair, for Cyrus' client.
fn twin_of(pair: &Pair, like: fn(Builder) -> Builder) -> Pair {
    let mut twin = Pair::with(like(Cyrus::master()), like(Cyrus::replica()), Via::Csync);
    twin.master.become_copy_of(&pair.master).unwrap();
    twin.replica.become_copy_of(&pair.replica).unwrap();
    twin.replica.start().unwrap();
    twin.master.replicate_to(&twin.replica, Via::Csync).unwrap();
    twin
}

/// Runs Cyrus' client.
fn theirs(twin: &Pair, args: &[&str]) {
    let run = c_client::run(&twin.master, args).unwrap();
    let log: Vec<String> = twin.master.syslog().into_iter().map(|line| line.text).collect();
    assert_eq!(run.code, Some(0), "{log:#?}");
}

/// What a server says of these mailboxes; without a counter that no message depends on.
pub(crate) fn lines(server: &Cyrus, names: &str) -> Vec<String> {
    let lines = PrivateServer::start(server).unwrap().get(&format!("MAILBOXES ({names})")).unwrap();
    let text = |line: &Vec<u8>| String::from_utf8_lossy(line).into_owned();
    let without = |line: String| match line.split_once(" XCONVMODSEQ ") {
        Some((before, rest)) => {
            format!("{before} {}", rest.split_once(' ').map_or("", |(_, rest)| rest))
        }
        None => line,
    };
    lines.iter().map(text).map(without).collect()
}

/// The mailboxes in which two servers differ.
fn mailboxes_in(report: &Report) -> Vec<&str> {
    let mut names: Vec<&str> = report.0.iter().filter_map(|d| d.mailbox.as_deref()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// A pair of which both sides were equal, and a master that has changed since: of anna and bert each a new mailbox, a
/// changed, a renamed and a deleted one, and a changed one that nobody will name. A changed shared mailbox, and a new one.
fn changed(like: fn(Builder) -> Builder) -> Pair {
    let pair = Pair::with(like(Cyrus::master()), like(Cyrus::replica()), Via::Csync);
    let mut admin = pair.master.admin().unwrap();
    admin.create("news").unwrap();
    admin.set_acl("news", testkit::cyrus::ADMIN, "lrswipkxtecda").unwrap();
    for user in ["anna", "bert"] {
        pair.master.create_user(user).unwrap();
        let mut client = pair.master.login(user).unwrap();
        for name in ["kept", "old", "gone", "other"].map(|name| format!("INBOX/{name}")) {
            client.create(&name).unwrap();
            client.append(&name, &["\\Flagged"], None, &message(&name)).unwrap();
        }
    }
    pair.sync_well(&["-A"]);
    for user in ["anna", "bert"] {
        let mut client = pair.master.login(user).unwrap();
        client.create("INBOX/new").unwrap();
        client.rename("INBOX/old", "INBOX/named").unwrap();
        client.delete("INBOX/gone").unwrap();
        for name in ["new", "kept", "named", "other"].map(|name| format!("INBOX/{name}")) {
            client.append(&name, &[], None, &message(&format!("later, {user} {name}"))).unwrap();
        }
        client.select("INBOX/kept").unwrap();
        client.store("1", "+FLAGS", &["\\Answered", "mine"]).unwrap();
    }
    admin.append("news", &[], None, &message("shared")).unwrap();
    admin.create("lists").unwrap();
    admin.set_acl("lists", testkit::cyrus::ADMIN, "lrswipkxtecda").unwrap();
    admin.append("lists", &[], None, &message("shared, too")).unwrap();
    pair
}

/// All that were named in one go, in two users and the shared mailboxes.
const NAMED: [&str; 10] = [
    "user/anna/new",
    "user/anna/kept",
    "user/anna/named",
    "user/anna/gone",
    "news",
    "user/bert/named",
    "user/bert/gone",
    "user/bert/new",
    "user/bert/kept",
    "lists",
];

/// Ours and Cyrus' client leave replicas that are alike, except that only ours removes a deleted mailbox.
fn as_theirs(like: fn(Builder) -> Builder) {
    let pair = changed(like);
    let twin = twin_of(&pair, like);
    let args = [&["-m"][..], &NAMED].concat();
    // Without the former names it gives up: "Mailbox has been moved to another server".
    let former = ["user/anna/old", "user/bert/old"];
    theirs(&twin, &[&args[..], &former].concat());
    let run = pair.sync_well(&[&["-v"][..], &args].concat());
    let said = "10 mailboxes (2 users): 2 replicated, shared mailboxes replicated; sent 8 messages";
    assert!(summary(&run).starts_with(said), "{}", run.stderr);

    let users = ["anna", "bert"].map(str::to_owned);
    let report = oracle::compare(&twin.replica, &pair.replica, &users).unwrap();
    let differ = mailboxes_in(&report);
    assert!(!differ.is_empty() && differ.iter().all(|name| name.contains(".gone")), "{report}");
    assert_eq!(lines(&pair.replica, "news lists"), lines(&twin.replica, "news lists"));
    // What was not named has not changed there.
    let report = pair.differences(&users);
    assert_eq!(mailboxes_in(&report), ["user.anna.other", "user.bert.other"], "{report}");
    assert_eq!(lines(&pair.replica, "news lists"), lines(&pair.master, "news lists"));
    // A renamed mailbox is renamed: its first message is not sent again.
    let renamed = "RENAME user.anna.old -> user.anna.named (default)\n";
    assert!(run.stdout.contains(renamed), "{}", run.stdout);

    let again = pair.sync_well(&args);
    let said = "10 mailboxes (2 users): 2 already equal, shared mailboxes already equal";
    assert_eq!(summary(&again), said, "{}", again.stderr);
    // A name that both sides had and have no more is equal, too.
    let again = pair.sync_well(&[&["-m"][..], &former].concat());
    assert_eq!(summary(&again), "2 mailboxes (2 users): 2 already equal", "{}", again.stderr);
    let run = pair.sync_well(&["-m", "user.anna.other", "user.bert.other"]);
    assert!(summary(&run).starts_with("2 mailboxes (2 users): 2 replicated"), "{}", run.stderr);
    pair.assert_equal(&users);
}

#[test]
fn named_mailboxes_are_as_after_the_c_client() {
    as_theirs(|builder| builder);
}

// Only a tombstone shows that a mailbox was deleted.
#[test]
fn named_mailboxes_where_deletion_is_immediate() {
    as_theirs(|builder| builder.delete_mode(DeleteMode::Immediate));
}

/// Names from a file; those that are nowhere or no names at all fail by name, and the others are done. Cyrus' client ends
/// with 0.
#[test]
fn names_that_are_nowhere() {
    let like = |builder: Builder| builder;
    let pair = changed(like);
    let twin = twin_of(&pair, like);
    let file = pair.master.dir().join("names");
    let names = "# these\nuser/anna/kept\n\nuser/anna/nowhere\nuser/nobody/x\nnowhere\nlists\n";
    fs::write(&file, names).unwrap();
    let args = ["-m", "-f", file.to_str().unwrap()];
    theirs(&twin, &args);
    fs::write(&file, format!("{names}a/b^c\n")).unwrap();
    let run = pair.sync(&args);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let said = "5 mailboxes (2 users): 2 failed, shared mailboxes failed; sent 2 messages";
    assert!(summary(&run).starts_with(said), "{}", run.stderr);
    for line in [
        "failed: anna: no such mailbox: user.anna.nowhere is neither here nor on the replica\n",
        "failed: nobody: no such mailbox: user.nobody.x is neither here nor on the replica\n",
        "failed: shared mailboxes: no such mailbox: nowhere is neither here nor on the replica\n",
        "failed: \"a/b^c\" can't be the name of a mailbox\n",
    ] {
        assert!(run.stderr.contains(&format!("sync_client: {line}")), "{line}: {}", run.stderr);
    }
    let report = oracle::compare(&twin.replica, &pair.replica, &["anna", "bert"]).unwrap();
    assert!(report.is_empty(), "{report}");
    assert_eq!(lines(&pair.replica, "lists"), lines(&twin.replica, "lists"));

    // One that only the replica has is not removed without proof, and not called equal.
    let mut there = pair.replica.admin().unwrap();
    there.create("user/anna/theirs").unwrap();
    let run = pair.sync(&["-m", "user/anna/theirs", "user/bert/new"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let said = "failed: anna: mailbox user.anna.theirs: only the replica has it";
    assert!(run.stderr.contains(said), "{}", run.stderr);
    assert!(summary(&run).contains("1 replicated, 1 failed"), "{}", run.stderr);
    assert_eq!(there.list("", "user/anna/theirs").unwrap(), ["user/anna/theirs"]);
}

/// A mailbox that was given to another user is renamed, with the locks of both, whichever name is named.
#[test]
fn a_mailbox_that_went_to_another_user() {
    let pair = changed(|builder| builder);
    let mut admin = pair.master.admin().unwrap();
    let users = ["anna", "bert"].map(str::to_owned);
    pair.sync_well(&["-A"]);
    for user in &users {
        let inbox = pair.master.name(&["user", user, "*"]);
        for name in admin.list("", &inbox).unwrap() {
            admin.set_acl(&name, testkit::cyrus::ADMIN, "lrswipkxtecda").unwrap();
        }
    }
    admin.rename("user/anna/kept", "user/bert/given").unwrap();
    admin.rename("user/bert/other", "user/anna/taken").unwrap();
    let run = pair.sync_well(&["-v", "-m", "user/anna/kept", "user/anna/taken"]);
    for line in [
        "RENAME user.anna.kept -> user.bert.given (default)\n",
        "RENAME user.bert.other -> user.anna.taken (default)\n",
    ] {
        assert!(run.stdout.contains(line), "{line}: {}", run.stdout);
    }
    assert!(!run.stderr.contains("; sent "), "{}", run.stderr);
    let all = "user.bert.given user.anna.taken user.anna.kept user.bert.other";
    assert_eq!(lines(&pair.replica, all), lines(&pair.master, all));
}

/// As above, and the new name is named: the replica has the mailbox under the other user's name. It was renamed beside
/// someone who held that user's lock.
#[test]
fn the_lock_of_the_former_owner_is_taken() {
    let pair = changed(|builder| builder);
    pair.sync_well(&["-A"]);
    let mut admin = pair.master.admin().unwrap();
    admin.set_acl("user/anna/kept", testkit::cyrus::ADMIN, "lrswipkxtecda").unwrap();
    admin.rename("user/anna/kept", "user/bert/given").unwrap();
    let lock = try_lock(&pair.master, "anna").unwrap();
    let run = pair.sync(&["-N", "-v", "-m", "user/bert/given"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(!run.stdout.contains("RENAME"), "{}", run.stdout);
    drop(lock);
    let run = pair.sync_well(&["-v", "-m", "user/bert/given"]);
    assert!(run.stdout.contains("RENAME user.anna.kept -> user.bert.given"), "{}", run.stdout);
}

/// The options of -u hold here, too: -N, -o, --max-deletes, -p, and a file that excludes a user.
#[test]
fn the_options_hold() {
    let mut pair = changed(|builder| builder);
    let lock = try_lock(&pair.master, "anna").unwrap();
    let run = pair.sync(&["-N", "-m", "user/anna/new", "user/bert/new"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let said = "2 mailboxes (2 users): 1 replicated, 1 locked; sent 1 message";
    assert!(summary(&run).starts_with(said), "{}", run.stderr);
    drop(lock);

    let skip = pair.master.config_dir().join("sync/skipuser-anna");
    fs::write(&skip, "").unwrap();
    let run = pair.sync(&["-m", "user/anna/new"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("skipped: anna: there is a skipuser file\n"), "{}", run.stderr);
    fs::remove_file(&skip).unwrap();

    let mut client = pair.master.login("bert").unwrap();
    client.select("INBOX/kept").unwrap();
    client.remove("1:*").unwrap();
    let run = pair.sync(&["-O", "--max-deletes", "0", "-m", "user/bert/kept"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("--max-deletes permits 0"), "{}", run.stderr);
    pair.sync_well(&["-O", "--max-deletes", "1", "-m", "user/bert/kept"]);

    pair.sync_well(&["-p", "second", "-m", "user/anna/new"]);
    let said = lines(&pair.replica, "user.anna.new");
    assert!(said[0].contains("PARTITION second"), "{said:?}");

    pair.replica.stop();
    let run = pair.sync(&["-o", "-m", "user/anna/new"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
}

/// Many users in one run, at the same time.
#[test]
fn mailboxes_of_many_users() {
    let pair = Pair::start();
    let users = fill::uniform(&pair.master, 12, 3, 4, 500).unwrap();
    let folders = pair.master.login(&users[0]).unwrap().list("", "INBOX/*").unwrap();
    let of = |user: &String| {
        let inbox = std::iter::once(format!("user/{user}"));
        let below = folders.iter().map(|name| name.replacen("INBOX", &format!("user/{user}"), 1));
        inbox.chain(below).collect::<Vec<_>>()
    };
    let names: Vec<String> = users.iter().flat_map(of).collect();
    let file = pair.master.dir().join("names");
    fs::write(&file, names.join("\n")).unwrap();
    let run = pair.sync_well(&["-j", "8", "-m", "-f", file.to_str().unwrap()]);
    let said = format!("{} mailboxes (12 users): 12 replicated", names.len());
    assert!(summary(&run).starts_with(&said), "{}", run.stderr);
    let report = pair.differences(&users);
    assert!(mailboxes_in(&report).is_empty(), "{report}");
}

/// A mailbox is named by its former name. It is renamed on the replica, and then the connection is lost: the next try, too,
/// leads from the old name to the new one.
#[test]
fn a_renamed_mailbox_is_followed_by_the_next_try() {
    let mut pair = Pair::start();
    let replica = Replica::new(Options::default()).unwrap();
    let server = replica.serve("127.0.0.1:0").unwrap();
    pair.master.replicate_to_port(server.address().port(), Via::Csync).unwrap();
    pair.master.create_user("anna").unwrap();
    let mut anna = pair.master.login("anna").unwrap();
    anna.create("INBOX/old").unwrap();
    pair.sync_well(&["-u", "anna"]);
    anna.rename("INBOX/old", "INBOX/new").unwrap();
    anna.append("INBOX/new", &[], None, b"Subject: new\r\n\r\nNew.\r\n").unwrap();
    replica.faults().at("APPLY MAILBOX", 1, Fault::Drop);
    pair.sync_well(&["-m", "user.anna.old"]);
    assert_eq!(replica.faults().left(), 0);
    let again = pair.sync(&["-m", "user.anna.new"]);
    assert!(summary(&again).contains("1 already equal"), "{}", again.stderr);
}
