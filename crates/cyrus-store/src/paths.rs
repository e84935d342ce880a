//! Where everything is on disk.
//!
//! ```text
//! mailbox, by unique id    <partition>/uuid/f/0/f0c1…/            cyrus.header cyrus.index cyrus.annotations 1. 2. …
//! mailbox, by name         <partition>[/domain/e/ex.com][/a]/user/anna/Sent/         (type flag "legacy dirs")
//! user's files, by id      <config>/user/uuid/f/0/f0c1…/seen.db   the unique id is that of the INBOX
//! user's files, by name    <config>[/domain/e/ex.com]/user/a/anna.seen
//! quota root               <config>[/domain/e/ex.com]/quota/a/user.anna
//! sieve scripts            <sievedir>/uuid/f/0/f0c1…/ or <sievedir>[/domain/e/ex.com]/a/anna/
//! lock                     <lock root>[/a]/NAME.lock              NAME is hashed like a mailbox's name
//! ```
//!
//! The single letters come from `dir_hash_c`: the first letter (`q` if it is not a letter), or a hash with `fulldirhash`;
//! in mailbox and lock paths they appear only with `hashimapspool`. Source: `imap/mboxname.c` (mboxname_hash,
//! mboxname_*path, mboxname_conf_getpath*), `imap/user.c`, `lib/cyrusdb_quotalegacy.c`, `lib/util.c` of cyrus-imapd 3.6.1.

use std::path::{Path, PathBuf};

use cyrus_types::{MailboxName, NameParts, UniqueId};

use crate::config::{Config, VirtDomains};
use crate::error::StoreError;

/// What determines where a mailbox's files are.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Internal name.
    pub name: &'a MailboxName,
    /// Partition.
    pub partition: &'a str,
    /// Unique id; `None` for mailboxes whose folders are named after them ("legacy dirs").
    pub unique_id: Option<&'a UniqueId>,
}

/// A file that Cyrus keeps for a mailbox beside its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetaFile {
    /// `cyrus.header`
    Header,
    /// `cyrus.index`
    Index,
    /// `cyrus.cache`
    Cache,
    /// `cyrus.cache` of the archive partition
    ArchiveCache,
    /// `cyrus.annotations`
    Annotations,
}

/// A file that Cyrus keeps for a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserFile {
    /// Subscriptions.
    Subscriptions,
    /// Seen state.
    Seen,
    /// Counters (highest modseqs).
    Counters,
    /// Conversations.
    Conversations,
    /// The database of calendars, contacts and Sieve scripts (SQLite).
    Dav,
}

impl UserFile {
    /// The file name's ending, as in `anna.seen` and `seen.db`.
    pub fn suffix(self) -> &'static str {
        match self {
            UserFile::Subscriptions => "sub",
            UserFile::Seen => "seen",
            UserFile::Counters => "counters",
            UserFile::Conversations => "conversations",
            UserFile::Dav => "dav",
        }
    }
}

/// The folder of a mailbox's messages.
///
/// # Errors
/// The partition is not configured, or the unique id is not valid.
pub fn data_dir(conf: &Config, place: Place<'_>) -> Result<PathBuf, StoreError> {
    mailbox_dir(conf, conf.partition_dir(place.partition)?, place)
}

/// The folder of a mailbox's archived messages (the plain one if archiving is off).
///
/// # Errors
/// As [`data_dir`].
pub fn archive_dir(conf: &Config, place: Place<'_>) -> Result<PathBuf, StoreError> {
    match conf.archivepartition_dir(place.partition) {
        Some(root) => mailbox_dir(conf, root, place),
        None => data_dir(conf, place),
    }
}

/// A message's file.
///
/// # Errors
/// As [`data_dir`].
pub fn message_path(
    conf: &Config,
    place: Place<'_>,
    uid: u32,
    archived: bool,
) -> Result<PathBuf, StoreError> {
    let dir = if archived { archive_dir(conf, place)? } else { data_dir(conf, place)? };
    Ok(dir.join(format!("{uid}.")))
}

/// One of the files beside a mailbox's messages.
///
/// # Errors
/// As [`data_dir`].
pub fn meta_path(conf: &Config, place: Place<'_>, file: MetaFile) -> Result<PathBuf, StoreError> {
    // Cyrus uses the index's key for annotations; this is not a mistake here.
    let (own_option, kind, file_name) = match file {
        MetaFile::Header => ("metadir-header", "header", "cyrus.header"),
        MetaFile::Index => ("metadir-index", "index", "cyrus.index"),
        MetaFile::Cache => ("metadir-cache", "cache", "cyrus.cache"),
        MetaFile::ArchiveCache => ("metadir-archivecache", "archivecache", "cyrus.cache"),
        MetaFile::Annotations => ("metadir-index", "annotations", "cyrus.annotations"),
    };
    let partition = place.partition;
    let mut root = conf.get(&format!("{own_option}-{partition}")).map(Path::new);
    if root.is_none() && conf.is_meta_file(kind) {
        root = conf.metapartition_dir(partition);
    }
    if root.is_none() && file == MetaFile::ArchiveCache {
        root = conf.archivepartition_dir(partition);
    }
    let root = match root {
        Some(root) => root,
        None => conf.partition_dir(partition)?,
    };
    Ok(mailbox_dir(conf, root, place)?.join(file_name))
}

/// One of a user's files. `inbox_id` is the unique id of the user's INBOX; `None` if the INBOX has legacy dirs.
///
/// # Errors
/// The unique id is not valid, or the user id is empty.
pub fn user_file(
    conf: &Config,
    userid: &str,
    inbox_id: Option<&UniqueId>,
    file: UserFile,
) -> Result<PathBuf, StoreError> {
    let suffix = file.suffix();
    if let Some(id) = inbox_id {
        return Ok(id_dir(&conf.config_dir().join("user"), id)?.join(format!("{suffix}.db")));
    }
    let name = conf.names().parse_userid(userid);
    let mut path = conf.config_dir().to_path_buf();
    if let Some(domain) = &name.domain {
        push_domain(&mut path, domain, Some(dir_hash(domain, conf.fulldirhash())));
    }
    match &name.localpart {
        Some(localpart) => {
            let letter = dir_hash(localpart, conf.fulldirhash());
            path.push("user");
            path.push(letter.to_string());
            path.push(format!("{localpart}.{suffix}"));
        }
        // Data without an owner.
        None => path.push(format!("shared.{suffix}")),
    }
    Ok(path)
}

/// The folder of a user's Sieve scripts (where `sieveusehomedir` is off). `inbox_id` as in [`user_file`].
///
/// # Errors
/// `sievedir` is not set, or the unique id is not valid.
pub fn sieve_dir(
    conf: &Config,
    userid: &str,
    inbox_id: Option<&UniqueId>,
) -> Result<PathBuf, StoreError> {
    let root = conf.sieve_dir().ok_or_else(|| StoreError::option("sievedir", "is not set"))?;
    if let Some(id) = inbox_id {
        return id_dir(root, id);
    }
    let name = conf.names().parse_userid(userid);
    let mut path = root.to_path_buf();
    let mut owner = name.userid().unwrap_or_default();
    if conf.virtdomains() != VirtDomains::Off {
        if let Some(domain) = &name.domain {
            push_domain(&mut path, domain, Some(dir_hash(domain, conf.fulldirhash())));
        }
        owner = name.localpart.unwrap_or_default();
    }
    if owner.is_empty() {
        path.push("global");
    } else {
        path.push(dir_hash(&owner, conf.fulldirhash()).to_string());
        path.push(owner);
    }
    Ok(path)
}

/// The file of a quota root in the `quotalegacy` layout. `base` is the configuration directory (or wherever
/// `quota_db_path` puts it).
pub fn quota_file(conf: &Config, base: &Path, root: &str) -> PathBuf {
    let mut path = base.to_path_buf();
    let mut rest = root;
    if conf.virtdomains() != VirtDomains::Off
        && let Some((domain, local)) = root.split_once('!')
    {
        push_domain(&mut path, domain, Some(dir_hash(domain, conf.fulldirhash())));
        rest = local;
    }
    path.push("quota");
    if rest.is_empty() {
        path.push("root");
        return path;
    }
    let hashed = rest.split_once('.').map_or(rest, |(_, below)| below);
    path.push(dir_hash(hashed, conf.fulldirhash()).to_string());
    path.push(rest);
    path
}

/// The lock file of a name: a mailbox's internal name or unique id, or one of the special names of [`crate::lock`].
pub fn lock_path(conf: &Config, name: &str) -> PathBuf {
    with_lock(name_dir(conf, &conf.lock_root(), name, '_'))
}

/// The same for a name that contains a server's name, which may be a socket's path: Cyrus treats its slashes as folders. It
/// must not begin with one.
pub(crate) fn server_lock_path(conf: &Config, name: &str) -> PathBuf {
    with_lock(name_dir(conf, &conf.lock_root(), name, '/'))
}

fn with_lock(path: PathBuf) -> PathBuf {
    let mut path = path.into_os_string();
    path.push(".lock");
    PathBuf::from(path)
}

/// The list of mailboxes.
pub fn mailboxes_db(conf: &Config) -> PathBuf {
    conf.db_path("mboxlist_db_path", "mailboxes.db")
}

/// The annotations that belong to the server and to no mailbox.
pub fn annotations_db(conf: &Config) -> PathBuf {
    conf.db_path("annotation_db_path", "annotations.db")
}

fn mailbox_dir(conf: &Config, root: &Path, place: Place<'_>) -> Result<PathBuf, StoreError> {
    match place.unique_id {
        Some(id) => id_dir(root, id),
        None => Ok(name_dir(conf, root, place.name.as_str(), '_')),
    }
}

/// `root/uuid/x/y/ID`. The id comes from a database, so it must not lead anywhere else.
fn id_dir(root: &Path, id: &UniqueId) -> Result<PathBuf, StoreError> {
    let id = id.as_str();
    let safe =
        id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/') && !id.starts_with('.');
    let mut letters = id.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if safe => {
            let mut path = root.join("uuid");
            path.push(first.to_string());
            path.push(second.to_string());
            path.push(id);
            Ok(path)
        }
        _ => Err(StoreError::damaged(
            root,
            format!("'{}' cannot be a mailbox's unique id", id.escape_default()),
        )),
    }
}

/// `root[/domain/…][/letter]/level/level…` (mboxname_hash), with this instead of slashes.
fn name_dir(conf: &Config, root: &Path, internal: &str, slash: char) -> PathBuf {
    let name: NameParts = conf.names().parse_internal(internal);
    let full = conf.fulldirhash();
    let mut path = root.to_path_buf();
    if let Some(domain) = &name.domain {
        push_domain(&mut path, domain, conf.hashimapspool().then(|| dir_hash(domain, full)));
    }
    // The time of deletion stays last in both spellings, so the levels are those of the name.
    let levels: Vec<String> = conf.names().levels(&name).collect();
    if conf.hashimapspool()
        && let Some(hashed) = levels.get(1).or_else(|| levels.first())
    {
        path.push(dir_hash(hashed, full).to_string());
    }
    for level in levels {
        // A level can neither be absolute nor climb: '/' cannot be in a mailbox's name, a lock's begins with a star, and
        // dots become carets.
        path.push(level.replace('.', "^").replace('/', slash.encode_utf8(&mut [0; 4])));
    }
    path
}

fn push_domain(path: &mut PathBuf, domain: &str, letter: Option<char>) {
    path.push("domain");
    if let Some(letter) = letter {
        path.push(letter.to_string());
    }
    path.push(domain);
}

/// The letter that spreads names over folders (`dir_hash_c`).
fn dir_hash(name: &str, full: bool) -> char {
    if full {
        let mut hash = 0u32;
        for byte in name.bytes().take_while(|byte| *byte != b'.') {
            hash = ((hash << 3) ^ (hash >> 5)) ^ u32::from(byte);
        }
        return char::from(b'A' + (hash % 23) as u8);
    }
    match name.bytes().next().map(|byte| byte.to_ascii_lowercase()) {
        Some(letter @ b'a'..=b'z') => char::from(letter),
        _ => 'q',
    }
}

#[cfg(test)]
#[path = "paths_tests.rs"]
mod tests;
