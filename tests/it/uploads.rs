//! Message files that the replica can't keep, or that the master can't give.

use testkit::oracle::PrivateServer;
use testkit::{Cyrus, Via, c_client};

use crate::common::Pair;
use crate::errors::{assert_no_bug, failure_of};

fn message(nr: usize) -> Vec<u8> {
    // Whatever reads the rest of a refused upload as commands finds one.
    format!("From: a@example.com\r\nSubject: number {nr}\r\n\r\nNOOP\r\nNOOP\r\ntext of {nr}\r\n")
        .into_bytes()
}

/// Anna with three new messages in her INBOX, of which the replica can't write the first (as if its disk were full), and one
/// more in each of two folders.
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

/// The replica is told of no message that it could not keep: its server would kill itself. The mailbox is named; with
/// room again all arrives. Cyrus' client stops at the same answer.
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
