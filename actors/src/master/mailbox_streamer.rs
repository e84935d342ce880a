//! The MailboxStreamer actor: mailboxes from the master to connections, each on a thread of its own.
//!
//! A streaming thread waits for the connection (bounded channel); the event loops never do.

use std::sync::Arc;

use actix::prelude::*;
use csync::ReplicaMailbox;
use cyrus_store::MboxEntry;
use cyrus_types::MailboxName;
use tracing::Span;

use crate::error::UserError;
use crate::master::bad_files::Files;
use crate::master::plan_mailbox::{Next, SendMode};
use crate::master::record_buffer::RecordBuffer;
use crate::master::send_mailbox;
use crate::master::send_mailbox::{MailboxSender, MailboxSent};
use crate::master::source::Source;
use crate::master::threads::Threads;
use crate::monitor::progress::Progress;
use crate::replica::asked::PendingCommand;
use crate::replica::client::Client;
use crate::replica::staged::Staged;
use crate::settings::Settings;

/// Streams mailboxes. Clones use the same threads.
#[derive(Clone)]
pub(crate) struct MailboxStreamer {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) settings: Arc<Settings>,
    /// Counts what was sent.
    pub(crate) progress: Progress,
    pub(crate) threads: Threads,
}

impl Actor for MailboxStreamer {
    type Context = Context<Self>;
}

/// Streams one mailbox's changes to a connection.
#[derive(Message)]
#[rtype(result = "SendDone")]
pub(crate) struct SendMailbox {
    pub(crate) entry: MboxEntry,
    /// The replica's state; `None` if it lacks the mailbox.
    pub(crate) replica: Option<Box<ReplicaMailbox>>,
    pub(crate) how: SendMode,
    /// Where to continue; `None` at the beginning.
    pub(crate) next: Option<Next>,
    pub(crate) client: Client,
    pub(crate) staged: Staged,
    /// What is known of the message files of this batch.
    pub(crate) files: Files,
    /// The span for its log lines.
    pub(crate) span: Span,
}

/// Streams a MAILBOX command that was encoded before.
#[derive(Message)]
#[rtype(result = "Result<PendingCommand, UserError>")]
pub(crate) struct SendRecords {
    pub(crate) mailbox: MailboxName,
    pub(crate) records: RecordBuffer,
    pub(crate) client: Client,
    /// The span for its log lines.
    pub(crate) span: Span,
}

/// The result.
#[derive(MessageResponse)]
pub(crate) struct SendDone {
    pub(crate) result: Result<MailboxSent, UserError>,
    /// The messages that the replica now keeps for this connection.
    pub(crate) staged: Staged,
    /// The connection is in the middle of a command.
    pub(crate) broken_off: bool,
}

impl Handler<SendRecords> for MailboxStreamer {
    type Result = ResponseFuture<Result<PendingCommand, UserError>>;

    fn handle(&mut self, msg: SendRecords, _: &mut Context<Self>) -> Self::Result {
        let threads = self.threads.clone();
        let sending = move || {
            let _in = msg.span.enter();
            send_mailbox::send_records(msg.records, &msg.mailbox, &msg.client)
        };
        Box::pin(async move { threads.run(sending).await? })
    }
}

impl Handler<SendMailbox> for MailboxStreamer {
    type Result = ResponseFuture<SendDone>;

    fn handle(&mut self, msg: SendMailbox, _: &mut Context<Self>) -> Self::Result {
        let (source, settings) = (self.source.clone(), self.settings.clone());
        let (progress, threads) = (self.progress.clone(), self.threads.clone());
        let sending = move || send(&*source, &settings, &progress, msg);
        Box::pin(async move {
            threads.run(sending).await.unwrap_or_else(|e| SendDone {
                result: Err(e.into()),
                staged: Staged::default(),
                broken_off: true,
            })
        })
    }
}

/// Runs on a thread.
fn send(
    source: &dyn Source,
    settings: &Settings,
    progress: &Progress,
    msg: SendMailbox,
) -> SendDone {
    let _in = msg.span.enter();
    let mut sender = MailboxSender {
        source,
        settings,
        progress,
        entry: &msg.entry,
        replica: msg.replica,
        how: msg.how,
        next: msg.next,
        client: &msg.client,
        staged: msg.staged,
        broken_off: false,
        found: msg.files,
    };
    let result = sender.run();
    let MailboxSender { staged, broken_off, .. } = sender;
    SendDone { result, staged, broken_off }
}
