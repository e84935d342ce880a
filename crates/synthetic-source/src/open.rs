//! A synthetic mailbox, open for reading: as it was when it was opened.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use actors::MasterError;
use actors::source::{Checked, IndexHead, MailboxSource, Message, Records, Which};
use cyrus_store::{Annotation, MboxEntry, StoreError};
use cyrus_types::{ModSeq, SyncCrcs, Uid};
use sync_plan::{MailboxAnnotation, MasterMailbox};

use crate::content::Content;
use crate::mailbox::{Flags, Mailbox, Record, VERSION};

/// Messages up to this size are made in memory.
const SMALL: u64 = 1024 * 1024;

/// A mailbox at one moment.
pub(crate) struct OpenMailbox {
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) flags: Arc<Flags>,
}

/// What the planner compares of a mailbox.
pub(crate) fn head(mailbox: &Mailbox) -> MasterMailbox {
    let entry = &mailbox.entry;
    let annotations = mailbox.annotations.iter().map(|a| MailboxAnnotation {
        entry: a.entry.clone(),
        userid: a.userid.clone(),
        modseq: a.modseq,
        value: a.value.clone(),
    });
    MasterMailbox {
        name: entry.name.clone(),
        uniqueid: entry.uniqueid.clone(),
        partition: entry.partition.clone(),
        acl: entry.acl.clone(),
        last_uid: mailbox.last_uid,
        highestmodseq: mailbox.highestmodseq,
        deletedmodseq: mailbox.deletedmodseq,
        uidvalidity: entry.uidvalidity,
        recentuid: mailbox.recentuid,
        recenttime: mailbox.recenttime,
        crcs: mailbox.crcs(),
        foldermodseq: entry.foldermodseq,
        annotations: annotations.collect(),
        ..MasterMailbox::default()
    }
}

impl MailboxSource for OpenMailbox {
    fn entry(&self) -> &MboxEntry {
        &self.mailbox.entry
    }

    fn index(&self) -> IndexHead<'_> {
        let mailbox = &self.mailbox;
        IndexHead {
            version: VERSION,
            last_uid: mailbox.last_uid,
            uidvalidity: mailbox.entry.uidvalidity,
            highestmodseq: mailbox.highestmodseq,
            deletedmodseq: mailbox.deletedmodseq,
            createdmodseq: mailbox.entry.createdmodseq,
            last_appenddate: mailbox.last_appenddate,
            records: u32::try_from(mailbox.records().len()).unwrap_or(u32::MAX),
            exists: mailbox.exists(),
            crcs: mailbox.crcs(),
            flag_names: &self.flags.names,
        }
    }

    fn head(&self) -> Result<MasterMailbox, MasterError> {
        Ok(head(&self.mailbox))
    }

    fn groups(&self) -> Result<String, MasterError> {
        Ok(String::new())
    }

    fn records(&self, which: Which) -> Records<'_> {
        let (records, since, above) = match which {
            Which::Since(modseq) => (self.mailbox.records(), modseq, Uid::MAX),
            Which::SinceOrAbove(modseq, uid) => (self.mailbox.records(), modseq, uid),
            Which::From(uid) => (self.mailbox.starting_at(uid), ModSeq::ZERO, Uid::MAX),
        };
        let wanted =
            records.iter().filter(move |record| record.modseq > since || record.uid > above);
        Box::new(wanted.map(|record| Ok(record.index_record())))
    }

    fn annotations(&self, uid: Uid) -> Result<Vec<Annotation>, StoreError> {
        Ok(self.mailbox.annotations_of(uid).to_vec())
    }

    fn recomputed_crcs(&self, without: &[Uid]) -> Result<SyncCrcs, StoreError> {
        Ok(self.mailbox.recomputed_crcs(&self.flags, without))
    }

    /// It has no lock: others change a copy.
    fn release_index(&mut self) {}

    /// The GUID was computed from the same bytes when the message was made.
    fn message(&mut self, message: &Message, small: &mut Vec<u8>) -> Result<Checked, MasterError> {
        let is_there = |record: &&Record| !record.unlinked && record.guid == message.guid;
        let Some(record) = self.mailbox.record(message.uid).filter(is_there) else {
            return Err(MasterError::MessageFile {
                mailbox: self.mailbox.entry.name.clone(),
                uid: message.uid,
                path: self.message_path(message),
                missing: true,
                problem: "there is no such message".into(),
            });
        };
        let mut content = Content::new(record.number, record.size);
        if record.size > SMALL {
            return Ok(Checked::Large(Box::new(content)));
        }
        let size = record.size as usize;
        if small.len() < size {
            small.resize(size, 0);
        }
        let mut at = 0;
        // Reading never fails, and ends with 0.
        while let Ok(length @ 1..) = content.read(small.get_mut(at..size).unwrap_or_default()) {
            at += length;
        }
        Ok(Checked::Small(size))
    }

    fn message_path(&self, message: &Message) -> PathBuf {
        PathBuf::from(format!("synthetic/{}/{}.", self.mailbox.entry.uniqueid, message.uid))
    }
}
