//! The list of mailboxes and a user's files, one of them damaged.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use cyrus_store::mboxlist::MboxList;
use cyrus_store::user::counters;
use cyrus_store::user::quota::QuotaDb;
use cyrus_store::{Config, Store};

use crate::{attack, below, copy_tree, corpus, fixture, named, reseal};

/// A server's databases, a file of which is replaced again and again.
struct Case {
    dir: tempfile::TempDir,
    file: PathBuf,
    more: &'static str,
}

impl Case {
    /// `more` is added to `imapd.conf` after the paths.
    fn new(file: &str, more: &'static str) -> Case {
        let dir = tempfile::tempdir().unwrap();
        copy_tree(&fixture("lower/conf"), &dir.path().join("conf"));
        let file = dir.path().join("conf").join(file);
        Case { dir, file, more }
    }

    fn store(&self, bytes: &[u8]) -> Store {
        fs::write(&self.file, bytes).unwrap();
        let text = format!(
            "configdirectory: {0}/conf\ndefaultpartition: default\npartition-default: {0}/spool\n\
             reverseacls: yes\nsievedir: {0}/sieve\nvirtdomains: userid\nconversations: yes\n\
             mboxname_lockpath: {0}/lock\n{1}\n",
            self.dir.path().display(),
            self.more,
        );
        Store::open(Arc::new(Config::parse(&text, "imapd.conf").unwrap()))
    }

    /// Errors name this file and no other.
    fn path(&self) -> String {
        self.file.display().to_string()
    }
}

/// Every query of a list of mailboxes.
fn read_list(case: &Case, bytes: &[u8]) {
    let (store, path) = (case.store(bytes), case.path());
    let names = [path.as_str()];
    let Some(list) = named(MboxList::open(&store.conf), &names) else { return };
    let kept = named(store.mailboxes(), &names);
    let users = named(list.all_users(None), &names).unwrap_or_default();
    assert!(users.len() <= bytes.len());
    for user in users.iter().map(String::as_str).take(4).chain(["anna", "", "nobody", "a/b"]) {
        let tree = named(list.user_tree(user), &names);
        if let Some(kept) = &kept {
            named(kept.user_tree(user), &names);
        }
        for entry in tree.iter().flatten().take(3) {
            named(list.lookup(&entry.name), &names);
            named(list.find_uniqueid(&entry.uniqueid), &names);
            assert!(entry.mbtype.letters().len() < 10);
        }
        named(list.inbox_id(user), &names);
        named(list.groups_of(user), &names);
    }
    named(list.shared_tree(None), &names);
    named(list.all_users(Some("user.a")), &names);
}

fn attack_file(
    file: &'static str,
    more: &'static str,
    seeds: Vec<Vec<u8>>,
    repair: fn(&mut [u8]),
    read: impl Fn(&Store, &MboxList, &[&str]) + Send + Sync + 'static,
) {
    let case = Case::new(file, more);
    attack(file, seeds, repair, move |bytes| {
        let store = case.store(bytes);
        let list = store.mailboxes().unwrap();
        read(&store, &list, &[case.path().as_str()]);
    });
}

#[test]
fn list_of_mailboxes() {
    let seeds = [vec![hostile::read(&fixture("lower/conf/mailboxes.db"))], corpus("mailboxes")];
    let case = Case::new("mailboxes.db", "");
    attack("mailboxes.db", seeds.concat(), reseal::any_database, move |bytes| {
        read_list(&case, bytes)
    });
}

/// Where the files of these users are.
const B_C: &str = "user/uuid/o/y/oyn9hvw03efho6guhdniqvg3";

#[test]
fn seen_state() {
    let seeds = [below(&fixture("lower"), "seen.db"), corpus("seen")].concat();
    let file = format!("{B_C}/seen.db").leak();
    attack_file(file, "", seeds, reseal::any_database, |store, list, names| {
        named(store.seen(list, "b.c"), names);
    });
}

#[test]
fn subscriptions() {
    let file = format!("{B_C}/sub.db").leak();
    let seeds = [below(&fixture("lower"), "sub.db"), below(&fixture("lower"), "legacy.sub")];
    attack_file(file, "", seeds.concat(), reseal::any_database, |store, list, names| {
        named(store.subscriptions(list, "b.c"), names);
    });
}

#[test]
fn user_counters() {
    let file = format!("{B_C}/counters.db").leak();
    let seeds =
        [below(&fixture("lower"), "counters.db"), below(&fixture("lower"), "legacy.counters")];
    attack_file(file, "", seeds.concat(), reseal::last_four, |store, list, names| {
        named(counters::counters(&store.conf, list, "b.c"), names);
    });
}

#[test]
fn conversations() {
    let file = format!("{B_C}/conversations.db").leak();
    let seeds = [
        below(&fixture("lower"), "conversations.db"),
        below(&fixture("lower"), "legacy.conversations"),
    ];
    attack_file(file, "", seeds.concat(), reseal::any_database, |store, list, names| {
        let tree = list.user_tree("b.c").unwrap();
        assert!(!tree.is_empty());
        let Some(modseqs) = named(store.user_modseqs(list, Some("b.c")), names) else { return };
        for entry in &tree {
            named(modseqs.of(entry), names);
        }
    });
}

#[test]
fn quota_files() {
    let seeds = [
        below(&fixture("lower"), "user.anna"),
        below(&fixture("lower"), "user.legacy"),
        corpus("quota"),
    ];
    attack_file("quota/a/user.anna", "", seeds.concat(), hostile::no_repair, |store, _, _| {
        // The error names the root, or the folder of all roots.
        named(store.quota("user.anna"), &["user.anna", "quota"]);
    });
}

#[test]
fn quota_database() {
    attack_file(
        "quotas.db",
        "quota_db: twoskip",
        corpus("quotas"),
        reseal::any_database,
        |store, _, names| {
            let Some(db) = named(QuotaDb::open(&store.conf), names) else { return };
            for root in named(db.roots(), names).unwrap_or_default().iter().take(5) {
                named(db.quota(root), names);
            }
            named(db.quota("user.anna"), names);
        },
    );
}
