//! Encoded records on their way: in memory while they are few, else in a file without a name.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use bytes::Bytes;
use tempfile::SpooledData;

/// How many bytes of encoded records are held in memory.
const SPOOL_BYTES: usize = 4 * 1024 * 1024;

/// What is written now is read later, in the same order.
pub(crate) struct Spool(tempfile::SpooledTempFile);

impl Spool {
    pub(crate) fn new() -> Spool {
        Spool(tempfile::spooled_tempfile(SPOOL_BYTES))
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    pub(crate) fn into_chunks(mut self) -> io::Result<Chunks> {
        self.0.seek(SeekFrom::Start(0))?;
        Ok(match self.0.into_inner() {
            SpooledData::InMemory(cursor) => Chunks::InMemory(cursor.into_inner().into()),
            SpooledData::OnDisk(file) => Chunks::OnDisk(file),
        })
    }
}

/// A spool that is read.
pub(crate) enum Chunks {
    InMemory(Bytes),
    OnDisk(File),
}

impl Chunks {
    /// The next bytes, none at the end.
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
            let mut spool = Spool::new();
            for part in bytes.chunks(50_000) {
                spool.write(part).unwrap();
            }
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
