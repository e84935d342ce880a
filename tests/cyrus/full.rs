//! Record-by-record comparisons: when modseqs and checksums can't show the difference.

use testkit::imap::Client;
use testkit::{Cyrus, Via};

use crate::common::{Pair, summary};

/// A user with one mailbox of `n` messages, on both sides.
fn replicated(n: usize) -> (Pair, Client, Vec<String>) {
    let pair = Pair::with(
        Cyrus::master().conversations(true),
        Cyrus::replica().conversations(true),
        Via::Csync,
    );
    pair.master.create_user("anna").unwrap();
    let mut imap = pair.master.login("anna").unwrap();
    for i in 0..n {
        append(&mut imap, i);
    }
    pair.sync_well(&["-u", "anna"]);
    let users = vec!["anna".to_string()];
    pair.assert_equal(&users);
    (pair, imap, users)
}

fn append(imap: &mut Client, i: usize) {
    let message = format!("From: a@example.com\r\nSubject: message {i}\r\n\r\nbody {i}\r\n");
    imap.append("INBOX", &[], None, message.as_bytes()).unwrap();
}

/// Messages are expunged here and cleaned up by cyr_expire before the replica is told: no record is left to show it. The
/// comparison finds them, the replica expunges them, and nothing needs copyback. The same with -O. After that both sides
/// are equal and stay so.
#[test]
fn records_cleaned_up_before_the_replica_saw_it() {
    let (pair, mut imap, users) = replicated(6);
    for (uids, args) in [("2,4", ["-u", "anna", "-v"]), ("5", ["-Ou", "anna", "-v"])] {
        imap.select("INBOX").unwrap();
        imap.remove(uids).unwrap();
        append(&mut imap, 10);
        let expired = pair.master.tool("cyr_expire", &["-E", "0", "-X", "0", "-D", "0"]).unwrap();
        assert!(expired.status.success(), "{expired:?}");

        let run = pair.sync_well(&args);
        assert!(run.stdout.contains("FULLMAILBOX user.anna\n"), "{}", run.stdout);
        pair.assert_equal(&users);
        let again = pair.sync_well(&["-u", "anna"]);
        assert!(summary(&again).contains(" 1 already equal"), "{}", again.stderr);
    }
}
