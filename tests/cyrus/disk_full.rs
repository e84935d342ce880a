//! A replica whose disk is full, and later has room again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use testkit::c_client;
use testkit::oracle::PrivateServer;
use testkit::{Builder, Cyrus, Via};

use crate::common::{Pair, summary, wait_for};
use crate::errors::{failure_of, path_of};
use crate::rolling::{log_files, logging_pair, settle};

fn append(cyrus: &Cyrus, mailbox: &str, words: &str) {
    let text = format!("From: a@example.com\r\nSubject: {words}\r\n\r\n{words}\r\n");
    cyrus.login("anna").unwrap().append(mailbox, &[], None, text.as_bytes()).unwrap();
}

/// A replica that can't write the first message of a mailbox, as if its disk were full, ends all of the user's work there.
/// Other entries of the log about that user are not done then: they are done once the disk has room, whichever try that is.
#[test]
fn a_refused_message_leaves_all_of_its_user_in_the_log() {
    for tries in [1, 2] {
        let mut pair = logging_pair();
        pair.master.create_user("anna").unwrap();
        pair.master.login("anna").unwrap().create("INBOX/z").unwrap();
        pair.sync_well(&["-u", "anna"]);
        append(&pair.master, "INBOX", "one");
        append(&pair.master, "INBOX/z", "two");
        let mut imap = pair.master.admin().unwrap();
        imap.set_quota("user/anna/z", &[("STORAGE", 4711)]).unwrap();
        refuse_first_message(&mut pair, "user.anna");
        // Everything of the user, as after a promotion.
        let [log, _] = log_files(&pair);
        fs::write(&log, "USER anna\n").unwrap();
        let mut running = pair.start_sync(&["-R", "-d", "0"]);
        let failed = |pair: &Pair| {
            let lines = pair.master.syslog();
            lines.iter().filter(|line| line.text.contains("user replication failed")).count()
        };
        wait_for("so many tries", || failed(&pair) >= tries);
        running.signal("STOP");
        assert_eq!(failed(&pair), tries);
        pair.replica.unset_option("debug_writefail_guid").unwrap();
        pair.replica.restart().unwrap();
        running.signal("CONT");
        settle(&pair, &mut running);
        running.terminate();
        assert_eq!(running.wait().code, Some(0));
        pair.assert_equal(&["anna".into()]);
    }
}

/// From its next start on the replica can't write the first message of this mailbox.
fn refuse_first_message(pair: &mut Pair, mailbox: &str) {
    let mut server = PrivateServer::start(&pair.master).unwrap();
    let full = server.items("FULLMAILBOX", mailbox).unwrap();
    let guid = full[0].value.get("RECORD").unwrap().items()[0].text("GUID").unwrap();
    let port = pair.replica.csync_port().unwrap();
    pair.replica.set_option("debug_writefail_guid", &guid).unwrap();
    pair.replica.restart().unwrap();
    assert_eq!(pair.replica.csync_port().unwrap(), port, "the daemon would not find it again");
}

/// One mailbox whose messages the replica can't keep: one message of it, or all of its partition, which has two such
/// mailboxes. Everything else of the user stays equal meanwhile, again and again, and with room again everything is. The
/// same with -u.
#[test]
fn one_mailbox_that_can_not_be_kept_holds_up_no_other() {
    for partition in [false, true] {
        let mut pair = logging_pair();
        pair.master.create_user("anna").unwrap();
        pair.master.login("anna").unwrap().create("INBOX/z").unwrap();
        for folder in ["user/anna/p", "user/anna/q", "user/anna/r"] {
            pair.master.admin().unwrap().create_on(folder, "second").unwrap();
        }
        pair.sync_well(&["-u", "anna"]);
        drop(fs::remove_file(&log_files(&pair)[0]));
        let second = pair.replica.partition("second");
        if partition {
            for folder in ["INBOX/p", "INBOX/q", "INBOX/r"] {
                append(&pair.master, folder, "refused");
            }
            drop(fs::remove_dir_all(second.join("sync.")));
            may_write(&second, false);
        } else {
            append(&pair.master, "INBOX", "refused");
            refuse_first_message(&mut pair, "user.anna");
        }
        let mut running = pair.start_sync(&["-R", "-d", "0"]);
        for nr in 1..=3 {
            append(&pair.master, "INBOX/z", "later");
            wait_for("what is none of its business", || held(&pair.replica, "INBOX/z") == nr);
            std::thread::sleep(Duration::from_millis(1500));
        }
        running.signal("STOP");
        append(&pair.master, "INBOX/z", "last");
        let run = pair.sync(&["-u", "anna"]);
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        assert!(failure_of(&run, "anna").contains("refused MESSAGE"), "{}", run.stderr);
        assert_eq!(held(&pair.replica, "INBOX/z"), 4);
        may_write(&second, true);
        pair.replica.unset_option("debug_writefail_guid").unwrap();
        pair.replica.restart().unwrap();
        running.signal("CONT");
        settle(&pair, &mut running);
        running.terminate();
        assert_eq!(running.wait().code, Some(0));
        pair.assert_equal(&["anna".into()]);
    }
}

/// A message moved into a mailbox that the replica can't keep because of another message. The replica keeps it in the old
/// mailbox, with our client as with Cyrus', until it has arrived in the new one.
#[test]
fn what_moved_into_a_mailbox_that_can_not_be_kept_stays_where_it_was() {
    let scene = || {
        let mut pair = Pair::start();
        pair.master.create_user("anna").unwrap();
        for folder in ["INBOX/a", "INBOX/m", "INBOX/z"] {
            pair.master.login("anna").unwrap().create(folder).unwrap();
        }
        append(&pair.master, "INBOX/z", "moved");
        pair.sync_well(&["-u", "anna"]);
        append(&pair.master, "INBOX/a", "refused");
        append(&pair.master, "INBOX/m", "arrives");
        let mut anna = pair.master.login("anna").unwrap();
        anna.select("INBOX/z").unwrap();
        anna.move_to("1", "INBOX/a").unwrap();
        refuse_first_message(&mut pair, "user.anna.a");
        pair.master.replicate_to(&pair.replica, Via::Csync).unwrap();
        pair
    };
    let theirs = scene();
    let run = c_client::run(&theirs.master, &["-u", "anna"]).unwrap();
    assert_eq!((run.code, held(&theirs.replica, "INBOX/z")), (Some(1), 1), "{}", run.stderr);
    let mut ours = scene();
    for _ in 0..2 {
        let run = ours.sync(&["-u", "anna"]);
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        let words = failure_of(&run, "anna");
        assert!(words.contains("user.anna.a") && words.contains("user.anna.z"), "{words}");
        let there = ["INBOX/a", "INBOX/m", "INBOX/z"].map(|folder| held(&ours.replica, folder));
        assert_eq!(there, [0, 1, 1], "{}", run.stderr);
    }
    ours.replica.unset_option("debug_writefail_guid").unwrap();
    ours.replica.restart().unwrap();
    ours.master.replicate_to(&ours.replica, Via::Csync).unwrap();
    ours.sync_well(&["-u", "anna"]);
    ours.assert_equal(&["anna".into()]);
}

/// How many messages anna has there.
fn held(cyrus: &Cyrus, mailbox: &str) -> u32 {
    cyrus.login("anna").unwrap().examine(mailbox).unwrap()
}

/// Anna with two folders, and quota roots for her and for one of them. The replica has both roots, but its server died before
/// it could write a root's name into the header of the folder at `lost`.
fn with_a_lost_root(lost: &str) -> Pair {
    let pair = Pair::start();
    pair.master.create_user("anna").unwrap();
    for folder in ["INBOX/a", "INBOX/b"] {
        pair.master.login("anna").unwrap().create(folder).unwrap();
        append(&pair.master, folder, "counted");
    }
    pair.sync_well(&["-u", "anna"]);
    let folder = path_of(&pair.replica, "-D", lost);
    let mut admin = pair.master.admin().unwrap();
    if lost == "user/anna/b" {
        admin.set_quota("user/anna", &[("STORAGE", 1000)]).unwrap();
        pair.sync_well(&["-u", "anna"]);
    }
    may_write(&folder, false);
    for (root, limit) in [("user/anna", 1000), ("user/anna/b", 500)] {
        admin.set_quota(root, &[("STORAGE", limit)]).unwrap();
    }
    // Any client fails while the replica can't write there; here it is Cyrus' own.
    let theirs = c_client::run(&pair.master, &["-u", "anna"]).unwrap();
    assert_eq!(theirs.code, Some(1), "{}", theirs.stderr);
    may_write(&folder, true);
    pair
}

/// Allows or forbids the replica to write into a folder.
fn may_write(folder: &Path, yes: bool) {
    let mode = if yes { 0o700 } else { 0o500 };
    fs::set_permissions(folder, PermissionsExt::from_mode(mode)).unwrap();
}

/// A quota root that the replica has, but could not write into all headers, is named; everything else is replicated, and
/// the advice repairs it. Cyrus' client treats them as equal for ever.
#[test]
fn mailboxes_that_lost_their_quota_root_are_named() {
    // One has no root there, the other only that of its parent.
    for lost in ["user/anna/a", "user/anna/b"] {
        let pair = with_a_lost_root(lost);
        for _ in 0..2 {
            let theirs = c_client::run(&pair.master, &["-u", "anna"]).unwrap();
            assert_eq!(theirs.code, Some(0), "{}", theirs.stderr);
        }
        assert!(!pair.differences(&["anna".into()]).is_empty(), "{lost}: Cyrus' client saw it");
        append(&pair.master, "INBOX", "arrives");
        let mut admin = pair.master.admin().unwrap();
        admin.set_quota("user/anna", &[("STORAGE", 2000)]).unwrap();
        for _ in 0..2 {
            let run = pair.sync(&["-u", "anna"]);
            assert_eq!(run.code, Some(1), "{}", run.stderr);
            let words = failure_of(&run, "anna");
            let name = format!("mailbox {}: ", lost.replace('/', "."));
            assert!(words.contains(&name) && words.contains("quota -f"), "{words}");
        }
        assert_eq!(held(&pair.replica, "INBOX"), 1);
        pair.replica.tool("quota", &["-f"]).unwrap();
        pair.assert_equal(&["anna".into()]);
        let run = pair.sync_well(&["-u", "anna"]);
        assert!(summary(&run).contains("1 already equal"), "{lost}: {}", run.stderr);
    }
}

/// A whole domain's quota root is in no header that existed before it: that is normal.
#[test]
fn the_quota_root_of_a_domain_is_no_fault() {
    let domains =
        |cyrus: Builder| cyrus.option("virtdomains", "userid").option("defaultdomain", "internal");
    let pair = Pair::with(domains(Cyrus::master()), domains(Cyrus::replica()), Via::Csync);
    let mut admin = pair.master.admin().unwrap();
    admin.set_quota("@example.com", &[("STORAGE", 100_000)]).unwrap();
    pair.master.create_user("anna@example.com").unwrap();
    pair.sync_well(&["-u", "anna@example.com"]);
    let run = pair.sync_well(&["-u", "anna@example.com"]);
    assert!(summary(&run).contains("1 already equal"), "{}", run.stderr);
}
