//! The content and the prerequisites of one MAILBOX command.

use cyrus_types::SyncCrcs;

use crate::master::batches::{Base, Batch};
use crate::master::record_buffer::RecordBuffer;
use crate::master::source::Message;

/// The content of one MAILBOX command.
#[derive(Debug, Clone, Copy)]
pub(super) struct CommandHead {
    pub(super) crcs: SyncCrcs,
    pub(super) base: Base,
    pub(super) step: Option<Batch>,
    /// How many bytes of new messages it may bring.
    pub(super) most: u64,
}

/// One MAILBOX command, and the messages that must be sent to the replica before it.
pub(super) struct Encoded {
    pub(super) spool: RecordBuffer,
    pub(super) partition: String,
    pub(super) messages: Vec<Message>,
    /// How many records there are.
    pub(super) records: usize,
    /// How many records make the replica expunge a message that may be live there.
    pub(super) expunged: u64,
}
