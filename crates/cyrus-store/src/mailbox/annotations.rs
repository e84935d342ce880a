//! Annotations of mailboxes and messages.
//!
//! Annotations of a mailbox are in one database for all (`annotations.db` below configdirectory, or `annotation_db_path`);
//! annotations of messages are in `cyrus.annotations` of their mailbox, which need not exist.
//!
//! ```text
//! key    mailbox: uniqueid NUL entry NUL userid NUL        message: uid in decimal NUL entry NUL userid NUL
//!        before 3.5 the mailbox's internal name stands for its unique id, and the owner's userid for "[.OwNeR.]"
//!        userid: empty is shared; "[.OwNeR.]" is the mailbox's owner
//! value  length [4, big endian] zeros [4] | value | NUL | "text/plain" NUL | zeros [8] | modseq [8, big endian] | flags [1]
//!        flags: 1 is deleted (a tombstone); older versions end early: no flags, or no modseq either
//! ```
//!
//! The first eight bytes are a C `unsigned long` as a little-endian 64-bit machine writes it after swapping only 32 bits.
//!
//! Source: `make_key`, `split_key`, `make_entry`, `split_attribs`, `find_cb` in `imap/annotate.c` and `encode_annotations` in
//! `imap/sync_support.c` of cyrus-imapd 3.6.1.

use std::cell::OnceCell;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cyrus_types::{MailboxName, ModSeq, Uid};

use crate::big_endian::{be32, be64};
use crate::config::Config;
use crate::databases;
use crate::db::Database;
use crate::db::kept::KeptDb;
use crate::error::{ErrorClass, StoreError};
use crate::mailbox::crc;
use crate::mailbox::virtual_annotations::is_virtual;
use crate::paths;

/// Stands for the mailbox's owner in keys, so that renaming a user does not require rewriting.
const OWNER_TOKEN: &[u8] = b"[.OwNeR.]";
/// Bytes of the length before a value, and of the unused time after it.
const LONG_SIZE: usize = 8;
/// A message annotation database of up to this many bytes is kept in memory while its mailbox is open.
const SMALL_DATABASE: u64 = 8 * 1024 * 1024;
/// Flag of an entry that is deleted and kept as a tombstone.
const FLAG_DELETED: u8 = 1;

/// An annotation of a mailbox or message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// Name, such as `/comment`.
    pub entry: String,
    /// Its owner; empty means shared.
    pub userid: String,
    /// Modseq of the last change (0 for mailbox annotations).
    pub modseq: ModSeq,
    /// The value, any bytes.
    pub value: Vec<u8>,
}

/// The annotations of a mailbox itself, in the order of replication. `scope` is its name in the keys: its unique id or
/// name.
///
/// # Errors
/// The database is missing or cannot be read, or an entry of this mailbox is damaged.
pub(crate) fn of_mailbox(
    conf: &Config,
    kept: &Arc<KeptDb>,
    mailbox: &MailboxName,
    scope: &str,
) -> Result<Vec<Annotation>, StoreError> {
    let source = Source {
        db: Database::Kept(kept.clone()),
        path: paths::annotations_db(conf),
        owner: mailbox.userid(conf.names()),
    };
    match source.of(scope) {
        Err(StoreError::MissingFile { path }) => {
            Err(databases::missing(&path, "annotation_db_path"))
        }
        found => found,
    }
}

/// The annotations of the server itself, which belong to no mailbox.
///
/// # Errors
/// The database cannot be read, or an entry of the server's is damaged.
pub(crate) fn of_server(conf: &Config, kept: &Arc<KeptDb>) -> Result<Vec<Annotation>, StoreError> {
    of_mailbox(conf, kept, &MailboxName::default(), "")
}

/// The database of a mailbox's message annotations; most mailboxes have none.
#[derive(Debug)]
pub(crate) struct MessageAnnotations {
    source: Option<Source>,
    known: OnceCell<Known>,
}

/// The result of one pass over the database, sorted by UID, so that streaming a mailbox needs no search per message.
#[derive(Debug)]
enum Known {
    /// Of a small database, everything.
    All(Vec<(Uid, Annotation)>),
    /// Of a large one, the messages that have any: four bytes each.
    Uids(Vec<Uid>),
}

impl MessageAnnotations {
    /// Opens the database of a mailbox that belongs to `owner`; it need not exist.
    pub(crate) fn open(path: &Path, owner: Option<String>) -> Result<Self, StoreError> {
        let source = Source::open(path, owner)?;
        Ok(Self { source, known: OnceCell::new() })
    }

    /// The annotations of one message.
    pub(crate) fn of(&self, uid: Uid) -> Result<Vec<Annotation>, StoreError> {
        let Some(source) = &self.source else {
            return Ok(Vec::new());
        };
        match self.known(source)? {
            Known::All(all) => {
                let start = all.partition_point(|(other, _)| *other < uid);
                let from_start = all.get(start..).unwrap_or_default();
                let own = from_start.iter().take_while(|(other, _)| *other == uid);
                Ok(own.map(|(_, annotation)| annotation.clone()).collect())
            }
            Known::Uids(uids) if uids.binary_search(&uid).is_ok() => source.of(&uid.to_string()),
            Known::Uids(_) => Ok(Vec::new()),
        }
    }

    /// For every message with annotations the XOR of their CRCs, sorted by UID.
    pub(crate) fn crcs(&self, minor_version: u32) -> Result<Vec<(Uid, u32)>, StoreError> {
        let mut crcs: Vec<(Uid, u32)> = Vec::new();
        let Some(source) = &self.source else {
            return Ok(crcs);
        };
        source.scan(b"", |key, value| {
            let Some(uid) = key_uid(key) else {
                return Ok(());
            };
            let Some(annotation) = source.decode(key, value)? else {
                return Ok(());
            };
            if is_virtual(minor_version, &annotation.entry) {
                return Ok(());
            }
            let crc = crc::crc_annot(uid, &annotation.entry, &annotation.userid, &annotation.value);
            match crcs.last_mut() {
                Some((last, sum)) if *last == uid => *sum ^= crc,
                _ => crcs.push((uid, crc)),
            }
            Ok(())
        })?;
        crcs.sort_unstable_by_key(|(uid, _)| *uid);
        Ok(crcs)
    }

    fn known(&self, source: &Source) -> Result<&Known, StoreError> {
        if let Some(known) = self.known.get() {
            return Ok(known);
        }
        let known = if source.size()? <= SMALL_DATABASE { source.all()? } else { source.uids()? };
        Ok(self.known.get_or_init(|| known))
    }
}

/// An annotation database, of either kind.
#[derive(Debug)]
struct Source {
    db: Database,
    path: PathBuf,
    owner: Option<String>,
}

impl Source {
    /// `None` if the file does not exist.
    fn open(path: &Path, owner: Option<String>) -> Result<Option<Self>, StoreError> {
        match Database::open(path) {
            Ok(db) => Ok(Some(Self { db, path: path.to_path_buf(), owner })),
            Err(error) if error.class() == ErrorClass::Missing => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn scan(
        &self,
        prefix: &[u8],
        mut each: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.db.foreach(prefix, |key, value| {
            each(key, value)?;
            Ok(ControlFlow::Continue(()))
        })
    }

    fn size(&self) -> Result<u64, StoreError> {
        let metadata = fs::metadata(&self.path);
        Ok(metadata.map_err(|error| StoreError::io("stat", &self.path, error))?.len())
    }

    fn all(&self) -> Result<Known, StoreError> {
        let mut all = Vec::new();
        self.scan(b"", |key, value| {
            if let Some(uid) = key_uid(key) {
                all.extend(self.decode(key, value)?.map(|annotation| (uid, annotation)));
            }
            Ok(())
        })?;
        // Stable: within a message the database's order is the order of replication.
        all.sort_by_key(|(uid, _)| *uid);
        Ok(Known::All(all))
    }

    fn uids(&self) -> Result<Known, StoreError> {
        let mut uids = Vec::new();
        self.scan(b"", |key, _| {
            // Keys of one message follow each other.
            uids.extend(key_uid(key).filter(|uid| uids.last() != Some(uid)));
            Ok(())
        })?;
        uids.sort_unstable();
        Ok(Known::Uids(uids))
    }

    /// All annotations of `scope` (a unique id or a UID).
    fn of(&self, scope: &str) -> Result<Vec<Annotation>, StoreError> {
        let prefix = [scope.as_bytes(), b"\0"].concat();
        let mut found = Vec::new();
        self.scan(&prefix, |key, value| {
            found.extend(self.decode(key, value)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// Decodes an entry; `None` for those that Cyrus ignores: deleted, empty, or without a userid.
    fn decode(&self, key: &[u8], value: &[u8]) -> Result<Option<Annotation>, StoreError> {
        let mut fields = key.splitn(3, |byte| *byte == 0).skip(1);
        let (Some(entry), Some(userid)) = (fields.next(), fields.next()) else {
            return Ok(None);
        };
        let userid = userid.split(|byte| *byte == 0).next().unwrap_or_default();
        let stored = decode_value(value).ok_or_else(|| {
            StoreError::damaged_entry(
                &self.path,
                key,
                "the value is cut off; remove the entry with cyr_dbtool",
            )
        })?;
        if stored.deleted || stored.value.is_empty() {
            return Ok(None);
        }
        let userid = if userid == OWNER_TOKEN {
            match &self.owner {
                Some(owner) => owner.clone(),
                None => return Ok(None),
            }
        } else {
            self.text(userid)?
        };
        Ok(Some(Annotation {
            entry: self.text(entry)?,
            userid,
            modseq: stored.modseq,
            value: stored.value.to_vec(),
        }))
    }

    fn text(&self, bytes: &[u8]) -> Result<String, StoreError> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_string()),
            Err(_) => Err(StoreError::not_utf8(&self.path, bytes)),
        }
    }
}

/// The UID that a key of message annotations starts with.
fn key_uid(key: &[u8]) -> Option<Uid> {
    let digits = key.split(|byte| *byte == 0).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok().map(Uid)
}

/// A database value, parsed.
#[derive(Debug, PartialEq, Eq)]
struct StoredValue<'a> {
    value: &'a [u8],
    modseq: ModSeq,
    deleted: bool,
}

/// `None` if the value is shorter than its length field.
fn decode_value(data: &[u8]) -> Option<StoredValue<'_>> {
    let rest = data.get(LONG_SIZE..)?;
    let value_len = be32(data, 0) as usize;
    let value = rest.get(..value_len)?;
    let mut stored = StoredValue { value, modseq: ModSeq::ZERO, deleted: false };
    // Old versions stop after the value (and its NUL), or after the content type and time.
    let rest = rest.get(value_len + 1..).unwrap_or_default();
    if rest.is_empty() {
        return Some(stored);
    }
    let content_type_len = rest.iter().position(|byte| *byte == 0)?;
    let rest = rest.get(content_type_len + 1 + LONG_SIZE..)?;
    if rest.is_empty() {
        return Some(stored);
    }
    stored.modseq = ModSeq(be64(rest.get(..8)?, 0));
    stored.deleted = rest.get(8).is_some_and(|flags| flags & FLAG_DELETED != 0);
    Some(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: &[u8], modseq: u64, flags: u8) -> Vec<u8> {
        let mut data = (value.len() as u32).to_be_bytes().to_vec();
        data.extend([0; 4]);
        data.extend(value);
        data.extend(b"\0text/plain\0");
        data.extend([0; 8]);
        data.extend(modseq.to_be_bytes());
        data.push(flags);
        data
    }

    #[test]
    fn values_of_every_age() {
        let data = entry(b"a\0b", 77, 0);
        let stored = decode_value(&data).unwrap();
        assert_eq!(
            (stored.value, stored.modseq, stored.deleted),
            (&b"a\0b"[..], ModSeq(77), false)
        );
        assert!(decode_value(&entry(b"", 78, 1)).unwrap().deleted);
        // no flags; no modseq; nothing after the value
        for (cut, modseq) in [(1, 77), (9, 0), (9 + 8 + 11 + 1, 0)] {
            let stored = decode_value(&data[..data.len() - cut]).unwrap();
            assert_eq!((stored.value, stored.modseq), (&b"a\0b"[..], ModSeq(modseq)), "{cut}");
        }
    }

    #[test]
    fn cut_values_are_refused() {
        let data = entry(b"abc", 77, 0);
        for len in (0..11).chain([13, 20, 24, 30, 33, 38]) {
            assert_eq!(decode_value(&data[..len]), None, "{len}");
        }
        let mut huge = data.clone();
        huge[0] = 0xff;
        assert_eq!(decode_value(&huge), None);
    }

    #[test]
    fn keys_of_messages() {
        assert_eq!(key_uid(b"12\0/comment\0\0"), Some(Uid(12)));
        assert_eq!(key_uid(b"*\0/comment\0"), None);
        assert_eq!(key_uid(b"99999999999\0/comment\0"), None);
    }

    #[test]
    fn small_and_large_databases_say_the_same() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(
            "tests/fixtures/upper/3.6.1/spool/uuid/1/3/13vgunrvxfwy4zk4wobxl5uc/cyrus.annotations",
        );
        let open = || Source::open(&path, Some("anna".to_string())).unwrap();
        let (small, large) = (open(), open());
        let all = small.as_ref().unwrap().all().unwrap();
        let uids = large.as_ref().unwrap().uids().unwrap();
        assert!(matches!(&uids, Known::Uids(uids) if uids.len() > 4));
        let small = MessageAnnotations { source: small, known: OnceCell::from(all) };
        let large = MessageAnnotations { source: large, known: OnceCell::from(uids) };
        for uid in (0..60).map(Uid) {
            assert_eq!(small.of(uid).unwrap(), large.of(uid).unwrap());
        }
        // Message 10 has a shared comment and one of the owner's; message 12's was removed again.
        let userids = small.of(Uid(10)).unwrap().into_iter().map(|found| found.userid);
        assert_eq!(userids.collect::<Vec<_>>(), ["", "anna"]);
        assert_eq!(small.of(Uid(12)).unwrap(), []);
    }
}
