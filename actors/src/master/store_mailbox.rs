//! A mailbox of a Cyrus store, open for reading.

use std::cell::OnceCell;
use std::path::PathBuf;

use cyrus_store::{Annotation, Mailbox, MboxEntry, Modseqs, Store, StoreError};
use cyrus_types::{SyncCrcs, Uid};
use sync_plan::{MailboxAnnotation, MasterMailbox};

use crate::error::MasterError;
use crate::master::message_files::{self, MessageFiles};
use crate::master::source::{Checked, IndexHead, MailboxSource, Message, Records, Which};

/// An open mailbox, with Cyrus' locks held, and its message files.
pub(crate) struct StoreMailbox {
    store: Store,
    mailbox: Mailbox,
    /// Read when they are asked for first.
    modseqs: OnceCell<Modseqs>,
    files: MessageFiles,
}

impl StoreMailbox {
    pub(crate) fn new(store: Store, mailbox: Mailbox) -> StoreMailbox {
        StoreMailbox { store, mailbox, modseqs: OnceCell::new(), files: MessageFiles::default() }
    }

    fn owner(&self) -> Option<String> {
        self.mailbox.entry.name.userid(self.store.config().names())
    }

    fn modseqs(&self) -> Result<Modseqs, MasterError> {
        if let Some(known) = self.modseqs.get() {
            return Ok(*known);
        }
        let of_user = self.store.user_modseqs(&self.store.mailboxes()?, self.owner().as_deref())?;
        let read = of_user.of(&self.mailbox.entry).map_err(|e| self.damaged(e))?;
        Ok(*self.modseqs.get_or_init(|| read))
    }

    fn damaged(&self, e: StoreError) -> MasterError {
        MasterError::of_mailbox(self.mailbox.name(), e)
    }
}

impl MailboxSource for StoreMailbox {
    fn entry(&self) -> &MboxEntry {
        &self.mailbox.entry
    }

    fn index(&self) -> IndexHead<'_> {
        let index = &self.mailbox.index;
        IndexHead {
            version: index.minor_version,
            last_uid: index.last_uid,
            uidvalidity: index.uidvalidity,
            highestmodseq: index.highestmodseq,
            deletedmodseq: index.deletedmodseq,
            createdmodseq: index.createdmodseq,
            last_appenddate: index.last_appenddate,
            records: index.num_records,
            exists: index.exists,
            crcs: index.sync_crcs,
            flag_names: &self.mailbox.header.flags,
        }
    }

    fn head(&self) -> Result<MasterMailbox, MasterError> {
        let modseqs = self.modseqs()?;
        header(&self.mailbox, modseqs).map_err(|e| self.damaged(e))
    }

    fn groups(&self) -> Result<String, MasterError> {
        let Some(owner) = self.owner() else { return Ok(String::new()) };
        Ok(self.store.mailboxes()?.groups_of(&owner)?.join("\t"))
    }

    fn records(&self, which: Which) -> Records<'_> {
        Box::new(match which {
            Which::Since(modseq) => self.mailbox.records(modseq),
            Which::SinceOrAbove(modseq, uid) => self.mailbox.records_beyond(modseq, uid),
            Which::From(uid) => self.mailbox.records_from_uid(uid),
        })
    }

    fn annotations(&self, uid: Uid) -> Result<Vec<Annotation>, StoreError> {
        self.mailbox.message_annotations(uid)
    }

    fn recomputed_crcs(&self, without: &[Uid]) -> Result<SyncCrcs, StoreError> {
        self.mailbox.recompute_crcs_without(without)
    }

    fn release_index(&mut self) {
        self.mailbox.release_index();
    }

    fn message(&mut self, message: &Message, small: &mut Vec<u8>) -> Result<Checked, MasterError> {
        self.files.check(&self.mailbox, message, small)
    }

    fn message_path(&self, message: &Message) -> PathBuf {
        message_files::path(&self.mailbox, message)
    }
}

/// A mailbox's header in the form that the planner compares.
///
/// # Errors
/// A database beside the mailbox (annotations, conversations, counters) can't be read.
pub(crate) fn header(m: &Mailbox, modseqs: Modseqs) -> Result<MasterMailbox, StoreError> {
    let annotations = m
        .annotations()?
        .into_iter()
        .map(|a| MailboxAnnotation {
            entry: a.entry,
            userid: a.userid,
            modseq: a.modseq,
            value: a.value,
        })
        .collect();
    let index = &m.index;
    Ok(MasterMailbox {
        name: m.entry.name.clone(),
        uniqueid: m.uniqueid().clone(),
        mboxtype: m.entry.mbtype.sync_str(),
        partition: m.entry.partition.clone(),
        acl: m.entry.acl.clone(),
        options: m.options_str(),
        quotaroot: m.header.quotaroot.clone(),
        last_uid: index.last_uid,
        highestmodseq: index.highestmodseq,
        deletedmodseq: index.deletedmodseq,
        uidvalidity: index.uidvalidity,
        recentuid: index.recentuid,
        recenttime: index.recenttime,
        pop3_last_login: index.pop3_last_login,
        pop3_show_after: index.pop3_show_after,
        crcs: index.sync_crcs,
        foldermodseq: m.entry.foldermodseq,
        xconvmodseq: modseqs.xconv,
        raclmodseq: modseqs.racl,
        annotations,
    })
}
