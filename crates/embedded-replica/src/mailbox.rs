//! A mailbox: its header, its records, and the two checksums over them, updated with every change.
//!
//! ```text
//!   basic = XOR over live records of CRC-32("UID MODSEQ LAST_UPDATED (F) INTERNALDATE GUID")
//!           F = XOR of CRC-32(flag in lower case)
//!   annot = 12345678 XOR, over their annotations, CRC-32("UID ENTRY USERID " + value)
//! ```
//! Source: `crc_basic`, `crc_annot` and `crc_virtannot` of `imap/mailbox.c` of cyrus-imapd 3.6.1,
//! written independently: a replica that shared its sums with the client would not find the client's mistakes.

use std::sync::Arc;

use csync::{Annotation, MailboxHead};
use cyrus_types::{Guid, MailboxName, ModSeq, Uid, UidValidity, UniqueId};

use crate::names::is_deleted;

/// The flag of a record that is expunged; it is not a flag of the message.
pub(crate) const EXPUNGED: &str = "\\Expunged";
/// Flags that every mailbox knows, in the order in which they are listed, including `\Expunged`.
const SYSTEM: [&str; 6] = ["\\Deleted", "\\Answered", "\\Flagged", "\\Draft", EXPUNGED, "\\Seen"];
const EXPUNGED_BIT: u8 = 1 << 4;

/// The conversation's id, in hexadecimal.
const THRID: &str = "/vendor/cmu/cyrus-imapd/thrid";
/// Annotations that a Cyrus index record stores itself: they are removed and added with the record.
const VIRTUAL: [&str; 3] =
    [THRID, "/vendor/cmu/cyrus-imapd/savedate", "/vendor/cmu/cyrus-imapd/createdmodseq"];

/// An annotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Annot {
    pub(crate) entry: Box<str>,
    pub(crate) userid: Box<str>,
    pub(crate) modseq: ModSeq,
    pub(crate) value: Box<[u8]>,
}

impl Annot {
    pub(crate) fn is_virtual(&self) -> bool {
        VIRTUAL.contains(&&*self.entry)
    }
}

/// Which flags are set: system ones as bits, user ones by their number in the mailbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    system: u8,
    user: Box<[u16]>,
}

/// A message's record.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) uid: Uid,
    pub(crate) modseq: ModSeq,
    pub(crate) last_updated: i64,
    pub(crate) internaldate: i64,
    pub(crate) size: u64,
    pub(crate) guid: Guid,
    pub(crate) flags: Flags,
    /// Stored ones, then virtual ones, in the order received.
    pub(crate) annotations: Vec<Annot>,
    /// The message, where bodies are kept.
    pub(crate) body: Option<Arc<[u8]>>,
}

impl Record {
    pub(crate) fn is_expunged(&self) -> bool {
        self.flags.system & EXPUNGED_BIT != 0
    }

    pub(crate) fn expunge(&mut self) {
        self.flags.system |= EXPUNGED_BIT;
    }
}

/// A mailbox's header, as MAILBOX commands set it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Head {
    pub(crate) uniqueid: UniqueId,
    pub(crate) name: MailboxName,
    pub(crate) mboxtype: Option<String>,
    pub(crate) partition: String,
    pub(crate) acl: String,
    pub(crate) options: String,
    pub(crate) last_uid: Uid,
    pub(crate) highestmodseq: ModSeq,
    pub(crate) recentuid: Uid,
    pub(crate) recenttime: i64,
    pub(crate) last_appenddate: i64,
    pub(crate) pop3_last_login: i64,
    pub(crate) pop3_show_after: i64,
    pub(crate) uidvalidity: UidValidity,
    pub(crate) xconvmodseq: ModSeq,
    pub(crate) raclmodseq: ModSeq,
    pub(crate) createdmodseq: ModSeq,
    pub(crate) foldermodseq: ModSeq,
    pub(crate) annotations: Vec<Annot>,
    /// Its id in JMAP.
    pub(crate) jmapid: String,
    /// The version of its index.
    pub(crate) index_version: u32,
    pub(crate) deletedmodseq: ModSeq,
}

/// A mailbox.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    pub(crate) head: Head,
    /// By UID.
    records: Vec<Record>,
    /// Names of user flags, by number.
    flag_names: Vec<String>,
    flag_crcs: Vec<u32>,
    basic: u32,
    annot: u32,
    /// It was deleted or replaced while a connection still used it.
    pub(crate) gone: bool,
}

const ANNOT_START: u32 = 12_345_678;

impl Mailbox {
    pub(crate) fn records(&self) -> &[Record] {
        &self.records
    }

    pub(crate) fn record(&self, uid: Uid) -> Option<&Record> {
        let at = self.records.binary_search_by_key(&uid, |r| r.uid).ok()?;
        self.records.get(at)
    }

    /// SYNC_CRC and SYNC_CRC_ANNOT.
    pub(crate) fn crcs(&self) -> (u32, u32) {
        (self.basic, self.annot ^ ANNOT_START)
    }

    /// The flags of these names; new names get a number.
    pub(crate) fn flags<'n>(&mut self, names: impl Iterator<Item = &'n str>) -> Flags {
        let mut system = 0;
        let mut user = Vec::new();
        for name in names {
            if let Some(bit) = SYSTEM.iter().position(|s| s.eq_ignore_ascii_case(name)) {
                system |= 1 << bit;
                continue;
            }
            let known = self.flag_names.iter().position(|n| n.eq_ignore_ascii_case(name));
            let number = known.unwrap_or_else(|| {
                self.flag_names.push(name.to_string());
                self.flag_crcs.push(crc32fast::hash(name.to_ascii_lowercase().as_bytes()));
                self.flag_names.len() - 1
            });
            // A Cyrus mailbox has 128 user flags; further ones are dropped here as well.
            user.extend(u16::try_from(number).ok());
        }
        user.sort_unstable();
        user.dedup();
        Flags { system, user: user.into() }
    }

    /// Names of user flags that messages have or had, in order of arrival.
    pub(crate) fn user_flags(&self) -> Vec<&str> {
        self.flag_names.iter().map(String::as_str).collect()
    }

    /// The names of a record's flags, in order.
    pub(crate) fn flag_names(&self, flags: &Flags) -> Vec<&str> {
        let system = SYSTEM.iter().enumerate().filter(|(bit, _)| flags.system & (1 << bit) != 0);
        let user = flags.user.iter().filter_map(|n| self.flag_names.get(usize::from(*n)));
        system.map(|(_, name)| *name).chain(user.map(String::as_str)).collect()
    }

    /// Replaces the record with the same UID, or inserts it at its place.
    pub(crate) fn put(&mut self, record: Record) {
        self.count(&record);
        match self.records.binary_search_by_key(&record.uid, |r| r.uid) {
            Ok(at) => {
                if let Some(old) = self.records.get_mut(at) {
                    let old = std::mem::replace(old, record);
                    self.count(&old);
                }
            }
            Err(at) => self.records.insert(at, record),
        }
    }

    /// Adds a record to the checksums, or removes it: XOR does both.
    fn count(&mut self, record: &Record) {
        if record.is_expunged() {
            return;
        }
        self.basic ^= self.basic_of(record);
        for annotation in &record.annotations {
            self.annot ^= annot_of(record.uid, annotation);
        }
    }

    fn basic_of(&self, record: &Record) -> u32 {
        let mut flags = 0;
        for (bit, name) in SYSTEM.iter().enumerate() {
            if record.flags.system & (1 << bit) != 0 {
                flags ^= crc32fast::hash(name.to_ascii_lowercase().as_bytes());
            }
        }
        for number in &record.flags.user {
            flags ^= self.flag_crcs.get(usize::from(*number)).copied().unwrap_or(0);
        }
        let Record { uid, modseq, last_updated, internaldate, guid, .. } = record;
        let text = format!("{uid} {modseq} {last_updated} ({flags}) {internaldate} {guid}");
        crc32fast::hash(text.as_bytes())
    }

    /// The header in the form for the wire's writers; `annotations` are its own.
    pub(crate) fn line<'a>(
        &'a self,
        quotaroot: Option<&'a str>,
        conversations: bool,
        annotations: &'a [Annotation<'a>],
    ) -> MailboxHead<'a> {
        let head = &self.head;
        let (basic, annot) = self.crcs();
        MailboxHead {
            uniqueid: &head.uniqueid,
            mboxname: &head.name,
            mboxtype: head.mboxtype.as_deref(),
            sync_crc: basic,
            sync_crc_annot: Some(annot),
            last_uid: head.last_uid,
            highestmodseq: head.highestmodseq,
            recentuid: head.recentuid,
            recenttime: head.recenttime,
            last_appenddate: head.last_appenddate,
            pop3_last_login: head.pop3_last_login,
            pop3_show_after: head.pop3_show_after,
            xconvmodseq: if conversations && !is_deleted(&head.name) {
                head.xconvmodseq
            } else {
                ModSeq::ZERO
            },
            raclmodseq: head.raclmodseq,
            uidvalidity: head.uidvalidity,
            partition: &head.partition,
            acl: &head.acl,
            options: &head.options,
            quotaroot,
            createdmodseq: head.createdmodseq,
            foldermodseq: head.foldermodseq,
            annotations,
            userflags: None,
            usergroups: None,
            since: None,
        }
    }
}

/// Annotations in the form for the wire's writers.
pub(crate) fn lines(annotations: &[Annot]) -> Vec<Annotation<'_>> {
    annotations
        .iter()
        .map(|a| Annotation {
            entry: &a.entry,
            userid: &a.userid,
            modseq: a.modseq,
            value: &a.value,
        })
        .collect()
}

fn annot_of(uid: Uid, annotation: &Annot) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(format!("{uid} {} {} ", annotation.entry, annotation.userid).as_bytes());
    // A conversation's id is sent with leading zeros, but its checksum is made without them.
    let value = match &*annotation.entry {
        THRID => without_zeros(&annotation.value),
        _ => &annotation.value,
    };
    hasher.update(value);
    hasher.finalize()
}

fn without_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    digits.get(zeros..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(uid: u32) -> Record {
        Record {
            uid: Uid(uid),
            modseq: ModSeq(7),
            last_updated: 1_700_000_001,
            internaldate: 1_700_000_000,
            size: 10,
            guid: Guid([0xab; 20]),
            flags: Flags::default(),
            annotations: Vec::new(),
            body: None,
        }
    }

    #[test]
    fn sums_follow_every_change() {
        let mut mailbox = Mailbox::default();
        assert_eq!(mailbox.crcs(), (0, ANNOT_START));
        let mut first = record(1);
        first.flags = mailbox.flags(["\\Seen", "$Forwarded"].into_iter());
        mailbox.put(first.clone());
        let flags = crc32fast::hash(b"\\seen") ^ crc32fast::hash(b"$forwarded");
        let text = format!("1 7 1700000001 ({flags}) 1700000000 {}", "ab".repeat(20));
        assert_eq!(mailbox.crcs().0, crc32fast::hash(text.as_bytes()));
        mailbox.put(record(9));
        mailbox.put(record(5));
        assert_eq!(mailbox.records().iter().map(|r| r.uid).collect::<Vec<_>>(), [1, 5, 9].map(Uid));
        for uid in [1, 5, 9].map(Uid) {
            let mut gone = mailbox.record(uid).unwrap().clone();
            gone.expunge();
            mailbox.put(gone);
        }
        assert_eq!(mailbox.crcs(), (0, ANNOT_START));
        assert_eq!(mailbox.flag_names(&first.flags), ["\\Seen", "$Forwarded"]);
    }

    #[test]
    fn annotations_have_a_sum_of_their_own() {
        let mut mailbox = Mailbox::default();
        let mut with = record(3);
        with.annotations.push(Annot {
            entry: "/comment".into(),
            userid: "anna".into(),
            modseq: ModSeq(2),
            value: (*b"x").into(),
        });
        mailbox.put(with);
        assert_eq!(mailbox.crcs().1, ANNOT_START ^ crc32fast::hash(b"3 /comment anna x"));
    }
}
