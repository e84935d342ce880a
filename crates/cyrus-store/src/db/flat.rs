//! Reads flat databases: sorted lines of text (subscriptions, by default).
//!
//! ```text
//! key TAB value LF       in both, 0xff escapes: 0xff 0x80 is NUL, 0xff 0x89 TAB, 0xff 0x8a LF, 0xff 0x8d CR, 0xff 0xff 0xff
//! ```
//!
//! Writers replace the whole file, so a reader that has opened it sees a change completely or not at all. Source:
//! `lib/cyrusdb_flat.c` of cyrus-imapd 3.6.1.

use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::error::StoreError;
use crate::regular;

const ESCAPE: u8 = 0xff;
/// No entry of a mail store is nearly as long; a longer line counts as damage.
const MAX_LINE: u64 = 1 << 20;

/// A flat database, for reading.
#[derive(Debug, Clone)]
pub struct Db {
    path: PathBuf,
}

impl Db {
    /// Checks that the file exists.
    ///
    /// # Errors
    /// The file is missing or not a plain file.
    pub fn open(path: &Path) -> Result<Db, StoreError> {
        regular::open(path)?;
        Ok(Db { path: path.to_path_buf() })
    }

    /// The value of a key.
    ///
    /// # Errors
    /// The file cannot be read or is damaged.
    pub fn fetch(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let mut found = None;
        self.foreach(key, |entry, value| {
            if entry == key {
                found = Some(value.to_vec());
                return Ok(ControlFlow::Break(()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// Visits the entries whose keys begin with `prefix`, in the file's order, until the visitor breaks or fails.
    ///
    /// # Errors
    /// The file cannot be read or is damaged, or the visitor failed.
    pub fn foreach<F>(&self, prefix: &[u8], mut visit: F) -> Result<(), StoreError>
    where
        F: FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, StoreError>,
    {
        let mut file = BufReader::new(regular::open(&self.path)?);
        let mut offset = 0u64;
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = file.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
            if read.map_err(|error| StoreError::io("read", &self.path, error))? == 0 {
                return Ok(());
            }
            let line = line.as_slice();
            let entry = line.strip_suffix(b"\n");
            let tab = line.iter().position(|byte| *byte == b'\t');
            let (Some(entry), Some(tab)) = (entry, tab) else {
                return Err(StoreError::damaged_at(
                    &self.path,
                    offset,
                    "a line has no tab or no end",
                ));
            };
            let (key, value) = entry.split_at_checked(tab).unwrap_or((entry, &[]));
            let key = decode(key);
            if key.starts_with(prefix)
                && visit(&key, &decode(value.get(1..).unwrap_or_default()))?.is_break()
            {
                return Ok(());
            }
            offset += line.len() as u64;
        }
    }
}

fn decode(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        if *byte != ESCAPE {
            plain.push(*byte);
            continue;
        }
        match bytes.next() {
            Some(&ESCAPE) => plain.push(ESCAPE),
            Some(escaped) => plain.push(escaped & 0x7f),
            // Cyrus ignores an escape with nothing after it.
            None => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn reads_and_unescapes_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("anna.sub");
        fs::write(&path, b"user.anna.A\t\nuser.anna.B\xff\x89x\tva\xff\xfflue\xff\x80\n").unwrap();
        let db = Db::open(&path).unwrap();
        assert_eq!(db.fetch(b"user.anna.A").unwrap().unwrap(), b"");
        assert_eq!(db.fetch(b"user.anna.B\tx").unwrap().unwrap(), b"va\xfflue\0");
        assert_eq!(db.fetch(b"user.anna").unwrap(), None);
        fs::write(&path, b"user.anna.A\t\ntorn").unwrap();
        let error = db.foreach(b"", |_, _| Ok(ControlFlow::Continue(()))).unwrap_err();
        assert!(error.to_string().contains("offset 13"), "{error}");
    }
}
