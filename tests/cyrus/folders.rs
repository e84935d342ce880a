//! What happens to folders on the master happens to them on the replica: deletions, renames, and
//! everything that belongs to a folder without being a message.

use testkit::imap::Client;
use testkit::oracle::PrivateServer;
use testkit::{Cyrus, DeleteMode, Via};

use crate::common::{Pair, summary};
use crate::errors::failure_of;

/// Something a client does to folders below its INBOX.
#[derive(Clone, Copy)]
enum Step {
    /// Makes a folder with two messages in it.
    Make(&'static str),
    Delete(&'static str),
    Rename(&'static str, &'static str),
}

use Step::{Delete, Make, Rename};

/// A user, the user's data at the first run, and the changes before the second one.
type Story = (&'static str, &'static [Step], &'static [Step]);

const STORIES: [Story; 12] = [
    ("deletes", &[Make("a"), Make("b")], &[Delete("a")]),
    ("renames", &[Make("a")], &[Rename("a", "somewhere/else")]),
    ("chain", &[Make("a"), Make("b")], &[Rename("b", "c"), Rename("a", "b")]),
    (
        "longchain",
        &[Make("a"), Make("b"), Make("c"), Make("d")],
        &[Rename("d", "0"), Rename("c", "d"), Rename("b", "c"), Rename("a", "b")],
    ),
    (
        "parent",
        &[Make("p"), Make("p/x"), Make("p/x/y"), Make("p/z")],
        &[Rename("p", "q"), Make("q/x/new")],
    ),
    ("downwards", &[Make("a"), Make("b"), Make("b/c")], &[Rename("b", "a/b")]),
    ("reuses", &[Make("a")], &[Rename("a", "b"), Make("a")]),
    (
        "family",
        &[Make("p"), Make("p/x"), Make("p/x/y")],
        &[Delete("p/x/y"), Delete("p/x"), Delete("p")],
    ),
    ("shortlived", &[Make("a")], &[Make("b"), Rename("b", "c"), Delete("c")]),
    // To the replica, which sees only the end, these two are rings.
    (
        "swaps",
        &[Make("a"), Make("a/x"), Make("b"), Make("b/x")],
        &[Rename("a", "t"), Rename("b", "a"), Rename("t", "b")],
    ),
    (
        "ring",
        &[Make("a"), Make("b"), Make("c")],
        &[Rename("a", "t"), Rename("c", "a"), Rename("b", "c"), Rename("t", "b")],
    ),
    ("untouched", &[Make("a")], &[]),
];

/// The name of a deleted folder is used again.
const REUSED: [Story; 2] = [
    ("recreates", &[Make("a"), Make("b")], &[Delete("a"), Make("a"), Rename("b", "c")]),
    (
        "replaces",
        &[Make("a"), Make("b"), Make("c")],
        &[Delete("a"), Rename("b", "a"), Rename("c", "b"), Make("c")],
    ),
];

/// Folders that are deleted and renamed on the master, in any order, are deleted and renamed on the replica. They are
/// really renamed, since no message is sent again. In delayed delete mode.
#[test]
fn folders_follow_when_deletion_is_delayed() {
    folders_follow(DeleteMode::Delayed);
}

/// The same in immediate delete mode, where only a tombstone shows that a folder was deleted.
#[test]
fn folders_follow_when_deletion_is_immediate() {
    folders_follow(DeleteMode::Immediate);
}

fn folders_follow(mode: DeleteMode) {
    let pair = Pair::with(Cyrus::master().delete_mode(mode), Cyrus::replica(), Via::Csync);
    let mut stories = STORIES.to_vec();
    if mode == DeleteMode::Delayed {
        stories.extend(REUSED);
    }
    let users: Vec<String> = stories.iter().map(|(user, ..)| user.to_string()).collect();
    for &(user, before, _) in &stories {
        pair.master.create_user(user).unwrap();
        perform(&pair.master, user, before);
    }
    pair.sync_well(&["-A"]);
    pair.assert_equal(&users);

    let mut made = 0;
    for &(user, _, after) in &stories {
        made += perform(&pair.master, user, after);
    }
    let run = pair.sync_well(&["-A", "-v"]);
    pair.assert_equal(&users);
    // Folders that were made and deleted between the runs are below DELETED, if anywhere.
    let gone = if mode == DeleteMode::Delayed { 0 } else { 2 };
    let sent = format!(" {} messages,", made - gone);
    assert!(summary(&run).contains(&sent), "not{sent} in {}", run.stderr);
    for line in [
        "RENAME user.chain.b -> user.chain.c (default)",
        "RENAME user.chain.a -> user.chain.b (default)",
        "RENAME user.parent.p.x.y -> user.parent.q.x.y (default)",
    ] {
        assert!(run.stdout.lines().any(|said| said == line), "no {line} in {}", run.stdout);
    }
    let deleted = match mode {
        DeleteMode::Delayed => "RENAME user.deletes.a -> DELETED.user.deletes.a.",
        DeleteMode::Immediate => "UNMAILBOX user.deletes.a",
    };
    assert!(run.stdout.contains(deleted), "no {deleted} in {}", run.stdout);

    let again = pair.sync_well(&["-A"]);
    let unchanged = format!("{} users: {0} already equal", users.len());
    assert!(summary(&again).starts_with(&unchanged), "{}", again.stderr);
}

/// In immediate mode a deleted folder's tombstone disappears when its name is used again (Cyrus 3.6.1 writes the new entry
/// over it), so nothing shows any more that the replica's old one may be deleted. The C client fails such a user with
/// "Mailbox has been moved to another server". Our client deletes nothing either, reports what is in the way, does the
/// user's other work, and goes on once the name is free.
#[test]
fn a_name_used_again_in_immediate_mode_is_a_clear_failure() {
    let immediate = |builder: testkit::Builder| builder.delete_mode(DeleteMode::Immediate);
    let pair = Pair::with(immediate(Cyrus::master()), immediate(Cyrus::replica()), Via::Csync);
    let users: Vec<String> = REUSED.iter().map(|(user, ..)| user.to_string()).collect();
    for (user, before, _) in REUSED {
        pair.master.create_user(user).unwrap();
        perform(&pair.master, user, before);
    }
    pair.sync_well(&["-A"]);
    for (user, _, after) in REUSED {
        perform(&pair.master, user, after);
        append(&mut pair.master.login(user).unwrap(), "INBOX", "other work");
    }

    for _ in 0..2 {
        let run = pair.sync(&["-A", "-v"]);
        assert_eq!(run.code, Some(1), "{run:?}");
        for user in &users {
            let wanted = format!("failed: {user}: mailbox user.{user}.a: the replica has another");
            assert!(run.stderr.contains(&wanted), "no {wanted} in {}", run.stderr);
            let mut there = pair.replica.login(user).unwrap();
            assert_eq!(there.select("INBOX/a").unwrap(), 2);
            assert_eq!(there.select("INBOX").unwrap(), 1);
            assert!(!run.stdout.contains("UNMAILBOX"), "{}", run.stdout);
        }
    }
    let there = pair.replica.login("recreates").unwrap().list("", "INBOX/*").unwrap();
    assert_eq!(there, ["INBOX/a", "INBOX/c"]);

    for user in &users {
        pair.replica.login(user).unwrap().delete("INBOX/a").unwrap();
    }
    pair.sync_well(&["-A"]);
    pair.assert_equal(&users);
}

/// Does all steps; returns the number of messages that were added.
fn perform(cyrus: &Cyrus, user: &str, steps: &[Step]) -> usize {
    let mut client = cyrus.login(user).unwrap();
    let full = |name: &str| format!("INBOX/{name}");
    let mut messages = 0;
    for step in steps {
        match step {
            Make(name) => {
                client.create(&full(name)).unwrap();
                for nr in 0..2 {
                    append(&mut client, &full(name), &format!("{user} {name} {nr}"));
                    messages += 1;
                }
            }
            Delete(name) => client.delete(&full(name)).unwrap(),
            Rename(from, to) => client.rename(&full(from), &full(to)).unwrap(),
        }
    }
    messages
}

/// Appends a small message whose subject differs from all others.
fn append(client: &mut Client, mailbox: &str, subject: &str) {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let nr = NUMBER.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    let text = format!("From: a@example.com\r\nSubject: {subject} ({nr})\r\n\r\nText {nr}.\r\n");
    client.append(mailbox, &[], None, text.as_bytes()).unwrap();
}

/// Two folders swap their names through a third, and a run sees each step: then there is no ring, and the temporary names
/// are those of the master.
#[test]
fn a_swap_in_steps() {
    let pair = Pair::start();
    pair.master.create_user("anna").unwrap();
    let users = ["anna".to_owned()];
    let steps =
        [Make("a"), Make("b"), Rename("a", "t"), Rename("b", "a"), Rename("t", "b"), Delete("a")];
    for step in steps {
        perform(&pair.master, "anna", &[step]);
        pair.sync_well(&["-u", "anna"]);
        pair.assert_equal(&users);
    }
}

/// A folder that exists only on the replica, whoever made it, is never deleted while nothing here shows that it was
/// deleted: it is left alone, and syslog says so, in every mode. The user's other changes are sent.
#[test]
fn folders_only_on_the_replica_stay() {
    let pair = Pair::start();
    for user in ["anna", "bert"] {
        pair.master.create_user(user).unwrap();
        perform(&pair.master, user, &[Make("a")]);
    }
    pair.sync_well(&["-A"]);

    // One made by a client there, with a message, one through the replica's own sync_server.
    perform(&pair.replica, "anna", &[Make("extra")]);
    let apply = "APPLY MAILBOX %(UNIQUEID extra-of-bert MBOXNAME user.bert.extra LAST_UID 0 \
        HIGHESTMODSEQ 9 RECENTUID 0 RECENTTIME 0 LAST_APPENDDATE 0 POP3_LAST_LOGIN 0 UIDVALIDITY 77 \
        PARTITION default ACL \"bert\tlrswipkxtecdan\t\" OPTIONS P SYNC_CRC 0 RECORD ())";
    PrivateServer::start(&pair.replica).unwrap().command(apply).unwrap();
    let orphans = [("anna", "user.anna.extra"), ("bert", "user.bert.extra")];
    let _ = pair.master.take_syslog();

    for args in [&["-A", "-v"][..], &["-u", "anna", "bert", "-v"], &["-A", "-v", "-O"]] {
        for (user, _) in orphans {
            append(&mut pair.master.login(user).unwrap(), "INBOX/a", "news");
        }
        let run = pair.sync(args);
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        assert!(!run.stdout.contains("UNMAILBOX"), "{}", run.stdout);
        let lines = pair.master.take_syslog();
        for (user, orphan) in orphans {
            let failure = failure_of(&run, user);
            assert!(failure.contains(orphan) && failure.ends_with("delete it there"), "{failure}");
            let wanted =
                format!("SYNCNOTICE: attempt to UNMAILBOX without a tombstone: mailbox=<{orphan}>");
            let told = lines.iter().any(|line| line.text.contains(&wanted));
            assert!(told, "{args:?} {orphan}: {lines:#?}");
            let report = pair.differences(&[user.to_owned()]);
            assert!(!report.is_empty(), "{args:?}: {orphan} is gone");
            let only = report.0.iter().all(|d| d.mailbox.as_deref() == Some(orphan));
            assert!(only, "{args:?}: more than {orphan} differs: {report}");
            assert!(report.0.iter().all(|d| d.master.is_none()), "{report}");
        }
    }
    let kept = pair.replica.login("anna").unwrap().select("INBOX/extra").unwrap();
    assert_eq!(kept, 2);
    for user in ["anna", "bert"] {
        pair.replica.login(user).unwrap().delete("INBOX/extra").unwrap();
    }
    pair.sync_well(&["-A"]);
}

/// What belongs to folders without being in them: limits, subscriptions, rights and annotations are set, changed and
/// removed on the replica as on the master.
#[test]
fn what_belongs_to_folders_follows() {
    let pair = Pair::start();
    let users = ["anna".to_owned()];
    pair.master.create_user("anna").unwrap();
    perform(&pair.master, "anna", &[Make("a"), Make("b"), Make("c")]);
    let mut admin = pair.master.admin().unwrap();
    let mut anna = pair.master.login("anna").unwrap();
    let in_sync = |what: &str| {
        let run = pair.sync_well(&["-A", "-v"]);
        assert!(summary(&run).contains("1 user: 1 replicated"), "{what}: {}", run.stderr);
        let report = pair.differences(&users);
        assert!(report.is_empty(), "{what}: {report}\n{}", run.stdout);
        let again = pair.sync_well(&["-A", "-v"]);
        assert!(
            summary(&again).contains("1 already equal"),
            "{what}: {}{}",
            again.stdout,
            again.stderr
        );
        run.stdout
    };
    in_sync("all is new");

    // Quota roots: set, changed, and removed, as `quota` below shows on both sides.
    admin.set_quota("user/anna", &[("STORAGE", 5000), ("MESSAGE", 100)]).unwrap();
    admin.set_quota("user/anna/a", &[("STORAGE", 4000)]).unwrap();
    in_sync("quota set");
    admin.set_quota("user/anna", &[("STORAGE", 6000)]).unwrap();
    in_sync("quota changed");
    unset_quota(&pair.master, "user.anna.a");
    let said = in_sync("quota root removed");
    assert!(said.contains("UNQUOTA user.anna.a"), "{said}");

    // Subscriptions.
    for name in ["INBOX", "INBOX/a", "INBOX/b"] {
        anna.subscribe(name).unwrap();
    }
    in_sync("subscribed");
    anna.unsubscribe("INBOX/a").unwrap();
    let said = in_sync("unsubscribed");
    assert!(said.contains("UNSUB anna user.anna.a"), "{said}");

    // Rights.
    anna.set_acl("INBOX/a", "bert", "lrs").unwrap();
    anna.set_acl("INBOX/b", "anyone", "lr").unwrap();
    in_sync("rights given");
    anna.set_acl("INBOX/a", "bert", "lrswi").unwrap();
    anna.delete_acl("INBOX/b", "anyone").unwrap();
    in_sync("rights changed and taken");

    // Mailbox annotations, shared and private.
    for (entry, value) in [("/shared/comment", "one"), ("/private/comment", "mine")] {
        anna.set_metadata("INBOX/a", entry, Some(value)).unwrap();
    }
    anna.set_metadata("INBOX/a", "/shared/vendor/testkit/colour", Some("red")).unwrap();
    in_sync("annotated");
    anna.set_metadata("INBOX/a", "/shared/comment", Some("two \"quoted\" \\ {3}")).unwrap();
    in_sync("annotation changed");
    anna.set_metadata("INBOX/a", "/shared/comment", None).unwrap();
    anna.set_metadata("INBOX/a", "/private/comment", None).unwrap();
    in_sync("annotations removed");
}

/// Removes a quota root, for which `cyradm` has no command: through the private sync_server.
fn unset_quota(cyrus: &Cyrus, root: &str) {
    PrivateServer::start(cyrus).unwrap().command(&format!("APPLY UNQUOTA {root}")).unwrap();
}

/// Annotations of messages are set, changed and removed.
#[test]
fn annotations_of_messages_follow() {
    let pair = Pair::start();
    let users = ["anna".to_owned()];
    pair.master.create_user("anna").unwrap();
    perform(&pair.master, "anna", &[Make("a")]);
    let mut anna = pair.master.login("anna").unwrap();
    anna.select("INBOX/a").unwrap();
    let note = "/vendor/testkit/note";
    type Change = (&'static str, &'static str, &'static str, Option<&'static str>);
    let changes: [Change; 6] = [
        ("set", "1", "value.shared", Some("first")),
        ("set privately", "1:2", "value.priv", Some("mine")),
        ("changed", "1", "value.shared", Some("second")),
        ("one removed", "1", "value.priv", None),
        ("all of a message removed", "1", "value.shared", None),
        ("all removed", "2", "value.priv", None),
    ];
    for (what, uids, attribute, value) in changes {
        anna.annotate(uids, note, attribute, value).unwrap();
        let run = pair.sync_well(&["-A", "-v"]);
        assert!(summary(&run).contains("1 replicated"), "{what}: {}", run.stderr);
        let report = pair.differences(&users);
        assert!(report.is_empty(), "{what}: {report}\n{}", run.stdout);
        let again = pair.sync_well(&["-A", "-v"]);
        assert!(
            summary(&again).contains("1 already equal"),
            "{what}: {}{}",
            again.stdout,
            again.stderr
        );
    }
}
