//! One entry of the mailbox list.
//!
//! ```text
//! 3.0 and later   %(T e I f0c1… P default V 1700000000 C 1 F 7 M 1700000000 A %(anna lrswipkxtecdan anyone lrs))
//!                 T type   I unique id   P partition   S server   V uidvalidity   C createdmodseq   F foldermodseq
//!                 M time of the last change   A access control list   N name (database form; only under I keys)
//!                 H former names (only under I keys): (%(N name M time V uidvalidity C … F … T type P partition) …)
//! before          (uniqueid f0c1… specialuse \Sent) 0 default anna<TAB>lrs<TAB>      or without the first bracket
//! ```
//!
//! Source: `imap/mboxlist.c` (mboxlist_parse_entry, mboxlist_mbtype_to_string) and `imap/mboxlist.h` of cyrus-imapd 3.6.1.

use std::path::Path;

use cyrus_types::{MailboxName, ModSeq, NameRules, UidValidity, UniqueId};

use crate::dlist::Value;
use crate::error::StoreError;

/// A mailbox's type and flags (`MBTYPE_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct MboxType(pub u32);

impl MboxType {
    /// The kinds of mailbox, in the low four bits, and the letter for each.
    const KINDS: [(u32, char); 9] = [
        (0x0, 'e'),
        (0x1, 'n'),
        (0x2, 's'),
        (0x3, 'p'),
        // 3.8 and later: JMAP notifications.
        (0x4, 'j'),
        (0x5, 'f'),
        (0x8, 'b'),
        (0x9, 'c'),
        (0xa, 'a'),
    ];
    const KIND_MASK: u32 = 0xf;
    const REMOTE: u32 = 1 << 4;
    const RESERVED: u32 = 1 << 5;
    const MOVING: u32 = 1 << 6;
    const DELETED: u32 = 1 << 7;
    const INTERMEDIATE: u32 = 1 << 8;
    const LEGACY_DIRS: u32 = 1 << 9;
    /// In the order in which they are written.
    const FLAGS: [(u32, char); 6] = [
        (MboxType::DELETED, 'd'),
        (MboxType::MOVING, 'm'),
        (MboxType::REMOTE, 'r'),
        (MboxType::RESERVED, 'z'),
        (MboxType::INTERMEDIATE, 'i'),
        (MboxType::LEGACY_DIRS, 'l'),
    ];

    /// A tombstone: the mailbox was deleted, the entry remembers it.
    pub fn is_deleted(self) -> bool {
        self.0 & MboxType::DELETED != 0
    }

    /// A level that exists only because there are mailboxes below it.
    pub fn is_intermediate(self) -> bool {
        self.0 & MboxType::INTERMEDIATE != 0
    }

    /// Being moved to another server.
    pub fn is_moving(self) -> bool {
        self.0 & MboxType::MOVING != 0
    }

    /// On another server.
    pub fn is_remote(self) -> bool {
        self.0 & MboxType::REMOTE != 0
    }

    /// Reserved while it is being created.
    pub fn is_reserved(self) -> bool {
        self.0 & MboxType::RESERVED != 0
    }

    /// Its folders are named after it, not after its unique id.
    pub fn is_legacy_dirs(self) -> bool {
        self.0 & MboxType::LEGACY_DIRS != 0
    }

    /// The same, with folders that are named after the mailbox.
    pub(crate) fn with_legacy_dirs(self) -> MboxType {
        MboxType(self.0 | MboxType::LEGACY_DIRS)
    }

    /// Holds Sieve scripts.
    pub fn is_sieve(self) -> bool {
        self.0 & MboxType::KIND_MASK == 0x5
    }

    /// Holds messages about to be submitted (JMAP).
    pub fn is_submission(self) -> bool {
        self.0 & MboxType::KIND_MASK == 0x2
    }

    /// The letters for a type, as in the database.
    pub fn letters(self) -> String {
        let mut text = String::new();
        for (kind, letter) in MboxType::KINDS {
            if self.0 & MboxType::KIND_MASK == kind {
                text.push(letter);
            }
        }
        for (flag, letter) in MboxType::FLAGS {
            if self.0 & flag != 0 {
                text.push(letter);
            }
        }
        text
    }

    /// What replication sends: the letters without the one for legacy dirs; `None` for a plain mailbox, which has no
    /// `MBOXTYPE` on the wire.
    pub fn sync_str(self) -> Option<String> {
        let sent = MboxType(self.0 & !MboxType::LEGACY_DIRS);
        (sent.0 != 0).then(|| sent.letters())
    }

    /// Reads the letters; `None` if one is unknown.
    pub fn parse(letters: &str) -> Option<MboxType> {
        let (known, all) = MboxType::parse_known(letters);
        all.then_some(known)
    }

    /// The known letters, and whether these are all.
    fn parse_known(letters: &str) -> (MboxType, bool) {
        let (mut bits, mut all) = (0, true);
        for letter in letters.chars() {
            let kind = MboxType::KINDS.iter().find(|(_, known)| *known == letter);
            let flag = MboxType::FLAGS.iter().find(|(_, known)| *known == letter);
            match (kind, flag) {
                // The kind comes first from 3.5 on, if it is present; before, it came after the flags.
                (Some((kind, _)), _) => bits |= kind,
                (_, Some((flag, _))) => bits |= flag,
                _ => all = false,
            }
        }
        (MboxType(bits), all)
    }
}

/// A name a mailbox had before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameHistory {
    /// Internal name.
    pub name: MailboxName,
    /// When the mailbox lost it (seconds since 1970).
    pub mtime: i64,
    /// Its UIDVALIDITY then.
    pub uidvalidity: UidValidity,
    /// Its createdmodseq then.
    pub createdmodseq: ModSeq,
    /// Its foldermodseq then.
    pub foldermodseq: ModSeq,
    /// Its type then.
    pub mbtype: MboxType,
    /// Its partition then.
    pub partition: String,
}

/// The mailbox list's data of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MboxEntry {
    /// Internal name.
    pub name: MailboxName,
    /// Type and flags.
    pub mbtype: MboxType,
    /// The type's letters if one belongs to a newer Cyrus: then `mbtype` has the known ones.
    pub unknown_type: Option<String>,
    /// It is in a list from before 3.5: folders and annotations go by name.
    pub by_name: bool,
    /// Unique id; empty if the entry has none.
    pub uniqueid: UniqueId,
    /// Partition; empty if the entry has none (intermediates).
    pub partition: String,
    /// The server of a remote mailbox.
    pub server: Option<String>,
    /// Access control list: identifier, tab, rights, tab, and so on.
    pub acl: String,
    /// UIDVALIDITY; 0 if unknown here.
    pub uidvalidity: UidValidity,
    /// The modseq at which the mailbox was made.
    pub createdmodseq: ModSeq,
    /// The modseq of the last change to this entry.
    pub foldermodseq: ModSeq,
    /// When the entry was written (seconds since 1970).
    pub mtime: i64,
    /// Former names, the latest first; only filled by lookups by unique id and by name, not by listings.
    pub name_history: Vec<NameHistory>,
    /// The special use that entries before 3.0 carried.
    pub legacy_specialuse: Option<String>,
}

/// The origin of an entry's text, for error messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) path: &'a Path,
    pub(crate) key: &'a [u8],
}

impl Source<'_> {
    pub(crate) fn damaged(&self, what: impl Into<String>) -> StoreError {
        StoreError::damaged_entry(self.path, self.key, what)
    }
}

impl MboxEntry {
    /// Parses an entry's value. `name` is the mailbox's internal name, if the key has it.
    pub(crate) fn parse(
        rules: &NameRules,
        source: Source<'_>,
        name: Option<MailboxName>,
        value: &[u8],
    ) -> Result<MboxEntry, StoreError> {
        if value.starts_with(b"%") {
            let map = Value::parse(value).map_err(|error| source.damaged(error.to_string()))?;
            return parse_map(rules, source, name, &map);
        }
        let text = std::str::from_utf8(value)
            .map_err(|_| StoreError::not_utf8(source.path, source.key))?;
        parse_old(source, name, text)
    }
}

fn parse_map(
    rules: &NameRules,
    source: Source<'_>,
    name: Option<MailboxName>,
    map: &Value,
) -> Result<MboxEntry, StoreError> {
    let (mbtype, unknown_type) = mbtype_of(source, map)?;
    let mut entry = MboxEntry {
        mbtype,
        unknown_type,
        uniqueid: text_of(source, map, "I")?.map(UniqueId::new).unwrap_or_default(),
        partition: text_of(source, map, "P")?.unwrap_or_default(),
        server: text_of(source, map, "S")?,
        uidvalidity: UidValidity(number_of(source, map, "V")? as u32),
        createdmodseq: ModSeq(number_of(source, map, "C")?),
        foldermodseq: ModSeq(number_of(source, map, "F")?),
        mtime: number_of(source, map, "M")? as i64,
        ..MboxEntry::default()
    };
    entry.name = match (name, text_of(source, map, "N")?) {
        (Some(name), _) => name,
        (None, Some(key)) => rules.internal(&rules.parse_db(&key)),
        (None, None) => return Err(source.damaged("it has no name")),
    };
    if let Some(Value::Map(acl)) = map.get("A") {
        for (identifier, rights) in acl {
            let rights = rights.bytes().unwrap_or_default();
            for part in [identifier.as_slice(), rights] {
                let part = std::str::from_utf8(part)
                    .map_err(|_| StoreError::not_utf8(source.path, part))?;
                entry.acl.push_str(part);
                entry.acl.push('\t');
            }
        }
    }
    for item in map.get("H").and_then(Value::list).unwrap_or_default() {
        let key = text_of(source, item, "N")?.unwrap_or_default();
        entry.name_history.push(NameHistory {
            name: rules.internal(&rules.parse_db(&key)),
            mtime: number_of(source, item, "M")? as i64,
            uidvalidity: UidValidity(number_of(source, item, "V")? as u32),
            createdmodseq: ModSeq(number_of(source, item, "C")?),
            foldermodseq: ModSeq(number_of(source, item, "F")?),
            mbtype: mbtype_of(source, item)?.0,
            partition: text_of(source, item, "P")?.unwrap_or_default(),
        });
    }
    Ok(entry)
}

/// The type, and its letters if not all are known.
fn mbtype_of(source: Source<'_>, map: &Value) -> Result<(MboxType, Option<String>), StoreError> {
    let letters = text_of(source, map, "T")?.unwrap_or_default();
    let (mbtype, all) = MboxType::parse_known(&letters);
    Ok((mbtype, (!all).then_some(letters)))
}

fn text_of(source: Source<'_>, map: &Value, key: &str) -> Result<Option<String>, StoreError> {
    let Some(bytes) = map.get(key).and_then(Value::bytes) else {
        return Ok(None);
    };
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Some(text.to_string())),
        Err(_) => Err(StoreError::not_utf8(source.path, bytes)),
    }
}

/// A number under a key; 0 if there is none.
fn number_of(source: Source<'_>, map: &Value, key: &str) -> Result<u64, StoreError> {
    match map.get(key) {
        None | Some(Value::Nil) => Ok(0),
        Some(value) => {
            value.number().ok_or_else(|| source.damaged(format!("its '{key}' is not a number")))
        }
    }
}

/// The form before 3.0.
fn parse_old(
    source: Source<'_>,
    name: Option<MailboxName>,
    text: &str,
) -> Result<MboxEntry, StoreError> {
    let mut entry = MboxEntry { name: name.unwrap_or_default(), ..MboxEntry::default() };
    let mut rest = text;
    if let Some(inside) = rest.strip_prefix('(') {
        let (pairs, after) =
            inside.split_once(')').ok_or_else(|| source.damaged("a closing bracket is missing"))?;
        let mut words = pairs.split(' ');
        while let (Some(key), Some(value)) = (words.next(), words.next()) {
            match key {
                "uniqueid" => entry.uniqueid = UniqueId::new(value),
                "specialuse" => entry.legacy_specialuse = Some(value.to_string()),
                _ => {}
            }
        }
        rest = after.strip_prefix(' ').unwrap_or(after);
    }
    let (bits, rest) = rest.split_once(' ').ok_or_else(|| source.damaged("it has no type"))?;
    // Folders were named after mailboxes in those versions.
    let bits: u32 = bits.parse().map_err(|_| source.damaged("its type is not a number"))?;
    entry.mbtype = MboxType(bits | MboxType::LEGACY_DIRS);
    let (place, acl) = rest.split_once(' ').unwrap_or((rest, ""));
    match place.split_once('!') {
        Some((server, partition)) => {
            entry.server = Some(server.to_string());
            entry.partition = partition.to_string();
        }
        None => entry.partition = place.to_string(),
    }
    entry.acl = acl.to_string();
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &[u8], name: Option<&str>) -> Result<MboxEntry, StoreError> {
        let source = Source { path: Path::new("/m.db"), key: b"Nx" };
        MboxEntry::parse(&NameRules::default(), source, name.map(MailboxName::new), value)
    }

    #[test]
    fn the_current_form() {
        let value = b"%(T eil I f0c1 P default V 12 C 3 F 4 M 99 A %(anna lrs anyone l) N user\x1fanna\x1fA.b \
                      H (%(N user\x1fanna\x1fOld M 5 V 6 C 7 F 8 T e P two)))";
        let entry = parse(value, None).unwrap();
        assert_eq!(entry.name, "user.anna.A^b");
        assert_eq!((entry.uniqueid.as_str(), entry.partition.as_str()), ("f0c1", "default"));
        assert_eq!(
            (entry.uidvalidity, entry.createdmodseq, entry.foldermodseq, entry.mtime),
            (UidValidity(12), ModSeq(3), ModSeq(4), 99)
        );
        assert_eq!(entry.acl, "anna\tlrs\tanyone\tl\t");
        assert!(entry.mbtype.is_intermediate() && entry.mbtype.is_legacy_dirs());
        assert_eq!(entry.mbtype.sync_str().as_deref(), Some("ei"));
        assert_eq!(entry.name_history[0].name, "user.anna.Old");
        assert_eq!(entry.name_history[0].foldermodseq, ModSeq(8));
    }

    #[test]
    fn the_old_forms() {
        let entry =
            parse(b"(uniqueid abc specialuse \\Sent) 0 default anna\tlrs\t", Some("user.anna"))
                .unwrap();
        assert_eq!((entry.uniqueid.as_str(), entry.partition.as_str()), ("abc", "default"));
        assert_eq!(entry.acl, "anna\tlrs\t");
        assert_eq!(entry.legacy_specialuse.as_deref(), Some("\\Sent"));
        let remote = parse(b"1 host.example!part anna\tlrs\t", Some("user.anna")).unwrap();
        assert_eq!(remote.server.as_deref(), Some("host.example"));
        assert_eq!(remote.partition, "part");
        assert!(parse(b"", Some("x")).is_err());
        assert!(parse(b"(uniqueid", Some("x")).is_err());
        assert!(parse(b"%(T e V abc)", Some("x")).is_err());
        assert!(parse(b"%(T e N \xff)", None).is_err());
    }

    #[test]
    fn types_as_letters() {
        for letters in ["e", "n", "s", "p", "j", "f", "b", "c", "a", "edmrzil", "fd"] {
            assert_eq!(MboxType::parse(letters).unwrap().letters(), letters);
        }
        assert_eq!(MboxType::parse("d").unwrap().letters(), "ed");
        assert_eq!(MboxType::parse("").unwrap().sync_str(), None);
        assert_eq!(MboxType::parse("el").unwrap().sync_str(), None);
        assert!(MboxType::parse("df").unwrap().is_sieve());
        assert_eq!(MboxType::parse("dc").unwrap().letters(), "cd");
        assert_eq!(MboxType::parse("d?"), None);
    }

    #[test]
    fn letters_of_a_newer_cyrus_hide_nothing_else() {
        let entry = parse(b"%(T qdl I f0c1 P default)", Some("user.anna.x")).unwrap();
        assert_eq!(entry.unknown_type.as_deref(), Some("qdl"));
        assert!(entry.mbtype.is_deleted() && entry.mbtype.is_legacy_dirs());
        assert_eq!(parse(b"%(T j)", Some("x")).unwrap().unknown_type, None);
    }
}
