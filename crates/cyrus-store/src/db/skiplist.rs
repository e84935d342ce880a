//! Reads skiplist databases (the default for conversations in 3.6.1, and of older versions for most things).
//!
//! ```text
//! header, 48 bytes                              record, a multiple of 4 bytes
//!  0 magic "\xa1\x02\x8b\x0dskiplist file\0\0\0"      0 type: 257 first, 1 in order, 2 added
//! 20 version (1), minor version  u32, u32       4 key length, key, zeros up to a multiple of 4
//! 28 highest level, level in use u32, u32         value length, value, zeros up to a multiple of 4
//! 36 number of entries           u32             pointers, one a level, lowest first, u32 each
//! 40 start of the log            u32             0xffffffff
//! 44 last recovery, unix time    u32       or    4, then the offset of the deleted record; or 255: commit
//! ```
//!
//! All numbers are big-endian. Up to "start of the log" the records are in the order of their keys; after it come the
//! changes in the order they were made, every transaction ended by a commit. The pointers are rewritten in place, so after
//! a writer died they can't be trusted: then (the file does not end in a commit) the log is replayed in memory instead.
//!
//! Source: `lib/cyrusdb_skiplist.c` of cyrus-imapd 3.6.1.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::db::blocks::Blocks;
use crate::error::StoreError;
use crate::lock::{FileLock, Mode};

/// The first 20 bytes of every skiplist file.
pub(crate) const MAGIC: &[u8; 20] = b"\xa1\x02\x8b\x0dskiplist file\0\0\0";

const FIRST_RECORD: u64 = 48;
const VERSION: u32 = 1;
const MAX_LEVEL: u64 = 20;
const IN_ORDER: u32 = 1;
const ADD: u32 = 2;
const DELETE: u32 = 4;
const COMMIT: u32 = 255;
const FIRST: u32 = 257;
const END_OF_POINTERS: u32 = u32::MAX;

/// A skiplist database, for reading.
#[derive(Debug, Clone)]
pub struct Db {
    path: PathBuf,
}

impl Db {
    /// Checks that the file is a skiplist database.
    ///
    /// # Errors
    /// The file is missing, is not a skiplist database, or its header is damaged.
    pub fn open(path: &Path) -> Result<Db, StoreError> {
        let db = Db { path: path.to_path_buf() };
        db.view()?;
        Ok(db)
    }

    /// The value of a key.
    ///
    /// # Errors
    /// The file cannot be read or is damaged.
    pub fn fetch(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let mut view = self.view()?;
        if !view.clean {
            let index = view.replay()?;
            return index.get(key).map(|record| view.value(record)).transpose();
        }
        match view.first_from(key)? {
            Some(record) if view.key(&record)? == key => Ok(Some(view.value(&record)?)),
            _ => Ok(None),
        }
    }

    /// Visits the entries whose keys begin with `prefix`, in order, until the visitor breaks or fails. Writers wait meanwhile.
    ///
    /// # Errors
    /// The file cannot be read or is damaged, or the visitor failed.
    pub fn foreach<F>(&self, prefix: &[u8], mut visit: F) -> Result<(), StoreError>
    where
        F: FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, StoreError>,
    {
        let mut view = self.view()?;
        if !view.clean {
            for (key, record) in view.replay()?.range(prefix.to_vec()..) {
                if !key.starts_with(prefix) || visit(key, &view.value(record)?)?.is_break() {
                    break;
                }
            }
            return Ok(());
        }
        let mut last: Option<Vec<u8>> = None;
        let mut current = view.first_from(prefix)?;
        while let Some(record) = current {
            let key = view.key(&record)?;
            if last.as_ref().is_some_and(|last| *last >= key) {
                return Err(view.damaged(record.offset, "keys are out of order"));
            }
            if !key.starts_with(prefix) || visit(&key, &view.value(&record)?)?.is_break() {
                break;
            }
            let next = view.pointer(&record, 0)?;
            current = if next == 0 { None } else { Some(view.entry(next)?) };
            last = Some(key);
        }
        Ok(())
    }

    fn view(&self) -> Result<View, StoreError> {
        let lock = FileLock::on_existing(&self.path, Mode::Shared, true)?;
        let len = lock
            .file()
            .metadata()
            .map_err(|error| StoreError::io("stat", &self.path, error))?
            .len();
        let mut view = View { blocks: Blocks::new(lock, len), len, clean: false };
        let mut magic = [0u8; 20];
        view.blocks.read(0, &mut magic)?;
        if &magic != MAGIC {
            return Err(StoreError::unsupported(&self.path, "it is not a skiplist database"));
        }
        let version = view.number(20)?;
        if version != VERSION {
            return Err(StoreError::unsupported(
                &self.path,
                format!("skiplist version {version} is not known"),
            ));
        }
        view.clean = view.ends_well()?;
        Ok(view)
    }
}

/// A locked database file.
#[derive(Debug)]
struct View {
    blocks: Blocks,
    len: u64,
    clean: bool,
}

/// Where the parts of a record are.
#[derive(Debug, Clone)]
struct Record {
    offset: u64,
    kind: u32,
    key: (u64, u64),
    value: (u64, u64),
    pointers: u64,
    levels: u64,
}

impl View {
    /// Does the file end where a transaction (or the ordered part) ends?
    fn ends_well(&mut self) -> Result<bool, StoreError> {
        let log_start = u64::from(self.number(40)?);
        if !self.len.is_multiple_of(4) || self.len < FIRST_RECORD + 16 {
            return Ok(false);
        }
        let last = self.number(self.len - 4)?;
        if self.len == log_start {
            return Ok(last == END_OF_POINTERS);
        }
        let after_entry = self.number(self.len - 8)? == END_OF_POINTERS;
        let after_delete = self.number(self.len - 12)? == DELETE;
        Ok(last == COMMIT && (after_entry || after_delete))
    }

    /// The first entry whose key is not below the given one.
    fn first_from(&mut self, key: &[u8]) -> Result<Option<Record>, StoreError> {
        let mut before = self.record(FIRST_RECORD)?;
        if before.kind != FIRST {
            return Err(self.damaged(FIRST_RECORD, "the first record is of the wrong type"));
        }
        let mut before_key: Option<Vec<u8>> = None;
        let mut found = None;
        for level in (0..before.levels.min(MAX_LEVEL)).rev() {
            loop {
                let offset = self.pointer(&before, level)?;
                if offset == 0 {
                    found = None;
                    break;
                }
                let record = self.entry(offset)?;
                let record_key = self.key(&record)?;
                if record_key.as_slice() >= key {
                    found = Some(record);
                    break;
                }
                if before_key.as_ref().is_some_and(|before| *before >= record_key) {
                    return Err(self.damaged(offset, "keys are out of order"));
                }
                before = record;
                before_key = Some(record_key);
            }
        }
        Ok(found)
    }

    /// Reads the whole file from its start and keeps what was committed.
    fn replay(&mut self) -> Result<BTreeMap<Vec<u8>, Record>, StoreError> {
        let mut committed: BTreeMap<Vec<u8>, Record> = BTreeMap::new();
        let mut pending: Vec<(Vec<u8>, Option<Record>)> = Vec::new();
        // Each record can be added once and deleted once at most: more bytes of keys than that mean damage.
        let mut room = self.len.saturating_mul(2);
        let first = self.record(FIRST_RECORD)?;
        let mut offset = first.end();
        while offset + 4 <= self.len {
            match self.number(offset)? {
                COMMIT => {
                    for (key, change) in pending.drain(..) {
                        match change {
                            Some(record) => committed.insert(key, record),
                            None => committed.remove(&key),
                        };
                    }
                    offset += 4;
                }
                // An old bug in Cyrus' own recovery left zeros in places.
                0 => offset += 4,
                DELETE => {
                    let Ok(target) = self.number(offset + 4) else {
                        break;
                    };
                    let Ok(record) = self.record(u64::from(target)) else {
                        break;
                    };
                    match room.checked_sub(record.key.1) {
                        Some(left) => room = left,
                        None => return Err(self.damaged(offset, "it deletes more than there is")),
                    }
                    pending.push((self.key(&record)?, None));
                    offset += 8;
                }
                IN_ORDER | ADD => {
                    // An incomplete record ends the usable part.
                    let Ok(record) = self.record(offset) else {
                        break;
                    };
                    offset = record.end();
                    let key = self.key(&record)?;
                    if record.kind == IN_ORDER {
                        committed.insert(key, record);
                    } else {
                        pending.push((key, Some(record)));
                    }
                }
                _ => break,
            }
        }
        Ok(committed)
    }

    /// An entry that a pointer leads to.
    fn entry(&mut self, offset: u64) -> Result<Record, StoreError> {
        let record = self.record(offset)?;
        match record.kind {
            IN_ORDER | ADD => Ok(record),
            _ => Err(self.damaged(offset, "a pointer leads to a record of the wrong type")),
        }
    }

    /// Finds the parts of a record with a key.
    fn record(&mut self, offset: u64) -> Result<Record, StoreError> {
        if offset < FIRST_RECORD || !offset.is_multiple_of(4) {
            return Err(self.damaged(offset, "no record can start here"));
        }
        let kind = self.number(offset)?;
        if !matches!(kind, IN_ORDER | ADD | FIRST) {
            return Err(self.damaged(offset, "a record's type is unknown"));
        }
        let key_len = u64::from(self.number(offset + 4)?);
        let value_at = offset + 8 + key_len.next_multiple_of(4);
        let value_len = u64::from(self.number(value_at)?);
        let pointers = value_at + 4 + value_len.next_multiple_of(4);
        let mut levels = 0;
        while self.number(pointers + 4 * levels)? != END_OF_POINTERS {
            levels += 1;
            if levels > MAX_LEVEL {
                return Err(self.damaged(offset, "a record's level is too high"));
            }
        }
        Ok(Record {
            offset,
            kind,
            key: (offset + 8, key_len),
            value: (value_at + 4, value_len),
            pointers,
            levels,
        })
    }

    fn pointer(&mut self, record: &Record, level: u64) -> Result<u64, StoreError> {
        if level >= record.levels {
            return Err(self.damaged(record.offset, "a record is on a list above its level"));
        }
        Ok(u64::from(self.number(record.pointers + 4 * level)?))
    }

    fn key(&mut self, record: &Record) -> Result<Vec<u8>, StoreError> {
        self.blocks.read_vec(record.key.0, record.key.1)
    }

    fn value(&mut self, record: &Record) -> Result<Vec<u8>, StoreError> {
        self.blocks.read_vec(record.value.0, record.value.1)
    }

    fn number(&mut self, offset: u64) -> Result<u32, StoreError> {
        let mut bytes = [0u8; 4];
        self.blocks.read(offset, &mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn damaged(&self, offset: u64, what: &str) -> StoreError {
        StoreError::damaged_at(self.blocks.path(), offset, what)
    }
}

impl Record {
    /// Where the next record starts.
    fn end(&self) -> u64 {
        self.pointers + 4 * self.levels + 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::testing;

    #[test]
    fn agrees_with_cyrus_own_tool() {
        for name in ["clean.skiplist", "torn.skiplist"] {
            let db = Db::open(&testing::fixture(name)).unwrap();
            testing::check_entries(|prefix, visit| db.foreach(prefix, visit), |key| db.fetch(key));
        }
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        testing::break_bytes("clean.skiplist", 3, |path| {
            let Ok(db) = Db::open(path) else { return };
            let _ = db.foreach(b"", |_, _| Ok(ControlFlow::Continue(())));
            let _ = db.fetch(b"key050");
        });
    }
}
