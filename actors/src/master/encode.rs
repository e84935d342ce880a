//! From the store's words to the wire's: what one mailbox and one record look like in `MAILBOX`.
//!
//! The very same encoding, asked for all records and without SINCE, is what a master's own
//! sync_server answers to GET FULLMAILBOX; the tests hold the two together byte by byte.

use std::fmt::Write;

use csync::{
    Annotation, MailboxCommand, MailboxHead, OwnedAnnotation, Record, ReplicaMailbox, Since,
};
use cyrus_store::{IndexRecord, Mailbox, Modseqs, StoreError};
use cyrus_types::{ModSeq, SyncCrcs, Uid};
use sync_plan::{MailboxAnnotation, MasterMailbox};

/// A mailbox's header as the planner compares it.
///
/// # Errors
/// A database beside the mailbox (annotations, conversations, counters) can't be read.
pub fn header(m: &Mailbox, modseqs: Modseqs) -> Result<MasterMailbox, StoreError> {
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

/// What a replica has of a mailbox after it was sent all of it, as GET MAILBOXES would tell.
///
/// # Errors
/// As [`header`].
pub(crate) fn replica_state(
    m: &Mailbox,
    modseqs: Modseqs,
    partition: &str,
    crcs: SyncCrcs,
) -> Result<ReplicaMailbox, StoreError> {
    let ours = header(m, modseqs)?;
    Ok(ReplicaMailbox {
        uniqueid: ours.uniqueid,
        name: ours.name,
        mboxtype: ours.mboxtype.unwrap_or_default(),
        last_uid: ours.last_uid,
        highestmodseq: ours.highestmodseq,
        uidvalidity: ours.uidvalidity,
        recentuid: ours.recentuid,
        recenttime: ours.recenttime,
        last_appenddate: m.index.last_appenddate,
        pop3_last_login: ours.pop3_last_login,
        pop3_show_after: ours.pop3_show_after,
        crcs,
        partition: partition.to_string(),
        acl: ours.acl,
        options: ours.options,
        quotaroot: ours.quotaroot,
        xconvmodseq: ours.xconvmodseq.unwrap_or_default(),
        raclmodseq: ours.raclmodseq,
        createdmodseq: m.index.createdmodseq,
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

/// How much of a mailbox is said.
#[derive(Debug, Clone, Copy)]
pub enum State {
    /// The mailbox as it is, with these checksums.
    Whole(SyncCrcs),
    /// Up to this UID and modseq. All else stays as the replica has it until the last step.
    Partial {
        /// Highest UID of the step.
        last_uid: Uid,
        /// Highest modseq of the step.
        highestmodseq: ModSeq,
    },
}

/// What a MAILBOX command says beside the mailbox itself.
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
    /// What the replica has, for the fields that a partial state leaves as they are.
    pub replica: Option<&'a ReplicaMailbox>,
    /// The owner's groups, `group TAB group`, or nothing; with them go the names of the user flags. None: neither, as
    /// to and from servers before 3.12.
    pub groups: Option<&'a str>,
}

/// What is said of a mailbox's conversations; 0 is nothing. A replica with a higher XCONVMODSEQ than it is sent
/// refuses the change; one that was told to obey (FORCE) takes a lower one, and forgets its own where nothing
/// is said (`imap/sync_support.c:sync_apply_mailbox`). It is never lowered.
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
#[derive(Debug)]
pub struct Encoder<'m> {
    mailbox: &'m Mailbox,
    command: MailboxCommand,
    out: Vec<u8>,
    /// The present record's flags and the text of its virtual annotations, kept for their memory.
    flags: Vec<&'m str>,
    text: String,
}

impl<'m> Encoder<'m> {
    /// Begins the command: everything before the records.
    ///
    /// # Errors
    /// As [`header`].
    pub fn begin(
        mailbox: &'m Mailbox,
        modseqs: Modseqs,
        head: &Head<'_>,
    ) -> Result<Encoder<'m>, StoreError> {
        let ours = header(mailbox, modseqs)?;
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
        let userflags: Vec<&str> =
            mailbox.header.flags.iter().flatten().map(String::as_str).collect();
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
            last_appenddate: mailbox.index.last_appenddate,
            pop3_last_login: ours.pop3_last_login,
            pop3_show_after: ours.pop3_show_after,
            xconvmodseq: ours.xconvmodseq.unwrap_or_default(),
            raclmodseq: ours.raclmodseq,
            uidvalidity: ours.uidvalidity,
            partition: head.partition,
            acl: &ours.acl,
            options: &ours.options,
            quotaroot: ours.quotaroot.as_deref(),
            createdmodseq: mailbox.index.createdmodseq,
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
                // Both rise by themselves with the records; what was there before the first step is refused after it.
                line.xconvmodseq = ModSeq::ZERO;
                line.raclmodseq = ModSeq::ZERO;
                line.usergroups = None;
            }
        }
        let mut out = Vec::new();
        let command = MailboxCommand::begin(&mut out, head.local_only, &line);
        Ok(Encoder { mailbox, command, out, flags: Vec::new(), text: String::new() })
    }

    /// Encodes one record, with this modseq. Records come by rising UID.
    ///
    /// # Errors
    /// The message's annotations can't be read.
    pub fn record(&mut self, record: &IndexRecord, modseq: ModSeq) -> Result<(), StoreError> {
        let stored = self.mailbox.message_annotations(record.uid)?;
        self.text.clear();
        let mut virtuals = [("", 0, 0); MOST_VIRTUALS];
        let mut used = 0;
        for (found, place) in self.mailbox.virtual_annotations(record).zip(&mut virtuals) {
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
        self.flags.extend(self.mailbox.flags(record));
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

    /// Bytes encoded and not yet drained.
    pub fn pending(&self) -> usize {
        self.out.len()
    }

    /// Hands what was encoded to `taker` and forgets it.
    ///
    /// # Errors
    /// The taker's.
    pub fn drain<E>(&mut self, taker: impl FnOnce(&[u8]) -> Result<(), E>) -> Result<(), E> {
        taker(&self.out)?;
        self.out.clear();
        Ok(())
    }

    /// Ends the command; what is left of its bytes.
    pub fn end(self) -> Vec<u8> {
        let mut out = self.out;
        self.command.end(&mut out);
        out
    }
}
