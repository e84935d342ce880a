//! A replica whose disk is full, and has room again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use testkit::Cyrus;
use testkit::c_client;
use testkit::oracle::PrivateServer;

use crate::common::{Pair, summary, wait_for};
use crate::errors::{failure_of, path_of};
use crate::rolling::{log_files, logging_pair, settle};

fn append(cyrus: &Cyrus, mailbox: &str, words: &str) {
    let text = format!("From: a@example.com\r\nSubject: {words}\r\n\r\n{words}\r\n");
    cyrus.login("anna").unwrap().append(mailbox, &[], None, text.as_bytes()).unwrap();
}

/// A replica that can't write the first message of a mailbox, as if its disk were full, ends all of the user's work there. What
/// else the log told of that user is not done then: it is once the disk has room, whichever try that is.
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
        refuse_first_message(&mut pair);
        // All of the user, as a promotion makes it.
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

/// From its next start on the replica can't write the first message of anna's INBOX.
fn refuse_first_message(pair: &mut Pair) {
    let mut server = PrivateServer::start(&pair.master).unwrap();
    let full = server.items("FULLMAILBOX", "user.anna").unwrap();
    let guid = full[0].value.get("RECORD").unwrap().items()[0].text("GUID").unwrap();
    let port = pair.replica.csync_port().unwrap();
    pair.replica.set_option("debug_writefail_guid", &guid).unwrap();
    pair.replica.restart().unwrap();
    assert_eq!(pair.replica.csync_port().unwrap(), port, "the daemon would not find it again");
}

/// Anna with two folders and two quota roots. The replica's server died when it was to write into one folder's header that it
/// counts against its root; the root itself it has.
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
    // It fails as long as that is so, with Cyrus' client only at first.
    let theirs = c_client::run(&pair.master, &["-u", "anna"]).unwrap();
    assert_eq!(theirs.code, Some(1), "{}", theirs.stderr);
    let run = pair.sync(&["-u", "anna"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(failure_of(&run, "anna").contains("QUOTA"), "{}", run.stderr);
    may_write(&folder, true);
    pair
}

/// Lets the replica write into a folder of its own, or not.
fn may_write(folder: &Path, yes: bool) {
    let mode = if yes { 0o700 } else { 0o500 };
    fs::set_permissions(folder, PermissionsExt::from_mode(mode)).unwrap();
}

/// What is counted against a quota root, and its limits. Of a root above it a server that died may have counted down too much,
/// which nothing but `quota -f` there finds.
fn counted(cyrus: &Cyrus, root: &str) -> String {
    String::from_utf8_lossy(&cyrus.tool("quota", &[root]).unwrap().stdout).into_owned()
}

/// A quota root that the replica has, but could not write into all headers, is set anew, and the run after that has nothing to do.
/// Cyrus' client calls them equal for ever.
#[test]
fn mailboxes_that_lost_their_quota_root_get_it_back() {
    // The one has no root there, the other only that of its parent.
    for lost in ["user/anna/a", "user/anna/b"] {
        let pair = with_a_lost_root(lost);
        let theirs = c_client::run(&pair.master, &["-u", "anna"]).unwrap();
        assert_eq!(theirs.code, Some(0), "{}", theirs.stderr);
        assert!(!pair.differences(&["anna".into()]).is_empty(), "{lost}: Cyrus' client saw it");
        let run = pair.sync_well(&["-u", "anna", "-v"]);
        assert!(run.stdout.contains("UNQUOTA user.anna"), "{lost}: {}", run.stdout);
        pair.assert_equal(&["anna".into()]);
        let lowest = "user/anna/b";
        assert_eq!(counted(&pair.replica, lowest), counted(&pair.master, lowest), "{lost}");
        let again = pair.sync_well(&["-u", "anna"]);
        assert!(summary(&again).contains("1 already equal"), "{}", again.stderr);
    }
}
