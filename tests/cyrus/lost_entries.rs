//! Mailboxes that only their entry by unique id is left of in the list of mailboxes here: after damage, or after cyr_expire
//! removed them from below DELETED. The replica still has them.

use testkit::{Builder, Cyrus, DeleteMode, Via};

use crate::common::Pair;

/// A pair of which both sides are equal: anna has a folder with a message.
fn equal_pair(like: fn(Builder) -> Builder) -> Pair {
    let pair = Pair::with(like(Cyrus::master()), like(Cyrus::replica()), Via::Csync);
    pair.master.create_user("anna").unwrap();
    let mut anna = pair.master.login("anna").unwrap();
    anna.create("INBOX/a").unwrap();
    anna.append("INBOX/a", &[], None, b"Subject: one\r\n\r\nOne.\r\n").unwrap();
    pair.sync_well(&["-A"]);
    pair
}

/// Takes the entry by name out of the master's list.
fn lose(pair: &Pair, key: &str) {
    let path = pair.master.config_dir().join("mailboxes.db").display().to_string();
    pair.master.tool("cyr_dbtool", &[path.as_str(), "twoskip", "delete", key]).unwrap();
}

/// They were called equal, exit 0: nothing named them.
#[test]
fn a_mailbox_that_lost_its_name_fails_by_name() {
    let pair = equal_pair(|builder| builder);
    lose(&pair, "Nuser\u{1f}anna\u{1f}a");
    for args in [&["-m", "user/anna/a"][..], &["-u", "anna"], &["-A"], &["-O", "-A"]] {
        let run = pair.sync(args);
        assert_eq!(run.code, Some(1), "{args:?}: {}", run.stderr);
        let said = "failed: anna: mailbox user.anna.a: only the replica has it";
        assert!(run.stderr.contains(said), "{args:?}: {}", run.stderr);
        assert_eq!(pair.replica.login("anna").unwrap().examine("INBOX/a").unwrap(), 1);
    }
}

/// Its user is removed here. UNUSER removed the replica's copy, which was the last one in any list.
#[test]
fn a_mailbox_that_lost_its_name_is_not_removed_with_its_user() {
    let pair = equal_pair(|builder| builder.delete_mode(DeleteMode::Immediate).sync_log(&[]));
    pair.sync_well(&["-1"]);
    lose(&pair, "Nuser\u{1f}anna\u{1f}a");
    let mut admin = pair.master.admin().unwrap();
    admin.set_acl("user/anna", testkit::cyrus::ADMIN, "lrswipkxtecda").unwrap();
    admin.delete("user/anna").unwrap();
    let run = pair.sync(&["-1", "-v"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("user.anna.a: only the replica has it"), "{}", run.stderr);
    assert!(!run.stdout.contains("UNUSER"), "{}", run.stdout);
    assert_eq!(pair.replica.login("anna").unwrap().examine("INBOX/a").unwrap(), 1);
}

/// One that has expired here is left to the replica's own cyr_expire, but it is not equal for someone who names it.
#[test]
fn a_mailbox_that_expired_here_fails_if_it_is_named() {
    let pair = equal_pair(|builder| builder);
    pair.master.login("anna").unwrap().delete("INBOX/a").unwrap();
    pair.sync_well(&["-A"]);
    let mut there = pair.replica.admin().unwrap();
    let names = there.list("", "DELETED/*").unwrap();
    let [deleted] = names.as_slice() else { panic!("{names:?}") };
    pair.sync_well(&["-m", deleted]);
    pair.master.tool("cyr_expire", &["-E", "1", "-D", "0", "-X", "0"]).unwrap();
    let run = pair.sync(&["-m", deleted, "user/anna"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let said =
        format!("failed: anna: mailbox {}: only the replica has it", deleted.replace('/', "."));
    assert!(run.stderr.contains(&said), "{said}: {}", run.stderr);
    assert_eq!(there.list("", deleted).unwrap(), names);
    pair.sync_well(&["-u", "anna"]);
    pair.sync_well(&["-A"]);
}
