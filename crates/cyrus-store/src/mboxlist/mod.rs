//! The list of mailboxes (`mailboxes.db`).
//!
//! ```text
//! key N<name>            one entry a mailbox, by name in database form (levels split by 0x1f, no escaping)
//! key I<unique id>       the same again by unique id, with the mailbox's former names
//! key A…                 who may see what: of no interest here
//! key UG<user>0x1e<group> from 3.12 on: the user is in the group
//!
//! before 3.5: keys are internal names, there is no I, and $RACL… keys tell who may see what; folders and the keys of
//!             annotations.db are names then, too
//! ```
//!
//! Deleted mailboxes leave an entry of type "deleted" (a tombstone) in both places. Source: `imap/mboxlist.c` of
//! cyrus-imapd 3.6.1.

pub(crate) mod entry;

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use cyrus_types::{MailboxName, NameParts, NameRules, UniqueId};

use crate::config::Config;
use crate::db::Database;
use crate::db::kept::KeptDb;
use crate::dlist::Value;
use crate::error::StoreError;
use crate::mboxlist::entry::Source;
pub use crate::mboxlist::entry::{MboxEntry, MboxType, NameHistory};
use crate::paths;

/// The list of mailboxes, for reading. Cheap to clone; every call sees the file's latest state. Only the unique id of the
/// last INBOX that was asked for is remembered, because many files of a user are named after it.
#[derive(Debug, Clone)]
pub struct MboxList {
    path: PathBuf,
    db: Database,
    rules: NameRules,
    /// Keys have the form of 3.5 and later.
    prefixed: bool,
    inbox_id: Arc<Mutex<InboxId>>,
}

/// A user and the unique id of the INBOX, if files are named after it.
type InboxId = Option<(String, Option<UniqueId>)>;

impl MboxList {
    /// Opens the list that `imapd.conf` points to.
    ///
    /// # Errors
    /// The file is missing, damaged, or in a format that we don't read.
    pub fn open(conf: &Config) -> Result<MboxList, StoreError> {
        let path = paths::mailboxes_db(conf);
        let db = Database::open(&path)?;
        if matches!(db, Database::Empty) {
            // Cyrus writes a header at once, so an empty file is damage; to treat it as "no users" would be wrong.
            return Err(StoreError::damaged(
                &path,
                "it is empty; put back a copy (ctl_mboxlist -u)",
            ));
        }
        let prefixed = is_prefixed(&db)?;
        Ok(MboxList::of(path, db, conf, prefixed))
    }

    fn of(path: PathBuf, db: Database, conf: &Config, prefixed: bool) -> MboxList {
        MboxList { path, db, rules: conf.names().clone(), prefixed, inbox_id: Arc::default() }
    }

    /// The list in a database that is kept in memory, or read from the file if it can't be.
    ///
    /// # Errors
    /// As [`MboxList::open`].
    pub(crate) fn kept(conf: &Config, kept: &Arc<KeptDb>) -> Result<MboxList, StoreError> {
        if !kept.is_kept()? {
            return MboxList::open(conf);
        }
        let db = Database::Kept(kept.clone());
        let prefixed = kept.form(|| is_prefixed(&db))?;
        let path = paths::mailboxes_db(conf);
        Ok(MboxList::of(path, db, conf, prefixed))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the list has an entry by unique id for each mailbox (3.5 and later).
    pub fn has_unique_ids(&self) -> bool {
        self.prefixed
    }

    /// The entry of a mailbox by its internal name, including tombstones and intermediates, with its former names.
    ///
    /// # Errors
    /// The database or the entry is damaged.
    pub fn lookup(&self, name: &MailboxName) -> Result<Option<MboxEntry>, StoreError> {
        let key = self.key(&self.rules.parse(name));
        let Some(value) = self.db.fetch(&key)? else {
            return Ok(None);
        };
        let mut entry = self.parse(&key, &value)?;
        if self.prefixed
            && !entry.uniqueid.is_empty()
            && let Some(by_id) = self.find_uniqueid(&entry.uniqueid)?
        {
            entry.name_history = by_id.name_history;
        }
        Ok(Some(entry))
    }

    /// The entry of a mailbox by its unique id, including tombstones and intermediates, with its former names.
    ///
    /// # Errors
    /// The database or the entry is damaged.
    pub fn find_uniqueid(&self, uniqueid: &UniqueId) -> Result<Option<MboxEntry>, StoreError> {
        if self.prefixed {
            let key = [b"I", uniqueid.as_str().as_bytes()].concat();
            let Some(value) = self.db.fetch(&key)? else {
                return Ok(None);
            };
            let source = Source { path: &self.path, key: &key };
            let mut entry = MboxEntry::parse(&self.rules, source, None, &value)?;
            entry.uniqueid = uniqueid.clone();
            return Ok(Some(entry));
        }
        let mut found = None;
        self.walk(b"", |key, value| {
            if let Ok(entry) = self.parse(key, value)
                && entry.uniqueid == *uniqueid
            {
                // A renamed mailbox leaves a tombstone of its unique id under its old name.
                let lives = !entry.mbtype.is_deleted();
                if lives || found.is_none() {
                    found = Some(entry);
                }
                if lives {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// All of a user's entries: the INBOX, what is below it, then what was moved below the deleted prefix. Tombstones and
    /// intermediates are included; former names are not filled in. Empty for a user who never existed here.
    ///
    /// # Errors
    /// The database or one of the entries is damaged: it is better to skip the user than to treat a part as the whole.
    pub fn user_tree(&self, userid: &str) -> Result<Vec<MboxEntry>, StoreError> {
        let inbox = self.rules.parse_userid(userid);
        let mut entries = Vec::new();
        let key = self.key(&inbox);
        if let Some(value) = self.db.fetch(&key)? {
            entries.push(self.parse(&key, &value)?);
        }
        let below = self.prefix_below(&inbox);
        let separator = if self.prefixed { "\u{1f}" } else { "." };
        let deleted = match inbox.domain.as_deref() {
            // The prefix comes after the domain.
            Some(domain) => {
                let domain_len = self.key_letter().len() + domain.len() + 1;
                let (front, back) =
                    below.split_at_checked(domain_len).unwrap_or((below.as_slice(), &[]));
                [front, self.rules.deleted_prefix().as_bytes(), separator.as_bytes(), back].concat()
            }
            None => {
                let back = below.get(self.key_letter().len()..).unwrap_or_default();
                [
                    self.key_letter(),
                    self.rules.deleted_prefix().as_bytes(),
                    separator.as_bytes(),
                    back,
                ]
                .concat()
            }
        };
        for prefix in [below, deleted] {
            self.walk(&prefix, |key, value| {
                entries.push(self.parse(key, value)?);
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(entries)
    }

    /// The unique id of a user's INBOX, by which the user's own files are named; `None` if they are named after the user.
    ///
    /// # Errors
    /// The database or the entry is damaged.
    pub fn inbox_id(&self, userid: &str) -> Result<Option<UniqueId>, StoreError> {
        let known = || self.inbox_id.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, id)) = known().as_ref().filter(|(user, _)| user == userid) {
            return Ok(id.clone());
        }
        let key = self.key(&self.rules.parse_userid(userid));
        let entry = match self.db.fetch(&key)? {
            Some(value) => Some(self.parse(&key, &value)?),
            None => None,
        };
        let names_files = |e: &MboxEntry| !e.uniqueid.is_empty() && !e.mbtype.is_legacy_dirs();
        let id = entry.filter(names_files).map(|entry| entry.uniqueid);
        *known() = Some((userid.to_string(), id.clone()));
        Ok(id)
    }

    /// All users with a live mailbox, each once, in the list's order. `prefix` (an internal name's beginning, such as
    /// `user.a`) restricts them.
    ///
    /// # Errors
    /// The database is damaged. (A damaged entry is only left out: its user fails later.)
    pub fn all_users(&self, prefix: Option<&str>) -> Result<Vec<String>, StoreError> {
        let mut users = Vec::new();
        self.for_each_user(prefix, |user| {
            users.push(user.to_string());
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(users)
    }

    /// As [`MboxList::all_users`], one by one.
    ///
    /// # Errors
    /// As [`MboxList::all_users`], or the visitor failed.
    pub fn for_each_user<F>(&self, prefix: Option<&str>, mut visit: F) -> Result<(), StoreError>
    where
        F: FnMut(&str) -> Result<ControlFlow<()>, StoreError>,
    {
        let mut last = String::new();
        // Old keys do not keep a user's mailboxes together.
        let mut seen = HashSet::new();
        self.walk(&self.prefix_of(prefix), |key, value| {
            let Some(name) = self.name_of(key) else {
                return Ok(ControlFlow::Continue(()));
            };
            let Some(user) = name.userid().filter(|user| name.deleted == 0 && *user != last) else {
                return Ok(ControlFlow::Continue(()));
            };
            if let Ok(entry) = self.parse(key, value)
                && (entry.mbtype.is_deleted() || entry.mbtype.is_intermediate())
            {
                return Ok(ControlFlow::Continue(()));
            }
            if !self.prefixed && !seen.insert(user.clone()) {
                return Ok(ControlFlow::Continue(()));
            }
            last = user;
            visit(&last)
        })
    }

    /// All entries that belong to no user, in the list's order: mailboxes (including deleted ones, by name), intermediates
    /// and tombstones. `prefix` as in [`MboxList::all_users`].
    ///
    /// # Errors
    /// The database or one of these entries is damaged.
    pub fn shared_tree(&self, prefix: Option<&str>) -> Result<Vec<MboxEntry>, StoreError> {
        let mut entries = Vec::new();
        self.walk(&self.prefix_of(prefix), |key, value| {
            if self.name_of(key).is_some_and(|name| name.localpart.is_none()) {
                entries.push(self.parse(key, value)?);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(entries)
    }

    /// The groups that a user is in, in the list's order; empty before 3.12.
    ///
    /// # Errors
    /// The database is damaged or a name is not UTF-8.
    pub fn groups_of(&self, userid: &str) -> Result<Vec<String>, StoreError> {
        let mut groups = Vec::new();
        if self.prefixed {
            let prefix = [b"UG", userid.as_bytes(), b"\x1e"].concat();
            self.db.foreach(&prefix, |key, _| {
                let group = key.get(prefix.len()..).unwrap_or_default();
                let text = std::str::from_utf8(group);
                groups.push(text.map_err(|_| StoreError::not_utf8(&self.path, key))?.to_string());
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(groups)
    }

    /// Visits the mailboxes whose keys begin with this prefix.
    fn walk<F>(&self, prefix: &[u8], mut visit: F) -> Result<(), StoreError>
    where
        F: FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, StoreError>,
    {
        self.db.foreach(prefix, |key, value| {
            // Old lists have other keys between the names.
            if !self.prefixed && (key.starts_with(b"$RACL") || key.starts_with(b"\x1f")) {
                return Ok(ControlFlow::Continue(()));
            }
            visit(key, value)
        })
    }

    fn parse(&self, key: &[u8], value: &[u8]) -> Result<MboxEntry, StoreError> {
        let name = self.name_of(key).ok_or_else(|| StoreError::not_utf8(&self.path, key))?;
        let source = Source { path: &self.path, key };
        let internal = self.rules.internal(&name);
        let mut entry = MboxEntry::parse(&self.rules, source, Some(internal), value)?;
        if !self.prefixed {
            // No entry says so: older versions had nothing else.
            entry.mbtype = entry.mbtype.with_legacy_dirs();
            entry.by_name = true;
        }
        Ok(entry)
    }

    fn name_of(&self, key: &[u8]) -> Option<NameParts> {
        let text = std::str::from_utf8(key).ok()?;
        if self.prefixed {
            Some(self.rules.parse_db(text.strip_prefix('N')?))
        } else {
            Some(self.rules.parse_internal(text))
        }
    }

    fn key_letter(&self) -> &'static [u8] {
        if self.prefixed { b"N" } else { b"" }
    }

    fn key(&self, name: &NameParts) -> Vec<u8> {
        if self.prefixed {
            return [self.key_letter(), self.rules.db_key(name).as_bytes()].concat();
        }
        self.rules.internal(name).as_str().into()
    }

    /// The prefix of the keys of all mailboxes below one.
    fn prefix_below(&self, name: &NameParts) -> Vec<u8> {
        let mut key = self.key(name);
        key.push(if self.prefixed { 0x1f } else { b'.' });
        key
    }

    /// The prefix of the keys of all mailboxes whose internal names have this prefix.
    fn prefix_of(&self, prefix: Option<&str>) -> Vec<u8> {
        match prefix {
            None | Some("") => self.key_letter().to_vec(),
            Some(prefix) => {
                let name = self.rules.parse_internal(prefix);
                if prefix.ends_with('.') { self.prefix_below(&name) } else { self.key(&name) }
            }
        }
    }
}

/// Do the keys have the form of 3.5 and later? The first entry that is possible in only one form decides.
fn is_prefixed(db: &Database) -> Result<bool, StoreError> {
    let mut empty = true;
    let mut verdict = None;
    db.foreach(b"", |key, value| {
        empty = false;
        let names_itself =
            key.starts_with(b"I") && Value::parse(value).is_ok_and(|map| map.get("N").is_some());
        if key.contains(&0x1f) || names_itself {
            verdict = Some(true);
        } else if [b"user.".as_slice(), b"$RACL"].iter().any(|start| key.starts_with(start)) {
            verdict = Some(false);
        }
        Ok(if verdict.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(verdict.unwrap_or(empty))
}

#[cfg(test)]
pub(crate) mod tests;
