//! The header of `cyrus.index`: one fixed block, then `num_records` records (see [`crate::mailbox::record`]).
//!
//! ```text
//! versions 10-18 (offsets in bytes, everything big endian)
//!  0 generation_no   4 format          8 minor_version  12 start_offset
//! 16 record_size    20 num_records    24 last_append    28 last_uid
//! 32 quota_used [8]                   40 pop3_login     44 uidvalidity
//! 48 deleted        52 answered       56 flagged        60 options
//! 64 leaked_cache   68 highestmodseq [8]                76 deletedmodseq [8]
//! 84 exists         88 first_expunged 92 last_repack    96 header_file_crc
//! 100 sync_crc      104 recentuid     108 recenttime   112 pop3_show_after (13+)
//! 116 quota_annot   120 sync_crc_annot (13+)           124 unseen (14+)
//! 128 createdmodseq [8] (16+)         136 changes_epoch (17+)
//! 140 quota_deleted [8], 148 quota_expunged [8] (18)    last 4 bytes: CRC-32 of all before (12+)
//! version 19 moves `exists` to 60 and so puts 64-bit fields on 8-byte boundaries;
//! version 20 makes times 64-bit nanoseconds: see `decode_v20`.
//! ```
//!
//! Sources: `imap/mailbox.h` and `mailbox_buf_to_index_header` in `imap/mailbox.c` of cyrus-imapd 3.6.1 (10 to 17) and
//! 3.12.3 (18, 19); `imap/index_file.c` of the development branch (20). Refused: below 10 (no GUIDs: Cyrus itself does
//! not replicate such mailboxes), 11 (never released), above 20.

use cyrus_types::{ModSeq, SyncCrcs, Uid, UidValidity};
use thiserror::Error;

use crate::big_endian::{be_nanotime, be_time, be32, be64};

/// Oldest index version that carries message GUIDs and so can be replicated.
pub const OLDEST_VERSION: u32 = 10;
/// Newest index version whose layout is known.
pub const NEWEST_VERSION: u32 = 20;
/// Bytes of the longest known header (version 20).
pub const MAX_HEADER_SIZE: usize = 192;

/// A larger distance between records is damage: the longest record known has 144 bytes.
const MAX_RECORD_SIZE: u32 = 4096;
/// Records start right after the header; a start far beyond it is damage.
const MAX_START_OFFSET: u32 = 65536;

/// Mailbox option: new style of UIDL in POP3 (`OPT_POP3_NEW_UIDL`).
pub const OPT_POP3_NEW_UIDL: u32 = 1 << 0;
/// Mailbox option: the \Seen flag is shared by all users (`OPT_IMAP_SHAREDSEEN`).
pub const OPT_IMAP_SHAREDSEEN: u32 = 1 << 2;
/// Mailbox option: duplicate delivery is allowed (`OPT_IMAP_DUPDELIVER`).
pub const OPT_IMAP_DUPDELIVER: u32 = 1 << 3;
/// Mailbox option: some message has alarms (`OPT_IMAP_HAS_ALARMS`).
pub const OPT_IMAP_HAS_ALARMS: u32 = 1 << 4;
/// Mailbox option: deleted, only waiting to be cleaned up (`OPT_MAILBOX_DELETED`).
pub const OPT_MAILBOX_DELETED: u32 = 1 << 31;

/// Why a `cyrus.index` header or record cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IndexError {
    /// The file is shorter than its own header says.
    #[error("index is {have} bytes but {need} are needed")]
    Short {
        /// The required number of bytes.
        need: u64,
        /// The actual number of bytes.
        have: u64,
    },
    /// A version whose layout is not known, or that is too old to have GUIDs.
    #[error("index version {0} is not supported (10 and 12 to 20 are)")]
    Version(u32),
    /// Header or record sizes that no Cyrus writes.
    #[error("index has impossible sizes (start {start_offset}, record {record_size})")]
    Sizes {
        /// Where records start, in bytes.
        start_offset: u32,
        /// Bytes from one record to the next.
        record_size: u32,
    },
    /// The header's CRC-32 does not match its bytes.
    #[error("index header checksum is {stored:08x} but should be {computed:08x}")]
    HeaderCrc {
        /// As read from the file.
        stored: u32,
        /// As computed.
        computed: u32,
    },
    /// A record's CRC-32 does not match its bytes.
    #[error("record checksum is {stored:08x} but should be {computed:08x}")]
    RecordCrc {
        /// As read from the file.
        stored: u32,
        /// As computed.
        computed: u32,
    },
    /// A record without a GUID (possible in mailboxes that began before version 10).
    #[error("message has no GUID")]
    NoGuid,
}

/// The index header of a mailbox. Times are in seconds since 1970, sizes in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexHeader {
    /// Counts rewrites of the whole file.
    pub generation_no: u32,
    /// Always 0 in known files.
    pub format: u32,
    /// The index version, 10 to 20.
    pub minor_version: u32,
    /// Where the first record is.
    pub start_offset: u32,
    /// Bytes from one record to the next.
    pub record_size: u32,
    /// Records in the file, including expunged ones.
    pub num_records: u32,
    /// When a message was last appended.
    pub last_appenddate: i64,
    /// Highest UID ever assigned.
    pub last_uid: Uid,
    /// Size of all messages that are not expunged.
    pub quota_mailbox_used: u64,
    /// Last POP3 login.
    pub pop3_last_login: i64,
    /// UIDVALIDITY.
    pub uidvalidity: UidValidity,
    /// Messages with \Deleted.
    pub deleted: u32,
    /// Messages with \Answered.
    pub answered: u32,
    /// Messages with \Flagged.
    pub flagged: u32,
    /// Messages without the owner's \Seen (version 14 on).
    pub unseen: u32,
    /// `OPT_*` bits.
    pub options: u32,
    /// Unused records in cyrus.cache.
    pub leaked_cache_records: u32,
    /// Highest modseq in the mailbox.
    pub highestmodseq: ModSeq,
    /// Below this modseq, knowledge of expunged messages is incomplete.
    pub deletedmodseq: ModSeq,
    /// Messages that are not expunged.
    pub exists: u32,
    /// When the oldest expunged message was expunged.
    pub first_expunged: i64,
    /// When expunged records were last removed.
    pub last_repack_time: i64,
    /// Since when changes can be calculated (version 17 on; before: the last repack, 0 if never).
    pub changes_epoch: i64,
    /// The mailbox's modseq at its creation (version 16 on, else 0).
    pub createdmodseq: ModSeq,
    /// CRC-32 of cyrus.header; 0 is unknown.
    pub header_file_crc: u32,
    /// The stored sync CRCs (0 before version 12, and the annotation part before 13).
    pub sync_crcs: SyncCrcs,
    /// Last UID the owner was told about.
    pub recentuid: Uid,
    /// When the owner was last told.
    pub recenttime: i64,
    /// POP3 shows only messages after this time.
    pub pop3_show_after: i64,
    /// Size of all annotations.
    pub quota_annot_used: u64,
    /// Size of all \Deleted messages (version 18 on).
    pub quota_deleted_used: u64,
    /// Size of all expunged messages (version 18 on).
    pub quota_expunged_used: u64,
}

/// Sizes that a version determines: (header bytes, record bytes).
pub(crate) fn layout_sizes(version: u32) -> Option<(usize, usize)> {
    Some(match version {
        10 => (96, 88),
        12 => (128, 96),
        13 => (128, 104),
        14 | 15 => (160, 104),
        16..=19 => (160, 112),
        20 => (192, 144),
        _ => return None,
    })
}

impl IndexHeader {
    /// Decodes the header at the start of `buf`, which holds the file's first [`MAX_HEADER_SIZE`] bytes or all of it.
    ///
    /// # Errors
    /// [`IndexError`]: too short, unknown version, impossible sizes, wrong checksum.
    pub fn decode(buf: &[u8]) -> Result<Self, IndexError> {
        let have = buf.len() as u64;
        if buf.len() < 24 {
            return Err(IndexError::Short { need: 24, have });
        }
        let version = be32(buf, 8);
        let (header_size, record_size) =
            layout_sizes(version).ok_or(IndexError::Version(version))?;
        let need = header_size as u64;
        let buf = buf.get(..header_size).ok_or(IndexError::Short { need, have })?;

        let mut header = Self {
            generation_no: be32(buf, 0),
            format: be32(buf, 4),
            minor_version: version,
            start_offset: be32(buf, 12),
            record_size: be32(buf, 16),
            num_records: be32(buf, 20),
            ..Self::default()
        };
        match version {
            20 => header.decode_v20(buf),
            19 => header.decode_v19(buf),
            _ => header.decode_to_v18(buf),
        }
        if version >= 12 {
            check_crc(buf)
                .map_err(|(stored, computed)| IndexError::HeaderCrc { stored, computed })?;
        }
        // A distance larger than the record is legal: there are version 19 files with version 20's record size.
        let strange_start =
            (header.start_offset as usize) < header_size || header.start_offset > MAX_START_OFFSET;
        let strange_record =
            (header.record_size as usize) < record_size || header.record_size > MAX_RECORD_SIZE;
        // No UID would be left for the next message.
        let strange_number = header.num_records == u32::MAX;
        if strange_start || strange_record || strange_number {
            let (start_offset, record_size) = (header.start_offset, header.record_size);
            return Err(IndexError::Sizes { start_offset, record_size });
        }
        header.normalise();
        Ok(header)
    }

    /// The least size of the file in bytes: header and all records.
    #[must_use]
    pub fn file_size(&self) -> u64 {
        u64::from(self.start_offset) + u64::from(self.num_records) * u64::from(self.record_size)
    }

    /// The options as replication sends them: letters P, S, D and A (`sync_encode_options`).
    #[must_use]
    pub fn options_str(&self) -> String {
        let letters = [
            (OPT_POP3_NEW_UIDL, 'P'),
            (OPT_IMAP_SHAREDSEEN, 'S'),
            (OPT_IMAP_DUPDELIVER, 'D'),
            (OPT_IMAP_HAS_ALARMS, 'A'),
        ];
        letters
            .iter()
            .filter(|(bit, _)| self.options & bit != 0)
            .map(|(_, letter)| letter)
            .collect()
    }

    /// The adjustments that Cyrus makes on every read, so that we see the same values.
    fn normalise(&mut self) {
        if self.exists == 0 {
            self.options |= OPT_POP3_NEW_UIDL;
        }
        if self.highestmodseq.is_zero() {
            self.highestmodseq = ModSeq(1);
        }
        if self.minor_version < 12 {
            self.deletedmodseq = self.highestmodseq;
            self.exists = self.num_records;
        }
        if self.minor_version < 17 {
            self.changes_epoch = self.last_repack_time;
        }
    }

    fn decode_common(&mut self, buf: &[u8]) {
        self.last_appenddate = be_time(buf, 24);
        self.last_uid = Uid(be32(buf, 28));
        self.quota_mailbox_used = be64(buf, 32);
        self.pop3_last_login = be_time(buf, 40);
        self.uidvalidity = UidValidity(be32(buf, 44));
        self.deleted = be32(buf, 48);
        self.answered = be32(buf, 52);
        self.flagged = be32(buf, 56);
    }

    fn decode_to_v18(&mut self, buf: &[u8]) {
        self.decode_common(buf);
        self.options = be32(buf, 60);
        self.leaked_cache_records = be32(buf, 64);
        self.highestmodseq = ModSeq(be64(buf, 68));
        if self.minor_version < 12 {
            return;
        }
        self.deletedmodseq = ModSeq(be64(buf, 76));
        self.exists = be32(buf, 84);
        self.decode_shared_middle(buf);
        if self.minor_version < 13 {
            return;
        }
        self.decode_annotation_part(buf);
        if self.minor_version < 14 {
            return;
        }
        self.unseen = be32(buf, 124);
        if self.minor_version < 16 {
            return;
        }
        self.createdmodseq = ModSeq(be64(buf, 128));
        if self.minor_version < 17 {
            return;
        }
        self.changes_epoch = be_time(buf, 136);
        if self.minor_version < 18 {
            return;
        }
        self.quota_deleted_used = be64(buf, 140);
        self.quota_expunged_used = be64(buf, 148);
    }

    fn decode_v19(&mut self, buf: &[u8]) {
        self.decode_common(buf);
        self.exists = be32(buf, 60);
        self.options = be32(buf, 64);
        self.leaked_cache_records = be32(buf, 68);
        self.highestmodseq = ModSeq(be64(buf, 72));
        self.deletedmodseq = ModSeq(be64(buf, 80));
        self.decode_shared_middle(buf);
        self.decode_annotation_part(buf);
        self.unseen = be32(buf, 124);
        self.createdmodseq = ModSeq(be64(buf, 128));
        self.quota_deleted_used = be64(buf, 136);
        self.quota_expunged_used = be64(buf, 144);
        self.changes_epoch = be_time(buf, 152);
    }

    /// Offsets 88 to 111, the same from version 12 to 19.
    fn decode_shared_middle(&mut self, buf: &[u8]) {
        self.first_expunged = be_time(buf, 88);
        self.last_repack_time = be_time(buf, 92);
        self.header_file_crc = be32(buf, 96);
        self.sync_crcs.basic = be32(buf, 100);
        self.recentuid = Uid(be32(buf, 104));
        self.recenttime = be_time(buf, 108);
    }

    /// Offsets 112 to 123, the same from version 13 to 19.
    fn decode_annotation_part(&mut self, buf: &[u8]) {
        self.pop3_show_after = be_time(buf, 112);
        self.quota_annot_used = u64::from(be32(buf, 116));
        self.sync_crcs.annot = be32(buf, 120);
    }

    /// ```text
    /// 24 last_append [8ns]   32 quota_used [8]    40 pop3_login [8ns]   48 deleted      52 answered
    /// 56 flagged             60 exists            64 options            68 leaked_cache
    /// 72 highestmodseq [8]   80 deletedmodseq [8] 88 last_uid           92 uidvalidity
    /// 96 header_file_crc    100 sync_crc         104 recenttime [8ns]  112 pop3_show_after [8ns]
    /// 120 sync_crc_annot    124 unseen           128 createdmodseq [8] 136 quota_deleted [8]
    /// 144 quota_expunged [8] 152 quota_annot [8] 160 changes_epoch [8ns] 168 first_expunged [8ns]
    /// 176 last_repack [8ns] 184 recentuid        188 CRC-32
    /// ```
    fn decode_v20(&mut self, buf: &[u8]) {
        self.last_appenddate = be_nanotime(buf, 24).0;
        self.quota_mailbox_used = be64(buf, 32);
        self.pop3_last_login = be_nanotime(buf, 40).0;
        self.deleted = be32(buf, 48);
        self.answered = be32(buf, 52);
        self.flagged = be32(buf, 56);
        self.exists = be32(buf, 60);
        self.options = be32(buf, 64);
        self.leaked_cache_records = be32(buf, 68);
        self.highestmodseq = ModSeq(be64(buf, 72));
        self.deletedmodseq = ModSeq(be64(buf, 80));
        self.last_uid = Uid(be32(buf, 88));
        self.uidvalidity = UidValidity(be32(buf, 92));
        self.header_file_crc = be32(buf, 96);
        self.sync_crcs.basic = be32(buf, 100);
        self.recenttime = be_nanotime(buf, 104).0;
        self.pop3_show_after = be_nanotime(buf, 112).0;
        self.sync_crcs.annot = be32(buf, 120);
        self.unseen = be32(buf, 124);
        self.createdmodseq = ModSeq(be64(buf, 128));
        self.quota_deleted_used = be64(buf, 136);
        self.quota_expunged_used = be64(buf, 144);
        self.quota_annot_used = be64(buf, 152);
        self.changes_epoch = be_nanotime(buf, 160).0;
        self.first_expunged = be_nanotime(buf, 168).0;
        self.last_repack_time = be_nanotime(buf, 176).0;
        self.recentuid = Uid(be32(buf, 184));
    }
}

/// Checks the CRC-32 in the last four bytes; `Err` is (stored, computed).
pub(crate) fn check_crc(buf: &[u8]) -> Result<(), (u32, u32)> {
    let end = buf.len().saturating_sub(4);
    let stored = be32(buf, end);
    let computed = crc32fast::hash(buf.get(..end).unwrap_or_default());
    if stored == computed { Ok(()) } else { Err((stored, computed)) }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
