//! The list of mailboxes kept in memory never gives an outdated answer.

use std::sync::Arc;

use cyrus_store::{Config, Store};
use cyrus_types::MailboxName;
use testkit::Cyrus;

/// The names of a user's mailboxes.
fn tree(store: &Store, user: &str) -> Vec<MailboxName> {
    let entries = store.mailboxes().unwrap().user_tree(user).unwrap();
    let live = entries.into_iter().filter(|e| !e.mbtype.is_deleted());
    live.map(|e| e.name).filter(|name| !name.as_str().starts_with("DELETED")).collect()
}

// Shows that a snapshot kept in memory never hides a later change by a real server: each create, rename, ACL, annotation
// and deletion is seen by the next query, however few or many there were; and that a store at rest is read once, whatever
// is queried.
#[test]
fn what_cyrus_has_changed_is_seen_at_once() {
    testkit::ensure_cyrus().unwrap();
    let master = Cyrus::master().start().unwrap();
    master.create_user("anna").unwrap();
    let config = Arc::new(Config::load(master.imapd_conf()).unwrap());
    let store = Store::open(config);
    let mut client = master.login("anna").unwrap();
    let mut expected = tree(&store, "anna");
    for nr in 0..100 {
        let (made, moved) = (master.name(&["INBOX", &format!("m{nr}")]), format!("r{nr}"));
        client.create(&made).unwrap();
        assert_eq!(tree(&store, "anna").len(), expected.len() + 1, "{made}");
        let renamed = master.name(&["INBOX", &moved]);
        client.rename(&made, &renamed).unwrap();
        let name = MailboxName::new(format!("user.anna.{moved}"));
        let entry = store.mailboxes().unwrap().lookup(&name).unwrap().unwrap();
        assert!(!entry.acl.contains("bert"));
        client.set_acl(&renamed, "bert", "lrs").unwrap();
        let entry = store.mailboxes().unwrap().lookup(&name).unwrap().unwrap();
        assert!(entry.acl.contains("bert\tlrs"), "{}", entry.acl);
        client.set_metadata(&renamed, "/private/comment", Some(&moved)).unwrap();
        let mailbox = store.open_mailbox(&entry).unwrap();
        let said = mailbox.annotations().unwrap();
        assert!(said.iter().any(|a| a.value == moved.as_bytes()), "{said:?}");
        drop(mailbox);
        if nr % 2 == 0 {
            client.delete(&renamed).unwrap();
            assert!(!tree(&store, "anna").contains(&name));
        } else {
            expected.push(name);
        }
    }
    expected.sort();
    let mut now = tree(&store, "anna");
    now.sort();
    assert_eq!(now, expected);

    let ask = || (0..100).for_each(|_| assert_eq!(tree(&store, "anna").len(), expected.len()));
    ask();
    let before = store.list_passes();
    ask();
    assert_eq!(store.list_passes(), before);
}
