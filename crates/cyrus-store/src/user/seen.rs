//! A user's seen state: which messages in other people's mailboxes the user has read.
//!
//! ```text
//! key    unique id of the mailbox
//! value  1 <lastread> <lastuid> <lastchange> <seenuids>      times in seconds since 1970; seenuids: 1:5,9
//! ```
//!
//! What a user has read in the user's own mailboxes is in their indexes instead. Source: `imap/seen_db.c` of cyrus-imapd
//! 3.6.1.

use std::ops::ControlFlow;
use std::path::Path;

use cyrus_types::{Uid, UniqueId};

use crate::config::Config;
use crate::db::Database;
use crate::error::StoreError;
use crate::mboxlist::MboxList;
use crate::paths::{self, UserFile};

/// A user's seen state of one mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenEntry {
    /// The mailbox's unique id.
    pub uniqueid: UniqueId,
    /// When the user last selected it (seconds since 1970).
    pub lastread: i64,
    /// The highest UID then.
    pub lastuid: Uid,
    /// When this entry last changed (seconds since 1970).
    pub lastchange: i64,
    /// The UIDs of the read messages, as a sequence set.
    pub seenuids: String,
}

/// A user's seen state, in the database's order. Empty without a database.
///
/// # Errors
/// The database or an entry is damaged.
pub fn seen(conf: &Config, list: &MboxList, userid: &str) -> Result<Vec<SeenEntry>, StoreError> {
    let path = paths::user_file(conf, userid, list.inbox_id(userid)?.as_ref(), UserFile::Seen)?;
    let db = match Database::open(&path) {
        Ok(db) => db,
        Err(StoreError::MissingFile { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut entries = Vec::new();
    db.foreach(b"", |key, value| {
        entries.push(parse(&path, key, value)?);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(entries)
}

fn parse(path: &Path, key: &[u8], value: &[u8]) -> Result<SeenEntry, StoreError> {
    let uniqueid = std::str::from_utf8(key).map_err(|_| StoreError::not_utf8(path, key))?;
    let text = std::str::from_utf8(value).map_err(|_| StoreError::not_utf8(path, value))?;
    let damaged = |what: &str| StoreError::damaged_entry(path, key, what);
    let mut rest = text;
    let mut numbers = [0i64; 4];
    for number in &mut numbers {
        let trimmed = rest.trim_start();
        let (word, after) = trimmed.split_once(' ').unwrap_or((trimmed, ""));
        *number = word.parse().map_err(|_| damaged("a number is missing"))?;
        rest = after;
    }
    let [version, lastread, lastuid, lastchange] = numbers;
    if version != 1 {
        return Err(StoreError::unsupported(
            path,
            format!("seen state of version {version} is not known"),
        ));
    }
    let lastuid =
        u32::try_from(lastuid).map(Uid).map_err(|_| damaged("its last uid is too large"))?;
    Ok(SeenEntry {
        uniqueid: UniqueId::new(uniqueid),
        lastread,
        lastuid,
        lastchange,
        seenuids: rest.trim_start().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_values() {
        let path = Path::new("/s");
        let entry = parse(path, b"f0c1", b"1 1700000000 12 1700000001 1:5,9").unwrap();
        assert_eq!(
            (entry.lastread, entry.lastuid, entry.lastchange),
            (1_700_000_000, Uid(12), 1_700_000_001)
        );
        assert_eq!((entry.uniqueid.as_str(), entry.seenuids.as_str()), ("f0c1", "1:5,9"));
        assert_eq!(parse(path, b"x", b"1 0 0 0 ").unwrap().seenuids, "");
        assert_eq!(parse(path, b"x", b"1 0 0 0").unwrap().seenuids, "");
        assert!(parse(path, b"x", b"2 0 0 0 ").is_err());
        assert!(parse(path, b"x", b"1 0 -1 0 ").is_err());
        assert!(parse(path, b"x", b"1 a").is_err());
        assert!(parse(path, b"x", b"").is_err());
    }
}
