//! The content and the prerequisites of one MAILBOX command.

use csync::ReplicaMailbox;
use cyrus_types::SyncCrcs;

use crate::master::batches::{Base, Batch};
use crate::master::record_buffer::RecordBuffer;
use crate::master::source::Message;

/// The content of one MAILBOX command.
#[derive(Debug, Clone, Copy)]
pub(super) struct CommandHead<'a> {
    pub(super) crcs: SyncCrcs,
    pub(super) base: Base,
    pub(super) step: Option<Batch>,
    /// How many bytes of new messages it may bring.
    pub(super) most: u64,
    /// The replica's mailbox, unless it lacks it or it is made again.
    pub(super) replica: Option<&'a ReplicaMailbox>,
}

/// One MAILBOX command, and the messages that must be sent to the replica before it.
pub(super) struct Encoded {
    pub(super) spool: RecordBuffer,
    pub(super) messages: Vec<Message>,
    /// How many bytes these have.
    pub(super) bytes: u64,
    /// How many other new messages the replica keeps for us.
    pub(super) reserved: usize,
    /// How many records there are.
    pub(super) records: usize,
    /// How many records make the replica expunge a message that may be live there.
    pub(super) expunged: u64,
}
