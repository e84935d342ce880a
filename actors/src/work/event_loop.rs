//! An event loop for users and connections, with the two readers of the store that its users ask.
//!
//! Each loop has its own pair of readers, so that a question and its answer stay on the loop; the threads that read are
//! shared by all.

use actix::prelude::*;

use crate::master::mailbox_streamer::MailboxStreamer;
use crate::master::store_reader::StoreReader;
use crate::user::context::UserContext;

/// An event loop, and the readers on it.
#[derive(Clone)]
pub(crate) struct EventLoop {
    pub(crate) handle: ArbiterHandle,
    reader: Addr<StoreReader>,
    streamer: Addr<MailboxStreamer>,
}

impl EventLoop {
    /// Starts the readers on this loop.
    pub(crate) fn new(
        handle: ArbiterHandle,
        reader: StoreReader,
        streamer: MailboxStreamer,
    ) -> EventLoop {
        let reader = StoreReader::start_in_arbiter(&handle, move |_| reader);
        let streamer = MailboxStreamer::start_in_arbiter(&handle, move |_| streamer);
        EventLoop { handle, reader, streamer }
    }

    /// The resources for a user's work on this loop.
    pub(crate) fn context(&self, context: &UserContext) -> UserContext {
        let (reader, streamer) = (self.reader.clone(), self.streamer.clone());
        UserContext { reader, streamer, ..context.clone() }
    }
}
