//! Sends one mailbox to the replica: its new messages' files, then `APPLY MAILBOX` with its records.
//!
//! ```text
//!   shared locks: [ read header, choose the batch, encode records, list files ]
//!   mailbox lock only:                                     [ upload files ]
//!   no lock:                                                              [ APPLY MAILBOX ]
//! ```
//! The index is locked only while it is read. While files are sent the shared mailbox lock is kept, so that they stay;
//! writers need no more than that. The encoded records wait in a record buffer (`master/record_buffer.rs`), and are sent
//! when the replica has accepted the files (`user/apply/held.rs`).
//!
//! A mailbox with more new messages than a batch holds, or more bytes, is sent in several batches (`master/batches.rs`).
//! The mailbox is opened once for each batch, and its records are read once.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use csync::{Command, CommandKind, ReplicaMailbox, Since, command};
use cyrus_store::{MboxEntry, StoreError};
use cyrus_types::{MailboxName, ModSeq, SyncCrcs, Uid};
use sync_plan::{FullReplica, PlanError, Verdict, compare_mailbox};

use crate::error::{MasterError, UserError};
use crate::master::bad_files::{BadFile, Files, NAMED};
use crate::master::batches::{self, Base, Batch, STEP_BYTES};
use crate::master::encode::{self, State};
use crate::master::full_update::{self, Compared, Found};
use crate::master::mailbox_command::{CommandHead, Encoded};
use crate::master::record_buffer::RecordBuffer;
use crate::master::source::{MailboxSource, Source};
use crate::master::upload::Uploader;
use crate::monitor::progress::Progress;
use crate::monitor::report::Sent;
use crate::replica::asked::PendingCommand;
use crate::replica::client::Client;
use crate::replica::frames::FRAME_BYTES;
use crate::replica::staged::Staged;
use crate::settings::Settings;

/// How a mailbox is compared and sent.
#[derive(Debug, Clone)]
pub(crate) enum SendMode {
    /// The records that are newer than the replica's modseq, on condition that it has not changed.
    Since,
    /// The same, but compute our checksums again first: the mailbox may be equal after all.
    SinceIfChecksumsDiffer,
    /// The replica refused it: compare headers again, compute checksums, set no condition.
    Afresh,
    /// All records, after a record-by-record comparison; into a mailbox that is made again, if `again`.
    Full { records: Arc<FullReplica>, again: bool },
    /// The mailbox without any content: can the replica make it?
    Make,
}

/// The result for a mailbox.
pub(crate) enum MailboxSent {
    /// Equal after all.
    Unchanged,
    /// It was deleted, renamed or replaced since it was planned.
    Replaced,
    /// Only a record-by-record comparison can show what to send.
    NeedsFull,
    /// Files of new messages are missing or damaged: the replica may have these messages in another mailbox, and must be
    /// asked.
    Lacking(Files),
    /// All its new messages have missing or damaged files: nothing is sent for it, so that they can still be appended
    /// there.
    Bad(Vec<MasterError>),
    /// Its messages are being sent, its records are ready to follow.
    Ready(Box<Ready>),
}

/// One MAILBOX command, and what the replica must accept before it is sent.
pub(crate) struct Ready {
    /// The commands that upload its new messages, answers to come.
    pub(crate) uploads: VecDeque<PendingCommand>,
    /// The state that the replica's mailbox must have when it is removed, to be made again.
    pub(crate) instead_of: Option<Box<ReplicaMailbox>>,
    /// The command that is sent directly before it.
    pub(crate) before: Vec<Command>,
    /// The command itself.
    pub(crate) records: RecordBuffer,
    /// What the replica has accepted once it says OK.
    pub(crate) brings: Sent,
    /// The replica's state after it, if wanted.
    pub(crate) state: Option<Box<ReplicaMailbox>>,
    /// Where the next batch of the same mailbox begins.
    pub(crate) next: Option<Next>,
    /// Messages that are left out, because their files are missing or damaged.
    pub(crate) bad: Vec<MasterError>,
}

/// Where the next batch of a mailbox begins.
#[derive(Debug, Clone)]
pub(crate) struct Next {
    base: Base,
    /// The batches after it, except the last one.
    steps: VecDeque<Batch>,
    /// UIDs of messages that were left out of earlier batches.
    without: Vec<Uid>,
}

/// How often a batch is encoded again because files turned out to be bad: new messages may arrive in between.
const PASSES: usize = 8;

/// One mailbox to send; the fields are those of [`SendMailbox`](crate::master::mailbox_streamer::SendMailbox).
pub(crate) struct MailboxSender<'a> {
    pub(crate) source: &'a dyn Source,
    pub(crate) settings: &'a Settings,
    pub(crate) progress: &'a Progress,
    pub(crate) entry: &'a MboxEntry,
    pub(crate) replica: Option<Box<ReplicaMailbox>>,
    pub(crate) how: SendMode,
    pub(crate) next: Option<Next>,
    pub(crate) client: &'a Client,
    /// The messages that the replica keeps for the connection.
    pub(crate) staged: Staged,
    /// Whether the connection is in the middle of a command.
    pub(crate) broken_off: bool,
    pub(crate) found: Files,
}

/// The result of a try to send a batch.
enum Pass {
    Done(MailboxSent),
    /// Files are bad: once more without their messages.
    Again,
}

impl Ready {
    /// A command without prerequisites.
    pub(crate) fn of(command: Vec<u8>) -> Ready {
        Ready {
            uploads: VecDeque::new(),
            instead_of: None,
            before: Vec::new(),
            records: RecordBuffer::of(command),
            brings: Sent::default(),
            state: None,
            next: None,
            bad: Vec::new(),
        }
    }
}

/// How the first batch begins.
enum Precheck {
    Send { crcs: SyncCrcs, compared: Option<Compared> },
    Unchanged,
    NeedsFull,
}

impl MailboxSender<'_> {
    /// Sends the messages of the mailbox's next batch, ahead of the answers, and encodes its records. A message whose file
    /// is missing or damaged is left out; nothing else is affected.
    pub(crate) fn run(&mut self) -> Result<MailboxSent, UserError> {
        for _ in 0..PASSES {
            match self.pass()? {
                Pass::Done(sent) => return Ok(sent),
                Pass::Again => {}
            }
        }
        Ok(MailboxSent::Bad(self.found.take_errors()))
    }

    fn pass(&mut self) -> Result<Pass, UserError> {
        let done = |sent| Ok(Pass::Done(sent));
        let Some(mut mailbox) = self.source.open(self.entry)? else {
            return done(MailboxSent::Replaced);
        };
        if matches!(self.how, SendMode::Make) {
            return done(self.make(&*mailbox)?);
        }
        let mut crcs = mailbox.index().crcs;
        let mut before = Vec::new();
        let mut instead_of = None;
        let mut compared = None;
        let Next { base, mut steps, without } = match self.next.clone() {
            Some(next) => next,
            None => {
                match self.before_first(&*mailbox)? {
                    Precheck::Send { crcs: said, compared: came } => {
                        (crcs, compared) = (said, came)
                    }
                    Precheck::Unchanged => return done(MailboxSent::Unchanged),
                    Precheck::NeedsFull => return done(MailboxSent::NeedsFull),
                }
                let mut without = Vec::new();
                if let Some(Compared { found, expunge, lacking }) = &mut compared {
                    if found.again {
                        instead_of = self.replica.take();
                    } else {
                        before.extend(self.expunge(expunge));
                        // Their files are known to be bad.
                        without = std::mem::take(lacking);
                    }
                }
                Next { base: self.first_base(), steps: VecDeque::new(), without }
            }
        };
        self.found.leave_out(without);
        self.found.leave_out(self.found.bad.iter().map(|bad| bad.uid).collect());
        if !self.found.without.is_empty() {
            crcs = self.recomputed(&*mailbox)?;
        }
        // A mailbox that is made again must be so in one batch: it must never exist there in part.
        let (many, most) = match instead_of {
            Some(_) => (false, u64::MAX),
            None => {
                (batches::are_many(&*mailbox, &base, self.settings.sync.batch_messages), STEP_BYTES)
            }
        };
        if steps.is_empty() && many {
            steps = self.plan_steps(&*mailbox, &base)?;
        }
        let step = steps.pop_front();
        let mut said = CommandHead { crcs, base, step, most };
        let encoded = self.encode_step(&*mailbox, &mut said, &mut steps)?;
        let state = self.state(&*mailbox, &said, &encoded.partition)?;
        let next = said.step.map(|Batch { last_uid, highestmodseq }| {
            let since = Some(Since { modseq: highestmodseq, crcs: SyncCrcs::default() });
            let base = Base { last_uid, highestmodseq, since };
            Next { base, steps, without: self.found.without.clone() }
        });
        // The command of the last batch makes the mailbox whole.
        let found = compared.map(|compared| compared.found);
        let brings = Sent {
            mailboxes: u64::from(next.is_none()),
            removed: found.map_or(encoded.expunged, |found| found.removals()),
            overwritten: found.map_or(0, |found| u64::from(found.overwritten)),
            lost: found.map_or(0, |found| found.unproven),
            ..Sent::default()
        };
        let rest_is_bad = match &instead_of {
            None => encoded.records == 0 && next.is_none(),
            // The replica's copy is the only good one, and it could not be asked to keep it.
            Some(_) => self.found.bad.iter().any(|bad| self.is_live_there(bad.uid)),
        };
        if !self.found.bad.is_empty() && rest_is_bad {
            return done(MailboxSent::Bad(self.found.take_errors()));
        }
        let bad = self.upload(&mut *mailbox, &encoded)?;
        if !bad.is_empty() {
            self.found.bad.extend(bad);
            if !self.found.asked {
                return done(MailboxSent::Lacking(std::mem::take(&mut self.found)));
            }
            self.replica = self.replica.take().or(instead_of);
            return Ok(Pass::Again);
        }
        let bad = self.found.take_errors();
        let Files { uploads, .. } = std::mem::take(&mut self.found);
        let records = encoded.spool;
        let ready = Ready { uploads, instead_of, before, records, brings, state, next, bad };
        done(MailboxSent::Ready(Box::new(ready)))
    }

    /// Whether the replica has a live message with this UID, in a mailbox that was compared record by record.
    fn is_live_there(&self, uid: Uid) -> bool {
        let SendMode::Full { records, .. } = &self.how else { return false };
        let found = records.records.binary_search_by_key(&uid, |record| record.uid);
        let record = found.ok().and_then(|at| records.records.get(at));
        record.is_some_and(|record| !record.expunged)
    }

    /// A mailbox before the first batch: empty.
    fn make(&self, mailbox: &dyn MailboxSource) -> Result<MailboxSent, MasterError> {
        let partition = self.partition();
        let head = encode::Head {
            local_only: self.settings.sync.local_only,
            one_way: self.settings.sync.one_way,
            partition: &partition,
            state: State::Partial { last_uid: Uid::NONE, highestmodseq: ModSeq(1) },
            since: None,
            replica: None,
            groups: self.client.features().user_flags.then_some(""),
        };
        let bytes = encode::Encoder::begin(mailbox, &head)?.end();
        Ok(MailboxSent::Ready(Box::new(Ready::of(bytes))))
    }

    /// The mailbox's partition on the replica.
    pub(super) fn partition(&self) -> String {
        self.settings.sync.partition.clone().unwrap_or_else(|| self.entry.partition.clone())
    }

    /// The replica's state after it has accepted this, for the cache.
    fn state(
        &self,
        mailbox: &dyn MailboxSource,
        said: &CommandHead,
        partition: &str,
    ) -> Result<Option<Box<ReplicaMailbox>>, MasterError> {
        let incomplete = said.step.is_some() || !self.found.without.is_empty();
        if self.settings.sync.cache.is_none() || incomplete {
            return Ok(None);
        }
        Ok(Some(Box::new(encode::replica_state(mailbox, partition, said.crcs)?)))
    }

    fn first_base(&self) -> Base {
        let Some(r) = &self.replica else { return Base::default() };
        let condition = Since { modseq: r.highestmodseq, crcs: r.crcs };
        let trusted = matches!(self.how, SendMode::Since | SendMode::SinceIfChecksumsDiffer);
        let since = match (trusted, self.settings.sync.one_way) {
            (true, _) => Some(condition),
            // A replica in force mode would accept a lower LAST_UID, if a message arrived there meanwhile.
            (false, true) => Some(Since { crcs: SyncCrcs::default(), ..condition }),
            (false, false) => None,
        };
        let since = since.filter(|since| !since.modseq.is_zero());
        // After a record-by-record comparison all records are sent: no modseq shows which ones differ.
        let highestmodseq =
            if matches!(self.how, SendMode::Full { .. }) { ModSeq::ZERO } else { r.highestmodseq };
        Base { last_uid: r.last_uid, highestmodseq, since }
    }

    /// The checks to be made once the mailbox is open.
    fn before_first(&self, m: &dyn MailboxSource) -> Result<Precheck, UserError> {
        let mut crcs = m.index().crcs;
        if !matches!(self.how, SendMode::Since) {
            crcs = self.recomputed(m)?;
        }
        let mut compared = None;
        match (&self.how, &self.replica) {
            // LAST_UID must never fall.
            (SendMode::Since, Some(replica)) if replica.last_uid > m.index().last_uid => {
                return Ok(Precheck::NeedsFull);
            }
            (SendMode::Since | SendMode::Make, _) | (_, None) => {}
            (SendMode::Full { records, again }, _) => {
                let came = full_update::compare(m, records, self.settings.sync.overwrite)?;
                if came.found.again && !again {
                    return Ok(Precheck::NeedsFull);
                }
                let found = Found { again: *again, ..came.found };
                compared = Some(Compared { found, ..came });
            }
            (SendMode::SinceIfChecksumsDiffer | SendMode::Afresh, Some(replica)) => {
                let mut ours = m.head()?;
                ours.crcs = crcs;
                match compare_mailbox(&ours, replica, self.settings.sync.one_way) {
                    Verdict::Unchanged => return Ok(Precheck::Unchanged),
                    Verdict::ChecksumDoubt | Verdict::Full(_) => return Ok(Precheck::NeedsFull),
                    Verdict::Copyback(reason) => {
                        let mailbox = self.entry.name.clone();
                        return Err(PlanError::Copyback { mailbox, reason }.into());
                    }
                    Verdict::Changed => {}
                }
            }
        }
        Ok(Precheck::Send { crcs, compared })
    }

    /// Makes the replica expunge what it must not keep, before it is sent all records.
    fn expunge(&self, uids: &[Uid]) -> Option<Command> {
        let MboxEntry { name, uniqueid, .. } = self.entry;
        (!uids.is_empty()).then(|| command::expunge(name, uniqueid, uids.iter().copied()))
    }

    fn recomputed(&self, m: &dyn MailboxSource) -> Result<SyncCrcs, MasterError> {
        m.recomputed_crcs(&self.found.without).map_err(|e| self.damaged(e))
    }

    /// Sends the files. The mailbox's own lock, which keeps them in place, is held until the last one is sent. Returns the
    /// messages with bad files, except expunged ones, whose files the replica does not need.
    fn upload(
        &mut self,
        mailbox: &mut dyn MailboxSource,
        encoded: &Encoded,
    ) -> Result<Vec<BadFile>, UserError> {
        mailbox.release_index();
        let mut uploader = Uploader::new(mailbox, &encoded.partition, self.client);
        let mut bad = Vec::new();
        for message in &encoded.messages {
            match uploader.send(message) {
                Ok(()) => {
                    self.progress.uploaded(message.size);
                    self.staged.add(&encoded.partition, std::iter::once(message.guid));
                }
                Err(UserError::Master(MasterError::MessageFile { .. }))
                    if uploader.is_good() && message.expunged => {}
                Err(UserError::Master(e @ MasterError::MessageFile { .. }))
                    if uploader.is_good() =>
                {
                    let named = self.found.bad.len() + bad.len() < NAMED;
                    let (uid, guid) = (message.uid, message.guid);
                    bad.push(BadFile { uid, guid, why: named.then_some(e) });
                }
                Err(e) => {
                    self.broken_off |= !uploader.is_good();
                    return Err(e);
                }
            }
        }
        uploader.finish()?;
        self.found.uploads.append(&mut uploader.in_flight.into());
        Ok(bad)
    }

    pub(super) fn damaged(&self, e: StoreError) -> MasterError {
        MasterError::of_mailbox(&self.entry.name, e)
    }

    pub(super) fn spool_failed(&self, e: io::Error) -> MasterError {
        spool_failed(&self.entry.name, &e)
    }
}

/// Sends a MAILBOX command from a thread, in frames.
pub(crate) fn send_records(
    records: RecordBuffer,
    mailbox: &MailboxName,
    client: &Client,
) -> Result<PendingCommand, UserError> {
    let failed = |e: io::Error| spool_failed(mailbox, &e);
    let mut chunks = records.into_chunks().map_err(failed)?;
    let mut next = || chunks.next(FRAME_BYTES).map_err(failed);
    let mut command = client.stream(CommandKind::Mailbox);
    let mut piece = next()?;
    loop {
        // A failed read aborts the command, and the writer notices.
        let after = next()?;
        if after.is_empty() {
            return Ok(command.close(piece)?);
        }
        command.push(piece)?;
        piece = after;
    }
}

fn spool_failed(mailbox: &MailboxName, e: &io::Error) -> MasterError {
    MasterError::RecordBuffer { mailbox: mailbox.clone(), problem: e.to_string() }
}
