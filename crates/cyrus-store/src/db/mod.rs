//! The databases Cyrus keeps: sorted keys and values in a file of one of several formats.
//!
//! `imapd.conf` sets the format of new files, but an existing file is read in its own format, which its first bytes show:
//!
//! ```text
//! "\xa1\x02\x8b\x0dtwoskip file\0\0\0\0"    twoskip     see [`twoskip`]
//! "\xa1\x02\x8b\x0dskiplist file\0\0\0"     skiplist    see [`skiplist`]
//! "SQLite format 3\0", other "\xa1\x02\x8b\x0d…", a folder (zeroskip)     refused
//! anything else                             flat        see [`flat`]
//! an empty file                             an empty database
//! ```
//!
//! `quotalegacy`, a folder tree rather than a file, is in [`quotalegacy`]. Keys are sorted byte by byte. Source:
//! `lib/cyrusdb.c` (cyrusdb_detect) of cyrus-imapd 3.6.1.

use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use crate::error::StoreError;
use crate::regular;

mod blocks;
pub mod flat;
pub mod kept;
pub mod quotalegacy;
pub mod skiplist;
pub mod twoskip;
mod twoskip_record;
mod warm;

#[cfg(test)]
pub(crate) mod testing;

/// A database file in any format.
#[derive(Debug, Clone)]
pub enum Database {
    /// A twoskip file.
    Twoskip(twoskip::Db),
    /// A skiplist file.
    Skiplist(skiplist::Db),
    /// A sorted text file.
    Flat(flat::Db),
    /// An empty file.
    Empty,
    /// A file that is kept in memory.
    Kept(Arc<kept::KeptDb>),
}

impl Database {
    /// Detects a file's format and opens it. A twoskip file's header is read at the first query, not before.
    ///
    /// # Errors
    /// The file is missing, damaged, or in a format that we don't read.
    pub fn open(path: &Path) -> Result<Database, StoreError> {
        let mut magic = Vec::with_capacity(32);
        if path.is_dir() {
            return Err(StoreError::unsupported(
                path,
                "a folder is a zeroskip database, which this program does not read",
            ));
        }
        regular::open(path)?
            .take(32)
            .read_to_end(&mut magic)
            .map_err(|error| StoreError::io("read", path, error))?;
        if magic.is_empty() {
            return Ok(Database::Empty);
        }
        if magic.starts_with(twoskip::MAGIC) {
            return Ok(Database::Twoskip(twoskip::Db::at(path)));
        }
        if magic.starts_with(skiplist::MAGIC) {
            return Ok(Database::Skiplist(skiplist::Db::open(path)?));
        }
        if magic.starts_with(b"SQLite format 3\0") {
            return Err(StoreError::unsupported(
                path,
                "an SQL database; use twoskip (cvt_cyrusdb converts it)",
            ));
        }
        if let Some(name) = magic.strip_prefix(b"\xa1\x02\x8b\x0d") {
            let name: String = name
                .iter()
                .take_while(|byte| byte.is_ascii_graphic() || **byte == b' ')
                .map(|byte| char::from(*byte))
                .collect();
            return Err(StoreError::unsupported(
                path,
                format!("a '{name}'; use twoskip (cvt_cyrusdb converts it)"),
            ));
        }
        Ok(Database::Flat(flat::Db::open(path)?))
    }

    /// The value of a key.
    ///
    /// # Errors
    /// The file cannot be read or is damaged.
    pub fn fetch(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self {
            Database::Twoskip(db) => db.fetch(key),
            Database::Skiplist(db) => db.fetch(key),
            Database::Flat(db) => db.fetch(key),
            Database::Empty => Ok(None),
            Database::Kept(db) => db.fetch(key),
        }
    }

    /// Visits the entries whose keys begin with `prefix`, in order, until the visitor breaks or fails.
    ///
    /// # Errors
    /// The file cannot be read or is damaged, or the visitor failed.
    pub fn foreach<F>(&self, prefix: &[u8], visit: F) -> Result<(), StoreError>
    where
        F: FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, StoreError>,
    {
        match self {
            Database::Twoskip(db) => db.foreach(prefix, visit),
            Database::Skiplist(db) => db.foreach(prefix, visit),
            Database::Flat(db) => db.foreach(prefix, visit),
            Database::Empty => Ok(()),
            Database::Kept(db) => db.foreach(prefix, visit),
        }
    }
}
