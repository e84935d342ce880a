//! Damaged and hostile files: no input causes a panic, time and memory are bounded, an error names the file, and what was
//! written can be read again.
//!
//! Seeds are files that Cyrus wrote (`tests/fixtures`), others that are named in `tests/corpus/README.md`, and, also there,
//! every input that once failed. The crate `hostile` damages them.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails by panicking")]

mod databases;
mod mailboxes;
mod reseal;
mod round_trips;
mod texts;
mod users;

use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cyrus_store::StoreError;
use hostile::{Check, Target};

/// A file or folder under `tests/fixtures`.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The files of one format under `tests/corpus`.
fn corpus(format: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(format);
    hostile::files(&folder).into_iter().map(|(_, bytes)| bytes).collect()
}

/// The files of this name anywhere below a folder.
fn below(folder: &Path, name: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|found| found == name) {
                found.push(hostile::read(&path));
            }
        }
    }
    assert!(!found.is_empty(), "no {name} below {}", folder.display());
    found.sort();
    found
}

/// Copies a folder and all in it.
fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// An error must name its file or its mailbox.
#[track_caller]
fn named<T>(result: Result<T, StoreError>, names: &[&str]) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            let text = error.to_string();
            assert!(names.iter().any(|name| text.contains(name)), "{text} names none of {names:?}");
            None
        }
    }
}

/// The same for an error of the file itself.
#[track_caller]
fn named_file<T: Debug>(result: Result<T, StoreError>, path: &Path) -> Option<T> {
    named(result, &[&path.display().to_string()])
}

fn attack(
    name: &'static str,
    seeds: Vec<Vec<u8>>,
    repair: fn(&mut [u8]),
    check: impl Fn(&[u8]) + Send + Sync + 'static,
) {
    let check: Check = Arc::new(check);
    Target { name, seeds, repair, check }.attack();
}
