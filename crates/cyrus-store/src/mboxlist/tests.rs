//! Tests of the mailbox list, with a small list in the flat format (the format does not matter to the code under test).

use std::fs;

use cyrus_types::{UidValidity, UniqueId};

use super::*;

/// A store with a mailbox list and nothing else.
pub(crate) fn small_store() -> (tempfile::TempDir, Config, MboxList) {
    let lines: &[(&str, &str)] = &[
        ("If0c1", "%(T e N user\u{1f}anna P default V 7 H (%(N user\u{1f}ann M 5 V 6 T e)))"),
        ("NDELETED\u{1f}shared\u{1f}old\u{1f}5F000000", "%(T e I d1 P default)"),
        ("NDELETED\u{1f}user\u{1f}anna\u{1f}Old\u{1f}5F000000", "%(T e I d2 P default)"),
        ("NDELETED\u{1f}user\u{1f}annabel\u{1f}Old\u{1f}5F000000", "%(T e I d3 P default)"),
        ("NDELETED\u{1f}user\u{1f}gone\u{1f}5F000001", "%(T e I d4 P default)"),
        ("Nex.com\u{1d}DELETED\u{1f}user\u{1f}zoe\u{1f}X\u{1f}5F000000", "%(T e I e1 P default)"),
        ("Nex.com\u{1d}user\u{1f}zoe", "%(T e I e2 P default)"),
        ("Nshared", "%(T ei)"),
        ("Nshared\u{1f}x", "%(T e I s1 P default)"),
        ("Nuser\u{1f}anna", "%(T e I f0c1 P default V 7 C 1 F 2 A %(anna lrs))"),
        ("Nuser\u{1f}anna\u{1f}A.b", "%(T e I f0c2 P default)"),
        ("Nuser\u{1f}anna\u{1f}Dead", "%(T ed I f0c3 P default)"),
        ("Nuser\u{1f}anna\u{1f}Mid", "%(T ei)"),
        ("Nuser\u{1f}anna-lisa", "%(T el I f0c4 P default)"),
        ("Nuser\u{1f}tomb", "%(T ed I f0c5 P default)"),
    ];
    let text: String = lines.iter().map(|(key, value)| format!("{key}\t{value}\n")).collect();
    store_with(text.as_bytes())
}

fn store_with(text: &[u8]) -> (tempfile::TempDir, Config, MboxList) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("mailboxes.db"), text).unwrap();
    let conf =
        format!("configdirectory: {0}\npartition-default: {0}/spool\n", dir.path().display());
    let conf = Config::parse(&conf, "/t").unwrap();
    let list = MboxList::open(&conf).unwrap();
    (dir, conf, list)
}

fn names(entries: &[MboxEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.name.as_str()).collect()
}

#[test]
fn finds_mailboxes_by_name_and_id() {
    let (_dir, _, list) = small_store();
    let inbox = list.lookup(&MailboxName::new("user.anna")).unwrap().unwrap();
    assert_eq!(
        (inbox.uniqueid.as_str(), inbox.uidvalidity, inbox.acl.as_str()),
        ("f0c1", UidValidity(7), "anna\tlrs\t")
    );
    assert_eq!(inbox.name_history[0].name, "user.ann");
    assert_eq!(
        list.lookup(&MailboxName::new("user.anna.A^b")).unwrap().unwrap().uniqueid.as_str(),
        "f0c2"
    );
    assert_eq!(list.lookup(&MailboxName::new("user.none")).unwrap(), None);
    assert_eq!(list.find_uniqueid(&UniqueId::new("f0c1")).unwrap().unwrap().name, "user.anna");
    assert_eq!(list.find_uniqueid(&UniqueId::new("none")).unwrap(), None);
    assert_eq!(list.inbox_id("anna").unwrap(), Some(UniqueId::new("f0c1")));
    assert_eq!(list.inbox_id("anna-lisa").unwrap(), None);
}

#[test]
fn a_users_tree_has_the_inbox_then_the_rest_then_the_deleted() {
    let (_dir, _, list) = small_store();
    let tree = list.user_tree("anna").unwrap();
    let wanted = [
        "user.anna",
        "user.anna.A^b",
        "user.anna.Dead",
        "user.anna.Mid",
        "DELETED.user.anna.Old.5F000000",
    ];
    assert_eq!(names(&tree), wanted);
    assert_eq!(
        names(&list.user_tree("zoe@ex.com").unwrap()),
        ["ex.com!user.zoe", "ex.com!DELETED.user.zoe.X.5F000000"]
    );
    assert_eq!(names(&list.user_tree("gone").unwrap()), ["DELETED.user.gone.5F000001"]);
    assert!(list.user_tree("nobody").unwrap().is_empty());
}

#[test]
fn all_users_come_once_and_alive() {
    let (_dir, _, list) = small_store();
    assert_eq!(list.all_users(None).unwrap(), ["zoe@ex.com", "anna", "anna-lisa"]);
    assert_eq!(list.all_users(Some("user.anna-")).unwrap(), ["anna-lisa"]);
    assert_eq!(list.all_users(Some("user.")).unwrap(), ["anna", "anna-lisa"]);
    let live = |prefix| -> Vec<MailboxName> {
        let tree = list.shared_tree(prefix).unwrap();
        let mailbox = |e: &MboxEntry| !e.mbtype.is_deleted() && !e.mbtype.is_intermediate();
        tree.into_iter().filter(mailbox).map(|e| e.name).collect()
    };
    assert_eq!(live(None), ["DELETED.shared.old.5F000000", "shared.x"]);
    assert_eq!(live(Some("sha")), ["shared.x"]);
}

#[test]
fn the_layout_before_3_5() {
    let text = b"$RACL$U$anna$user.bert\t\nDELETED.user.anna.Old.5F000000\t%(I d2 P default)\n\
                 user.anna\t%(A %(anna lrs) I f0c1 P default V 7)\nuser.anna-lisa\t0 default anna\xff\x89lrs\xff\x89\n\
                 user.anna.A^b\t(uniqueid f0c2) 0 default anna\xff\x89lrs\xff\x89\n";
    let (_dir, _, list) = store_with(text);
    assert_eq!(list.all_users(None).unwrap(), ["anna", "anna-lisa"]);
    let tree = list.user_tree("anna").unwrap();
    assert_eq!(names(&tree), ["user.anna", "user.anna.A^b", "DELETED.user.anna.Old.5F000000"]);
    assert_eq!(tree[1].acl, "anna\tlrs\t");
    assert_eq!(list.find_uniqueid(&UniqueId::new("f0c2")).unwrap().unwrap().name, "user.anna.A^b");
}

#[test]
fn a_damaged_entry_fails_its_user_only() {
    let text = b"Nuser\x1fanna\t%(T e\nNuser\x1fbert\t%(T e I b)\n";
    let (_dir, _, list) = store_with(text);
    assert_eq!(list.all_users(None).unwrap(), ["anna", "bert"]);
    let error = list.user_tree("anna").unwrap_err().to_string();
    assert!(error.contains("Nuser\\x1fanna") && error.contains("damaged"), "{error}");
    assert_eq!(names(&list.user_tree("bert").unwrap()), ["user.bert"]);
}
