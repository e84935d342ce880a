//! MAILBOX commands that wait until the replica has accepted the messages they rely on.
//!
//! ```text
//!   streamer    MESSAGE a ------ MESSAGE b ------ (c has no new messages)
//!   held                 [a]              [a b]            [a b c]
//!   replica              OK a ----------> MAILBOX a   OK b --> MAILBOX b, MAILBOX c
//! ```
//! A server kills itself when a MAILBOX names a message that it was never sent, or could not keep
//! (`imap/sync_support.c:sync_apply_mailbox`, 3.2 to 3.12). So records are sent after their messages' OK. Meanwhile the
//! next mailboxes' messages are uploaded; only for the last ones of a user we wait, which costs one round trip per user.
//! Held commands stay in the master's order, because a folder must not come before the mailbox above it. If messages are
//! refused the connection ends (`replica/connection/reader.rs`), and the user fails, naming their mailbox.

use std::collections::VecDeque;

use csync::{Command, ReplicaMailbox};
use cyrus_types::MailboxName;
use tracing::{Instrument, Span, info};

use super::ahead::Object;
use super::{Apply, MAILBOXES_AHEAD};
use crate::error::UserError;
use crate::master::mailbox_streamer::SendRecords;
use crate::master::record_buffer::RecordBuffer;
use crate::master::send_mailbox::Ready;
use crate::monitor::report::Sent;
use crate::monitor::spans;
use crate::replica::asked::{Done, PendingCommand};
use crate::replica::command_error::CommandError;
use crate::replica::frames::FRAME_BYTES;

/// How many bytes of records may be held in memory, and how many in total.
const HELD_IN_MEMORY: usize = 2 * 1024 * 1024;
const HELD: usize = 64 * 1024 * 1024;

/// A MAILBOX command, ready to be sent.
struct Held {
    mailbox: MailboxName,
    uploads: VecDeque<PendingCommand>,
    instead_of: Option<Box<ReplicaMailbox>>,
    before: Vec<Command>,
    records: RecordBuffer,
    brings: Sent,
    state: Option<Box<ReplicaMailbox>>,
}

/// The commands that are held.
#[derive(Default)]
pub(super) struct Holding {
    queue: VecDeque<Held>,
}

impl Holding {
    fn is_full(&self) -> bool {
        let sum = |size: fn(&RecordBuffer) -> usize| -> usize {
            self.queue.iter().map(|held| size(&held.records)).sum()
        };
        self.queue.len() > MAILBOXES_AHEAD
            || sum(RecordBuffer::in_memory) > HELD_IN_MEMORY
            || sum(RecordBuffer::size) > HELD
    }

    /// The first mailbox whose messages were refused, and the error: that is why the connection ended.
    pub(super) fn refused(&mut self) -> Option<UserError> {
        for held in &mut self.queue {
            let refused = held.uploads.iter_mut().find_map(PendingCommand::refusal);
            if let Some(source) = refused {
                return Some(UserError::refused(&held.mailbox, source));
            }
        }
        None
    }
}

impl Apply<'_> {
    /// Sends a mailbox's records once its messages are accepted. Commands that are ready by now are sent at once.
    pub(super) async fn hold(
        &mut self,
        mailbox: &MailboxName,
        ready: Ready,
    ) -> Result<(), UserError> {
        let Ready { uploads, instead_of, before, records, brings, state, .. } = ready;
        for upload in &uploads {
            self.messages += upload.brings.messages as usize;
            self.bytes += upload.brings.bytes;
        }
        let mailbox = mailbox.clone();
        let held = Held { mailbox, uploads, instead_of, before, records, brings, state };
        self.holding.queue.push_back(held);
        while self.holding.is_full() && self.release_first(true).await? {}
        while self.release_first(false).await? {}
        Ok(())
    }

    /// Waits until all held commands are sent.
    pub(super) async fn release(&mut self) -> Result<(), UserError> {
        while self.release_first(true).await? {}
        Ok(())
    }

    /// Sends the oldest held command. False if nothing is held or, unless we are to wait, its messages are not accepted
    /// yet.
    async fn release_first(&mut self, wait: bool) -> Result<bool, UserError> {
        let Some(first) = self.holding.queue.front_mut() else { return Ok(false) };
        if !wait && !first.uploads.iter().all(PendingCommand::is_answered) {
            return Ok(false);
        }
        let Some(mut held) = self.holding.queue.pop_front() else { return Ok(false) };
        for upload in std::mem::take(&mut held.uploads) {
            let (kind, brings) = (upload.kind, upload.brings);
            match upload.done().await {
                Ok(_) => self.count(kind, Some(&held.mailbox), brings),
                Err(e @ CommandError::Lost { .. }) => {
                    return Err(self.of_missing_partition(&held.mailbox, e.into()));
                }
                Err(source) => {
                    self.lease.spoil();
                    return Err(UserError::refused(&held.mailbox, source));
                }
            }
        }
        let span = spans::mailbox(&held.mailbox);
        self.send_held(held).instrument(span).await?;
        Ok(true)
    }

    async fn send_held(&mut self, held: Held) -> Result<(), UserError> {
        if let Some(old) = &held.instead_of
            && !self.remove(old, held.brings).await?
        {
            return Ok(());
        }
        if held.brings.overwritten > 0 {
            let lost = crate::monitor::words::count(held.brings.lost, "message");
            let line = || format!("OVERWRITE {} ({lost} that only the replica had)", held.mailbox);
            info!("SYNCNOTICE: {}", line());
            self.context.events.action(line).await;
        }
        self.lease.client.report_mailbox(&held.mailbox).await;
        let mut commands = Vec::new();
        for command in held.before {
            commands.push(self.lease.client.send(command).await?);
        }
        let mut in_flight = self.send_records(&held.mailbox, held.records).await?;
        in_flight.brings = held.brings;
        commands.push(in_flight);
        self.push(Object::Mailbox(held.mailbox), commands, held.state).await
    }

    /// Removes a mailbox that is to be made again, if it has not changed. The replica is known to keep all messages for the
    /// new one.
    async fn remove(&mut self, old: &ReplicaMailbox, brings: Sent) -> Result<bool, UserError> {
        if !self.is_still(old).await? {
            self.look_again = true;
            return Ok(false);
        }
        let why =
            if brings.overwritten > 0 { "overwriting it" } else { "it lacks messages of ours" };
        info!("SYNCNOTICE: making a mailbox of the replica again, {why}: mailbox=<{}>", old.name);
        match self.lease.client.unmailbox(&old.name, Some(old)).await?.done().await {
            Ok(Done::Taken | Done::NothingThere) => Ok(true),
            Err(e @ CommandError::Lost { .. }) => Err(e.into()),
            Err(source) => {
                self.keep(UserError::refused(&old.name, source));
                Ok(false)
            }
        }
    }

    /// Sends a MAILBOX command ahead of its answer.
    pub(super) async fn send_records(
        &mut self,
        mailbox: &MailboxName,
        records: RecordBuffer,
    ) -> Result<PendingCommand, UserError> {
        if (1..=FRAME_BYTES).contains(&records.in_memory()) {
            let mut chunks = records.into_chunks().map_err(|e| bug(&e))?;
            let bytes = chunks.next(FRAME_BYTES).map_err(|e| bug(&e))?;
            return Ok(self.lease.client.mailbox(bytes).await?);
        }
        let client = self.lease.client.clone();
        let message =
            SendRecords { mailbox: mailbox.clone(), records, client, span: Span::current() };
        let sent = self.context.streamer.send(message).await;
        let sent = sent.map_err(|e| UserError::Internal(e.to_string())).and_then(|sent| sent);
        if sent.is_err() {
            // It may be in the middle of the command.
            self.lease.spoil();
        }
        sent
    }
}

/// What is in memory can always be read.
fn bug(e: &std::io::Error) -> UserError {
    UserError::Internal(e.to_string())
}
