//! What a user's work is done with.

use std::sync::Arc;

use actix::Addr;
use cyrus_types::NameRules;

use crate::master::mailbox_streamer::MailboxStreamer;
use crate::master::store_reader::StoreReader;
use crate::monitor::events::EventSink;
use crate::monitor::in_flight::InFlight;
use crate::monitor::progress::Progress;
use crate::replica::answer::Budget;
use crate::replica::fading::Fading;
use crate::replica::partitions::Partitions;
use crate::replica::pool::ConnectionPool;
use crate::replica::state_cache::Cache;
use crate::settings::Settings;

/// What a user's work needs.
#[derive(Clone)]
pub(crate) struct UserContext {
    pub(crate) settings: Arc<Settings>,
    pub(crate) events: EventSink,
    pub(crate) progress: Progress,
    /// The part of it that a user's work writes.
    pub(crate) in_flight: InFlight,
    /// How names are spelt here.
    pub(crate) rules: Arc<NameRules>,
    /// What the mailboxes of Sieve scripts are called (`sieve_folder`).
    pub(crate) sieve_folder: Arc<str>,
    pub(crate) pool: Addr<ConnectionPool>,
    /// How much memory answers may take.
    pub(crate) budget: Budget,
    /// What the replica has, from the last time it was asked; rolling replication's alone.
    pub(crate) cache: Option<Arc<Cache>>,
    /// Which partitions the replica has.
    pub(crate) partitions: Partitions,
    /// Connections that fell silent.
    pub(crate) fading: Fading,
    /// Threads that read, and wait for nothing but the disk.
    pub(crate) reader: Addr<StoreReader>,
    /// Threads that stream to connections, and wait for them.
    pub(crate) streamer: Addr<MailboxStreamer>,
}
