//! An open mailbox: its header and index header in memory, its records and annotations streamed, Cyrus' locks held.
//!
//! ```text
//! opening takes, shared and in this order           release_index drops
//!   *U*user            the user's mailboxes           yes
//!   unique id (name)   this mailbox                   no: message files stay where they are
//!   cyrus.index        the index itself               yes
//! ```
//!
//! Source: `mailbox_open_advanced`, `mailbox_lock_index_internal`, `mailbox_synccrcs`, `mailbox_record_fname` in
//! `imap/mailbox.c` and `sync_print_flags`, `sync_mailbox_version_check` in `imap/sync_support.c` of cyrus-imapd 3.6.1.

pub mod annotations;
pub mod crc;
pub mod header;
pub mod index;
pub mod record;
pub mod virtual_annotations;

mod records;

use std::cell::OnceCell;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::Config;
use crate::db::kept::KeptDb;
use crate::error::StoreError;
use crate::lock::{self, FileLock, Mode};
use crate::mailbox::annotations::{Annotation, MessageAnnotations};
use crate::mailbox::crc::FlagCrcs;
use crate::mailbox::header::MailboxHeader;
use crate::mailbox::index::{IndexError, IndexHeader, MAX_HEADER_SIZE, OPT_MAILBOX_DELETED};
use crate::mailbox::record::IndexRecord;
use crate::mailbox::virtual_annotations::VirtualAnnotation;
use crate::mboxlist::MboxEntry;
use crate::paths::{self, MetaFile, Place};
use crate::regular;
use crate::user::conversations;

use cyrus_types::{MailboxName, ModSeq, SyncCrcs, Uid, UniqueId};
use records::IndexFile;
pub use records::RecordIter;

/// A `cyrus.header` is a few kilobytes; more than this is damage.
const MAX_HEADER_FILE: u64 = 16 * 1024 * 1024;
/// Few are larger than this.
const USUAL_HEADER_FILE: usize = 2048;

/// A mailbox, open for reading under Cyrus' shared locks. Dropping it releases the locks.
#[derive(Debug)]
pub struct Mailbox {
    /// Its entry in mailboxes.db: name, type, partition, access rights.
    pub entry: MboxEntry,
    /// The header file: quota root, names of user flags.
    pub header: MailboxHeader,
    /// The header of the index: counts, modseqs, stored CRCs.
    pub index: IndexHeader,
    /// False if the index remembers another header file; Cyrus logs a warning and goes on.
    pub header_crc_matches: bool,
    conf: Arc<Config>,
    annotations: Arc<KeptDb>,
    index_path: PathBuf,
    data_dir: PathBuf,
    archive_dir: PathBuf,
    message_annotations: OnceCell<MessageAnnotations>,
    // Released in this order, the reverse of taking them.
    index_lock: Option<FileLock>,
    _mailbox_lock: FileLock,
    user_lock: Option<FileLock>,
}

/// Where a mailbox's files are, by unique id or (legacy dirs) by name.
fn place(entry: &MboxEntry) -> Place<'_> {
    Place {
        name: &entry.name,
        partition: &entry.partition,
        unique_id: (!entry.mbtype.is_legacy_dirs()).then_some(&entry.uniqueid),
    }
}

impl Mailbox {
    /// Opens a mailbox, waiting for its locks. Use [`crate::store::Store::open_mailbox`].
    pub(crate) fn open(
        conf: &Arc<Config>,
        annotations: &Arc<KeptDb>,
        entry: &MboxEntry,
    ) -> Result<Self, StoreError> {
        let missing = || StoreError::MissingMailbox { mailbox: entry.name.clone() };
        let user_lock = match entry.name.userid(conf.names()) {
            Some(user) => Some(lock::user_lock(conf, Some(&user))?),
            None => None,
        };
        if entry.mbtype.is_deleted() || entry.mbtype.is_intermediate() || entry.partition.is_empty()
        {
            return Err(missing());
        }
        if let Some(letters) = &entry.unknown_type {
            return Err(StoreError::UnknownType {
                mailbox: entry.name.clone(),
                letters: letters.clone(),
            });
        }
        let place = place(entry);
        let data_dir = paths::data_dir(conf, place)?;
        if entry.mbtype.is_moving() || entry.mbtype.is_remote() {
            let what = format!("mailbox {} is on, or moves to, another server", entry.name);
            return Err(StoreError::unsupported(&data_dir, what));
        }
        let mailbox_lock = lock::mailbox_lock(conf, place)?;
        let index_path = paths::meta_path(conf, place, MetaFile::Index)?;
        let index_lock = FileLock::on_existing(&index_path, Mode::Shared, true)?;

        let header_path = paths::meta_path(conf, place, MetaFile::Header)?;
        let (header, header_crc) = read_header(&header_path, &entry.name)?;
        let index = read_index_header(&index_lock, &entry.name)?;
        if index.options & OPT_MAILBOX_DELETED != 0 {
            return Err(missing());
        }
        let stored = index.header_file_crc;
        Ok(Self {
            entry: entry.clone(),
            header,
            header_crc_matches: stored == 0 || stored == header_crc,
            index,
            conf: Arc::clone(conf),
            annotations: Arc::clone(annotations),
            index_path,
            archive_dir: paths::archive_dir(conf, place)?,
            data_dir,
            message_annotations: OnceCell::new(),
            index_lock: Some(index_lock),
            _mailbox_lock: mailbox_lock,
            user_lock,
        })
    }

    /// Internal name.
    #[must_use]
    pub fn name(&self) -> &MailboxName {
        &self.entry.name
    }

    /// Unique id: that of mailboxes.db, or of the header file where mailboxes.db has none.
    #[must_use]
    pub fn uniqueid(&self) -> &UniqueId {
        let listed = &self.entry.uniqueid;
        if listed.is_empty() { &self.header.uniqueid } else { listed }
    }

    /// The mailbox's options as replication sends them: letters P, S, D and A.
    #[must_use]
    pub fn options_str(&self) -> String {
        self.index.options_str()
    }

    /// Whether Cyrus keeps conversations for this mailbox, so that its XCONVMODSEQ is to be sent.
    #[must_use]
    pub fn has_conversations(&self) -> bool {
        conversations::has_conversations(&self.conf, &self.entry)
    }

    /// The records changed after `since_modseq` (zero: all), including expunged ones, by UID.
    ///
    /// Damaged records, and (as in Cyrus) records without a GUID, are errors that end the iteration.
    pub fn records(&self, since_modseq: ModSeq) -> RecordIter<'_> {
        match self.index_file() {
            Some(index) => RecordIter::new(index, since_modseq),
            None => RecordIter::released(&self.index_path),
        }
    }

    /// The records changed after `since_modseq` (zero: all), and all those above UID `uid`, including expunged ones, by
    /// UID.
    ///
    /// Errors are those of [`Mailbox::records`].
    pub fn records_beyond(&self, since_modseq: ModSeq, uid: Uid) -> RecordIter<'_> {
        self.records(since_modseq).and_beyond(uid)
    }

    /// The records from UID `uid` on, including expunged ones, by UID. Those before are not read, except for a few: the
    /// place is found by bisection.
    ///
    /// Errors are those of [`Mailbox::records`].
    pub fn records_from_uid(&self, uid: Uid) -> RecordIter<'_> {
        let Some(index) = self.index_file() else { return RecordIter::released(&self.index_path) };
        match index.first_from(uid) {
            Ok(first) => RecordIter::from_record(index, first),
            Err(error) => RecordIter::failed(error),
        }
    }

    /// The record of one message, expunged or not; `None` if there is none.
    ///
    /// # Errors
    /// The index cannot be read, or a record met on the way is damaged.
    pub fn record(&self, uid: Uid) -> Result<Option<IndexRecord>, StoreError> {
        let released = || io::Error::other("the index lock was released");
        let index = self.index_file();
        let index = index.ok_or_else(|| StoreError::io("read", &self.index_path, released()))?;
        index.find(uid)
    }

    /// The mailbox's own annotations, in the order of replication, without deleted ones.
    ///
    /// # Errors
    /// The database cannot be read or an entry is damaged.
    pub fn annotations(&self) -> Result<Vec<Annotation>, StoreError> {
        annotations::of_mailbox(
            &self.conf,
            &self.annotations,
            &self.entry.name,
            if self.entry.by_name { self.entry.name.as_str() } else { self.uniqueid().as_str() },
        )
    }

    /// The annotations of a message, in the order of replication, without deleted ones.
    ///
    /// A mailbox without message annotations costs one failed open, the first time.
    ///
    /// # Errors
    /// The database cannot be read or an entry is damaged.
    pub fn message_annotations(&self, uid: Uid) -> Result<Vec<Annotation>, StoreError> {
        self.annotation_db()?.of(uid)
    }

    /// The annotations that the record itself holds, sent after those of [`Mailbox::message_annotations`].
    pub fn virtual_annotations(
        &self,
        record: &IndexRecord,
    ) -> impl Iterator<Item = VirtualAnnotation> + use<> {
        virtual_annotations::virtual_annotations(self.index.minor_version, record)
    }

    /// The names of the flags set on a message ([`IndexRecord::flag_names`]).
    pub fn flags<'a>(&'a self, record: &IndexRecord) -> impl Iterator<Item = &'a str> + use<'a> {
        record.flag_names(&self.header.flags)
    }

    /// Computes both CRCs from the records and annotations; the stored ones are in `self.index.sync_crcs`.
    ///
    /// Beside the records' buffer this needs eight bytes for every message with annotations.
    ///
    /// # Errors
    /// As [`Mailbox::records`] and [`Mailbox::message_annotations`].
    pub fn recompute_crcs(&self) -> Result<SyncCrcs, StoreError> {
        self.recompute_crcs_without(&[])
    }

    /// The same, as if the messages with these UIDs (ascending) did not exist.
    ///
    /// # Errors
    /// As [`Mailbox::recompute_crcs`].
    pub fn recompute_crcs_without(&self, uids: &[Uid]) -> Result<SyncCrcs, StoreError> {
        let version = self.index.minor_version;
        let flag_crcs = FlagCrcs::new(&self.header);
        let annotation_crcs = self.annotation_db()?.crcs(version)?;
        let mut crcs = crc::CRC_INIT;
        for record in self.records(ModSeq::ZERO) {
            let record = record?;
            if record.is_expunged() || uids.binary_search(&record.uid).is_ok() {
                continue;
            }
            crcs.basic ^= crc::crc_basic(&flag_crcs, &record);
            crcs.annot ^= crc::crc_virtannot(version, &record);
            if let Ok(found) = annotation_crcs.binary_search_by_key(&record.uid, |(uid, _)| *uid) {
                crcs.annot ^= annotation_crcs.get(found).map_or(0, |(_, crc)| *crc);
            }
        }
        Ok(crcs)
    }

    /// Where a message's file is (on the archive partition if its record says so). The file of an unlinked message does not
    /// exist.
    #[must_use]
    pub fn message_path(&self, record: &IndexRecord) -> PathBuf {
        self.message_folder(record.is_archived()).join(format!("{}.", record.uid))
    }

    /// The folder of message files: those on the archive partition, or the others. Each file's name is its UID and a dot.
    #[must_use]
    pub fn message_folder(&self, archived: bool) -> &Path {
        if archived { &self.archive_dir } else { &self.data_dir }
    }

    /// Releases the locks on the index and on the user's mailboxes, but keeps the shared lock on this mailbox, so that
    /// others may change it but message files stay. Records and annotations can't be read any more.
    pub fn release_index(&mut self) {
        self.message_annotations = OnceCell::new();
        self.index_lock = None;
        self.user_lock = None;
    }

    fn index_file(&self) -> Option<IndexFile<'_>> {
        self.index_lock.as_ref().map(|lock| IndexFile {
            file: lock.file(),
            path: &self.index_path,
            mailbox: &self.entry.name,
            header: &self.index,
        })
    }

    fn annotation_db(&self) -> Result<&MessageAnnotations, StoreError> {
        if let Some(open) = self.message_annotations.get() {
            return Ok(open);
        }
        let path = paths::meta_path(&self.conf, place(&self.entry), MetaFile::Annotations)?;
        let owner = self.entry.name.userid(self.conf.names());
        let open = MessageAnnotations::open(&path, owner)?;
        Ok(self.message_annotations.get_or_init(|| open))
    }
}

/// Reads and decodes `cyrus.header`; also its CRC-32.
fn read_header(path: &Path, mailbox: &MailboxName) -> Result<(MailboxHeader, u32), StoreError> {
    let damaged = |what: String| StoreError::DamagedMailbox {
        mailbox: mailbox.clone(),
        path: path.to_path_buf(),
        what,
    };
    // Room for nearly all headers: one read for the file, one for its end.
    let mut bytes = Vec::with_capacity(USUAL_HEADER_FILE);
    regular::read_into(path, MAX_HEADER_FILE, &mut bytes)?;
    let header = MailboxHeader::decode(&bytes).map_err(|error| damaged(error.to_string()))?;
    Ok((header, crc32fast::hash(&bytes)))
}

/// Reads and decodes the index header, and checks that the file has all its records.
fn read_index_header(locked: &FileLock, mailbox: &MailboxName) -> Result<IndexHeader, StoreError> {
    let (file, path) = (locked.file(), locked.path());
    let failed = |error: IndexError| match error {
        IndexError::Version(_) => {
            StoreError::unsupported(path, format!("mailbox {mailbox}: {error}"))
        }
        _ => StoreError::DamagedMailbox {
            mailbox: mailbox.clone(),
            path: path.to_path_buf(),
            what: error.to_string(),
        },
    };
    let io_error = |error| StoreError::io("read", path, error);
    let have = locked.file_len();
    let mut buf = [0; MAX_HEADER_SIZE];
    let want = have.min(MAX_HEADER_SIZE as u64) as usize;
    let buf = buf.get_mut(..want).unwrap_or_default();
    file.read_exact_at(buf, 0).map_err(io_error)?;
    let header = IndexHeader::decode(buf).map_err(failed)?;
    let need = header.file_size();
    if have < need {
        return Err(failed(IndexError::Short { need, have }));
    }
    Ok(header)
}
