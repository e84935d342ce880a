//! Plans the next batch of one mailbox: its messages and its MAILBOX command, as a value. Nothing is sent, and no connection
//! is known here; `send_mailbox.rs` sends what is planned.
//!
//! A mailbox with more new messages than a batch holds, or more bytes, is divided into several batches
//! (`master/batches.rs`). Its records are read once for each, and encoded (`master/encode_batch.rs`) while the mailbox is
//! open: they would be others later.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use csync::{Command, ReplicaMailbox, Since, command};
use cyrus_store::{MboxEntry, StoreError};
use cyrus_types::{MailboxName, ModSeq, SyncCrcs, Uid};
use sync_plan::{FullReplica, PlanError, Verdict, compare_mailbox};

use crate::error::{MasterError, UserError};
use crate::master::bad_files::Files;
use crate::master::batches::{self, Base, Batch, STEP_BYTES};
use crate::master::encode::{self, State};
use crate::master::full_update::{self, Compared, Found};
use crate::master::mailbox_command::CommandHead;
use crate::master::record_buffer::RecordBuffer;
use crate::master::source::{MailboxSource, Message};
use crate::monitor::report::Sent;
use crate::replica::staged::Staged;
use crate::settings::SyncSettings;

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

/// Where the next batch of a mailbox begins.
#[derive(Debug, Clone)]
pub(crate) struct Next {
    base: Base,
    /// The batches after it, except the last one.
    steps: VecDeque<Batch>,
    /// UIDs of messages that were left out of earlier batches.
    without: Vec<Uid>,
}

/// What came of planning.
pub(crate) enum Planned {
    /// Equal after all.
    Unchanged,
    /// Only a record-by-record comparison can show what to send.
    NeedsFull,
    /// All new messages have missing or damaged files: nothing is to be sent, so that they can still be appended there.
    Bad,
    /// This is to be sent.
    Batch(Box<BatchPlan>),
}

/// One batch: messages, and the MAILBOX command that is sent when the replica has them.
pub(crate) struct BatchPlan {
    /// The partition on the replica.
    pub(crate) partition: String,
    /// The messages that the replica lacks, in order of their UIDs.
    pub(crate) messages: Vec<Message>,
    /// How many bytes they have.
    pub(crate) bytes: u64,
    /// How many other new messages the replica keeps for us: they were reserved, or sent for another mailbox.
    pub(crate) reserved: usize,
    /// The command that is sent directly before it.
    pub(crate) before: Vec<Command>,
    /// The command.
    pub(crate) records: RecordBuffer,
    /// The replica's mailbox is removed first, and made again by this.
    pub(crate) again: bool,
    /// What the replica has accepted once it says OK, without the messages.
    pub(crate) brings: Sent,
    /// The replica's state after it, if wanted.
    pub(crate) state: Option<Box<ReplicaMailbox>>,
    /// Where the next batch of the same mailbox begins.
    pub(crate) next: Option<Next>,
}

impl BatchPlan {
    /// A command that needs no messages.
    fn of(command: Vec<u8>, partition: String) -> BatchPlan {
        BatchPlan {
            partition,
            messages: Vec::new(),
            bytes: 0,
            reserved: 0,
            before: Vec::new(),
            records: RecordBuffer::of(command),
            again: false,
            brings: Sent::default(),
            state: None,
            next: None,
        }
    }
}

/// One mailbox to plan for.
pub(crate) struct BatchPlanner<'a> {
    pub(crate) sync: &'a SyncSettings,
    pub(crate) entry: &'a MboxEntry,
    /// The replica's state; `None` if it lacks the mailbox.
    pub(crate) replica: Option<&'a ReplicaMailbox>,
    pub(crate) how: &'a SendMode,
    /// Where to continue; `None` at the beginning.
    pub(crate) next: Option<&'a Next>,
    /// The messages that the replica keeps for the connection.
    pub(crate) staged: &'a Staged,
    /// Whether the replica knows names of user flags, and groups.
    pub(crate) user_flags: bool,
}

/// How the first batch begins.
enum Precheck {
    Send { crcs: SyncCrcs, compared: Option<Compared> },
    Unchanged,
    NeedsFull,
}

impl BatchPlanner<'_> {
    /// Plans the next batch. Messages that `files` names as bad are left out.
    ///
    /// # Errors
    /// Something of the mailbox can't be read; or it differs so that it may not be sent.
    pub(crate) fn plan(
        &self,
        mailbox: &dyn MailboxSource,
        files: &mut Files,
    ) -> Result<Planned, UserError> {
        if matches!(self.how, SendMode::Make) {
            return Ok(Planned::Batch(Box::new(self.make(mailbox)?)));
        }
        let mut crcs = mailbox.index().crcs;
        let mut before = Vec::new();
        let mut again = false;
        let mut compared = None;
        let Next { base, mut steps, without } = match self.next.cloned() {
            Some(next) => next,
            None => {
                match self.before_first(mailbox, files)? {
                    Precheck::Send { crcs: said, compared: came } => {
                        (crcs, compared) = (said, came)
                    }
                    Precheck::Unchanged => return Ok(Planned::Unchanged),
                    Precheck::NeedsFull => return Ok(Planned::NeedsFull),
                }
                let mut without = Vec::new();
                if let Some(Compared { found, expunge, lacking }) = &mut compared {
                    again = found.again;
                    if !again {
                        before.extend(self.expunge(expunge));
                        // Their files are known to be bad.
                        without = std::mem::take(lacking);
                    }
                }
                let base = if again { Base::default() } else { self.first_base() };
                Next { base, steps: VecDeque::new(), without }
            }
        };
        files.leave_out(without);
        files.leave_out(files.bad.iter().map(|bad| bad.uid).collect());
        if !files.without.is_empty() {
            crcs = self.recomputed(mailbox, files)?;
        }
        // A mailbox that is made again must be so in one batch: it must never exist there in part.
        let (many, most) = match again {
            true => (false, u64::MAX),
            false => (batches::are_many(mailbox, &base, self.sync.batch_messages), STEP_BYTES),
        };
        if steps.is_empty() && many {
            steps = self.plan_steps(mailbox, &base)?;
        }
        let step = steps.pop_front();
        let replica = self.replica.filter(|_| !again);
        let mut head = CommandHead { crcs, base, step, most, replica };
        let encoded = self.encode_step(mailbox, &files.without, &mut head, &mut steps)?;
        let state = self.state(mailbox, &head, files)?;
        let next = head.step.map(|Batch { last_uid, highestmodseq }| {
            let since = Some(Since { modseq: highestmodseq, crcs: SyncCrcs::default() });
            let base = Base { last_uid, highestmodseq, since };
            Next { base, steps, without: files.without.clone() }
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
        let rest_is_bad = match again {
            false => encoded.records == 0 && next.is_none(),
            // The replica's copy is the only good one, and it could not be asked to keep it.
            true => files.bad.iter().any(|bad| self.is_live_there(bad.uid)),
        };
        if !files.bad.is_empty() && rest_is_bad {
            return Ok(Planned::Bad);
        }
        Ok(Planned::Batch(Box::new(BatchPlan {
            partition: self.partition(),
            messages: encoded.messages,
            bytes: encoded.bytes,
            reserved: encoded.reserved,
            before,
            records: encoded.spool,
            again,
            brings,
            state,
            next,
        })))
    }

    /// Whether the replica has a live message with this UID, in a mailbox that was compared record by record.
    fn is_live_there(&self, uid: Uid) -> bool {
        let SendMode::Full { records, .. } = self.how else { return false };
        let found = records.records.binary_search_by_key(&uid, |record| record.uid);
        let record = found.ok().and_then(|at| records.records.get(at));
        record.is_some_and(|record| !record.expunged)
    }

    /// A mailbox before the first batch: empty.
    fn make(&self, mailbox: &dyn MailboxSource) -> Result<BatchPlan, MasterError> {
        let partition = self.partition();
        let head = encode::Head {
            local_only: self.sync.local_only,
            one_way: self.sync.one_way,
            partition: &partition,
            state: State::Partial { last_uid: Uid::NONE, highestmodseq: ModSeq(1) },
            since: None,
            replica: None,
            groups: self.user_flags.then_some(""),
        };
        let bytes = encode::Encoder::begin(mailbox, &head)?.end();
        Ok(BatchPlan::of(bytes, partition))
    }

    /// The mailbox's partition on the replica.
    pub(super) fn partition(&self) -> String {
        self.sync.partition.clone().unwrap_or_else(|| self.entry.partition.clone())
    }

    /// The replica's state after it has accepted this, for the cache.
    fn state(
        &self,
        mailbox: &dyn MailboxSource,
        head: &CommandHead<'_>,
        files: &Files,
    ) -> Result<Option<Box<ReplicaMailbox>>, MasterError> {
        let incomplete = head.step.is_some() || !files.without.is_empty();
        if self.sync.cache.is_none() || incomplete {
            return Ok(None);
        }
        Ok(Some(Box::new(encode::replica_state(mailbox, &self.partition(), head.crcs)?)))
    }

    fn first_base(&self) -> Base {
        let Some(r) = self.replica else { return Base::default() };
        let condition = Since { modseq: r.highestmodseq, crcs: r.crcs };
        let trusted = matches!(self.how, SendMode::Since | SendMode::SinceIfChecksumsDiffer);
        let since = match (trusted, self.sync.one_way) {
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

    /// The checks to be made before the first batch.
    fn before_first(&self, m: &dyn MailboxSource, files: &Files) -> Result<Precheck, UserError> {
        let mut crcs = m.index().crcs;
        if !matches!(self.how, SendMode::Since) {
            crcs = self.recomputed(m, files)?;
        }
        let mut compared = None;
        match (self.how, self.replica) {
            // LAST_UID must never fall.
            (SendMode::Since, Some(replica)) if replica.last_uid > m.index().last_uid => {
                return Ok(Precheck::NeedsFull);
            }
            (SendMode::Since | SendMode::Make, _) | (_, None) => {}
            (SendMode::Full { records, again }, _) => {
                let came = full_update::compare(m, records, self.sync.overwrite)?;
                if came.found.again && !again {
                    return Ok(Precheck::NeedsFull);
                }
                let found = Found { again: *again, ..came.found };
                compared = Some(Compared { found, ..came });
            }
            (SendMode::SinceIfChecksumsDiffer | SendMode::Afresh, Some(replica)) => {
                let mut ours = m.head()?;
                ours.crcs = crcs;
                match compare_mailbox(&ours, replica, self.sync.one_way) {
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

    fn recomputed(&self, m: &dyn MailboxSource, files: &Files) -> Result<SyncCrcs, MasterError> {
        m.recomputed_crcs(&files.without).map_err(|e| self.damaged(e))
    }

    pub(super) fn damaged(&self, e: StoreError) -> MasterError {
        MasterError::of_mailbox(&self.entry.name, e)
    }
}

/// The error of a record buffer.
pub(crate) fn spool_failed(mailbox: &MailboxName, e: &io::Error) -> MasterError {
    MasterError::RecordBuffer { mailbox: mailbox.clone(), problem: e.to_string() }
}
