//! A database that is read once, in one pass, and kept in memory until the file changes.
//!
//! ```text
//!   fetch, foreach --> is the file still the one that was read? --yes--> memory
//!                        | path's inode, and the 64 bytes of the         (two system calls)
//!                        | twoskip header, which every commit changes
//!                        '--no--> the file itself, under its lock; read again after some of these
//! ```
//! An answer is never older than the query: a writer that has committed has changed the header, and one that has started
//! has marked it dirty. Only twoskip files of a moderate size are kept. Of larger ones some blocks are kept, under the same
//! condition, so that a query costs about the same however large the file is. Files in other formats are always read
//! directly.

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::warm::Warm;
use super::{Database, twoskip};
use crate::error::StoreError;
use crate::regular;

/// The largest file that is kept, in bytes: about 35,000 mailboxes.
const MOST_BYTES: u64 = 16 * 1024 * 1024;
/// A file that grew while it was read may be larger, but not larger than this, in bytes.
const MOST_HELD: usize = 4 * MOST_BYTES as usize;
/// After this many queries that found the file changed, it is read completely again.
const MISSES: u32 = 64;
/// The header of a twoskip file.
const HEADER: usize = 64;

/// Distinguishes one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    dev: u64,
    ino: u64,
    len: u64,
    header: [u8; HEADER],
}

/// All entries of one state: keys and values one after the other.
#[derive(Debug, Default)]
struct Entries {
    bytes: Vec<u8>,
    /// Where each entry's key begins, its value, and the next entry.
    at: Vec<(u32, u32, u32)>,
}

impl Entries {
    fn entry(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let (key, value, end) = *self.at.get(index)?;
        let part = |from: u32, to: u32| self.bytes.get(from as usize..to as usize);
        Some((part(key, value)?, part(value, end)?))
    }

    /// The first entry whose key is `key` or comes after it.
    fn first_from(&self, key: &[u8]) -> usize {
        let below = |place: &(u32, u32, u32)| {
            self.bytes.get(place.0 as usize..place.1 as usize).is_some_and(|k| k < key)
        };
        self.at.partition_point(below)
    }
}

/// A state of the file that is in memory.
#[derive(Debug, Clone)]
struct Kept {
    file: Arc<File>,
    stamp: Stamp,
    entries: Arc<Entries>,
}

#[derive(Debug, Default)]
struct State {
    kept: Option<Kept>,
    misses: u32,
}

/// How to query a file now.
enum Now {
    /// Its entries are in memory.
    Kept(Arc<Entries>),
    /// It is large: query its blocks.
    Large,
    /// Query the file directly.
    Plain,
}

/// A fact about a file that holds as long as it is the same file: device and inode.
#[derive(Debug, Default)]
struct Known(Mutex<Option<((u64, u64), bool)>>);

impl Known {
    /// The known fact about this file, or the one that `ask` finds now.
    fn of(
        &self,
        facts: &fs::Metadata,
        ask: impl FnOnce() -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        let file = (facts.dev(), facts.ino());
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, answer)) = known
            && known == file
        {
            return Ok(answer);
        }
        let answer = ask()?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((file, answer));
        Ok(answer)
    }
}

/// A database file that is read once. All queries share it.
#[derive(Debug)]
pub struct KeptDb {
    path: PathBuf,
    state: Mutex<State>,
    passes: AtomicU64,
    warm: Arc<Warm>,
    /// Whether it is a twoskip file.
    format: Known,
    /// The fact that its reader asks for once.
    form: Known,
}

impl KeptDb {
    /// A database of which nothing is read yet; it need not exist.
    #[must_use]
    pub fn new(path: &Path) -> KeptDb {
        KeptDb {
            path: path.to_path_buf(),
            state: Mutex::default(),
            passes: AtomicU64::new(0),
            warm: Arc::default(),
            format: Known::default(),
            form: Known::default(),
        }
    }

    /// How often all of the file was read so far.
    #[must_use]
    pub fn passes(&self) -> u64 {
        self.passes.load(Ordering::Relaxed)
    }

    /// The value of a key.
    ///
    /// # Errors
    /// The file cannot be read or is damaged.
    pub fn fetch(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let entries = match self.current()? {
            Now::Kept(entries) => entries,
            Now::Large => return twoskip::Db::warm(&self.path, &self.warm).fetch(key),
            Now::Plain => return Database::open(&self.path)?.fetch(key),
        };
        let found = entries.entry(entries.first_from(key)).filter(|(found, _)| *found == key);
        Ok(found.map(|(_, value)| value.to_vec()))
    }

    /// Visits the entries whose keys begin with `prefix`, in order, until the visitor breaks or fails.
    ///
    /// # Errors
    /// The file cannot be read or is damaged, or the visitor failed.
    pub fn foreach<F>(&self, prefix: &[u8], mut visit: F) -> Result<(), StoreError>
    where
        F: FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, StoreError>,
    {
        let entries = match self.current()? {
            Now::Kept(entries) => entries,
            Now::Large => return twoskip::Db::warm(&self.path, &self.warm).foreach(prefix, visit),
            Now::Plain => return Database::open(&self.path)?.foreach(prefix, visit),
        };
        for index in entries.first_from(prefix).. {
            let Some((key, value)) = entries.entry(index) else { return Ok(()) };
            if !key.starts_with(prefix) || visit(key, value)?.is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether queries are answered from memory, or from blocks in memory, now. Not for a file that is missing or in
    /// another format.
    ///
    /// # Errors
    /// The file cannot be read or is damaged.
    pub fn is_kept(&self) -> Result<bool, StoreError> {
        self.current().map(|now| !matches!(now, Now::Plain))
    }

    /// A fact that `ask` finds in this database and that can't change while it is the same file; asked once.
    ///
    /// # Errors
    /// The error of `ask`, or the file is missing.
    pub(crate) fn form(
        &self,
        ask: impl FnOnce() -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        let facts = fs::metadata(&self.path);
        self.form.of(&facts.map_err(|error| StoreError::io("stat", &self.path, error))?, ask)
    }

    /// How to query the file in its present state.
    fn current(&self) -> Result<Now, StoreError> {
        // Without our own lock: many threads query at once, and each checks the file first.
        let kept = self.state().kept.clone();
        let Ok(meta) = fs::metadata(&self.path) else { return Ok(Now::Plain) };
        if let Some(kept) = kept.filter(|kept| stamp_of(&kept.file, &meta) == Some(kept.stamp)) {
            return Ok(Now::Kept(kept.entries));
        }
        if meta.is_file() && meta.len() > MOST_BYTES {
            return self.large(&meta);
        }
        let mut state = self.state();
        // The file may have changed since we looked, or another thread may have read it.
        let Ok(meta) = fs::metadata(&self.path) else { return Ok(Now::Plain) };
        if let Some(kept) = &state.kept {
            if stamp_of(&kept.file, &meta) == Some(kept.stamp) {
                return Ok(Now::Kept(kept.entries.clone()));
            }
            state.misses += 1;
            if state.misses < MISSES {
                return Ok(Now::Plain);
            }
        }
        *state = State::default();
        if !meta.is_file() || meta.len() > MOST_BYTES {
            return Ok(Now::Plain);
        }
        let Ok(file) = regular::open(&self.path) else { return Ok(Now::Plain) };
        let Some(stamp) = stamp_of(&file, &meta) else { return Ok(Now::Plain) };
        if !stamp.header.starts_with(twoskip::MAGIC) {
            return Ok(Now::Plain);
        }
        // On a thread of its own: each of the many querying threads would keep its heap at its largest size, while a thread
        // that has ended leaves its heap to the next.
        let reading = thread::scope(|scope| scope.spawn(|| self.read()).join());
        let entries = Arc::new(reading.unwrap_or_else(|panic| resume_unwind(panic))?);
        // It changed while it was read: this state never existed.
        if fs::metadata(&self.path).ok().and_then(|meta| stamp_of(&file, &meta)) != Some(stamp) {
            return Ok(Now::Plain);
        }
        let kept = Kept { file: Arc::new(file), stamp, entries: entries.clone() };
        *state = State { kept: Some(kept), misses: 0 };
        Ok(Now::Kept(entries))
    }

    /// A large file, if it is a twoskip file: only its blocks are kept.
    fn large(&self, facts: &fs::Metadata) -> Result<Now, StoreError> {
        let mut state = self.state();
        if state.kept.is_some() {
            *state = State::default();
        }
        drop(state);
        let is_twoskip = self.format.of(facts, || {
            let mut magic = [0; twoskip::MAGIC.len()];
            let read = regular::open(&self.path)?.read_exact_at(&mut magic, 0);
            read.map_err(|error| StoreError::io("read", &self.path, error))?;
            Ok(magic == *twoskip::MAGIC)
        })?;
        Ok(if is_twoskip { Now::Large } else { Now::Plain })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> Result<Entries, StoreError> {
        self.passes.fetch_add(1, Ordering::Relaxed);
        let mut entries = Entries::default();
        Database::open(&self.path)?.foreach(b"", |key, value| {
            // So positions fit into 32 bits, and a damaged file, whose records may overlap, can't fill the memory.
            if entries.bytes.len() + key.len() + value.len() > MOST_HELD {
                let most = MOST_HELD >> 20;
                return Err(StoreError::damaged(
                    &self.path,
                    format!(
                        "its entries are longer than {most} MiB, several times the size of the file"
                    ),
                ));
            }
            let start = entries.bytes.len() as u32;
            entries.bytes.extend_from_slice(key);
            let middle = entries.bytes.len() as u32;
            entries.bytes.extend_from_slice(value);
            entries.at.push((start, middle, entries.bytes.len() as u32));
            Ok(ControlFlow::Continue(()))
        })?;
        // A list that grew while it was read may hold twice the memory that it needs, for as long as the file is unchanged.
        entries.bytes.shrink_to_fit();
        entries.at.shrink_to_fit();
        Ok(entries)
    }
}

/// The state of an open file, if it is the one at the path that has this metadata.
fn stamp_of(file: &File, at_path: &fs::Metadata) -> Option<Stamp> {
    let mut header = [0; HEADER];
    file.read_exact_at(&mut header, 0).ok()?;
    Some(Stamp { dev: at_path.dev(), ino: at_path.ino(), len: at_path.len(), header })
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn copied(dir: &Path, name: &str) -> PathBuf {
        let path = dir.join("db");
        let new = dir.join("db.NEW");
        fs::copy(testing::fixture(name), &new).unwrap();
        fs::rename(new, &path).unwrap();
        path
    }

    #[test]
    fn it_answers_as_the_file_does_and_reads_it_once() {
        let dir = tempfile::tempdir().unwrap();
        let db = KeptDb::new(&copied(dir.path(), "clean.twoskip"));
        for _ in 0..3 {
            testing::check_entries(|prefix, visit| db.foreach(prefix, visit), |key| db.fetch(key));
        }
        assert!(db.is_kept().unwrap());
        assert_eq!(db.passes(), 1);
    }

    #[test]
    fn a_changed_file_is_asked_itself_until_it_is_worth_keeping_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = copied(dir.path(), "clean.twoskip");
        let db = KeptDb::new(&path);
        assert!(db.is_kept().unwrap());
        // Replaced by another file, as by a repack.
        copied(dir.path(), "clean.twoskip");
        assert!(!db.is_kept().unwrap());
        testing::check_entries(|prefix, visit| db.foreach(prefix, visit), |key| db.fetch(key));
        while !db.is_kept().unwrap() {}
        assert_eq!(db.passes(), 2);
        // Changed in place: a commit changes the header.
        let mut bytes = fs::read(&path).unwrap();
        bytes[30] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert!(!db.is_kept().unwrap());
        assert!(db.fetch(b"key001").is_err(), "the header's checksum is wrong now");
        fs::remove_file(&path).unwrap();
        assert!(db.fetch(b"key001").is_err_and(|e| e.class() == crate::ErrorClass::Missing));
    }

    #[test]
    fn other_formats_are_asked_directly() {
        let dir = tempfile::tempdir().unwrap();
        let db = KeptDb::new(&copied(dir.path(), "clean.skiplist"));
        testing::check_entries(|prefix, visit| db.foreach(prefix, visit), |key| db.fetch(key));
        assert!(!db.is_kept().unwrap());
        assert_eq!(db.passes(), 0);
    }
}
