//! The two checksums that show whether a mailbox is the same on both sides.
//!
//! ```text
//! basic = XOR over messages that are not expunged of
//!         CRC-32("UID MODSEQ LAST_UPDATED (FLAGCRC) INTERNALDATE GUID")
//!         FLAGCRC = XOR of CRC-32(flag name in lower case) over the flags that are set
//! annot = 12345678 XOR, over annotations of such messages, of CRC-32("UID ENTRY USERID " + value)
//! ```
//!
//! All numbers are decimal, the GUID is 40 hexadecimal digits. An entry that the index record itself holds (thread id, save
//! date, creation modseq …) is taken from there, and ignored in the annotation database. Annotations of the mailbox itself
//! do not count.
//!
//! Source: `crc_basic`, `crc_annot`, `crc_virtannot`, `mailbox_synccrcs` in `imap/mailbox.c` of cyrus-imapd 3.6.1, and of
//! the development branch for version 20. The two differ in how a conversation id is printed (without and with leading
//! zeros); the index version decides here which form is used.

use cyrus_types::{Guid, SyncCrcs, Uid};

use crate::mailbox::header::MailboxHeader;
use crate::mailbox::record::{
    FLAG_ANSWERED, FLAG_DELETED, FLAG_DRAFT, FLAG_FLAGGED, FLAG_SEEN, IndexRecord,
};
use crate::mailbox::virtual_annotations::{VirtualAnnotation, VirtualValue, virtual_annotations};

/// The CRCs of an empty mailbox: the start of the calculation.
pub const CRC_INIT: SyncCrcs = SyncCrcs { basic: 0, annot: 12_345_678 };

/// Cyrus copies a flag's name to a buffer of this size (with the closing NUL) before it computes its CRC.
const FLAG_BUFFER: usize = 4096;

/// The CRCs of a mailbox's flag names, computed once.
#[derive(Debug, Clone)]
pub struct FlagCrcs {
    system: [(u32, u32); 5],
    user: Vec<u32>,
}

impl FlagCrcs {
    /// Computes them for the flags named in a mailbox's header.
    #[must_use]
    pub fn new(header: &MailboxHeader) -> Self {
        let system = [
            (FLAG_DELETED, crc32fast::hash(b"\\deleted")),
            (FLAG_ANSWERED, crc32fast::hash(b"\\answered")),
            (FLAG_FLAGGED, crc32fast::hash(b"\\flagged")),
            (FLAG_DRAFT, crc32fast::hash(b"\\draft")),
            (FLAG_SEEN, crc32fast::hash(b"\\seen")),
        ];
        let user =
            header.flags.iter().map(|flag| flag.as_deref().map_or(0, user_flag_crc)).collect();
        Self { system, user }
    }

    /// XOR of the CRCs of all flags of `record`; a flag number without a name does not count.
    fn of(&self, record: &IndexRecord) -> u32 {
        let mut crc = 0;
        for (bit, flag_crc) in self.system {
            if record.system_flags & bit != 0 {
                crc ^= flag_crc;
            }
        }
        for (word_no, word) in record.user_flags.into_iter().enumerate() {
            let mut rest = word;
            while rest != 0 {
                let flag = word_no * 32 + rest.trailing_zeros() as usize;
                crc ^= self.user.get(flag).copied().unwrap_or(0);
                rest &= rest - 1;
            }
        }
        crc
    }
}

fn user_flag_crc(name: &str) -> u32 {
    let mut lower = name.to_ascii_lowercase().into_bytes();
    lower.truncate(FLAG_BUFFER - 1);
    crc32fast::hash(&lower)
}

/// The part of the basic CRC that one message has; 0 for an expunged one.
#[must_use]
pub fn crc_basic(flags: &FlagCrcs, record: &IndexRecord) -> u32 {
    if record.is_expunged() {
        return 0;
    }
    let mut text = Text::default();
    text.number(record.uid.0.into());
    text.push(b" ");
    text.number(record.modseq.0);
    text.push(b" ");
    text.signed(record.last_updated);
    text.push(b" (");
    text.number(u64::from(flags.of(record)));
    text.push(b") ");
    text.signed(record.internaldate);
    text.push(b" ");
    text.guid(&record.guid);
    crc32fast::hash(text.bytes())
}

/// The part of the annotation CRC that one annotation of a message contributes.
#[must_use]
pub fn crc_annot(uid: Uid, entry: &str, userid: &str, value: &[u8]) -> u32 {
    let mut uid_text = Text::default();
    uid_text.number(uid.0.into());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(uid_text.bytes());
    hasher.update(b" ");
    hasher.update(entry.as_bytes());
    hasher.update(b" ");
    hasher.update(userid.as_bytes());
    hasher.update(b" ");
    hasher.update(value);
    hasher.finalize()
}

/// The part of the annotation CRC that comes from the index record itself; 0 for an expunged message.
#[must_use]
pub fn crc_virtannot(minor_version: u32, record: &IndexRecord) -> u32 {
    if record.is_expunged() {
        return 0;
    }
    let mut crc = 0;
    for VirtualAnnotation { entry, value } in virtual_annotations(minor_version, record) {
        let mut text = Text::default();
        match value {
            VirtualValue::Number(number) => text.number(number),
            VirtualValue::Hex(id) => text.hex(id, if minor_version >= 20 { 16 } else { 1 }),
        }
        crc ^= crc_annot(record.uid, entry, "", text.bytes());
    }
    crc
}

/// A short text on the stack: the longest (four numbers and a GUID) has 124 bytes.
struct Text {
    buf: [u8; 160],
    len: usize,
}

impl Default for Text {
    fn default() -> Self {
        Self { buf: [0; 160], len: 0 }
    }
}

impl Text {
    fn bytes(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or_default()
    }

    fn push(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if let Some(room) = self.buf.get_mut(self.len..end) {
            room.copy_from_slice(bytes);
            self.len = end;
        }
    }

    fn number(&mut self, number: u64) {
        self.digits::<10>(number, 1);
    }

    fn signed(&mut self, number: i64) {
        if number < 0 {
            self.push(b"-");
        }
        self.number(number.unsigned_abs());
    }

    fn hex(&mut self, number: u64, width: usize) {
        self.digits::<16>(number, width);
    }

    fn digits<const BASE: u64>(&mut self, mut number: u64, width: usize) {
        let mut reversed = [b'0'; 20];
        let mut count = 0;
        for slot in &mut reversed {
            if number == 0 && count >= width {
                break;
            }
            let digit = (number % BASE) as u8;
            *slot = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
            number /= BASE;
            count += 1;
        }
        let digits = reversed.get_mut(..count).unwrap_or_default();
        digits.reverse();
        self.push(digits);
    }

    fn guid(&mut self, guid: &Guid) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for byte in guid.0 {
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
            self.push(&[DIGITS[high], DIGITS[low]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use cyrus_types::ModSeq;

    use super::*;

    fn header(flags: &[Option<&str>]) -> MailboxHeader {
        MailboxHeader {
            flags: flags.iter().map(|flag| flag.map(str::to_string)).collect(),
            ..Default::default()
        }
    }

    fn record() -> IndexRecord {
        IndexRecord {
            uid: Uid::MAX,
            modseq: ModSeq(u64::MAX),
            last_updated: 1_700_000_001,
            internaldate: 1_700_000_000,
            guid: Guid([0xab; 20]),
            ..Default::default()
        }
    }

    #[test]
    fn basic_is_the_crc_of_the_text() {
        let flags = FlagCrcs::new(&header(&[Some("$Forwarded"), None, Some("Junk")]));
        let mut record = record();
        record.system_flags = FLAG_SEEN | FLAG_DELETED;
        record.user_flags = [0b111, 0, 0, 1 << 31];
        let flag_crc = ["\\seen", "\\deleted", "$forwarded", "junk"]
            .iter()
            .fold(0, |crc, flag| crc ^ crc32fast::hash(flag.as_bytes()));
        let text = format!(
            "4294967295 {} 1700000001 ({flag_crc}) 1700000000 {}",
            u64::MAX,
            "ab".repeat(20)
        );
        assert_eq!(crc_basic(&flags, &record), crc32fast::hash(text.as_bytes()));
    }

    #[test]
    fn expunged_messages_do_not_count() {
        let mut record = record();
        record.internal_flags = crate::mailbox::record::FLAG_INTERNAL_EXPUNGED;
        record.cid = 1;
        assert_eq!(crc_basic(&FlagCrcs::new(&header(&[])), &record), 0);
        assert_eq!(crc_virtannot(17, &record), 0);
    }

    #[test]
    fn annotations_follow_the_index_version() {
        let mut record = record();
        record.uid = Uid(7);
        record.cid = 0x0abc;
        record.savedate = 1_700_000_000;
        record.createdmodseq = ModSeq(12);
        let text = |text: &str| crc32fast::hash(text.as_bytes());
        let thrid = text("7 /vendor/cmu/cyrus-imapd/thrid  abc");
        let padded = text("7 /vendor/cmu/cyrus-imapd/thrid  0000000000000abc");
        let savedate = text("7 /vendor/cmu/cyrus-imapd/savedate  1700000000");
        let created = text("7 /vendor/cmu/cyrus-imapd/createdmodseq  12");
        assert_eq!(crc_virtannot(12, &record), 0);
        assert_eq!(crc_virtannot(13, &record), thrid);
        assert_eq!(crc_virtannot(15, &record), thrid ^ savedate);
        assert_eq!(crc_virtannot(17, &record), thrid ^ savedate ^ created);
        assert_eq!(crc_virtannot(20, &record), padded ^ savedate ^ created);
    }

    #[test]
    fn numbers_print_like_numbers() {
        for number in [0, 1, 9, 10, 99, 100, u64::MAX] {
            let mut text = Text::default();
            text.number(number);
            text.push(b"/");
            text.hex(number, 1);
            assert_eq!(text.bytes(), format!("{number}/{number:x}").as_bytes());
        }
        let mut text = Text::default();
        text.signed(-5);
        assert_eq!(text.bytes(), b"-5");
    }
}
