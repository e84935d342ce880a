//! The readers of a master's store: cyrus.index and mailboxes.db.
//!
//! `cargo bench --bench store`; counters give records and entries per second.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a benchmark that can't go on fails by panicking")]

use std::ops::ControlFlow;
use std::sync::Arc;

use cyrus_store::db::Database;
use cyrus_store::{Config, Store};
use cyrus_types::{MailboxName, ModSeq};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use testkit::store::{MasterStore, Plan};

const MESSAGES: usize = 20_000;
const USERS: usize = 1000;
const MAILBOXES: usize = 5;

fn main() {
    divan::main();
}

/// One mailbox with many messages.
fn large() -> (MasterStore, Store) {
    let plan = Plan { users: 1, mailboxes: 1, messages: MESSAGES, ..Plan::default() };
    let master = MasterStore::write(&plan).unwrap();
    let store = Store::open(Arc::new(Config::load(master.imapd_conf()).unwrap()));
    (master, store)
}

/// Many users with empty mailboxes.
fn many() -> (MasterStore, Store) {
    let plan = Plan { users: USERS, mailboxes: MAILBOXES, messages: 0, ..Plan::default() };
    let master = MasterStore::write(&plan).unwrap();
    let store = Store::open(Arc::new(Config::load(master.imapd_conf()).unwrap()));
    (master, store)
}

#[divan::bench]
fn index_open(bencher: Bencher) {
    let (_master, store) = large();
    let entry =
        store.mailboxes().unwrap().lookup(&MailboxName::new("user.user00000")).unwrap().unwrap();
    bencher.bench_local(|| store.open_mailbox(black_box(&entry)).unwrap());
}

#[divan::bench]
fn index_records(bencher: Bencher) {
    let (_master, store) = large();
    let entry =
        store.mailboxes().unwrap().lookup(&MailboxName::new("user.user00000")).unwrap().unwrap();
    let mailbox = store.open_mailbox(&entry).unwrap();
    bencher.counter(ItemsCount::new(MESSAGES)).bench_local(|| {
        let read = mailbox.records(ModSeq::ZERO).map(|record| u64::from(record.unwrap().uid.0));
        assert_eq!(read.sum::<u64>(), (MESSAGES * (MESSAGES + 1) / 2) as u64);
    });
}

#[divan::bench]
fn index_checksums(bencher: Bencher) {
    let (_master, store) = large();
    let entry =
        store.mailboxes().unwrap().lookup(&MailboxName::new("user.user00000")).unwrap().unwrap();
    let mailbox = store.open_mailbox(&entry).unwrap();
    bencher.counter(ItemsCount::new(MESSAGES)).bench_local(|| {
        assert_eq!(mailbox.recompute_crcs().unwrap(), mailbox.index.sync_crcs);
    });
}

#[divan::bench]
fn twoskip_pass(bencher: Bencher) {
    let (_master, store) = many();
    let path = store.mailboxes().unwrap().path().to_path_buf();
    bencher.counter(ItemsCount::new(USERS * MAILBOXES * 2)).bench_local(|| {
        let mut entries = 0;
        let db = Database::open(&path).unwrap();
        db.foreach(b"", |_, _| {
            entries += 1;
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
        assert!(entries >= USERS * MAILBOXES * 2);
    });
}

#[divan::bench]
fn twoskip_fetch(bencher: Bencher) {
    let (_master, store) = many();
    let path = store.mailboxes().unwrap().path().to_path_buf();
    let db = Database::open(&path).unwrap();
    let key = format!("Nuser\u{1f}user{:05}\u{1f}folder0002", USERS / 2);
    bencher.bench_local(|| assert!(db.fetch(black_box(key.as_bytes())).unwrap().is_some()));
}

#[divan::bench]
fn user_tree_kept(bencher: Bencher) {
    let (_master, store) = many();
    bencher.counter(ItemsCount::new(MAILBOXES)).bench_local(|| {
        let list = store.mailboxes().unwrap();
        assert_eq!(list.user_tree(black_box("user00321")).unwrap().len(), MAILBOXES);
    });
}
