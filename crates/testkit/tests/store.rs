//! Stores written without Cyrus, judged by Cyrus: its tools find nothing to repair, its servers serve them, and its
//! sync_server reports what the model contains.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails by panicking")]

use testkit::Cyrus;
use testkit::oracle::PrivateServer;
use testkit::store::{Bodies, MasterStore, Model, Plan, Sizes};

/// The store's own sync_server reports what the model contains.
fn assert_oracle_agrees(cyrus: &Cyrus, model: &Model) {
    let mut server = PrivateServer::start(cyrus).unwrap();
    let report = model.differences(&mut server).unwrap();
    assert!(report.is_empty(), "{report}");
}

/// Cyrus' tools read all of it and find nothing to repair.
fn assert_tools_agree(cyrus: &Cyrus, model: &Model) {
    for user in &model.users {
        let inbox = format!("user/{}", user.userid);
        let said = cyrus.tool("reconstruct", &["-n", "-r", &inbox]).unwrap();
        let words = format!(
            "{}{}",
            String::from_utf8_lossy(&said.stdout),
            String::from_utf8_lossy(&said.stderr)
        );
        // It prints the name of each mailbox it looked at, and more if there is something to repair.
        let mended: Vec<_> = words.lines().filter(|l| l.contains(' ')).collect();
        assert!(mended.is_empty(), "{words}");
        cyrus.tool("mbexamine", &[&inbox]).unwrap();
    }
    let complaints: Vec<_> = cyrus
        .take_syslog()
        .into_iter()
        .filter(|line| line.text.contains("ERROR") || line.text.contains("corrupt"))
        .map(|line| line.text)
        .collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    for db in ["mailboxes.db", "annotations.db"] {
        let path = cyrus.dir().join("conf").join(db);
        let path = path.to_str().unwrap();
        cyrus.tool("cyr_dbtool", &["-n", path, "twoskip", "consistent"]).unwrap();
    }
}

// Shows that Cyrus itself could have written such a store: tools, sync_server and imapd accept it, also after changes made
// without Cyrus, and after Cyrus has changed it.
#[test]
fn cyrus_takes_a_written_store_for_its_own() {
    testkit::ensure_cyrus().unwrap();
    let mut cyrus = Cyrus::master().option("conversations", "no").start().unwrap();
    cyrus.stop();
    for folder in ["conf/db", "conf/mailboxes.db", "conf/annotations.db"] {
        let path = cyrus.dir().join(folder);
        let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path));
    }
    let plan = Plan {
        users: 4,
        mailboxes: 3,
        messages: 12,
        sizes: Sizes::Spread { median: 700, most: 50_000 },
        ..Plan::default()
    };
    let mut store = MasterStore::write_in(&plan, cyrus.dir()).unwrap();
    cyrus.start().unwrap();
    assert_oracle_agrees(&cyrus, store.model());
    assert_tools_agree(&cyrus, store.model());

    cyrus.stop();
    let done = store.change(7, 60).unwrap();
    assert!(done.appended > 0 && done.flagged > 0 && done.expunged > 0, "{done:?}");
    assert!(done.created > 0 && done.deleted > 0 && done.subscriptions > 0, "{done:?}");
    store.append(0, 0, 3).unwrap();
    store.change(8, 0).unwrap();
    cyrus.start().unwrap();
    assert_oracle_agrees(&cyrus, store.model());
    assert_tools_agree(&cyrus, store.model());

    // imapd serves the text that was written, and would make the same cache of it.
    let user = &store.model().users[0];
    let mut client = cyrus.login(&user.userid).unwrap();
    let inbox = &user.mailboxes[0];
    let live: Vec<_> = inbox.messages.iter().filter(|m| !m.is_expunged()).collect();
    assert_eq!(client.select("INBOX").unwrap() as usize, live.len());
    for (uid, body) in client.fetch_bodies("1:*").unwrap() {
        let one = live.iter().find(|m| m.uid == uid).unwrap();
        assert_eq!(body, one.text(), "uid {uid}");
    }
    let said = client.raw("UID FETCH 1:* (ENVELOPE BODYSTRUCTURE)").unwrap();
    let said: String = said.untagged.iter().map(|line| line.lossy()).collect();
    for one in &live {
        assert!(said.contains(&format!("message {}", one.number)), "{said}");
    }
    // And the store can be changed further.
    client.append("INBOX", &[], None, b"Subject: new\r\n\r\nNew.\r\n").unwrap();
    client.create("INBOX/by-cyrus").unwrap();
    assert_eq!(client.select("INBOX").unwrap() as usize, live.len() + 1);
}

// Shows that a plan decides everything: the same one gives the same store, another seed another one, and repeated messages
// share files.
#[test]
fn a_plan_gives_one_store() {
    let plan = Plan { messages: 30, bodies: Bodies::Repeated(7), ..Plan::default() };
    let (one, two) = (MasterStore::write(&plan).unwrap(), MasterStore::write(&plan).unwrap());
    assert_eq!(one.model().users, two.model().users);
    let other = MasterStore::write(&Plan { seed: 2, ..plan }).unwrap();
    assert_ne!(one.model().users, other.model().users);
    let (dir_one, dir_two) = (one.imapd_conf(), two.imapd_conf());
    let list = |conf: &std::path::Path| std::fs::read(conf.with_file_name("conf/mailboxes.db"));
    assert_eq!(list(&dir_one).unwrap(), list(&dir_two).unwrap());
    let guids: std::collections::HashSet<_> = one
        .model()
        .users
        .iter()
        .flat_map(|u| &u.mailboxes)
        .flat_map(|m| &m.messages)
        .map(|m| m.guid)
        .collect();
    assert_eq!(guids.len(), 7);
}
