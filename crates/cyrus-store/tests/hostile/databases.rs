//! The database formats alone.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use cyrus_store::StoreError;
use cyrus_store::db::Database;
use cyrus_store::db::kept::KeptDb;

use crate::{attack, corpus, fixture, named_file, reseal};

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// All entries from a prefix on, up to the error if there is one.
fn walk(db: &Database, prefix: &[u8]) -> (Entries, Result<(), StoreError>) {
    let mut entries = Entries::new();
    let result = db.foreach(prefix, |key, value| {
        entries.push((key.to_vec(), value.to_vec()));
        Ok(ControlFlow::Continue(()))
    });
    (entries, result)
}

/// Reads all of a database in every way.
fn read_all(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    let Some(db) = named_file(Database::open(path), path) else { return };
    let (entries, result) = walk(&db, b"");
    // No entry has less than a byte, so there can't be more of them, wherever the pointers lead.
    assert!(entries.len() <= bytes.len(), "{} entries of {} bytes", entries.len(), bytes.len());
    let whole = named_file(result, path).is_some();
    if !matches!(db, Database::Flat(_)) {
        assert!(entries.is_sorted_by(|a, b| a.0 < b.0), "keys are out of order");
    }
    for (key, _) in entries.iter().step_by(entries.len() / 20 + 1) {
        let (found, result) = walk(&db, key);
        named_file(result, path);
        assert!(found.iter().all(|(found, _)| found.starts_with(key)));
        named_file(db.fetch(key), path);
    }
    for key in [&b""[..], b"key050", b"\xff", b"zzz"] {
        named_file(db.fetch(key), path);
    }
    // Kept in memory the result is the same.
    let kept = Database::Kept(KeptDb::new(path).into());
    let (again, result) = walk(&kept, b"");
    if named_file(result, path).is_some() && whole {
        assert_eq!(again, entries);
    }
}

fn attack_format(name: &'static str, seeds: Vec<Vec<u8>>, repair: fn(&mut [u8])) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("some.db");
    attack(name, seeds, repair, move |bytes| {
        // The folder lives as long as the check.
        assert!(dir.path().is_dir());
        read_all(&path, bytes);
    });
}

fn with_fixtures(format: &str, names: &[&str]) -> Vec<Vec<u8>> {
    let fixtures = names.iter().map(|name| hostile::read(&fixture(name)));
    fixtures.chain(corpus(format)).collect()
}

#[test]
fn twoskip() {
    let seeds = with_fixtures("twoskip", &["clean.twoskip", "torn.twoskip"]);
    attack_format("twoskip", seeds, reseal::twoskip);
}

#[test]
fn skiplist() {
    let files = ["clean.skiplist", "torn.skiplist", "lower/conf/user/l/legacy.conversations"];
    attack_format("skiplist", with_fixtures("skiplist", &files), hostile::no_repair);
}

#[test]
fn flat() {
    attack_format("flat", corpus("flat"), hostile::no_repair);
}

/// A transaction without an end that deletes one record with a long key thousands of times: a gigabyte of keys, if each
/// were kept.
#[test]
fn deletions_of_one_long_key() {
    let empty = corpus("skiplist").concat();
    let mut bytes = empty[..48 + 12 + 84].to_vec();
    let (at, key) = (bytes.len() as u32, 96 * 1024);
    for number in [2, key] {
        bytes.extend(u32::to_be_bytes(number));
    }
    bytes.resize(bytes.len() + key as usize, b'k');
    for number in [0, 0, u32::MAX, 255] {
        bytes.extend(u32::to_be_bytes(number));
    }
    for _ in 0..16_000 {
        for number in [4, at] {
            bytes.extend(u32::to_be_bytes(number));
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("some.db");
    fs::write(&path, &bytes).unwrap();
    let db = Database::open(&path).unwrap();
    let (_, result) = walk(&db, b"");
    let error = result.unwrap_err().to_string();
    assert!(error.contains("it deletes more than there is"), "{error}");
    assert!(error.contains("some.db"), "{error}");
}
