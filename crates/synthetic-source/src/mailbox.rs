//! A synthetic mailbox: its records, and checksums that every change brings up to date.

use std::collections::BTreeMap;

use cyrus_store::mailbox::crc::{self, FlagCrcs};
use cyrus_store::mailbox::header::MailboxHeader;
use cyrus_store::mailbox::record::{FLAG_INTERNAL_EXPUNGED, FLAG_INTERNAL_UNLINKED};
use cyrus_store::{Annotation, IndexRecord, MboxEntry};
use cyrus_types::{Guid, ModSeq, SyncCrcs, Uid};

/// The index version: what Cyrus 3.6 writes. Records hold the times and modseqs of their arrival.
pub(crate) const VERSION: u32 = 17;
/// The names of user flags, by number.
pub(crate) const FLAGS: [&str; 3] = ["$Forwarded", "$Label1", "NonJunk"];

/// The names of the user flags and their checksums, the same in all mailboxes.
#[derive(Debug)]
pub(crate) struct Flags {
    pub(crate) names: Vec<Option<String>>,
    crcs: FlagCrcs,
}

impl Default for Flags {
    fn default() -> Flags {
        let flags: Vec<_> = FLAGS.iter().map(|name| Some((*name).to_string())).collect();
        let header = MailboxHeader { flags, ..MailboxHeader::default() };
        Flags { crcs: FlagCrcs::new(&header), names: header.flags }
    }
}

/// A message. Times are in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) uid: Uid,
    /// Which message it is: copies have the same number, size and GUID.
    pub(crate) number: u64,
    pub(crate) size: u64,
    pub(crate) guid: Guid,
    pub(crate) modseq: ModSeq,
    pub(crate) createdmodseq: ModSeq,
    pub(crate) arrived: i64,
    pub(crate) changed: i64,
    /// `FLAG_*` bits.
    pub(crate) flags: u32,
    /// Bit n is user flag n.
    pub(crate) user_flags: u32,
    pub(crate) expunged: bool,
    /// Its content is gone.
    pub(crate) unlinked: bool,
}

impl Record {
    pub(crate) fn index_record(&self) -> IndexRecord {
        let bit = |set, bit| if set { bit } else { 0 };
        IndexRecord {
            uid: self.uid,
            internaldate: self.arrived,
            size: self.size,
            last_updated: self.changed,
            system_flags: self.flags,
            internal_flags: bit(self.expunged, FLAG_INTERNAL_EXPUNGED)
                | bit(self.unlinked, FLAG_INTERNAL_UNLINKED),
            user_flags: [self.user_flags, 0, 0, 0],
            savedate: self.arrived,
            guid: self.guid,
            modseq: self.modseq,
            createdmodseq: self.createdmodseq,
            ..IndexRecord::default()
        }
    }
}

/// A mailbox.
#[derive(Debug, Clone)]
pub(crate) struct Mailbox {
    pub(crate) entry: MboxEntry,
    pub(crate) last_uid: Uid,
    pub(crate) highestmodseq: ModSeq,
    pub(crate) deletedmodseq: ModSeq,
    pub(crate) recentuid: Uid,
    pub(crate) recenttime: i64,
    pub(crate) last_appenddate: i64,
    /// Its own annotations.
    pub(crate) annotations: Vec<Annotation>,
    /// By UID.
    records: Vec<Record>,
    /// Those of its messages, by UID.
    message_annotations: BTreeMap<Uid, Vec<Annotation>>,
    crcs: SyncCrcs,
    exists: u32,
}

impl Mailbox {
    pub(crate) fn new(entry: MboxEntry) -> Mailbox {
        Mailbox {
            highestmodseq: entry.createdmodseq,
            entry,
            last_uid: Uid::NONE,
            deletedmodseq: ModSeq::ZERO,
            recentuid: Uid::NONE,
            recenttime: 0,
            last_appenddate: 0,
            annotations: Vec::new(),
            records: Vec::new(),
            message_annotations: BTreeMap::new(),
            crcs: crc::CRC_INIT,
            exists: 0,
        }
    }

    pub(crate) fn records(&self) -> &[Record] {
        &self.records
    }

    /// The records from this UID on.
    pub(crate) fn starting_at(&self, uid: Uid) -> &[Record] {
        let first = self.records.partition_point(|record| record.uid < uid);
        self.records.get(first..).unwrap_or_default()
    }

    pub(crate) fn record(&self, uid: Uid) -> Option<&Record> {
        self.starting_at(uid).first().filter(|record| record.uid == uid)
    }

    pub(crate) fn annotations_of(&self, uid: Uid) -> &[Annotation] {
        self.message_annotations.get(&uid).map_or(&[], Vec::as_slice)
    }

    /// The checksums, as every change left them.
    pub(crate) fn crcs(&self) -> SyncCrcs {
        self.crcs
    }

    /// How many messages are not expunged.
    pub(crate) fn exists(&self) -> u32 {
        self.exists
    }

    /// The checksums of all records, as if the messages with these UIDs (ascending) did not exist.
    pub(crate) fn recomputed_crcs(&self, flags: &Flags, without: &[Uid]) -> SyncCrcs {
        let kept = self.records.iter().filter(|r| without.binary_search(&r.uid).is_err());
        kept.fold(crc::CRC_INIT, |crcs, record| xor(crcs, self.crcs_of(flags, record)))
    }

    fn crcs_of(&self, flags: &Flags, record: &Record) -> SyncCrcs {
        if record.expunged {
            return SyncCrcs::default();
        }
        let in_index = record.index_record();
        let annotations = self.annotations_of(record.uid).iter();
        let annot = annotations.fold(
            crc::crc_virtannot(VERSION, &in_index),
            |sum, Annotation { entry, userid, value, .. }| {
                sum ^ crc::crc_annot(record.uid, entry, userid, value)
            },
        );
        SyncCrcs { basic: crc::crc_basic(&flags.crcs, &in_index), annot }
    }

    /// Adds a message at the end; its UID is the next one.
    pub(crate) fn append(&mut self, flags: &Flags, record: Record) {
        let record = Record { uid: self.last_uid.next(), ..record };
        self.last_uid = record.uid;
        self.highestmodseq = self.highestmodseq.max(record.modseq);
        self.last_appenddate = record.arrived;
        self.exists += u32::from(!record.expunged);
        self.crcs = xor(self.crcs, self.crcs_of(flags, &record));
        self.records.push(record);
    }

    /// Changes a record, which gets this modseq, and its annotations.
    pub(crate) fn change(
        &mut self,
        flags: &Flags,
        uid: Uid,
        modseq: ModSeq,
        change: impl FnOnce(&mut Record, &mut Vec<Annotation>),
    ) {
        let Ok(at) = self.records.binary_search_by_key(&uid, |record| record.uid) else { return };
        let Some(before) = self.records.get(at).copied() else { return };
        let crcs_before = self.crcs_of(flags, &before);
        let mut record = Record { modseq, ..before };
        let mut annotations = self.message_annotations.remove(&uid).unwrap_or_default();
        change(&mut record, &mut annotations);
        if !annotations.is_empty() {
            self.message_annotations.insert(uid, annotations);
        }
        self.exists -= u32::from(!before.expunged && record.expunged);
        self.crcs = xor(xor(self.crcs, crcs_before), self.crcs_of(flags, &record));
        self.highestmodseq = self.highestmodseq.max(modseq);
        if let Some(place) = self.records.get_mut(at) {
            *place = record;
        }
    }

    /// Forgets expunged records for good.
    pub(crate) fn clean_up(&mut self) {
        let gone = self.records.iter().filter(|record| record.expunged).map(|record| record.modseq);
        self.deletedmodseq = gone.fold(self.deletedmodseq, ModSeq::max);
        for record in self.records.iter().filter(|record| record.expunged) {
            self.message_annotations.remove(&record.uid);
        }
        self.records.retain(|record| !record.expunged);
    }
}

fn xor(a: SyncCrcs, b: SyncCrcs) -> SyncCrcs {
    SyncCrcs { basic: a.basic ^ b.basic, annot: a.annot ^ b.annot }
}
