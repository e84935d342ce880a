//! The resources for a user's work.

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

/// The resources for a user's work.
#[derive(Clone)]
pub(crate) struct UserContext {
    pub(crate) settings: Arc<Settings>,
    pub(crate) events: EventSink,
    pub(crate) progress: Progress,
    /// The part of `progress` that a user's work writes.
    pub(crate) in_flight: InFlight,
    /// How names are spelt here.
    pub(crate) rules: Arc<NameRules>,
    /// The name of mailboxes for Sieve scripts (`sieve_folder`).
    pub(crate) sieve_folder: Arc<str>,
    pub(crate) pool: Addr<ConnectionPool>,
    /// The memory budget for answers.
    pub(crate) budget: Budget,
    /// The replica's state from the last time it was asked; only in rolling replication.
    pub(crate) cache: Option<Arc<Cache>>,
    /// The replica's partitions.
    pub(crate) partitions: Partitions,
    /// Connections that fell silent.
    pub(crate) fading: Fading,
    /// Threads that read, and wait only for the disk.
    pub(crate) reader: Addr<StoreReader>,
    /// Threads that send data to connections, and wait for them.
    pub(crate) streamer: Addr<MailboxStreamer>,
}
