//! One message's record in `cyrus.index`.
//!
//! ```text
//! versions 10-19 (offsets in bytes, everything big endian)
//!  0 uid            4 internaldate   8 sentdate       12 size
//! 16 header_size   20 gmtime        24 cache_offset   28 last_updated
//! 32 flags         36 user_flags [4 x 4]              52 savedate (15+)
//! 56 cache_version 60 guid [20]     80 modseq [8]     88 cid [8] (13+)
//! 96 createdmodseq [8] (16+)        then cache_crc, CRC-32 of all before (12+)
//! flags: the low 16 bits are IMAP's system flags, the high ones Cyrus' own
//! cache_version: its high 16 bits are bits 32-47 of cache_offset
//!
//! version 20
//!  0 uid            4 cache_offset   8 internaldate [8ns] 16 sentdate [8ns]
//! 24 size [8]      32 header_size   36 flags              40 user_flags [4 x 4]
//! 56 cache_version 60 guid [20]     80 modseq [8]         88 cid [8]
//! 96 createdmodseq [8] 104 gmtime [8ns] 112 last_updated [8ns] 120 savedate [8ns]
//! 128 basecid [8]  136 cache_crc    140 CRC-32
//! ```
//!
//! Sources: `imap/mailbox.h` and `mailbox_buf_to_index_record` in `imap/mailbox.c` of cyrus-imapd 3.6.1;
//! `imap/index_file.c` of the development branch for version 20.

use cyrus_types::{Guid, ModSeq, Uid};

use crate::big_endian::{be_nanotime, be_time, be32, be64};
use crate::mailbox::index::{IndexError, check_crc, layout_sizes};

/// System flag \Answered.
pub const FLAG_ANSWERED: u32 = 1 << 0;
/// System flag \Flagged.
pub const FLAG_FLAGGED: u32 = 1 << 1;
/// System flag \Deleted.
pub const FLAG_DELETED: u32 = 1 << 2;
/// System flag \Draft.
pub const FLAG_DRAFT: u32 = 1 << 3;
/// System flag \Seen (the owner's, or everybody's in mailboxes with shared \Seen).
pub const FLAG_SEEN: u32 = 1 << 4;
/// Internal flag: snoozed.
pub const FLAG_INTERNAL_SNOOZED: u32 = 1 << 26;
/// Internal flag: the conversation was split, and an annotation or `basecid` names the base one.
pub const FLAG_INTERNAL_SPLITCONVERSATION: u32 = 1 << 27;
/// Internal flag: something is to be cleaned up.
pub const FLAG_INTERNAL_NEEDS_CLEANUP: u32 = 1 << 28;
/// Internal flag: the message file is on the archive partition.
pub const FLAG_INTERNAL_ARCHIVED: u32 = 1 << 29;
/// Internal flag: the message file is removed.
pub const FLAG_INTERNAL_UNLINKED: u32 = 1 << 30;
/// Internal flag: expunged.
pub const FLAG_INTERNAL_EXPUNGED: u32 = 1 << 31;

/// Where the modseq is, in every version from 10 on.
const OFFSET_MODSEQ: usize = 80;

/// A message in the index. Times are in seconds since 1970, sizes in bytes. It uses no heap memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IndexRecord {
    /// Position in the file, from 1.
    pub recno: u32,
    /// UID.
    pub uid: Uid,
    /// When the message arrived.
    pub internaldate: i64,
    /// Nanoseconds of the arrival (version 20, else 0).
    pub internaldate_nsec: u32,
    /// Day of the Date header.
    pub sentdate: i64,
    /// Size of the message file.
    pub size: u64,
    /// Size of the message's header.
    pub header_size: u32,
    /// Time of the Date header.
    pub gmtime: i64,
    /// Where the message's cache record is.
    pub cache_offset: u64,
    /// When the record last changed.
    pub last_updated: i64,
    /// `FLAG_*` bits.
    pub system_flags: u32,
    /// `FLAG_INTERNAL_*` bits.
    pub internal_flags: u32,
    /// Bit n of word n/32 is user flag n of the mailbox header.
    pub user_flags: [u32; 4],
    /// When the message was saved in this mailbox (version 15 on, else 0).
    pub savedate: i64,
    /// Version of the cache record.
    pub cache_version: u32,
    /// SHA-1 of the message file.
    pub guid: Guid,
    /// Modseq of the last change.
    pub modseq: ModSeq,
    /// Conversation (thread) id (version 13 on); 0 is none.
    pub cid: u64,
    /// Base conversation id (version 20; before, an annotation holds it).
    pub basecid: u64,
    /// Modseq at creation (version 16 on); 0 is unknown.
    pub createdmodseq: ModSeq,
    /// CRC-32 of the cache record.
    pub cache_crc: u32,
}

impl IndexRecord {
    /// Decodes and checks one record of an index of version `version`; `buf` starts with it.
    ///
    /// # Errors
    /// [`IndexError`]: too short, unknown version, wrong checksum.
    pub fn decode(buf: &[u8], version: u32, recno: u32) -> Result<Self, IndexError> {
        let buf = checked(buf, version)?;
        Ok(Self::decode_checked(buf, version, recno))
    }

    /// As [`IndexRecord::decode`] for a record whose size and checksum were verified by [`checked`].
    pub(crate) fn decode_checked(buf: &[u8], version: u32, recno: u32) -> Self {
        let mut record = if version >= 20 { decode_v20(buf) } else { decode_to_v19(buf, version) };
        record.recno = recno;
        record.internal_flags = record.system_flags & 0xffff_0000;
        record.system_flags &= 0x0000_ffff;
        record.cache_offset |= u64::from(record.cache_version & 0xffff_0000) << 16;
        record.cache_version &= 0xffff;
        record
    }

    /// True for an expunged message.
    #[must_use]
    pub fn is_expunged(&self) -> bool {
        self.internal_flags & FLAG_INTERNAL_EXPUNGED != 0
    }

    /// True when the message file is gone.
    #[must_use]
    pub fn is_unlinked(&self) -> bool {
        self.internal_flags & FLAG_INTERNAL_UNLINKED != 0
    }

    /// True when the message file is on the archive partition.
    #[must_use]
    pub fn is_archived(&self) -> bool {
        self.internal_flags & FLAG_INTERNAL_ARCHIVED != 0
    }

    /// True when user flag number `flag` (0 to 127) is set.
    #[must_use]
    pub fn has_user_flag(&self, flag: usize) -> bool {
        self.user_flags.get(flag / 32).is_some_and(|word| word >> (flag % 32) & 1 != 0)
    }

    /// The names of the flags that are set, in the order of replication: \Deleted, \Answered, \Flagged, \Draft,
    /// \Expunged, \Seen, user flags by number. `user` has the names of the user flags, by number.
    pub fn flag_names<'a>(
        &self,
        user: &'a [Option<String>],
    ) -> impl Iterator<Item = &'a str> + use<'a> {
        let system = [
            (self.system_flags & FLAG_DELETED != 0, "\\Deleted"),
            (self.system_flags & FLAG_ANSWERED != 0, "\\Answered"),
            (self.system_flags & FLAG_FLAGGED != 0, "\\Flagged"),
            (self.system_flags & FLAG_DRAFT != 0, "\\Draft"),
            (self.is_expunged(), "\\Expunged"),
            (self.system_flags & FLAG_SEEN != 0, "\\Seen"),
        ];
        let system = system.into_iter().filter(|(set, _)| *set).map(|(_, name)| name);
        // Only the set bits are examined: most messages have few flags or none.
        let mut words = self.user_flags;
        let mut word_no = 0;
        let user = std::iter::from_fn(move || {
            loop {
                let word = words.get_mut(word_no)?;
                if *word == 0 {
                    word_no += 1;
                    continue;
                }
                let flag = word_no * 32 + word.trailing_zeros() as usize;
                *word &= *word - 1;
                if let Some(Some(name)) = user.get(flag) {
                    return Some(name.as_str());
                }
            }
        });
        system.chain(user)
    }
}

/// The bytes of the record at the start of `buf`, after checking its CRC-32 (version 12 on) and that it has a GUID.
pub(crate) fn checked(buf: &[u8], version: u32) -> Result<&[u8], IndexError> {
    let (_, size) = layout_sizes(version).ok_or(IndexError::Version(version))?;
    let have = buf.len() as u64;
    let buf = buf.get(..size).ok_or(IndexError::Short { need: size as u64, have })?;
    if version >= 12 {
        check_crc(buf).map_err(|(stored, computed)| IndexError::RecordCrc { stored, computed })?;
    }
    Ok(buf)
}

/// Only the modseq, to skip a record without decoding it.
pub(crate) fn peek_modseq(buf: &[u8]) -> ModSeq {
    ModSeq(be64(buf, OFFSET_MODSEQ))
}

/// Only the UID.
pub(crate) fn peek_uid(buf: &[u8]) -> Uid {
    Uid(be32(buf, 0))
}

/// Whether there is a GUID (all zero means none).
pub(crate) fn peek_has_guid(buf: &[u8]) -> bool {
    buf.get(60..80).is_some_and(|guid| guid.iter().any(|byte| *byte != 0))
}

fn user_flags(buf: &[u8], at: usize) -> [u32; 4] {
    [be32(buf, at), be32(buf, at + 4), be32(buf, at + 8), be32(buf, at + 12)]
}

fn guid(buf: &[u8]) -> Guid {
    Guid(buf.get(60..80).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default())
}

fn decode_to_v19(buf: &[u8], version: u32) -> IndexRecord {
    let cache_crc_at = match version {
        0..=12 => 88,
        13..=15 => 96,
        _ => 104,
    };
    IndexRecord {
        uid: peek_uid(buf),
        internaldate: be_time(buf, 4),
        sentdate: be_time(buf, 8),
        size: u64::from(be32(buf, 12)),
        header_size: be32(buf, 16),
        gmtime: be_time(buf, 20),
        cache_offset: u64::from(be32(buf, 24)),
        last_updated: be_time(buf, 28),
        system_flags: be32(buf, 32),
        user_flags: user_flags(buf, 36),
        savedate: if version >= 15 { be_time(buf, 52) } else { 0 },
        cache_version: be32(buf, 56),
        guid: guid(buf),
        modseq: peek_modseq(buf),
        cid: if version >= 13 { be64(buf, 88) } else { 0 },
        createdmodseq: if version >= 16 { ModSeq(be64(buf, 96)) } else { ModSeq::ZERO },
        cache_crc: if version >= 12 { be32(buf, cache_crc_at) } else { 0 },
        ..IndexRecord::default()
    }
}

fn decode_v20(buf: &[u8]) -> IndexRecord {
    let (internaldate, internaldate_nsec) = be_nanotime(buf, 8);
    IndexRecord {
        uid: peek_uid(buf),
        cache_offset: u64::from(be32(buf, 4)),
        internaldate,
        internaldate_nsec,
        sentdate: be_nanotime(buf, 16).0,
        size: be64(buf, 24),
        header_size: be32(buf, 32),
        system_flags: be32(buf, 36),
        user_flags: user_flags(buf, 40),
        cache_version: be32(buf, 56),
        guid: guid(buf),
        modseq: peek_modseq(buf),
        cid: be64(buf, 88),
        createdmodseq: ModSeq(be64(buf, 96)),
        gmtime: be_nanotime(buf, 104).0,
        last_updated: be_nanotime(buf, 112).0,
        savedate: be_nanotime(buf, 120).0,
        basecid: be64(buf, 128),
        cache_crc: be32(buf, 136),
        ..IndexRecord::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(version: u32, fill: impl Fn(&mut [u8])) -> Vec<u8> {
        let (_, size) = layout_sizes(version).unwrap();
        let mut buf = vec![0; size];
        fill(&mut buf);
        if version >= 12 {
            let crc = crc32fast::hash(&buf[..size - 4]);
            buf[size - 4..].copy_from_slice(&crc.to_be_bytes());
        }
        buf
    }

    #[test]
    fn flags_and_cache_offset_are_split() {
        let buf = sealed(17, |buf| {
            buf[32..36].copy_from_slice(&(FLAG_INTERNAL_EXPUNGED | FLAG_SEEN).to_be_bytes());
            buf[36..40].copy_from_slice(&(1u32 << 5).to_be_bytes());
            buf[48..52].copy_from_slice(&(1u32 << 31).to_be_bytes());
            buf[24..28].copy_from_slice(&7u32.to_be_bytes());
            buf[56..60].copy_from_slice(&0x0002_000bu32.to_be_bytes());
        });
        let record = IndexRecord::decode(&buf, 17, 9).unwrap();
        assert!(record.is_expunged() && !record.is_unlinked() && !record.is_archived());
        assert_eq!((record.system_flags, record.recno), (FLAG_SEEN, 9));
        assert!(record.has_user_flag(5) && record.has_user_flag(127));
        assert!(!record.has_user_flag(4) && !record.has_user_flag(128));
        assert_eq!((record.cache_version, record.cache_offset), (11, (2 << 32) + 7));
    }

    #[test]
    fn fields_that_a_version_lacks_are_zero() {
        for version in [10, 12, 13, 14, 15, 16, 17, 18, 19, 20] {
            let buf = sealed(version, |buf| {
                for (at, byte) in buf.iter_mut().enumerate() {
                    *byte = at as u8;
                }
            });
            let record = IndexRecord::decode(&buf, version, 1).unwrap();
            assert_eq!(record.uid, Uid(0x0001_0203));
            assert_eq!(record.guid.0[0], 60);
            assert_eq!(record.modseq, ModSeq(0x5051_5253_5455_5657));
            assert_eq!(record.cid != 0, version >= 13, "{version}");
            assert_eq!(record.savedate != 0, version >= 15, "{version}");
            assert_eq!(!record.createdmodseq.is_zero(), version >= 16, "{version}");
            assert_eq!(record.basecid != 0, version >= 20, "{version}");
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let good = sealed(17, |buf| buf[60] = 1);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(
                matches!(IndexRecord::decode(&bad, 17, 1), Err(IndexError::RecordCrc { .. })),
                "{at}"
            );
        }
        assert!(matches!(IndexRecord::decode(&good[..100], 17, 1), Err(IndexError::Short { .. })));
        assert!(matches!(IndexRecord::decode(&good, 21, 1), Err(IndexError::Version(21))));
    }

    #[test]
    fn the_guid_is_looked_for() {
        assert!(!peek_has_guid(&sealed(17, |_| ())));
        assert!(peek_has_guid(&sealed(17, |buf| buf[79] = 1)));
    }
}
