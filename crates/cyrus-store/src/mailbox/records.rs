//! Streaming the records of a `cyrus.index`: big reads, one buffer, nothing allocated per record.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use cyrus_types::{MailboxName, ModSeq, Uid};

use crate::error::StoreError;
use crate::mailbox::index::{IndexError, IndexHeader, layout_sizes};
use crate::mailbox::record::{self, IndexRecord};

/// Bytes per read. Larger ones gain nothing: the kernel reads ahead on its own.
const READ_BYTES: usize = 512 * 1024;

/// What is needed to read an index and to name its errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IndexFile<'a> {
    pub(crate) file: &'a File,
    pub(crate) path: &'a Path,
    pub(crate) mailbox: &'a MailboxName,
    pub(crate) header: &'a IndexHeader,
}

impl IndexFile<'_> {
    /// The error of a decoder, with the mailbox and record named.
    pub(crate) fn error(&self, recno: u32, error: &IndexError) -> StoreError {
        let path = self.path.to_path_buf();
        let mailbox = self.mailbox;
        match error {
            IndexError::NoGuid => StoreError::Unsupported {
                path,
                what: format!("mailbox {mailbox} record {recno}: {error}"),
            },
            _ => StoreError::DamagedRecord {
                mailbox: mailbox.clone(),
                path,
                recno,
                what: error.to_string(),
            },
        }
    }

    fn record_size(&self) -> usize {
        self.header.record_size as usize
    }

    fn offset(&self, recno: u32) -> u64 {
        let before = u64::from(recno.saturating_sub(1)) * u64::from(self.header.record_size);
        u64::from(self.header.start_offset) + before
    }

    fn read(&self, buf: &mut [u8], recno: u32) -> Result<(), StoreError> {
        let read = self.file.read_exact_at(buf, self.offset(recno));
        read.map_err(|error| StoreError::io("read", self.path, error))
    }

    /// The record of message `uid`, by bisection; `None` if there is none.
    pub(crate) fn find(&self, uid: Uid) -> Result<Option<IndexRecord>, StoreError> {
        let version = self.header.minor_version;
        let (_, size) = layout_sizes(version).unwrap_or_default();
        let mut buf = vec![0; size];
        for recno in self.first_from(uid)?..=self.header.num_records {
            self.read(&mut buf, recno)?;
            let bytes =
                record::checked(&buf, version).map_err(|error| self.error(recno, &error))?;
            match record::peek_uid(bytes) {
                // Bisection ends before the holes in front of a record.
                Uid::NONE => {}
                found if found == uid => {
                    return Ok(Some(IndexRecord::decode_checked(bytes, version, recno)));
                }
                _ => break,
            }
        }
        Ok(None)
    }

    /// The number of the first record whose UID is `uid` or higher, or of the first hole before it, by bisection; the
    /// number of records plus one if there is none.
    pub(crate) fn first_from(&self, uid: Uid) -> Result<u32, StoreError> {
        let version = self.header.minor_version;
        let (_, size) = layout_sizes(version).unwrap_or_default();
        let mut buf = vec![0; size];
        let (mut low, mut past) = (1, self.header.num_records.saturating_add(1));
        while low < past {
            let middle = low + (past - low) / 2;
            // A hole (UID 0) does not show its place: the next record does.
            let mut recno = middle;
            let mut found = Uid::NONE;
            while found == Uid::NONE && recno < past {
                self.read(&mut buf, recno)?;
                let bytes =
                    record::checked(&buf, version).map_err(|error| self.error(recno, &error))?;
                found = record::peek_uid(bytes);
                recno += 1;
            }
            if found > Uid::NONE && found < uid {
                low = recno;
            } else {
                past = middle;
            }
        }
        Ok(low)
    }
}

/// The records of a mailbox in the order of their UIDs, including expunged ones; ends after the first error.
///
/// Memory is one buffer of at most half a megabyte, however large the mailbox. Skipped records are checked too, because a
/// damaged one could be a changed one.
#[derive(Debug)]
pub struct RecordIter<'a> {
    index: Option<IndexFile<'a>>,
    since_modseq: ModSeq,
    /// Records above this UID are wanted whatever their modseq.
    beyond_uid: Uid,
    /// Number of the record at the front of `buf`'s rest.
    next: u32,
    last_uid: Uid,
    buf: Vec<u8>,
    /// Where the rest starts in `buf`.
    at: usize,
    failure: Option<StoreError>,
}

impl<'a> RecordIter<'a> {
    pub(crate) fn new(index: IndexFile<'a>, since_modseq: ModSeq) -> Self {
        Self {
            index: Some(index),
            since_modseq,
            beyond_uid: Uid::MAX,
            next: 1,
            last_uid: Uid::NONE,
            buf: Vec::new(),
            at: 0,
            failure: None,
        }
    }

    /// The records from the one with this number on.
    pub(crate) fn from_record(index: IndexFile<'a>, first: u32) -> Self {
        Self { next: first, ..Self::new(index, ModSeq::ZERO) }
    }

    /// Also those above this UID, whatever their modseq.
    pub(crate) fn and_beyond(self, uid: Uid) -> Self {
        Self { beyond_uid: uid, ..self }
    }

    /// An iterator that only returns the reason why there is nothing to iterate over.
    pub(crate) fn released(path: &Path) -> Self {
        let released = io::Error::other("the index lock was released before all records were read");
        Self::failed(StoreError::io("read", path, released))
    }

    /// An iterator that only returns this error.
    pub(crate) fn failed(error: StoreError) -> Self {
        Self {
            index: None,
            since_modseq: ModSeq::ZERO,
            beyond_uid: Uid::MAX,
            next: 1,
            last_uid: Uid::NONE,
            buf: Vec::new(),
            at: 0,
            failure: Some(error),
        }
    }

    /// Reads the next part of the file; false at its end.
    fn fill(&mut self, index: &IndexFile<'_>) -> Result<bool, StoreError> {
        let left = (index.header.num_records + 1).saturating_sub(self.next) as usize;
        let count = left.min(READ_BYTES / index.record_size());
        // The header decoder has bounded the record size, so this is at most READ_BYTES.
        self.buf.resize(count * index.record_size(), 0);
        self.at = 0;
        if count == 0 {
            return Ok(false);
        }
        index.read(&mut self.buf, self.next)?;
        Ok(true)
    }

    fn step(&mut self) -> Result<Option<IndexRecord>, StoreError> {
        let Some(index) = self.index else {
            return Ok(None);
        };
        let version = index.header.minor_version;
        loop {
            if self.at >= self.buf.len() && !self.fill(&index)? {
                return Ok(None);
            }
            let recno = self.next;
            let rest = self.buf.get(self.at..).unwrap_or_default();
            let bytes =
                record::checked(rest, version).map_err(|error| index.error(recno, &error))?;
            self.next += 1;
            let uid = record::peek_uid(bytes);
            let modseq = record::peek_modseq(bytes);
            let wanted =
                self.since_modseq.is_zero() || modseq > self.since_modseq || uid > self.beyond_uid;
            // There is no record number 0; a UID of 0 is a hole, which Cyrus skips as well.
            if uid > Uid::NONE {
                if uid <= self.last_uid {
                    let what = format!("uid {uid} follows uid {}", self.last_uid);
                    return Err(StoreError::DamagedRecord {
                        mailbox: index.mailbox.clone(),
                        path: index.path.to_path_buf(),
                        recno,
                        what,
                    });
                }
                self.last_uid = uid;
                if !record::peek_has_guid(bytes) {
                    return Err(index.error(recno, &IndexError::NoGuid));
                }
                if wanted {
                    let record = IndexRecord::decode_checked(bytes, version, recno);
                    self.at += index.record_size();
                    return Ok(Some(record));
                }
            }
            self.at += index.record_size();
        }
    }
}

impl Iterator for RecordIter<'_> {
    type Item = Result<IndexRecord, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failure.take() {
            return Some(Err(error));
        }
        let step = self.step();
        if step.is_err() {
            self.index = None;
        }
        step.transpose()
    }
}
