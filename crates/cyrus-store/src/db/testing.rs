//! Code that the tests of the database readers share.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::error::StoreError;

/// A visitor of entries.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, StoreError>;

/// A file under `tests/fixtures`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Compares a database with `entries.txt`, the output of `cyr_dbtool … show`: key, tab, value.
pub(crate) fn check_entries(
    foreach: impl Fn(&[u8], Visit<'_>) -> Result<(), StoreError>,
    fetch: impl Fn(&[u8]) -> Result<Option<Vec<u8>>, StoreError>,
) {
    let shown = fs::read_to_string(fixture("entries.txt")).unwrap();
    let wanted: Vec<(&str, &str)> =
        shown.lines().map(|line| line.split_once('\t').unwrap()).collect();
    for prefix in ["", "key", "key00", "key1", "key001", "zzz", "a"] {
        let mut found = Vec::new();
        foreach(prefix.as_bytes(), &mut |key, value| {
            found.push((
                String::from_utf8(key.to_vec()).unwrap(),
                String::from_utf8(value.to_vec()).unwrap(),
            ));
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
        let found: Vec<(&str, &str)> =
            found.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let expected: Vec<(&str, &str)> =
            wanted.iter().filter(|(key, _)| key.starts_with(prefix)).copied().collect();
        assert_eq!(found, expected, "prefix '{prefix}'");
    }
    for (key, value) in &wanted {
        assert_eq!(fetch(key.as_bytes()).unwrap().as_deref(), Some(value.as_bytes()), "{key}");
    }
    for absent in ["", "key000", "key005", "key9999", "zzz", "new001", "INVALID"] {
        assert_eq!(fetch(absent.as_bytes()).unwrap(), None, "{absent}");
    }
}

/// Flips bytes of a fixture, one in `step` of them at a time, and lets `read` look at the result.
pub(crate) fn break_bytes(name: &str, step: usize, read: impl Fn(&Path)) {
    let good = fs::read(fixture(name)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    for at in (0..good.len().min(3000)).step_by(step) {
        for flip in [0xff, 0x01] {
            let mut bytes = good.clone();
            bytes[at] ^= flip;
            fs::write(&path, &bytes).unwrap();
            read(&path);
        }
    }
}
