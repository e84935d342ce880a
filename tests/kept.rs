//! The memory that is left after reading a growing list of mailboxes again and again. In a file of its own, so that nothing
//! else is in the process whose memory is measured.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use cyrus_store::db::kept::KeptDb;
use testkit::store::{MasterStore, Plan, Sizes};

/// Threads that query, one after the other.
const THREADS: usize = 12;
/// How often the list has changed.
const ROUNDS: usize = 96;
/// The most memory in the end, in kilobytes beyond that at the beginning; the largest list takes about 3,000.
const MOST_KB: u64 = 20_000;

/// Lists of 1,200 mailboxes and more.
fn lists(folder: &Path) -> Vec<PathBuf> {
    let list = |size: usize| {
        let users = size * 1200;
        let sizes = Sizes::Fixed(300);
        let plan = Plan { users, mailboxes: 1, messages: 0, sizes, ..Plan::default() };
        let store = MasterStore::write(&plan).unwrap();
        let conf = store.conf_for("list", 1).unwrap();
        let copy = folder.join(size.to_string());
        fs::copy(conf.with_file_name("conf").join("mailboxes.db"), &copy).unwrap();
        copy
    };
    (1..=8).map(list).collect()
}

/// A thread that reads the list on request, and reports when it has.
fn reader(db: &Arc<KeptDb>, done: &Sender<()>) -> Sender<()> {
    let (tell, told) = channel();
    let (db, done) = (db.clone(), done.clone());
    thread::spawn(move || {
        while told.recv().is_ok() {
            // It is read only after it was found changed several times.
            while !db.is_kept().unwrap() {}
            done.send(()).unwrap();
        }
    });
    tell
}

fn resident_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

/// Before, each of a dozen threads that read it in turn kept the memory of its heap: 65 MB for lists of 3 MB.
#[test]
fn no_thread_keeps_what_it_once_needed() {
    let dir = tempfile::tempdir().unwrap();
    let lists = lists(dir.path());
    let path = dir.path().join("mailboxes.db");
    fs::copy(&lists[0], &path).unwrap();
    let db = Arc::new(KeptDb::new(&path));
    let (done, finished) = channel();
    let readers: Vec<Sender<()>> = (0..THREADS).map(|_| reader(&db, &done)).collect();
    let before = resident_kb();
    for round in 0..ROUNDS {
        let new = dir.path().join("new");
        fs::copy(&lists[round * lists.len() / ROUNDS], &new).unwrap();
        fs::rename(&new, &path).unwrap();
        readers[round % THREADS].send(()).unwrap();
        finished.recv().unwrap();
    }
    assert_eq!(db.passes(), ROUNDS as u64);
    let grown = resident_kb().saturating_sub(before);
    assert!(grown < MOST_KB, "{grown} kB more than in the beginning");
}
