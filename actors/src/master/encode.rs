//! Turns the master's values into bytes: one mailbox and one record as they are in `MAILBOX`.
//!
//! With all records and without SINCE, the same encoding is the answer of a master's own sync_server to GET FULLMAILBOX;
//! the tests compare the two byte by byte.

use std::fmt::Write;

use csync::{
    Annotation, MailboxCommand, MailboxHead, OwnedAnnotation, Record, ReplicaMailbox, Since,
};
use cyrus_store::mailbox::virtual_annotations::virtual_annotations;
use cyrus_store::{IndexRecord, StoreError};
use cyrus_types::{ModSeq, SyncCrcs, Uid};

use crate::error::MasterError;
use crate::master::source::{IndexHead, MailboxSource};

/// The state of the replica's mailbox after it was sent all of ours, as GET MAILBOXES would report it.
///
/// # Errors
/// As [`MailboxSource::head`].
pub(crate) fn replica_state(
    m: &dyn MailboxSource,
    partition: &str,
    crcs: SyncCrcs,
) -> Result<ReplicaMailbox, MasterError> {
    let ours = m.head()?;
    let index = m.index();
    Ok(ReplicaMailbox {
        uniqueid: ours.uniqueid,
        name: ours.name,
        mboxtype: ours.mboxtype.unwrap_or_default(),
        last_uid: ours.last_uid,
        highestmodseq: ours.highestmodseq,
        uidvalidity: ours.uidvalidity,
        recentuid: ours.recentuid,
        recenttime: ours.recenttime,
        last_appenddate: index.last_appenddate,
        pop3_last_login: ours.pop3_last_login,
        pop3_show_after: ours.pop3_show_after,
        crcs,
        partition: partition.to_string(),
        acl: ours.acl,
        options: ours.options,
        quotaroot: ours.quotaroot,
        xconvmodseq: ours.xconvmodseq.unwrap_or_default(),
        raclmodseq: ours.raclmodseq,
        createdmodseq: index.createdmodseq,
        foldermodseq: ours.foldermodseq,
        annotations: ours
            .annotations
            .into_iter()
            .map(|a| OwnedAnnotation {
                entry: a.entry,
                userid: a.userid,
                modseq: a.modseq,
                value: a.value,
            })
            .collect(),
    })
}

/// How much of a mailbox is sent.
#[derive(Debug, Clone, Copy)]
pub enum State {
    /// The mailbox as it is, with these checksums.
    Whole(SyncCrcs),
    /// Up to this UID and modseq. Everything else stays as the replica has it until the last batch.
    Partial {
        /// Highest UID of the batch.
        last_uid: Uid,
        /// Highest modseq of the batch.
        highestmodseq: ModSeq,
    },
}

/// What a MAILBOX command contains beside the mailbox itself.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// -L.
    pub local_only: bool,
    /// -O.
    pub one_way: bool,
    /// The partition on the replica.
    pub partition: &'a str,
    /// All of the mailbox or a part.
    pub state: State,
    /// The condition of the change.
    pub since: Option<Since>,
    /// The replica's state, for the fields that a partial state does not change.
    pub replica: Option<&'a ReplicaMailbox>,
    /// The owner's groups, `group TAB group`, or empty; the names of the user flags are sent with them. `None`: neither is
    /// sent, as to and from servers before 3.12.
    pub groups: Option<&'a str>,
}

/// The XCONVMODSEQ to send; 0 means none. A replica with a higher XCONVMODSEQ than it is sent refuses the change; in force
/// mode it accepts a lower one, and forgets its own if none is sent (`imap/sync_support.c:sync_apply_mailbox`). It is never
/// lowered.
fn xconvmodseq(ours: ModSeq, theirs: ModSeq, one_way: bool) -> ModSeq {
    match one_way {
        true => ours.max(theirs),
        false if ours > theirs => ours,
        false => ModSeq::ZERO,
    }
}

/// Virtual annotations of a record: thrid, savedate, createdmodseq, and two more of a newer Cyrus.
const MOST_VIRTUALS: usize = 5;

/// Encodes one MAILBOX command piece by piece.
pub struct Encoder<'m> {
    mailbox: &'m dyn MailboxSource,
    index: IndexHead<'m>,
    command: MailboxCommand,
    out: Vec<u8>,
    /// Flags of the current record and the text of its virtual annotations, kept to reuse their memory.
    flags: Vec<&'m str>,
    text: String,
}

impl<'m> Encoder<'m> {
    /// Starts the command: everything before the records.
    ///
    /// # Errors
    /// As [`MailboxSource::head`].
    pub fn begin(
        mailbox: &'m dyn MailboxSource,
        head: &Head<'_>,
    ) -> Result<Encoder<'m>, MasterError> {
        let (index, ours) = (mailbox.index(), mailbox.head()?);
        let annotations: Vec<Annotation<'_>> = ours
            .annotations
            .iter()
            .map(|a| Annotation {
                entry: &a.entry,
                userid: &a.userid,
                modseq: a.modseq,
                value: &a.value,
            })
            .collect();
        let userflags: Vec<&str> = index.flag_names.iter().flatten().map(String::as_str).collect();
        let mut line = MailboxHead {
            uniqueid: &ours.uniqueid,
            mboxname: &ours.name,
            mboxtype: ours.mboxtype.as_deref(),
            sync_crc: 0,
            sync_crc_annot: None,
            last_uid: ours.last_uid,
            highestmodseq: ours.highestmodseq,
            recentuid: ours.recentuid,
            recenttime: ours.recenttime,
            last_appenddate: index.last_appenddate,
            pop3_last_login: ours.pop3_last_login,
            pop3_show_after: ours.pop3_show_after,
            xconvmodseq: ours.xconvmodseq.unwrap_or_default(),
            raclmodseq: ours.raclmodseq,
            uidvalidity: ours.uidvalidity,
            partition: head.partition,
            acl: &ours.acl,
            options: &ours.options,
            quotaroot: ours.quotaroot.as_deref(),
            createdmodseq: index.createdmodseq,
            foldermodseq: ours.foldermodseq,
            annotations: &annotations,
            userflags: head.groups.map(|_| userflags.as_slice()),
            usergroups: head.groups.filter(|groups| !groups.is_empty()),
            since: head.since,
        };
        match head.state {
            State::Whole(crcs) => {
                line.sync_crc = crcs.basic;
                line.sync_crc_annot = Some(crcs.annot);
                let theirs = head.replica.map_or(ModSeq::ZERO, |r| r.xconvmodseq);
                line.xconvmodseq = xconvmodseq(line.xconvmodseq, theirs, head.one_way);
            }
            State::Partial { last_uid, highestmodseq } => {
                line.last_uid = last_uid;
                line.highestmodseq = highestmodseq;
                line.recentuid = head.replica.map_or(Uid::NONE, |r| r.recentuid);
                line.recenttime = head.replica.map_or(0, |r| r.recenttime);
                line.last_appenddate = 0;
                line.pop3_last_login = head.replica.map_or(0, |r| r.pop3_last_login);
                line.pop3_show_after = head.replica.map_or(0, |r| r.pop3_show_after);
                // Both rise by themselves with the records; after the first batch the replica would refuse their old
                // values.
                line.xconvmodseq = ModSeq::ZERO;
                line.raclmodseq = ModSeq::ZERO;
                line.usergroups = None;
            }
        }
        let mut out = Vec::new();
        let command = MailboxCommand::begin(&mut out, head.local_only, &line);
        Ok(Encoder { mailbox, index, command, out, flags: Vec::new(), text: String::new() })
    }

    /// Encodes one record, with this modseq. Records must come in order of UID.
    ///
    /// # Errors
    /// The message's annotations can't be read.
    pub fn record(&mut self, record: &IndexRecord, modseq: ModSeq) -> Result<(), StoreError> {
        let stored = self.mailbox.annotations(record.uid)?;
        self.text.clear();
        let mut virtuals = [("", 0, 0); MOST_VIRTUALS];
        let mut used = 0;
        for (found, place) in virtual_annotations(self.index.version, record).zip(&mut virtuals) {
            let start = self.text.len();
            // Writing to a String can't fail.
            let _ = write!(self.text, "{}", found.value);
            *place = (found.entry, start, self.text.len());
            used += 1;
        }
        let virtuals = virtuals.iter().take(used).map(|(entry, from, to)| Annotation {
            entry,
            userid: "",
            modseq: ModSeq::ZERO,
            value: self.text.as_bytes().get(*from..*to).unwrap_or_default(),
        });
        let annotations: Vec<Annotation<'_>> = stored
            .iter()
            .map(|a| Annotation {
                entry: &a.entry,
                userid: &a.userid,
                modseq: a.modseq,
                value: &a.value,
            })
            .chain(virtuals)
            .collect();
        self.flags.clear();
        self.flags.extend(record.flag_names(self.index.flag_names));
        let line = Record {
            uid: record.uid,
            modseq,
            last_updated: record.last_updated,
            flags: &self.flags,
            internaldate: record.internaldate,
            size: record.size,
            guid: record.guid,
            annotations: &annotations,
        };
        self.command.record(&mut self.out, &line);
        Ok(())
    }

    /// Bytes that are encoded and not yet taken.
    pub fn pending(&self) -> usize {
        self.out.len()
    }

    /// Passes the encoded bytes to `taker` and forgets them.
    ///
    /// # Errors
    /// The error of `taker`.
    pub fn drain<E>(&mut self, taker: impl FnOnce(&[u8]) -> Result<(), E>) -> Result<(), E> {
        taker(&self.out)?;
        self.out.clear();
        Ok(())
    }

    /// Ends the command; returns the rest of its bytes.
    pub fn end(self) -> Vec<u8> {
        let mut out = self.out;
        self.command.end(&mut out);
        out
    }
}
