//! A buffer for encoded records: in memory while they are few, else in a file without a name.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use bytes::Bytes;
use tempfile::SpooledData;

/// How many bytes of encoded records are held in memory.
const SPOOL_BYTES: usize = 2 * 1024 * 1024;

/// Bytes are written now and read later, in the same order.
pub(crate) struct RecordBuffer {
    file: tempfile::SpooledTempFile,
    size: usize,
}

impl RecordBuffer {
    pub(crate) fn new() -> RecordBuffer {
        RecordBuffer { file: tempfile::spooled_tempfile(SPOOL_BYTES), size: 0 }
    }

    /// A buffer with this content, in memory whatever its size.
    pub(crate) fn of(bytes: Vec<u8>) -> RecordBuffer {
        let mut spool = RecordBuffer { file: tempfile::spooled_tempfile(bytes.len()), size: 0 };
        // Memory takes anything.
        let _ = spool.write(&bytes);
        spool
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.size += bytes.len();
        self.file.write_all(bytes)
    }

    /// How many bytes are in it.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// How many of them are in memory.
    pub(crate) fn in_memory(&self) -> usize {
        if self.file.is_rolled() { 0 } else { self.size }
    }

    pub(crate) fn into_chunks(mut self) -> io::Result<Chunks> {
        self.file.seek(SeekFrom::Start(0))?;
        Ok(match self.file.into_inner() {
            SpooledData::InMemory(cursor) => Chunks::InMemory(cursor.into_inner().into()),
            SpooledData::OnDisk(file) => Chunks::OnDisk(file),
        })
    }
}

/// A buffer that is being read.
pub(crate) enum Chunks {
    InMemory(Bytes),
    OnDisk(File),
}

impl Chunks {
    /// The next bytes; `None` at the end.
    pub(crate) fn next(&mut self, most: usize) -> io::Result<Bytes> {
        match self {
            Chunks::InMemory(bytes) => Ok(bytes.split_to(most.min(bytes.len()))),
            Chunks::OnDisk(file) => {
                let mut chunk = Vec::with_capacity(most);
                file.take(most as u64).read_to_end(&mut chunk)?;
                Ok(chunk.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_of_any_size_comes_out_as_it_went_in() {
        const MOST: usize = 64 * 1024;
        for size in [0, 10, MOST, SPOOL_BYTES + 12345] {
            let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
            let mut spool = RecordBuffer::new();
            for part in bytes.chunks(50_000) {
                spool.write(part).unwrap();
            }
            let in_memory = if size > SPOOL_BYTES { 0 } else { size };
            assert_eq!((spool.size(), spool.in_memory()), (size, in_memory));
            let mut chunks = spool.into_chunks().unwrap();
            let mut out = Vec::new();
            loop {
                let chunk = chunks.next(MOST).unwrap();
                if chunk.is_empty() {
                    break;
                }
                out.extend_from_slice(&chunk);
            }
            assert_eq!(out, bytes);
        }
    }
}
