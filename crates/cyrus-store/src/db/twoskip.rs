//! Reads twoskip databases.
//!
//! ```text
//! header, 64 bytes                         record, a multiple of 8 bytes
//!  0 magic "\xa1\x02\x8b\x0dtwoskip file\0\0\0\0"   0 type '=' first, '+' entry, '-' ghost of a deleted one, '$' commit
//! 20 version (1)            u32             1 level                      u8
//! 24 generation             u64             2 key length                 u16   0xffff: an u64 follows at 8
//! 32 number of entries      u64             4 value length               u32   0xffffffff: an u64 follows next
//! 40 size at last repack    u64             8 pointers, level + 1 of     u64
//! 48 committed size         u64               CRC-32 of all the above    u32
//! 56 flags (1: dirty)       u32               CRC-32 of all that follows u32
//! 60 CRC-32 of 0..60        u32               key, value, zeros up to a multiple of 8
//! ```
//!
//! All numbers are big-endian. The first record, at 64, is a '=' of level 31. An entry of level n is on the n lowest of 31
//! linked lists; pointer i+1 is the next one on list i. List 0 has two pointers, 0 and 1, written in turn, so that the
//! higher one below the committed size is right even if a writer died half way: bytes beyond the committed size are never
//! read. We read under a shared lock, as Cyrus does; unlike Cyrus we never repair the file.
//!
//! Source: `lib/cyrusdb_twoskip.c` of cyrus-imapd 3.6.1.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::big_endian::{be32, be64};
use crate::db::blocks::{Blocks, Slots};
use crate::db::twoskip_record::{HEADER_LEN, MAX_LEVEL, Node, Record};
use crate::db::warm::{Read, Stamp, Warm, WarmView};
use crate::error::StoreError;
use crate::lock::{FileLock, Mode};

/// The first 20 bytes of every twoskip file.
pub(crate) const MAGIC: &[u8; 20] = b"\xa1\x02\x8b\x0dtwoskip file\0\0\0\0";

const FIRST_RECORD: u64 = HEADER_LEN;
const VERSION: u32 = 1;
const FLAG_DIRTY: u32 = 1;
/// No entry of a mail store is nearly as long; a longer one counts as damage.
const MAX_ENTRY_LEN: u64 = 256 << 20;
/// A long walk lets writers in after this many entries.
const ENTRIES_PER_LOCK: u32 = 1024;

/// Records on at least this many lists are remembered one by one: each search begins with them, and they are all over the
/// file.
const HIGH: u8 = 6;
/// How many of them, at most: about 3 MB for each view.
const MOST_HIGH: usize = 16 * 1024;

/// A twoskip database, for reading.
#[derive(Debug, Clone)]
pub struct Db {
    path: PathBuf,
    warm: Option<Arc<Warm>>,
}

impl Db {
    /// The database at this path. Every query locks the file and reads its header.
    #[must_use]
    pub fn at(path: &Path) -> Db {
        Db { path: path.to_path_buf(), warm: None }
    }

    /// As [`Db::at`], for a large file that is queried again and again: later queries use what was read before.
    pub(crate) fn warm(path: &Path, warm: &Arc<Warm>) -> Db {
        Db { path: path.to_path_buf(), warm: Some(warm.clone()) }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// The file cannot be read or is damaged.
    pub fn fetch(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let mut view = self.view()?;
        let (_, found) = view.find(key)?;
        match found {
            Some(node) => Ok(Some(view.checked_body(&node.record)?.1)),
            None => Ok(None),
        }
    }

    /// Visits the entries whose keys begin with `prefix`, in order, until the visitor breaks or fails. Writers get a turn
    /// now and then, as with Cyrus' own readers: entries they add after the current one are seen.
    ///
    /// # Errors
    /// The file cannot be read or is damaged, or the visitor failed.
    pub fn foreach<F>(&self, prefix: &[u8], mut visit: F) -> Result<(), StoreError>
    where
        F: FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, StoreError>,
    {
        let mut last: Option<Vec<u8>> = None;
        loop {
            let mut view = self.view()?;
            let (before, exact) = view.find(last.as_deref().unwrap_or(prefix))?;
            let mut current = match (exact, &last) {
                // The first entry may be the prefix itself; the last visited one must not be visited again.
                (Some(node), None) => Some(node.record.clone()),
                (Some(node), Some(_)) => view.next(&node.record)?,
                (None, _) => view.next(&before.record)?,
            };
            let mut budget = ENTRIES_PER_LOCK;
            loop {
                let Some(record) = current else { return Ok(()) };
                let (key, value) = view.checked_body(&record)?;
                if !key.starts_with(prefix) {
                    return Ok(());
                }
                if last.as_ref().is_some_and(|last| *last >= key) {
                    return Err(view.damaged(record.offset, "keys are out of order"));
                }
                if visit(&key, &value)?.is_break() {
                    return Ok(());
                }
                last = Some(key);
                budget -= 1;
                if budget == 0 {
                    break;
                }
                current = view.next(&record)?;
            }
        }
    }

    /// Locks the file and reads its header.
    fn view(&self) -> Result<View, StoreError> {
        let (lock, kept, Read { slots, high }) = match &self.warm {
            Some(warm) => {
                let (lock, stamp, read) = warm.take(&self.path)?;
                (lock, stamp.map(|stamp| (warm.clone(), stamp)), read)
            }
            None => {
                let lock = FileLock::on_existing(&self.path, Mode::Shared, true)?;
                (lock, None, Read { slots: Slots::few(), high: HashMap::new() })
            }
        };
        let file_len = lock.file_len();
        let mut view =
            View { blocks: Blocks::with(lock, file_len, slots), high, end: 0, torn: false, kept };
        if file_len > 0 {
            view.read_header(file_len)?;
        }
        Ok(view)
    }
}

impl Drop for View {
    /// The blocks were read under the lock, which is released only now.
    fn drop(&mut self) {
        if let Some((warm, stamp)) = self.kept.take()
            && let Some(file) = self.blocks.lock().give_up()
        {
            let (slots, high) = (self.blocks.take_slots(), std::mem::take(&mut self.high));
            warm.put(WarmView { file, stamp, read: Read { slots, high } });
        }
    }
}

/// A locked database file.
#[derive(Debug)]
struct View {
    blocks: Blocks,
    /// Records on many lists, by their offsets.
    high: HashMap<u64, Arc<Node>>,
    /// Committed size; 0 for an empty file.
    end: u64,
    /// A writer died: some pointers may lead beyond `end`.
    torn: bool,
    /// Where the blocks are returned.
    kept: Option<(Arc<Warm>, Stamp)>,
}

impl View {
    fn read_header(&mut self, file_len: u64) -> Result<(), StoreError> {
        let header: [u8; HEADER_LEN as usize] = match self.blocks.read_vec(0, HEADER_LEN) {
            Ok(bytes) => {
                bytes.try_into().map_err(|_| self.damaged(0, "the header is cut short"))?
            }
            Err(_) if file_len < HEADER_LEN => {
                return Err(self.damaged(0, "the header is cut short"));
            }
            Err(error) => return Err(error),
        };
        if !header.starts_with(MAGIC) {
            return Err(StoreError::unsupported(
                self.blocks.path(),
                "it is not a twoskip database",
            ));
        }
        let version = be32(&header, 20);
        if version > VERSION {
            return Err(StoreError::unsupported(
                self.blocks.path(),
                format!("twoskip version {version} is not known"),
            ));
        }
        if crc32fast::hash(header.get(..60).unwrap_or_default()) != be32(&header, 60) {
            return Err(self.damaged(0, "the header's checksum is wrong"));
        }
        self.end = be64(&header, 48);
        if self.end < FIRST_RECORD || self.end > file_len {
            let what =
                format!("the committed size {} does not fit the file's size {file_len}", self.end);
            return Err(self.damaged(48, &what));
        }
        self.torn = be32(&header, 56) & FLAG_DIRTY != 0 || self.end != file_len;
        self.blocks.limit(self.end);
        Ok(())
    }

    /// Finds the record with the key, and the last one before it (the first record if there is none).
    fn find(&mut self, key: &[u8]) -> Result<(Arc<Node>, Option<Arc<Node>>), StoreError> {
        if self.end == 0 {
            return Ok((Arc::new(Node { record: Record::nothing(), key: Vec::new() }), None));
        }
        let first = self.record(FIRST_RECORD)?;
        if first.kind != b'=' {
            return Err(self.damaged(FIRST_RECORD, "the first record is of the wrong type"));
        }
        let mut level = MAX_LEVEL.min(first.level());
        // The first record's key comes before all others'.
        let mut before = Arc::new(Node { record: first, key: Vec::new() });
        let mut ruled_out = 0u64;
        let mut exact = None;
        while level > 0 {
            let offset = self.pointer(&before.record, level - 1)?;
            // Keys that a higher list has shown to come later need not be read again.
            if offset != 0 && offset != ruled_out {
                if let Some(node) = self.node(offset)? {
                    if node.key.as_slice() < key {
                        if before.record.kind != b'=' && before.key >= node.key {
                            return Err(self.damaged(node.record.offset, "keys are out of order"));
                        }
                        before = node;
                        continue;
                    }
                    if node.key == key {
                        exact = Some(node);
                    }
                }
                ruled_out = offset;
            }
            level -= 1;
        }
        Ok((before, exact))
    }

    /// The entry at an offset with its key, or the one after the ghost there.
    fn node(&mut self, offset: u64) -> Result<Option<Arc<Node>>, StoreError> {
        if let Some(known) = self.high.get(&offset) {
            return Ok(Some(known.clone()));
        }
        let Some(record) = self.live(offset)? else { return Ok(None) };
        let key = self.blocks.read_vec(record.body, record.key_len)?;
        let node = Arc::new(Node { record, key });
        let is_kept = self.kept.is_some() && self.high.len() < MOST_HIGH;
        if is_kept && node.record.level() >= HIGH {
            self.high.insert(offset, node.clone());
        }
        Ok(Some(node))
    }

    /// The entry after a record.
    fn next(&mut self, record: &Record) -> Result<Option<Record>, StoreError> {
        if self.end == 0 {
            return Ok(None);
        }
        let offset = self.pointer(record, 0)?;
        if offset == 0 { Ok(None) } else { self.live(offset) }
    }

    /// Where a record leads to on a list; 0 for nowhere.
    fn pointer(&self, record: &Record, list: u8) -> Result<u64, StoreError> {
        let at = |index: usize| record.next.get(index).copied().unwrap_or(0);
        if list > 0 {
            let offset = at(usize::from(list) + 1);
            if offset < self.end {
                return Ok(offset);
            }
            // The dead writer's. Lower lists still lead everywhere.
            return if self.torn {
                Ok(0)
            } else {
                Err(self.damaged(record.offset, "a pointer leads beyond the end"))
            };
        }
        match (at(0), at(1)) {
            (first, second) if first < self.end && second < self.end => Ok(first.max(second)),
            (first, _) if first < self.end => Ok(first),
            (_, second) if second < self.end => Ok(second),
            _ => Err(self.damaged(record.offset, "both pointers lead beyond the end")),
        }
    }

    /// The entry at an offset, or the one after the ghost there.
    fn live(&mut self, offset: u64) -> Result<Option<Record>, StoreError> {
        let mut record = self.record(offset)?;
        if record.kind == b'-' {
            let behind = record.next.first().copied().unwrap_or(0);
            if behind == 0 {
                return Ok(None);
            }
            record = self.record(behind)?;
        }
        if record.kind != b'+' {
            return Err(self.damaged(record.offset, "a list leads to a record of the wrong type"));
        }
        Ok(Some(record))
    }

    /// Reads a record's head and checks its checksum.
    fn record(&mut self, offset: u64) -> Result<Record, StoreError> {
        if offset < FIRST_RECORD || !offset.is_multiple_of(8) {
            return Err(self.damaged(offset, "no record can start here"));
        }
        let mut head = [0u8; 24 + 8 * (MAX_LEVEL as usize + 1) + 8];
        let lengths = slice_mut(&mut head, 24);
        // The shortest record has 24 bytes, so a record at the very end fails here, in bounds.
        self.blocks.read(offset, lengths)?;
        let (kind, level) =
            (lengths.first().copied().unwrap_or(0), lengths.get(1).copied().unwrap_or(0));
        if level > MAX_LEVEL {
            return Err(self.damaged(offset, "a record's level is too high"));
        }
        let mut key_len = u64::from(u16::from_be_bytes([byte(lengths, 2), byte(lengths, 3)]));
        let mut value_len = u64::from(be32(lengths, 4));
        let mut at = 8usize;
        if key_len == u64::from(u16::MAX) {
            key_len = be64(lengths, at);
            at += 8;
        }
        if value_len == u64::from(u32::MAX) {
            value_len = be64(lengths, at);
            at += 8;
        }
        let pointers = usize::from(level) + 1;
        let head_len = at + 8 * pointers + 8;
        self.blocks.read(offset, slice_mut(&mut head, head_len))?;
        let crc_at = head_len - 8;
        if crc32fast::hash(head.get(..crc_at).unwrap_or_default()) != be32(&head, crc_at) {
            return Err(self.damaged(offset, "a record's first checksum is wrong"));
        }
        let body = offset + head_len as u64;
        let body_len = key_len.checked_add(value_len).filter(|len| *len <= MAX_ENTRY_LEN);
        match body_len.map(|len| len.next_multiple_of(8)) {
            Some(len) if body + len <= self.end => {}
            _ => return Err(self.damaged(offset, "a record's lengths cannot be")),
        }
        let next = (0..pointers).map(|index| be64(&head, at + 8 * index)).collect();
        Ok(Record {
            offset,
            kind,
            next,
            key_len,
            value_len,
            tail_crc: be32(&head, crc_at + 4),
            body,
        })
    }

    /// Reads key and value and checks their checksum.
    fn checked_body(&mut self, record: &Record) -> Result<(Vec<u8>, Vec<u8>), StoreError> {
        let len = record.key_len + record.value_len;
        let mut key = self.blocks.read_vec(record.body, len.next_multiple_of(8))?;
        if crc32fast::hash(&key) != record.tail_crc {
            return Err(self.damaged(record.offset, "a record's second checksum is wrong"));
        }
        key.truncate(len as usize);
        let value = key.split_off((record.key_len as usize).min(key.len()));
        Ok((key, value))
    }

    fn damaged(&self, offset: u64, what: &str) -> StoreError {
        StoreError::damaged_at(self.blocks.path(), offset, what)
    }
}

fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

fn slice_mut(buffer: &mut [u8], len: usize) -> &mut [u8] {
    let len = len.min(buffer.len());
    buffer.get_mut(..len).unwrap_or_default()
}

#[cfg(test)]
#[path = "twoskip_tests.rs"]
mod tests;
