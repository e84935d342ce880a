//! Mailboxes that were deleted on the master, with delay, and that cyr_expire removed before the next run.

use testkit::{Cyrus, Via, c_client};

use crate::common::{Pair, summary};

fn names(cyrus: &Cyrus, pattern: &str) -> Vec<String> {
    cyrus.admin().unwrap().list("", pattern).unwrap()
}

/// Found by the safety campaign (its seeds 18, 154 and 187): between two runs a folder was deleted and cyr_expire -D came. Its
/// name has a tombstone, but the entry by unique id goes on as if the mailbox lived, so the replica's stayed for ever, "already
/// equal". It goes below DELETED there, as it went here, where the replica's own cyr_expire finds it; Cyrus' client of 3.6.1
/// removes it at once, that of 3.12 renames it as ours does. Its name is free for another mailbox.
#[test]
fn a_deleted_mailbox_that_expired_here_goes_below_deleted_there() {
    let pair = Pair::start();
    let mut twin = Pair::start();
    let users = ["anna", "berta"].map(str::to_owned);
    for user in &users {
        pair.master.create_user(user).unwrap();
        let mut client = pair.master.login(user).unwrap();
        for folder in ["INBOX/gone", "INBOX/kept"] {
            client.create(folder).unwrap();
            client.append(folder, &[], None, b"Subject: one\r\n\r\nOne.\r\n").unwrap();
        }
    }
    pair.sync_well(&["-A"]);
    for user in &users {
        pair.master.login(user).unwrap().delete("INBOX/gone").unwrap();
    }
    pair.master.tool("cyr_expire", &["-E", "1", "-X", "0", "-D", "0"]).unwrap();
    assert_eq!(names(&pair.master, "DELETED/*"), [""; 0]);
    // Cyrus' client fails for her: "Mailbox has been moved to another server".
    let mut berta = pair.master.login("berta").unwrap();
    berta.create("INBOX/gone").unwrap();
    berta.append("INBOX/gone", &[], None, b"Subject: two\r\n\r\nTwo.\r\n").unwrap();
    drop(berta);

    twin.master.become_copy_of(&pair.master).unwrap();
    twin.replica.become_copy_of(&pair.replica).unwrap();
    twin.replica.start().unwrap();
    twin.master.replicate_to(&twin.replica, Via::Csync).unwrap();
    c_client::run(&twin.master, &["-u", "anna"]).unwrap().must_succeed().unwrap();

    let run = pair.sync_well(&["-A", "-v"]);
    let ours = names(&pair.replica, "user/anna*");
    assert_eq!(ours, ["user/anna", "user/anna/kept"], "{}", run.stdout);
    assert_eq!(ours, names(&twin.replica, "user/anna*"));
    let deleted = names(&pair.replica, "DELETED/*");
    assert!(deleted.len() == 2 && deleted.iter().all(|n| n.contains("/gone/")), "{deleted:?}");
    let again = pair.sync_well(&["-A"]);
    assert!(summary(&again).contains("2 already equal"), "{}", again.stderr);

    pair.replica.tool("cyr_expire", &["-E", "1", "-X", "0", "-D", "0"]).unwrap();
    assert_eq!(names(&pair.replica, "DELETED/*"), [""; 0]);
    pair.assert_equal(&users);
    pair.master.login("anna").unwrap().create("INBOX/gone").unwrap();
    pair.master.login("berta").unwrap().delete("INBOX/gone").unwrap();
    pair.sync_well(&["-A"]);
    pair.assert_equal(&users);
}
