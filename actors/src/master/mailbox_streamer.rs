//! The MailboxStreamer actor: mailboxes from the store to connections, each on a thread of its own.
//!
//! A thread that streams waits for the connection (bounded channel), never the event loops.

use std::sync::Arc;

use actix::prelude::*;
use csync::ReplicaMailbox;
use cyrus_store::{MboxEntry, Store};
use tracing::Span;

use crate::error::UserError;
use crate::master::bad_files::Files;
use crate::master::record_buffer::RecordBuffer;
use crate::master::send_mailbox;
use crate::master::send_mailbox::{MailboxSender, MailboxSent, Next, SendMode};
use crate::master::threads::Threads;
use crate::monitor::progress::Progress;
use crate::replica::asked::PendingCommand;
use crate::replica::client::Client;
use crate::replica::staged::Staged;
use crate::settings::Settings;

/// Streams mailboxes.
pub(crate) struct MailboxStreamer {
    pub(crate) store: Arc<Store>,
    pub(crate) settings: Arc<Settings>,
    /// What was sent is counted there.
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
    /// What the replica has, none where it lacks the mailbox.
    pub(crate) replica: Option<Box<ReplicaMailbox>>,
    pub(crate) how: SendMode,
    /// Where to go on; none at the beginning.
    pub(crate) next: Option<Next>,
    pub(crate) client: Client,
    pub(crate) staged: Staged,
    /// What is known of the message files of this step.
    pub(crate) files: Files,
    /// Whose mailbox it is, for lines in the log.
    pub(crate) span: Span,
}

/// Streams a MAILBOX command that was ready before.
#[derive(Message)]
#[rtype(result = "Result<PendingCommand, UserError>")]
pub(crate) struct SendRecords {
    pub(crate) mailbox: String,
    pub(crate) records: RecordBuffer,
    pub(crate) client: Client,
    /// Whose mailbox it is, for lines in the log.
    pub(crate) span: Span,
}

/// How it went.
#[derive(MessageResponse)]
pub(crate) struct SendDone {
    pub(crate) result: Result<MailboxSent, UserError>,
    /// What the replica now holds for this connection.
    pub(crate) staged: Staged,
    /// The connection stands in the middle of a command.
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
        let (store, settings) = (self.store.clone(), self.settings.clone());
        let (progress, threads) = (self.progress.clone(), self.threads.clone());
        let sending = move || send(&store, &settings, &progress, msg);
        Box::pin(async move {
            threads.run(sending).await.unwrap_or_else(|e| SendDone {
                result: Err(e.into()),
                staged: Staged::default(),
                broken_off: true,
            })
        })
    }
}

/// On a thread: sends it.
fn send(store: &Store, settings: &Settings, progress: &Progress, msg: SendMailbox) -> SendDone {
    let _in = msg.span.enter();
    let mut sender = MailboxSender {
        store,
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
