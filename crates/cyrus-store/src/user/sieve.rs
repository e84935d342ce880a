//! A user's Sieve scripts, for replicas that do not accept the `#sieve` mailbox as a mailbox.
//!
//! ```text
//! 3.6 and later   each script is a message in the user's mailbox #sieve (type "sieve"): Subject is the name, the body the
//!                 script, \Flagged marks the active one; the guid is the SHA-1 of the body
//! before          NAME.script in the Sieve folder; defaultbc is a symbolic link to the active one's bytecode NAME.bc
//! ```
//!
//! Cyrus lists scripts from a per-user SQLite index of that mailbox; the mailbox itself has the same data, so we read that.
//! Source: `imap/sieve_db.c` (store_script), `imap/sync_support.c` (sync_sieve_list_generate), `imap/sievedir.c` of
//! cyrus-imapd 3.6.1.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use cyrus_types::{Guid, MailboxName, ModSeq};
use sha1::{Digest, Sha1};

use crate::config::Config;
use crate::error::StoreError;
use crate::mailbox::Mailbox;
use crate::mailbox::record::FLAG_FLAGGED;
use crate::mboxlist::{MboxEntry, MboxList};
use crate::paths;
use crate::regular;
use crate::store::Store;

/// The longest script that is read; `sieve_maxscriptsize` is 32 KiB by default.
const MAX_SCRIPT_BYTES: u64 = 16 << 20;

/// A Sieve script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SieveScript {
    /// Its name, without `.script`.
    pub name: String,
    /// When it was last changed (seconds since 1970).
    pub last_update: i64,
    /// The SHA-1 of its text.
    pub guid: Guid,
    /// Is it the active one?
    pub active: bool,
    /// Its text.
    pub content: Vec<u8>,
}

/// A user's scripts, sorted by name.
///
/// # Errors
/// The mailbox or a script is damaged or cannot be read.
pub fn scripts(
    store: &Store,
    list: &MboxList,
    userid: &str,
) -> Result<Vec<SieveScript>, StoreError> {
    let conf = &store.conf;
    let mut scripts = match list.lookup(&mailbox_name(conf, userid))? {
        Some(entry) if !entry.mbtype.is_deleted() && !entry.mbtype.is_intermediate() => {
            from_mailbox(&store.open_mailbox(&entry)?)?
        }
        _ if conf.is_on("sieveusehomedir") => Vec::new(),
        _ => from_folder(&paths::sieve_dir(conf, userid, list.inbox_id(userid)?.as_ref())?)?,
    };
    scripts.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(scripts)
}

/// The Sieve folder of a user whose scripts are files in it and who has no `#sieve` mailbox: scripts from before 3.6, or
/// those of `autocreate_sieve_script`. Cyrus' own client moves such scripts into a `#sieve` mailbox first
/// (`imap/sieve_db.c`: sieve_ensure_folder).
///
/// # Errors
/// The list of mailboxes is damaged, or the folder can't be listed.
pub(crate) fn only_in_folder(
    conf: &Config,
    list: &MboxList,
    userid: &str,
) -> Result<Option<PathBuf>, StoreError> {
    let live = |entry: &MboxEntry| !entry.mbtype.is_deleted() && !entry.mbtype.is_intermediate();
    if conf.is_on("sieveusehomedir")
        || list.lookup(&mailbox_name(conf, userid))?.is_some_and(|e| live(&e))
    {
        return Ok(None);
    }
    let folder = paths::sieve_dir(conf, userid, list.inbox_id(userid)?.as_ref())?;
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("list", &folder, error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| StoreError::io("list", &folder, error))?;
        if entry.file_name().as_encoded_bytes().ends_with(b".script") {
            return Ok(Some(folder));
        }
    }
    Ok(None)
}

/// The internal name of a user's `#sieve` mailbox.
fn mailbox_name(conf: &Config, userid: &str) -> MailboxName {
    let rules = conf.names();
    let mut name = rules.parse_userid(userid);
    name.boxes.push(conf.get("sieve_folder").unwrap_or("#sieve").to_string());
    rules.internal(&name)
}

fn from_mailbox(mailbox: &Mailbox) -> Result<Vec<SieveScript>, StoreError> {
    let mut scripts = Vec::new();
    for record in mailbox.records(ModSeq::ZERO) {
        let record = record?;
        if record.is_expunged() {
            continue;
        }
        let path = mailbox.message_path(&record);
        let message = regular::read(&path, MAX_SCRIPT_BYTES)?;
        let (subject, content) = split_message(&message)
            .ok_or_else(|| StoreError::damaged(&path, "it is not a message with a script"))?;
        scripts.push(SieveScript {
            name: subject,
            last_update: record.internaldate,
            guid: sha1(content),
            active: record.system_flags & FLAG_FLAGGED != 0,
            content: content.to_vec(),
        });
    }
    Ok(scripts)
}

fn from_folder(folder: &Path) -> Result<Vec<SieveScript>, StoreError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("list", folder, error)),
    };
    let active = fs::read_link(folder.join("defaultbc")).ok();
    let active = active.as_deref().and_then(Path::file_stem);
    let mut scripts = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| StoreError::io("list", folder, error))?;
        let path = entry.path();
        let file_name = entry.file_name();
        let text = file_name
            .to_str()
            .ok_or_else(|| StoreError::not_utf8(folder, file_name.as_encoded_bytes()))?;
        let Some(name) = text.strip_suffix(".script") else { continue };
        let info =
            fs::symlink_metadata(&path).map_err(|error| StoreError::io("stat", &path, error))?;
        if !info.is_file() {
            continue;
        }
        let content = regular::read(&path, MAX_SCRIPT_BYTES)?;
        scripts.push(SieveScript {
            name: name.to_string(),
            last_update: info.mtime(),
            guid: sha1(&content),
            active: active.is_some_and(|active| active == name),
            content,
        });
    }
    Ok(scripts)
}

/// The Subject and the body of a message.
fn split_message(message: &[u8]) -> Option<(String, &[u8])> {
    let end = message.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (header, body) = (std::str::from_utf8(message.get(..end)?).ok()?, message.get(end + 4..)?);
    let mut subject: Option<String> = None;
    let mut inside = false;
    for line in header.split("\r\n") {
        if line.starts_with([' ', '\t']) {
            // A folded line goes on where the last one ended.
            if let (true, Some(text)) = (inside, subject.as_mut()) {
                text.push_str(line);
            }
            continue;
        }
        let (name, value) = line.split_once(':')?;
        inside = name.eq_ignore_ascii_case("subject");
        if inside {
            subject = Some(value.to_string());
        }
    }
    Some((decode_words(subject?.trim()), body))
}

/// Decodes the encoded words (`=?UTF-8?Q?…?=`) that Cyrus writes for names that are not plain ASCII.
fn decode_words(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut after_word = false;
    for (place, word) in text.split(' ').enumerate() {
        let decoded = decode_word(word);
        // Space between two encoded words is not part of the text.
        if place > 0 && !(after_word && (decoded.is_some() || word.is_empty())) {
            bytes.push(b' ');
        }
        after_word = decoded.is_some() || (after_word && word.is_empty());
        match decoded {
            Some(plain) => bytes.extend(plain),
            None => bytes.extend(word.as_bytes()),
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_string())
}

fn decode_word(word: &str) -> Option<Vec<u8>> {
    let inner = word.strip_prefix("=?")?.strip_suffix("?=")?;
    let (charset, rest) = inner.split_once('?')?;
    let (encoding, text) = rest.split_once('?')?;
    if !charset.eq_ignore_ascii_case("utf-8") || !encoding.eq_ignore_ascii_case("q") {
        return None;
    }
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'_' => b' ',
            b'=' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    Some(bytes)
}

fn sha1(content: &[u8]) -> Guid {
    Guid(Sha1::digest(content).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mboxlist::tests::small_store;

    #[test]
    fn scripts_are_messages() {
        let message = b"From: <a@b>\r\nSubject: =?UTF-8?Q?n=C3=A4me?=\r\n =?UTF-8?Q?_two?=\r\nDate: x\r\n\r\nkeep;\r\n";
        let (name, body) = split_message(message).unwrap();
        assert_eq!((name.as_str(), body), ("n\u{e4}me two", b"keep;\r\n".as_slice()));
        assert_eq!(decode_words("two words"), "two words");
        assert_eq!(decode_words("=?x?=  y"), "=?x?=  y");
        assert_eq!(split_message(b"no header"), None);
    }

    #[test]
    fn scripts_are_files() {
        let (dir, _, list) = small_store();
        let text = format!("configdirectory: {0}\nsievedir: {0}/sieve\n", dir.path().display());
        let store = Store::open(std::sync::Arc::new(Config::parse(&text, "/t").unwrap()));
        let folder = dir.path().join("sieve/uuid/f/0/f0c1");
        assert_eq!(scripts(&store, &list, "anna").unwrap(), []);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("b.script"), "keep;").unwrap();
        fs::write(folder.join("a.script"), "").unwrap();
        fs::write(folder.join("b.bc"), "x").unwrap();
        std::os::unix::fs::symlink("b.bc", folder.join("defaultbc")).unwrap();
        let found = scripts(&store, &list, "anna").unwrap();
        assert_eq!(
            found.iter().map(|script| (script.name.as_str(), script.active)).collect::<Vec<_>>(),
            [("a", false), ("b", true)]
        );
        let conf = &store.conf;
        assert_eq!(only_in_folder(conf, &list, "anna").unwrap(), Some(folder.clone()));
        for name in ["a.script", "b.script"] {
            fs::remove_file(folder.join(name)).unwrap();
        }
        // A link to a missing script does not count.
        assert_eq!(only_in_folder(conf, &list, "anna").unwrap(), None);
        assert_eq!(found[1].guid.to_string(), "1741a5f56c1cfc0f7ef3d0ad53bceb6518bdfdad");
    }
}
