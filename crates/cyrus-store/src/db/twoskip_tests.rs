//! Tests of the twoskip reader against files that Cyrus' own `cyr_dbtool` wrote (one was killed half way through a
//! transaction) and its output for them.

use std::fs;

use super::*;
use crate::db::testing;

#[test]
fn agrees_with_cyrus_own_tool() {
    for name in ["clean.twoskip", "torn.twoskip"] {
        let db = Db::at(&testing::fixture(name));
        testing::check_entries(|prefix, visit| db.foreach(prefix, visit), |key| db.fetch(key));
    }
}

#[test]
fn damage_is_an_error_and_never_a_panic() {
    testing::break_bytes("clean.twoskip", 5, |path| {
        let db = Db::at(path);
        let _ = db.foreach(b"", |_, _| Ok(ControlFlow::Continue(())));
        let _ = db.fetch(b"key050");
    });
}

#[test]
fn every_byte_is_covered_by_a_checksum() {
    let good = fs::read(testing::fixture("clean.twoskip")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut bytes = good.clone();
    // The value of a live entry, found by its text.
    let at = good.windows(7).rposition(|window| window == b"changed").unwrap();
    bytes[at] = b'X';
    fs::write(&path, &bytes).unwrap();
    let mut seen = 0;
    let result = Db::at(&path).foreach(b"", |_, _| {
        seen += 1;
        Ok(ControlFlow::Continue(()))
    });
    assert!(matches!(result, Err(StoreError::DamagedAt { .. })), "{result:?}");
    assert!(seen > 0);
    fs::write(&path, &good[..good.len() - 8]).unwrap();
    assert!(Db::at(&path).fetch(b"x").unwrap_err().to_string().contains("committed size"));
}

#[test]
fn an_empty_file_is_an_empty_database() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    fs::write(&path, b"").unwrap();
    let db = Db::at(&path);
    assert_eq!(db.fetch(b"x").unwrap(), None);
    db.foreach(b"", |_, _| panic!("nothing to visit")).unwrap();
    fs::write(&path, b"short").unwrap();
    assert!(Db::at(&path).fetch(b"x").is_err());
    let missing = Db::at(&dir.path().join("none")).fetch(b"x");
    assert!(matches!(missing, Err(StoreError::MissingFile { .. })));
}

#[test]
fn a_visitor_may_stop_or_fail() {
    let db = Db::at(&testing::fixture("clean.twoskip"));
    let mut count = 0;
    db.foreach(b"key", |_, _| {
        count += 1;
        Ok(if count == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })
    .unwrap();
    assert_eq!(count, 3);
    let failure = db.foreach(b"", |_, _| Err(StoreError::damaged(Path::new("/x"), "no")));
    assert_eq!(failure.unwrap_err().to_string(), "/x is damaged: no");
}

#[test]
fn warm_blocks_serve_until_the_file_is_another() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    fs::copy(testing::fixture("clean.twoskip"), &path).unwrap();
    let warm = Arc::new(Warm::default());
    let db = Db::warm(&path, &warm);
    for _ in 0..3 {
        testing::check_entries(|prefix, visit| db.foreach(prefix, visit), |key| db.fetch(key));
    }
    assert_eq!(warm.all().len(), 1, "one thread needs one");
    // Another file at the same place, with no content that could be mistaken for the first one's.
    fs::write(dir.path().join("new"), b"").unwrap();
    fs::rename(dir.path().join("new"), &path).unwrap();
    assert_eq!(db.fetch(b"key001").unwrap(), None);
    // Changed in place: the header shows it, and what was read before is not used.
    let mut bytes = fs::read(testing::fixture("clean.twoskip")).unwrap();
    fs::write(&path, &bytes).unwrap();
    testing::check_entries(|prefix, visit| db.foreach(prefix, visit), |key| db.fetch(key));
    bytes[30] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(db.fetch(b"key001").is_err());
}

#[test]
fn a_file_that_was_replaced_is_not_kept_open() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let put = || {
        fs::copy(testing::fixture("clean.twoskip"), dir.path().join("new")).unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
    };
    put();
    let warm = Arc::new(Warm::default());
    let db = Db::warm(&path, &warm);
    // A query within another needs a view of its own.
    db.foreach(b"", |_, _| {
        assert!(db.fetch(b"key001")?.is_some());
        Ok(ControlFlow::Break(()))
    })
    .unwrap();
    assert_eq!(warm.all().len(), 2);
    put();
    assert!(db.fetch(b"key001").unwrap().is_some());
    assert_eq!(warm.all().len(), 1);
}
