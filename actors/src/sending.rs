//! One mailbox to the replica: its new messages' files, then `APPLY MAILBOX` with its records.
//!
//! ```text
//!   shared locks: [ read header, choose the batch, encode records, list files ]
//!   mailbox lock only:                                     [ upload files ]
//!   no lock:                                                              [ APPLY MAILBOX ]
//! ```
//! The index is locked only while it is read. While files are sent the shared mailbox lock is
//! kept, so that they stay; writers need no more than that. The encoded records wait in memory up
//! to [`SPOOL_BYTES`], then in a file without a name.
//!
//! A mailbox with more new messages than a batch holds is sent in several steps, each a state that
//! could have been (`calculate_intermediate_state` of `imap/sync_support.c`): records up to a UID,
//! none with a modseq above the step's, checksums unsaid.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use bytes::Bytes;
use csync::{Guid, ReplicaMailbox, Since, command};
use cyrus_store::{IndexRecord, Mailbox, MboxEntry, MboxList, Modseqs, Store, StoreError};
use sync_plan::{Crcs, FullReplica, PlanError, Verdict, compare_mailbox};

use crate::error::UserError;
use crate::frames::{FRAME_BYTES, Frame, FrameSender, InFlight, encode};
use crate::full::to_expunge;
use crate::reading::is_stale;
use crate::report::Sent;
use crate::settings::Settings;
use crate::staged::Staged;
use crate::upload::{Message, Uploader};
use crate::wire::{self, State};

/// How many bytes of encoded records are held in memory.
const SPOOL_BYTES: usize = 4 * 1024 * 1024;

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
    Sent { in_flight: Vec<InFlight>, count: Sent },
}

/// How many messages the replica is let keep for us before it is told to forget them: they are
/// files there and hashes here, and must not grow with the user.
const STAGED: usize = 100_000;

/// One mailbox to send; the fields are those of [`SendMailbox`](crate::planner::SendMailbox).
pub(crate) struct Job<'a> {
    pub(crate) store: &'a Store,
    pub(crate) settings: &'a Settings,
    pub(crate) entry: &'a MboxEntry,
    pub(crate) replica: Option<Box<ReplicaMailbox>>,
    pub(crate) how: How,
    pub(crate) frames: &'a FrameSender,
    pub(crate) staged: &'a mut Staged,
    pub(crate) broken_off: &'a mut bool,
}

/// What the replica has, as far as the next step builds on it.
#[derive(Debug, Clone, Copy, Default)]
struct Base {
    last_uid: u32,
    /// Records above this modseq are sent.
    highestmodseq: u64,
    /// The condition of the change, none where there is nothing or no trust.
    since: Option<Since>,
}

/// How the first step begins.
enum First {
    Send { crcs: Crcs, expunge: Vec<u32> },
    Unchanged,
    NeedsFull,
}

/// A step: all there is, or up to this UID and modseq.
#[derive(Debug, Clone, Copy)]
struct Step {
    last_uid: u32,
    highestmodseq: u64,
}

/// What one MAILBOX command is about.
#[derive(Debug, Clone, Copy)]
struct Said {
    crcs: Crcs,
    modseqs: Modseqs,
    base: Base,
    step: Option<Step>,
}

impl Job<'_> {
    /// Sends the mailbox, ahead of the answers.
    pub(crate) fn run(&mut self) -> Result<MailboxSent, UserError> {
        let list = self.store.mailboxes()?;
        let mut base = self.first_base();
        let mut in_flight = Vec::new();
        let mut count = Sent { mailboxes: 1, ..Sent::default() };
        let mut first = true;
        loop {
            let Some(mailbox) = self.open(&list)? else { return Ok(MailboxSent::Replaced) };
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
            let step = self.next_step(&mailbox, &base)?;
            let said = Said { crcs, modseqs, base, step };
            self.send_step(mailbox, said, &mut in_flight, &mut count)?;
            let Some(Step { last_uid, highestmodseq }) = step else { break };
            let since = Some(Since { modseq: highestmodseq, crc: 0, crc_annot: 0 });
            base = Base { last_uid, highestmodseq, since };
        }
        Ok(MailboxSent::Sent { in_flight, count })
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
            (How::Since, _) | (_, None) => {}
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

    /// None: the rest fits into one step.
    fn next_step(&self, m: &Mailbox, base: &Base) -> Result<Option<Step>, UserError> {
        let batch = self.settings.batch_messages;
        if batch == 0 || m.index.last_uid.saturating_sub(base.last_uid) <= batch {
            return Ok(None);
        }
        let mut new = 0;
        let mut step = Step { last_uid: base.last_uid, highestmodseq: m.index.highestmodseq };
        for record in m.records(0) {
            let record = record.map_err(|e| self.damaged(e))?;
            if record.uid <= base.last_uid || record.is_unlinked() {
                continue;
            }
            if new < batch {
                step.last_uid = record.uid;
            } else if record.modseq <= step.highestmodseq {
                step.highestmodseq = record.modseq.saturating_sub(1);
            }
            new += 1;
        }
        let between =
            step.highestmodseq > base.highestmodseq && step.highestmodseq < m.index.highestmodseq;
        Ok((new > batch && between).then_some(step))
    }

    fn send_step(
        &mut self,
        mut mailbox: Mailbox,
        said: Said,
        in_flight: &mut Vec<InFlight>,
        count: &mut Sent,
    ) -> Result<(), UserError> {
        let mut spool = Spool::new();
        let partition = self.settings.partition.clone().unwrap_or(mailbox.entry.partition.clone());
        let mut messages = Vec::new();
        self.encode(&mailbox, said, &partition, &mut spool, &mut messages)?;
        mailbox.release_index();

        let name = mailbox.entry.name.clone();
        let mut uploader = Uploader::new(&name, &partition, self.frames);
        for message in &messages {
            let sent = uploader.send(message);
            if sent.is_err() {
                *self.broken_off |= uploader.is_within_command();
            }
            sent?;
        }
        uploader.finish()?;
        in_flight.append(&mut uploader.in_flight);
        count.add(uploader.count);
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

    fn encode(
        &self,
        mailbox: &Mailbox,
        said: Said,
        partition: &str,
        spool: &mut Spool,
        messages: &mut Vec<Message>,
    ) -> Result<(), UserError> {
        let Said { crcs, modseqs, base, step } = said;
        let state = match step {
            None => State::Whole(crcs),
            Some(Step { last_uid, highestmodseq }) => State::Partial { last_uid, highestmodseq },
        };
        let head = wire::Head {
            local_only: self.settings.local_only,
            partition,
            state,
            since: base.since,
            replica: self.replica.as_deref(),
        };
        let mut encoder =
            wire::Encoder::begin(mailbox, modseqs, &head).map_err(|e| self.damaged(e))?;
        let mut listed = std::collections::HashSet::new();
        for record in mailbox.records(base.highestmodseq) {
            let record = record.map_err(|e| self.damaged(e))?;
            let Some(modseq) = modseq_in_step(&record, &base, step) else { continue };
            if step.is_some_and(|s| record.uid > s.last_uid) {
                break;
            }
            encoder.record(&record, modseq).map_err(|e| self.damaged(e))?;
            if encoder.pending() >= FRAME_BYTES {
                encoder.drain(|bytes| spool.write(bytes)).map_err(|e| self.spool_failed(e))?;
            }
            let guid = Guid(record.guid.0);
            if record.uid > base.last_uid
                && !record.is_unlinked()
                && !self.staged.contains(partition, &guid)
                && listed.insert(guid)
            {
                let path = mailbox.message_path(&record);
                messages.push(Message { uid: record.uid, guid, size: record.size, path });
            }
        }
        spool.write(&encoder.end()).map_err(|e| self.spool_failed(e))
    }

    fn send_spool(&self, spool: Spool) -> Result<InFlight, UserError> {
        let mut chunks = spool.into_chunks().map_err(|e| self.spool_failed(e))?;
        let first = chunks.next(FRAME_BYTES).map_err(|e| self.spool_failed(e))?;
        let in_flight = self.frames.open_blocking("MAILBOX", first)?;
        loop {
            // A read that fails here breaks the command off, and the writer notices.
            let more = chunks.next(FRAME_BYTES).map_err(|e| self.spool_failed(e))?;
            if more.is_empty() {
                self.frames.push_blocking("MAILBOX", Frame::Close(more))?;
                return Ok(in_flight);
            }
            self.frames.push_blocking("MAILBOX", Frame::More(more))?;
        }
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

/// The modseq a record is sent with; none when it is to be sent in a later step. A new record that
/// changed after the step's modseq is shown as of that modseq, and comes again later.
fn modseq_in_step(record: &IndexRecord, base: &Base, step: Option<Step>) -> Option<u64> {
    match step {
        Some(step) if record.modseq > step.highestmodseq => {
            (record.uid > base.last_uid).then_some(step.highestmodseq)
        }
        _ => Some(record.modseq),
    }
}

/// Encoded records on their way: in memory while they are few, else in a file without a name.
struct Spool(tempfile::SpooledTempFile);

impl Spool {
    fn new() -> Spool {
        Spool(tempfile::spooled_tempfile(SPOOL_BYTES))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn into_chunks(mut self) -> io::Result<Chunks> {
        self.0.seek(SeekFrom::Start(0))?;
        Ok(Chunks(self.0))
    }
}

struct Chunks(tempfile::SpooledTempFile);

impl Chunks {
    /// The next bytes, none at the end.
    fn next(&mut self, most: usize) -> io::Result<Bytes> {
        let mut chunk = Vec::with_capacity(most);
        (&mut self.0).take(most as u64).read_to_end(&mut chunk)?;
        Ok(chunk.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_of_any_size_comes_out_as_it_went_in() {
        for size in [0, 10, FRAME_BYTES, SPOOL_BYTES + 12345] {
            let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
            let mut spool = Spool::new();
            for part in bytes.chunks(50_000) {
                spool.write(part).unwrap();
            }
            let mut chunks = spool.into_chunks().unwrap();
            let mut out = Vec::new();
            loop {
                let chunk = chunks.next(FRAME_BYTES).unwrap();
                if chunk.is_empty() {
                    break;
                }
                out.extend_from_slice(&chunk);
            }
            assert_eq!(out, bytes);
        }
    }

    #[test]
    fn a_step_shows_new_records_at_its_own_modseq_and_leaves_old_ones_for_later() {
        let base = Base { last_uid: 10, highestmodseq: 5, since: None };
        let step = Some(Step { last_uid: 20, highestmodseq: 9 });
        let record = |uid, modseq| IndexRecord { uid, modseq, ..IndexRecord::default() };
        assert_eq!(modseq_in_step(&record(15, 8), &base, step), Some(8));
        assert_eq!(modseq_in_step(&record(15, 12), &base, step), Some(9));
        assert_eq!(modseq_in_step(&record(7, 12), &base, step), None);
        assert_eq!(modseq_in_step(&record(7, 12), &base, None), Some(12));
    }
}
