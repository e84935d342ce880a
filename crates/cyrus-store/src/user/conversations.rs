//! The part of a user's conversations that replication needs: the modseq of each mailbox's threads (`XCONVMODSEQ`).
//!
//! ```text
//! key $FOLDER_NAMES      present: the F keys below hold internal names; else ($FOLDER_IDS) unique ids
//! key F<mailbox>         0 (<thread modseq> <threads> <unseen threads> <emails> <unseen emails>)
//! ```
//!
//! A skiplist database by default. Source: `imap/conversations.c` (conversation_getstatus) and `imap/mailbox.c`
//! (mailbox_get_xconvmodseq, mailbox_has_conversations) of cyrus-imapd 3.6.1.

use std::path::PathBuf;

use cyrus_types::ModSeq;

use crate::config::Config;
use crate::db::Database;
use crate::dlist::Value;
use crate::error::StoreError;
use crate::mboxlist::{MboxEntry, MboxList};
use crate::paths::{self, UserFile};

const FOLDER_IDS_KEY: &[u8] = b"$FOLDER_IDS";
const FOLDER_NAMES_KEY: &[u8] = b"$FOLDER_NAMES";
/// The version of an F key's value.
const STATUS_VERSION: &str = "0";

/// Does Cyrus keep conversations for this mailbox? Only for users' mailboxes that are neither deleted nor for submission,
/// and only with the option `conversations`.
pub fn has_conversations(conf: &Config, entry: &MboxEntry) -> bool {
    let name = conf.names().parse(&entry.name);
    let submission = conf
        .get("jmapsubmissionfolder")
        .is_some_and(|folder| name.boxes.first().is_some_and(|top| top == folder));
    conf.conversations()
        && name.localpart.is_some()
        && name.deleted == 0
        && !entry.mbtype.is_submission()
        && !submission
}

/// A user's conversations, for reading. Opened once and queried for each of the user's mailboxes.
#[derive(Debug, Clone)]
pub struct Conversations {
    path: PathBuf,
    db: Database,
    by_name: bool,
}

impl Conversations {
    /// Opens a user's conversations; without a database, every answer is 0.
    ///
    /// # Errors
    /// The database is damaged or in a format that we don't read.
    pub fn open(conf: &Config, list: &MboxList, userid: &str) -> Result<Conversations, StoreError> {
        let path = paths::user_file(
            conf,
            userid,
            list.inbox_id(userid)?.as_ref(),
            UserFile::Conversations,
        )?;
        let db = match Database::open(&path) {
            Ok(db) => db,
            Err(StoreError::MissingFile { .. }) => Database::Empty,
            Err(error) => return Err(error),
        };
        let by_name = db.fetch(FOLDER_IDS_KEY)?.is_none() && db.fetch(FOLDER_NAMES_KEY)?.is_some();
        Ok(Conversations { path, db, by_name })
    }

    /// The modseq of the mailbox's threads; 0 if there are none. Ask only if [`has_conversations`] is true.
    ///
    /// # Errors
    /// The database or the entry is damaged.
    pub fn xconvmodseq(&self, entry: &MboxEntry) -> Result<ModSeq, StoreError> {
        let name = if self.by_name { entry.name.as_str() } else { entry.uniqueid.as_str() };
        let key = [b"F", name.as_bytes()].concat();
        let Some(value) = self.db.fetch(&key)? else { return Ok(ModSeq::ZERO) };
        let damaged = |what: &str| StoreError::damaged_entry(&self.path, &key, what);
        let space = value
            .iter()
            .position(|byte| *byte == b' ')
            .ok_or_else(|| damaged("it has no version"))?;
        let (version, rest) = value.split_at_checked(space).unwrap_or_default();
        if version != STATUS_VERSION.as_bytes() {
            return Err(damaged("its version is unknown"));
        }
        let status = Value::parse(rest.get(1..).unwrap_or_default())
            .map_err(|error| damaged(&error.to_string()))?;
        let first = status.list().and_then(<[Value]>::first).and_then(Value::number);
        first.map(ModSeq).ok_or_else(|| damaged("its modseq is not a number"))
    }
}

/// The `XCONVMODSEQ` of one mailbox; 0 if there are no conversations. For many mailboxes of a user keep a [`Conversations`]
/// instead.
///
/// # Errors
/// The database or the entry is damaged.
pub fn xconvmodseq(
    conf: &Config,
    list: &MboxList,
    entry: &MboxEntry,
) -> Result<ModSeq, StoreError> {
    match entry.name.userid(conf.names()) {
        Some(userid) if has_conversations(conf, entry) => {
            Conversations::open(conf, list, &userid)?.xconvmodseq(entry)
        }
        _ => Ok(ModSeq::ZERO),
    }
}
