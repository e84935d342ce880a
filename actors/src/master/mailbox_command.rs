//! What one MAILBOX command is about, and what becomes of it.

use cyrus_store::Modseqs;
use cyrus_types::SyncCrcs;

use crate::master::batches::{Base, Batch};
use crate::master::message_files::Message;
use crate::master::record_buffer::RecordBuffer;

/// What one MAILBOX command is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct CommandHead {
    pub(super) crcs: SyncCrcs,
    pub(super) modseqs: Modseqs,
    pub(super) base: Base,
    pub(super) step: Option<Batch>,
    /// New messages' bytes that it may bring.
    pub(super) most: u64,
}

/// One MAILBOX command, and the messages that the replica must be sent before.
pub(super) struct Encoded {
    pub(super) spool: RecordBuffer,
    pub(super) partition: String,
    pub(super) messages: Vec<Message>,
    /// How many records there are.
    pub(super) records: usize,
    /// How many records tell the replica to expunge a message that it may have live.
    pub(super) expunged: u64,
}
