//! Reads a locked file in blocks, so that walking over small records does not cost a system call each.

use std::fmt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::StoreError;
use crate::lock::FileLock;

/// Large enough for dozens of records, small enough that a search (a few blocks) stays cheap.
const BLOCK_LEN: u64 = 8192;
/// How many blocks are remembered: a block's number modulo this picks its slot.
const SLOTS: u64 = 16;
/// The same for a file that is queried again and again: 1 MiB.
const MANY_SLOTS: u64 = 128;

/// Blocks of a file, or room for them. They outlive a lock if the file is known to be unchanged.
#[derive(Default)]
pub(crate) struct Slots(Vec<Option<(u64, Vec<u8>)>>);

impl Slots {
    /// Room for a few queries.
    pub(crate) fn few() -> Slots {
        Slots::of(SLOTS)
    }

    /// Room for many.
    pub(crate) fn many() -> Slots {
        Slots::of(MANY_SLOTS)
    }

    fn of(number: u64) -> Slots {
        Slots((0..number).map(|_| None).collect())
    }

    /// Forgets the blocks, but not their room.
    pub(crate) fn forget(&mut self) {
        self.0.iter_mut().for_each(|slot| *slot = None);
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slots({})", self.0.iter().flatten().count())
    }
}

/// A locked file and some of its blocks.
pub(crate) struct Blocks {
    lock: FileLock,
    /// Nothing at or after this offset is read.
    end: u64,
    /// Block number and bytes; the last block of a file may be short.
    slots: Slots,
}

impl Blocks {
    /// Reads from a locked file of the given length.
    pub(crate) fn new(lock: FileLock, len: u64) -> Blocks {
        Blocks::with(lock, len, Slots::few())
    }

    /// As [`Blocks::new`], with blocks that are known to belong to the file.
    pub(crate) fn with(lock: FileLock, len: u64, slots: Slots) -> Blocks {
        Blocks { lock, end: len, slots }
    }

    /// The blocks, to be used again.
    pub(crate) fn take_slots(&mut self) -> Slots {
        std::mem::take(&mut self.slots)
    }

    /// The lock on the file.
    pub(crate) fn lock(&self) -> &FileLock {
        &self.lock
    }

    /// The file's path.
    pub(crate) fn path(&self) -> &Path {
        self.lock.path()
    }

    /// Makes reads at or after this offset fail.
    pub(crate) fn limit(&mut self, end: u64) {
        self.end = self.end.min(end);
    }

    /// Reads exactly as many bytes as fit the buffer.
    pub(crate) fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        self.check(offset, buffer.len() as u64)?;
        if buffer.len() as u64 > BLOCK_LEN {
            let read = self.lock.file().read_exact_at(buffer, offset);
            return read.map_err(|error| StoreError::io("read", self.lock.path(), error));
        }
        let mut at = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let number = at / BLOCK_LEN;
            let within = (at % BLOCK_LEN) as usize;
            let block = self.block(number)?;
            let found = block.get(within..).unwrap_or_default();
            let len = found.len().min(rest.len());
            if len == 0 {
                return Err(StoreError::damaged_at(
                    self.lock.path(),
                    at,
                    "the file ends too early",
                ));
            }
            let (now, later) = rest.split_at_mut(len);
            now.copy_from_slice(found.get(..len).unwrap_or_default());
            rest = later;
            at += len as u64;
        }
        Ok(())
    }

    /// Reads that many bytes; the length is checked against the file's before memory is taken.
    pub(crate) fn read_vec(&mut self, offset: u64, len: u64) -> Result<Vec<u8>, StoreError> {
        self.check(offset, len)?;
        let mut bytes = vec![0; len as usize];
        self.read(offset, &mut bytes)?;
        Ok(bytes)
    }

    fn check(&self, offset: u64, len: u64) -> Result<(), StoreError> {
        match offset.checked_add(len) {
            Some(end) if end <= self.end => Ok(()),
            _ => Err(StoreError::damaged_at(
                self.lock.path(),
                offset,
                "something here would lie beyond the end",
            )),
        }
    }

    fn block(&mut self, number: u64) -> Result<&[u8], StoreError> {
        let slots = &mut self.slots.0;
        let slot = (number % (slots.len() as u64).max(1)) as usize;
        let cached = matches!(slots.get(slot), Some(Some((have, _))) if *have == number);
        if !cached {
            let mut bytes = vec![0; BLOCK_LEN as usize];
            let mut filled = 0;
            while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
                let read = self.lock.file().read_at(room, number * BLOCK_LEN + filled as u64);
                match read.map_err(|error| StoreError::io("read", self.lock.path(), error))? {
                    0 => break,
                    more => filled += more,
                }
            }
            bytes.truncate(filled);
            if let Some(place) = slots.get_mut(slot) {
                *place = Some((number, bytes));
            }
        }
        match slots.get(slot) {
            Some(Some((_, bytes))) => Ok(bytes),
            _ => Ok(&[]),
        }
    }
}

impl fmt::Debug for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocks")
            .field("path", &self.path())
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
