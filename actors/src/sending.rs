//! One mailbox to the replica: its new messages' files, then `APPLY MAILBOX` with its records.
//!
//! ```text
//!   shared locks: [ read header, choose the batch, encode records, list files ]
//!   mailbox lock only:                                     [ upload files ]
//!   no lock:                                                              [ APPLY MAILBOX ]
//! ```
//! The index is locked only while it is read. While files are sent the shared mailbox lock is
//! kept, so that they stay; writers need no more than that. The encoded records wait in a spool
//! (`spool.rs`).
//!
//! A mailbox with more new messages than a batch holds, or more bytes, is sent in several steps
//! (`steps.rs`). The mailbox is opened once a step, and its records are passed over once.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::Arc;

use csync::{Guid, ReplicaMailbox, Since, command};
use cyrus_store::{Mailbox, MboxEntry, MboxList, Modseqs, Store, StoreError};
use sync_plan::{Crcs, FullReplica, PlanError, Verdict, compare_mailbox};

use crate::error::UserError;
use crate::frames::{FRAME_BYTES, Frame, FrameSender, InFlight, encode};
use crate::full::to_expunge;
use crate::progress::Progress;
use crate::reading::is_stale;
use crate::settings::Settings;
use crate::spool::Spool;
use crate::staged::Staged;
use crate::steps::{self, Base, STEP_BYTES, Step, modseq_in_step};
use crate::upload::{Message, Uploader};
use crate::wire::{self, State};

/// How a mailbox is compared and sent.
#[derive(Debug, Clone)]
pub(crate) enum How {
    /// The records that are newer than the replica's modseq, on condition that it still is there.
    Since,
    /// The same, but compute our checksums afresh first: the mailbox may be equal after all.
    SinceIfChecksumsDiffer,
    /// The replica refused it: compare headers anew, compute checksums, set no condition.
    Afresh,
    /// All records, after a comparison one by one.
    Full(Arc<FullReplica>),
    /// The mailbox without anything in it: can the replica make it?
    Make,
}

/// What became of a mailbox.
pub(crate) enum MailboxSent {
    /// Equal after all.
    Unchanged,
    /// It was deleted, renamed or replaced since it was planned.
    Replaced,
    /// Only a comparison record by record can tell what to send.
    NeedsFull,
    /// Its commands, answers to come.
    Sent {
        in_flight: Vec<InFlight>,
        /// What the replica has then, if anybody wants to know.
        state: Option<Box<ReplicaMailbox>>,
    },
}

/// How many messages the replica is let keep for us before it is told to forget them: they are
/// files there and hashes here, and must not grow with the user.
const STAGED: usize = 100_000;

/// One mailbox to send; the fields are those of [`SendMailbox`](crate::planner::SendMailbox).
pub(crate) struct Job<'a> {
    pub(crate) store: &'a Store,
    pub(crate) settings: &'a Settings,
    pub(crate) progress: &'a Progress,
    pub(crate) entry: &'a MboxEntry,
    pub(crate) replica: Option<Box<ReplicaMailbox>>,
    pub(crate) how: How,
    pub(crate) frames: &'a FrameSender,
    pub(crate) staged: &'a mut Staged,
    pub(crate) broken_off: &'a mut bool,
}

/// How the first step begins.
enum First {
    Send { crcs: Crcs, expunge: Vec<u32> },
    Unchanged,
    NeedsFull,
}

/// What one MAILBOX command is about.
#[derive(Debug, Clone, Copy)]
struct Said {
    crcs: Crcs,
    modseqs: Modseqs,
    base: Base,
    step: Option<Step>,
    /// New messages' bytes that it may bring.
    most: u64,
}

/// One MAILBOX command, ready to be sent behind the messages it needs.
struct Encoded {
    spool: Spool,
    partition: String,
    messages: Vec<Message>,
}

impl Job<'_> {
    /// Sends the mailbox, ahead of the answers.
    pub(crate) fn run(&mut self) -> Result<MailboxSent, UserError> {
        let list = self.store.mailboxes()?;
        if matches!(self.how, How::Make) {
            return self.make(&list);
        }
        let mut base = self.first_base();
        let mut in_flight = Vec::new();
        let mut first = true;
        let mut steps = VecDeque::new();
        let state = loop {
            let Some(mut mailbox) = self.open(&list)? else { return Ok(MailboxSent::Replaced) };
            let modseqs = self.modseqs(&list)?;
            let mut crcs = stored_crcs(&mailbox);
            if first {
                match self.before_first(&mailbox, modseqs)? {
                    First::Send { crcs: said, expunge } => {
                        crcs = said;
                        in_flight.extend(self.expunge(&expunge)?);
                    }
                    First::Unchanged => return Ok(MailboxSent::Unchanged),
                    First::NeedsFull => return Ok(MailboxSent::NeedsFull),
                }
                first = false;
            }
            if steps.is_empty() && steps::are_many(&mailbox, &base, self.settings.batch_messages) {
                steps = self.plan_steps(&mailbox, &base)?;
            }
            let step = steps.pop_front();
            let mut said = Said { crcs, modseqs, base, step, most: STEP_BYTES };
            let encoded = self.encode_step(&mailbox, &mut said, &mut steps)?;
            let state = self.state(&mailbox, &said, &encoded.partition)?;
            mailbox.release_index();
            self.send_step(mailbox, encoded, &mut in_flight)?;
            let Some(Step { last_uid, highestmodseq }) = said.step else { break state };
            let since = Some(Since { modseq: highestmodseq, crc: 0, crc_annot: 0 });
            base = Base { last_uid, highestmodseq, since };
        };
        // The last step's command makes it whole.
        if let Some(last) = in_flight.iter_mut().rfind(|command| command.command == "MAILBOX") {
            last.brings.mailboxes = 1;
        }
        Ok(MailboxSent::Sent { in_flight, state })
    }

    /// A mailbox as it is before the first step: nothing in it.
    fn make(&self, list: &MboxList) -> Result<MailboxSent, UserError> {
        let Some(mailbox) = self.open(list)? else { return Ok(MailboxSent::Replaced) };
        let partition = self.partition(&mailbox);
        let head = wire::Head {
            local_only: self.settings.local_only,
            one_way: self.settings.one_way,
            partition: &partition,
            state: State::Partial { last_uid: 0, highestmodseq: 1 },
            since: None,
            replica: None,
        };
        let begun = wire::Encoder::begin(&mailbox, self.modseqs(list)?, &head);
        let bytes = begun.map_err(|e| self.damaged(e))?.end();
        let in_flight = vec![self.frames.command_blocking("MAILBOX", bytes)?];
        Ok(MailboxSent::Sent { in_flight, state: None })
    }

    /// Where the mailbox is to be on the replica.
    fn partition(&self, mailbox: &Mailbox) -> String {
        self.settings.partition.clone().unwrap_or_else(|| mailbox.entry.partition.clone())
    }

    /// What the replica has once it has taken this, for the cache.
    fn state(
        &self,
        mailbox: &Mailbox,
        said: &Said,
        partition: &str,
    ) -> Result<Option<Box<ReplicaMailbox>>, UserError> {
        if self.settings.cache.is_none() || said.step.is_some() {
            return Ok(None);
        }
        let state = wire::replica_state(mailbox, said.modseqs, partition, said.crcs);
        Ok(Some(Box::new(state.map_err(|e| self.damaged(e))?)))
    }

    fn first_base(&self) -> Base {
        let Some(r) = &self.replica else { return Base::default() };
        let condition =
            Since { modseq: r.highestmodseq, crc: r.sync_crc, crc_annot: r.sync_crc_annot };
        let trusted = matches!(self.how, How::Since | How::SinceIfChecksumsDiffer);
        let since = (r.highestmodseq > 0 && trusted).then_some(condition);
        // All records go where a comparison one by one was needed: no modseq tells which differ.
        let highestmodseq = if matches!(self.how, How::Full(_)) { 0 } else { r.highestmodseq };
        Base { last_uid: r.last_uid, highestmodseq, since }
    }

    /// None when the mailbox is no longer what was planned.
    fn open(&self, list: &MboxList) -> Result<Option<Mailbox>, UserError> {
        match self.store.open_mailbox(self.entry) {
            Ok(mailbox) if mailbox.uniqueid() == self.entry.uniqueid => {
                match list.lookup(&self.entry.name)? {
                    Some(now)
                        if now.uniqueid == self.entry.uniqueid
                            && now.partition == self.entry.partition
                            && !now.mbtype.is_deleted() =>
                    {
                        Ok(Some(mailbox))
                    }
                    _ => Ok(None),
                }
            }
            Ok(_) => Ok(None),
            Err(e) if is_stale(list, self.entry, &e)? => Ok(None),
            Err(e) => Err(self.damaged(e)),
        }
    }

    fn modseqs(&self, list: &MboxList) -> Result<Modseqs, UserError> {
        let owner = self.store.config().names().userid(&self.entry.name);
        let modseqs = self.store.user_modseqs(list, owner.as_deref())?;
        modseqs.of(self.entry).map_err(|e| self.damaged(e))
    }

    /// The doubts to be settled once the mailbox is open.
    fn before_first(&self, m: &Mailbox, modseqs: Modseqs) -> Result<First, UserError> {
        let mut crcs = stored_crcs(m);
        if !matches!(self.how, How::Since) {
            crcs = self.recomputed(m)?;
        }
        let mut expunge = Vec::new();
        match (&self.how, &self.replica) {
            (How::Since | How::Make, _) | (_, None) => {}
            (How::Full(full), _) => expunge = to_expunge(m, full, self.settings.one_way)?,
            (How::SinceIfChecksumsDiffer | How::Afresh, Some(replica)) => {
                let mut ours = wire::header(m, modseqs).map_err(|e| self.damaged(e))?;
                ours.crcs = crcs;
                match compare_mailbox(&ours, replica, self.settings.one_way) {
                    Verdict::Unchanged => return Ok(First::Unchanged),
                    Verdict::ChecksumDoubt | Verdict::Full(_) => return Ok(First::NeedsFull),
                    Verdict::Copyback(reason) => {
                        let mailbox = self.entry.name.clone();
                        return Err(PlanError::Copyback { mailbox, reason }.into());
                    }
                    Verdict::Changed => {}
                }
            }
        }
        Ok(First::Send { crcs, expunge })
    }

    /// Lets the replica expunge what it must not keep, before it is sent all records.
    fn expunge(&self, uids: &[u32]) -> Result<Option<InFlight>, UserError> {
        if uids.is_empty() {
            return Ok(None);
        }
        let bytes = encode(|out| {
            let Job { entry, .. } = self;
            command::expunge(out, &entry.name, &entry.uniqueid, uids.iter().copied());
        });
        Ok(Some(self.frames.command_blocking("EXPUNGE", bytes)?))
    }

    fn recomputed(&self, m: &Mailbox) -> Result<Crcs, UserError> {
        let crcs = m.recompute_crcs().map_err(|e| self.damaged(e))?;
        Ok(Crcs { basic: crcs.basic, annot: crcs.annot })
    }

    fn plan_steps(&self, m: &Mailbox, base: &Base) -> Result<VecDeque<Step>, UserError> {
        steps::plan(m, base, self.settings.batch_messages).map_err(|e| self.damaged(e))
    }

    /// One step's command. If it would bring too much the steps are planned anew, by bytes as well.
    fn encode_step(
        &self,
        mailbox: &Mailbox,
        said: &mut Said,
        steps: &mut VecDeque<Step>,
    ) -> Result<Encoded, UserError> {
        if let Some(encoded) = self.encode(mailbox, said)? {
            return Ok(encoded);
        }
        *steps = self.plan_steps(mailbox, &said.base)?;
        said.step = steps.pop_front();
        said.most = u64::MAX;
        match self.encode(mailbox, said)? {
            Some(encoded) => Ok(encoded),
            None => Err(UserError::Bug("a step has no end".into())),
        }
    }

    /// None when it would bring more bytes than it may.
    fn encode(&self, mailbox: &Mailbox, said: &Said) -> Result<Option<Encoded>, UserError> {
        let Said { crcs, modseqs, base, step, most } = *said;
        let partition = self.partition(mailbox);
        let mut spool = Spool::new();
        let mut messages = Vec::new();
        let state = match step {
            None => State::Whole(crcs),
            Some(Step { last_uid, highestmodseq }) => State::Partial { last_uid, highestmodseq },
        };
        let head = wire::Head {
            local_only: self.settings.local_only,
            one_way: self.settings.one_way,
            partition: &partition,
            state,
            since: base.since,
            replica: self.replica.as_deref(),
        };
        let mut encoder =
            wire::Encoder::begin(mailbox, modseqs, &head).map_err(|e| self.damaged(e))?;
        let mut listed = HashSet::new();
        let mut bytes = 0;
        // A new record may have a modseq that the replica has reached by a change of its own; once its UID is
        // passed there, it can't be appended any more.
        for record in mailbox.records_beyond(base.highestmodseq, base.last_uid) {
            let record = record.map_err(|e| self.damaged(e))?;
            if step.is_some_and(|s| record.uid > s.last_uid) {
                break;
            }
            let Some(modseq) = modseq_in_step(&record, &base, step) else { continue };
            encoder.record(&record, modseq).map_err(|e| self.damaged(e))?;
            if encoder.pending() >= FRAME_BYTES {
                encoder.drain(|bytes| spool.write(bytes)).map_err(|e| self.spool_failed(e))?;
            }
            let guid = Guid(record.guid.0);
            if record.uid > base.last_uid
                && !record.is_unlinked()
                && !self.staged.contains(&partition, &guid)
                && listed.insert(guid)
            {
                bytes += record.size;
                if bytes > most && !messages.is_empty() {
                    return Ok(None);
                }
                let (uid, size, archived) = (record.uid, record.size, record.is_archived());
                messages.push(Message { uid, guid, size, archived });
            }
        }
        spool.write(&encoder.end()).map_err(|e| self.spool_failed(e))?;
        Ok(Some(Encoded { spool, partition, messages }))
    }

    /// Files first, then the records. The mailbox's own lock, which keeps the files where they are,
    /// is held until the last file is sent.
    fn send_step(
        &mut self,
        mailbox: Mailbox,
        encoded: Encoded,
        in_flight: &mut Vec<InFlight>,
    ) -> Result<(), UserError> {
        let Encoded { spool, partition, messages } = encoded;
        let mut uploader = Uploader::new(&mailbox, &partition, self.frames);
        for message in &messages {
            let sent = uploader.send(message);
            if sent.is_err() {
                *self.broken_off |= uploader.is_within_command();
            }
            sent?;
            self.progress.uploaded(message.size);
        }
        uploader.finish()?;
        in_flight.append(&mut uploader.in_flight);
        self.staged.add(&partition, messages.iter().map(|m| m.guid));
        drop(mailbox);
        in_flight.push(self.send_spool(spool)?);
        if self.staged.len() >= STAGED {
            // They are in their mailboxes by then; what comes again is uploaded again.
            in_flight.push(self.frames.command_blocking("RESTART", encode(command::restart))?);
            self.staged.clear();
        }
        Ok(())
    }

    fn send_spool(&self, spool: Spool) -> Result<InFlight, UserError> {
        let mut chunks = spool.into_chunks().map_err(|e| self.spool_failed(e))?;
        let mut next = || chunks.next(FRAME_BYTES).map_err(|e| self.spool_failed(e));
        let first = next()?;
        let mut after = next()?;
        if after.is_empty() {
            return Ok(self.frames.command_blocking("MAILBOX", first)?);
        }
        let in_flight = self.frames.open_blocking("MAILBOX", first)?;
        while !after.is_empty() {
            self.frames.push_blocking("MAILBOX", Frame::More(after))?;
            // A read that fails here breaks the command off, and the writer notices.
            after = next()?;
        }
        self.frames.push_blocking("MAILBOX", Frame::Close(after))?;
        Ok(in_flight)
    }

    fn damaged(&self, e: StoreError) -> UserError {
        UserError::Mailbox { mailbox: self.entry.name.clone(), source: Box::new(e) }
    }

    fn spool_failed(&self, e: io::Error) -> UserError {
        UserError::Spool { mailbox: self.entry.name.clone(), problem: e.to_string() }
    }
}

fn stored_crcs(m: &Mailbox) -> Crcs {
    Crcs { basic: m.index.sync_crcs.basic, annot: m.index.sync_crcs.annot }
}
