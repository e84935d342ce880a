//! A user's data outside mailboxes can't be read: the mail is replicated all the same.

use std::path::PathBuf;

use testkit::{Cyrus, Via, c_client};

use crate::common::Pair;

/// Where a user's file of this name is.
fn user_file(cyrus: &Cyrus, name: &str) -> PathBuf {
    let mut folders = vec![cyrus.config_dir().join("user")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|file| file == name) {
                return path;
            }
        }
    }
    panic!("no {name}");
}

/// Found by the safety campaign (its seed 90): a damaged list of subscriptions or a damaged quota root stopped all of the
/// user's mail, and hid that a mailbox was damaged as well; in rolling replication, for good. Cyrus' client sends the
/// mailboxes first. Now the mail is sent, unreadable data is named, and nothing is removed there.
#[test]
fn damaged_subscriptions_and_quota_roots_keep_no_mail_away() {
    let pair = Pair::start();
    let mut twin = Pair::start();
    pair.master.create_user("anna").unwrap();
    let mut anna = pair.master.login("anna").unwrap();
    for folder in ["INBOX/a", "INBOX/b"] {
        anna.create(folder).unwrap();
        anna.subscribe(folder).unwrap();
    }
    pair.master.admin().unwrap().set_quota("user/anna", &[("STORAGE", 1000)]).unwrap();
    pair.sync_well(&["-u", "anna"]);
    anna.append("INBOX/a", &[], None, b"Subject: new\r\n\r\nNew.\r\n").unwrap();
    drop(anna);
    twin.master.become_copy_of(&pair.master).unwrap();
    twin.replica.become_copy_of(&pair.replica).unwrap();
    twin.replica.start().unwrap();
    twin.master.replicate_to(&twin.replica, Via::Csync).unwrap();

    let quota = PathBuf::from("conf/quota/a/user.anna");
    let hurt = |cyrus: &Cyrus| {
        let files = [user_file(cyrus, "sub.db"), cyrus.dir().join(&quota)];
        files.map(|path| {
            let whole = std::fs::read(&path).unwrap();
            std::fs::write(&path, "\u{1}".repeat(whole.len())).unwrap();
            (path, whole)
        })
    };
    hurt(&twin.master);
    let whole = hurt(&pair.master);
    let theirs = c_client::run(&twin.master, &["-u", "anna"]).unwrap();
    let run = pair.sync(&["-u", "anna"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    for path in [&whole[0].0, &whole[1].0] {
        assert!(run.stderr.contains(&path.display().to_string()), "{}", run.stderr);
    }
    let arrived = |replica: &Cyrus| replica.login("anna").unwrap().select("INBOX/a").unwrap();
    assert_eq!(arrived(&pair.replica), 1, "{}", run.stderr);
    assert_eq!(arrived(&twin.replica), 1, "{}", theirs.stderr);
    let there = pair.replica.login("anna").unwrap().raw("LSUB \"\" *").unwrap();
    assert_eq!(there.untagged.len(), 2, "{there:?}");
    let quota_there = std::fs::read_to_string(pair.replica.dir().join(&quota)).unwrap();
    assert!(quota_there.contains("1000"), "{quota_there}");

    for (path, whole) in whole {
        std::fs::write(path, whole).unwrap();
    }
    pair.sync_well(&["-u", "anna"]);
    pair.assert_equal(&["anna".to_owned()]);
}
