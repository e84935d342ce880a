//! Sends one mailbox to the replica: its new messages' files, then `APPLY MAILBOX` with its records.
//!
//! ```text
//!   shared locks: [ read header, choose the batch, encode records, list files ]      plan_mailbox.rs
//!   mailbox lock only:                                     [ upload files ]
//!   no lock:                                                              [ APPLY MAILBOX ]
//! ```
//! The index is locked only while it is read. While files are sent the shared mailbox lock is kept, so that they stay;
//! writers need no more than that. The encoded records wait in a record buffer (`master/record_buffer.rs`), and are sent
//! when the replica has accepted the files (`user/apply/held.rs`). The mailbox is opened once for each batch.

use std::collections::VecDeque;
use std::io;

use csync::{Command, CommandKind, ReplicaMailbox};
use cyrus_store::MboxEntry;
use cyrus_types::MailboxName;
use tracing::debug;

use crate::error::{MasterError, UserError};
use crate::master::bad_files::{BadFile, Files, NAMED};
use crate::master::plan_mailbox::{BatchPlan, BatchPlanner, Next, Planned, SendMode, spool_failed};
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
        let planner = BatchPlanner {
            sync: &self.settings.sync,
            entry: self.entry,
            replica: self.replica.as_deref(),
            how: &self.how,
            next: self.next.as_ref(),
            staged: &self.staged,
            user_flags: self.client.features().user_flags,
        };
        let plan = match planner.plan(&*mailbox, &mut self.found)? {
            Planned::Batch(plan) => *plan,
            Planned::Unchanged => return done(MailboxSent::Unchanged),
            Planned::NeedsFull => return done(MailboxSent::NeedsFull),
            Planned::Bad => return done(MailboxSent::Bad(self.found.take_errors())),
        };
        let bad = self.upload(&mut *mailbox, &plan)?;
        if !bad.is_empty() {
            self.found.bad.extend(bad);
            if !self.found.asked {
                return done(MailboxSent::Lacking(std::mem::take(&mut self.found)));
            }
            return Ok(Pass::Again);
        }
        let bad = self.found.take_errors();
        let Files { uploads, .. } = std::mem::take(&mut self.found);
        let instead_of = self.replica.take().filter(|_| plan.again);
        let BatchPlan { before, records, brings, state, next, .. } = plan;
        let ready = Ready { uploads, instead_of, before, records, brings, state, next, bad };
        done(MailboxSent::Ready(Box::new(ready)))
    }

    /// Sends the files. The mailbox's own lock, which keeps them in place, is held until the last one is sent. Returns the
    /// messages with bad files, except expunged ones, whose files the replica does not need.
    fn upload(
        &mut self,
        mailbox: &mut dyn MailboxSource,
        plan: &BatchPlan,
    ) -> Result<Vec<BadFile>, UserError> {
        mailbox.release_index();
        debug!(
            "{} new messages ({} bytes) to upload, {} are there",
            plan.messages.len(),
            plan.bytes,
            plan.reserved
        );
        let mut uploader = Uploader::new(mailbox, &plan.partition, self.client);
        let mut bad = Vec::new();
        for message in &plan.messages {
            match uploader.send(message) {
                Ok(()) => {
                    self.progress.uploaded(message.size);
                    self.staged.add(&plan.partition, std::iter::once(message.guid));
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
