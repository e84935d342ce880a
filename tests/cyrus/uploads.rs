//! Message files that the replica can't keep, or that the master can't read.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use testkit::c_client::{self, Outcome};
use testkit::imap::Client;
use testkit::oracle::PrivateServer;
use testkit::{Builder, Cyrus, Via};

use crate::common::{Pair, summary};
use crate::errors::{assert_no_bug, failure_of, path_of};

fn message(nr: usize) -> Vec<u8> {
    // A server that reads the rest of a refused upload as commands finds one.
    format!("From: a@example.com\r\nSubject: number {nr}\r\n\r\nNOOP\r\nNOOP\r\ntext of {nr}\r\n")
        .into_bytes()
}

/// Anna with three new messages in her INBOX, of which the replica can't write the first (as if its disk were full), and
/// one more in each of two folders.
fn with_a_full_disk() -> Pair {
    let mut pair = Pair::with(Cyrus::master(), Cyrus::replica(), Via::Csync);
    pair.master.create_user("anna").unwrap();
    let mut imap = pair.master.login("anna").unwrap();
    for folder in ["INBOX/a", "INBOX/b"] {
        imap.create(folder).unwrap();
    }
    pair.sync_well(&["-u", "anna"]);
    imap.append("INBOX/a", &[], None, &message(1)).unwrap();
    for nr in [2, 3, 4] {
        imap.append("INBOX", &[], None, &message(nr)).unwrap();
    }
    imap.append("INBOX/b", &[], None, &message(5)).unwrap();
    let mut server = PrivateServer::start(&pair.master).unwrap();
    let full = server.items("FULLMAILBOX", "user.anna").unwrap();
    let guid = full[0].value.get("RECORD").unwrap().items()[0].text("GUID").unwrap();
    pair.replica.set_option("debug_writefail_guid", &guid).unwrap();
    pair.replica.restart().unwrap();
    pair.master.replicate_to(&pair.replica, Via::Csync).unwrap();
    drop(pair.replica.take_syslog());
    pair
}

/// A MAILBOX never names a message that the replica could not keep: its server would kill itself. The mailbox is named;
/// with room again everything arrives. Cyrus' client stops at the same answer.
#[test]
fn a_mailbox_follows_only_the_messages_that_the_replica_has_taken() {
    let died = |pair: &Pair| {
        pair.replica.syslog().iter().any(|line| line.text.contains("signaled to death"))
    };
    let theirs = with_a_full_disk();
    let run = c_client::run(&theirs.master, &["-u", "anna"]).unwrap();
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(!died(&theirs), "{:?}", theirs.replica.syslog());

    let mut ours = with_a_full_disk();
    let run = ours.sync(&["-u", "anna"]);
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(!died(&ours), "{}\n{:?}", run.stderr, ours.replica.syslog());
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert_no_bug(&run);
    let line = failure_of(&run, "anna");
    assert!(line.contains("mailbox user.anna: the replica refused MESSAGE: "), "{line}");
    assert!(line.contains("syslog"), "{line}");
    assert_eq!(ours.replica.login("anna").unwrap().examine("INBOX").unwrap(), 0);

    ours.replica.unset_option("debug_writefail_guid").unwrap();
    ours.replica.restart().unwrap();
    ours.master.replicate_to(&ours.replica, Via::Csync).unwrap();
    ours.sync_well(&["-u", "anna"]);
    ours.assert_equal(&["anna".to_string()]);
}

/// A message file of anna's INBOX on the master.
fn file(pair: &Pair, uid: u32) -> PathBuf {
    path_of(&pair.master, "-D", "user/anna").join(format!("{uid}."))
}

/// Gives a file to the owner of its folder.
fn as_its_folder(path: &Path) {
    let folder = fs::metadata(path.parent().unwrap()).unwrap();
    chown(path, Some(folder.uid()), Some(folder.gid())).unwrap();
}

/// Anna's messages on the replica.
fn arrived(pair: &Pair) -> Vec<u32> {
    let mut there = pair.replica.login("anna").unwrap();
    there.examine("INBOX").unwrap();
    there.uids().unwrap()
}

/// Anna with one message on both sides.
fn begun(master: Builder) -> (Pair, Client) {
    let pair = Pair::with(master, Cyrus::replica(), Via::Csync);
    pair.master.create_user("anna").unwrap();
    let mut imap = pair.master.login("anna").unwrap();
    imap.append("INBOX", &[], None, &message(1)).unwrap();
    pair.sync_well(&["-u", "anna"]);
    (pair, imap)
}

/// For a damaged and a missing file only their two messages are left out: neither those before and after them, nor later
/// ones. Both are named in every run, which sends nothing again because of them. With the files restored they arrive, and
/// both sides are equal. Cyrus' client sends nothing of such a mailbox.
#[test]
fn a_bad_file_costs_one_message() {
    for batch in ["0", "3"] {
        bad_files(Cyrus::master().option("sync_batchsize", batch), batch == "0");
    }
}

fn bad_files(master: Builder, beside: bool) {
    let (pair, mut imap) = begun(master);
    for nr in 2..=12 {
        imap.append("INBOX", &[], None, &message(nr)).unwrap();
    }
    imap.select("INBOX").unwrap();
    imap.store("1,12", "+FLAGS", &["\\Flagged"]).unwrap();
    let kept: Vec<_> =
        [5, 9].map(|uid| (file(&pair, uid), fs::read(file(&pair, uid)).unwrap())).into();
    fs::write(&kept[0].0, &kept[0].1[..20]).unwrap();
    fs::remove_file(&kept[1].0).unwrap();
    if beside {
        let theirs = c_client::run(&pair.master, &["-u", "anna"]).unwrap();
        assert_eq!(theirs.code, Some(1), "{}", theirs.stderr);
        assert_eq!(arrived(&pair), [1]);
    }
    let run = pair.sync(&["-u", "anna"]);
    let good = vec![1, 2, 3, 4, 6, 7, 8, 10, 11, 12];
    assert_eq!(arrived(&pair), good, "{}", run.stderr);
    let named = |run: &Outcome| {
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        assert_no_bug(run);
        let line = failure_of(run, "anna");
        assert!(line.contains(&format!("uid 5: {}", kept[0].0.display())), "{line}");
        let syslog = pair.master.take_syslog();
        assert!(syslog.iter().any(|line| line.text.contains("uid 9: ")), "{syslog:?}");
    };
    named(&run);
    // Nothing is sent while nothing is new.
    let run = pair.sync(&["-u", "-v", "anna"]);
    named(&run);
    assert!(!run.stdout.contains("\nMAILBOX "), "{}", run.stdout);
    imap.append("INBOX", &[], None, &message(13)).unwrap();
    imap.remove("2").unwrap();
    named(&pair.sync(&["-u", "anna"]));
    assert_eq!(arrived(&pair), [1, 3, 4, 6, 7, 8, 10, 11, 12, 13]);
    for (path, bytes) in &kept {
        fs::write(path, bytes).unwrap();
        as_its_folder(path);
    }
    // Another file is lost by then, of a message that the replica has: the replica keeps it.
    let lost = file(&pair, 3);
    let bytes = fs::read(&lost).unwrap();
    fs::remove_file(&lost).unwrap();
    let run = pair.sync_well(&["-u", "-v", "anna"]);
    assert!(run.stdout.contains("UNMAILBOX user.anna\n"), "{}", run.stdout);
    fs::write(&lost, bytes).unwrap();
    as_its_folder(&lost);
    pair.assert_equal(&["anna".to_string()]);
    assert!(summary(&pair.sync_well(&["-u", "anna"])).contains(" 1 already equal"));
    // Both sides work.
    imap.append("INBOX", &[], None, &message(14)).unwrap();
    pair.sync_well(&["-u", "anna"]);
    pair.assert_equal(&["anna".to_string()]);
    pair.replica.login("anna").unwrap().append("INBOX", &[], None, &message(15)).unwrap();
}

/// If the only new message has no file, the mailbox waits: the replica's LAST_UID does not pass the message, and nothing
/// has to be made again afterwards.
#[test]
fn a_bad_file_at_the_end_is_waited_for() {
    let (pair, mut imap) = begun(Cyrus::master());
    imap.append("INBOX", &[], None, &message(2)).unwrap();
    let bytes = fs::read(file(&pair, 2)).unwrap();
    fs::remove_file(file(&pair, 2)).unwrap();
    let run = pair.sync(&["-u", "anna"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(failure_of(&run, "anna").contains("uid 2: "), "{}", run.stderr);
    fs::write(file(&pair, 2), bytes).unwrap();
    as_its_folder(&file(&pair, 2));
    let run = pair.sync_well(&["-u", "-v", "anna"]);
    assert!(!run.stdout.contains("UNMAILBOX"), "{}", run.stdout);
    pair.assert_equal(&["anna".to_string()]);
}

/// The file of an expunged message is not needed.
#[test]
fn the_file_of_an_expunged_message_is_not_missed() {
    let (pair, mut imap) = begun(Cyrus::master().delayed_expunge(true));
    for nr in 2..=4 {
        imap.append("INBOX", &[], None, &message(nr)).unwrap();
    }
    imap.select("INBOX").unwrap();
    imap.remove("2,3").unwrap();
    fs::remove_file(file(&pair, 2)).unwrap();
    fs::write(file(&pair, 3), "damaged").unwrap();
    pair.sync_well(&["-u", "anna"]);
    assert_eq!(arrived(&pair), [1, 4]);
    pair.assert_equal(&["anna".to_string()]);
    assert!(summary(&pair.sync_well(&["-u", "anna"])).contains(" 1 already equal"));
}
