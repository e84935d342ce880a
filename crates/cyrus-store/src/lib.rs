//! A read-only view of a Cyrus IMAP mail store, as cyrus-imapd 3.6.1 and its neighbours lay it out.
//!
//! Reading happens with plain `pread` calls under the same advisory locks that Cyrus takes; nothing here ever writes to a mail
//! store (the one exception: lock files, which are created as Cyrus creates them). There are no sockets, no clocks and no
//! threads in this crate: every call blocks until the disk, or a lock, answers.
//!
//! From the bottom up:
//!
//! - [`error`], [`guid`], [`dlist`]: what everything else is made of.
//! - [`config`]: `imapd.conf` with the defaults of 3.6.1.
//! - [`names`], [`paths`]: mailbox names in their several spellings, and where each thing lives on disk.
//! - [`lock`]: locks that agree with Cyrus' own.
//! - [`db`]: the key-value files (twoskip, skiplist, flat, quotalegacy); [`databases`]: which are read, and what is missing.
//! - [`mboxlist`], [`subs`], [`seen`], [`quota`], [`counters`], [`conversations`], [`sieve`]: what is known of a user.
//! - [`header`], [`index`], [`record`], [`annotations`], [`crc`], [`mailbox`]: what is in a mailbox.
//! - [`store`]: the front door.
#![forbid(unsafe_code)]

pub mod config;
mod config_options;
mod config_reader;
mod config_values;
pub mod conversations;
pub mod counters;
pub mod databases;
pub mod db;
pub mod dlist;
pub mod error;
pub mod guid;
pub mod lock;
pub mod mboxlist;
mod mboxlist_entry;
pub mod names;
pub mod paths;
pub mod quota;
mod regular;
pub mod seen;
pub mod sieve;
pub mod subs;

pub mod annotations;
pub mod crc;
pub mod header;
pub mod index;
pub mod mailbox;
pub mod record;
pub mod store;
pub mod sync_log;
pub mod user;

pub use annotations::{Annotation, VirtualAnnotation, VirtualValue};
pub use config::Config;
pub use error::{ErrorClass, StoreError};
pub use guid::{Guid, SyncCrcs};
pub use lock::{FileLock, sync_lock};
pub use mailbox::{Mailbox, RecordIter};
pub use mboxlist::{MboxEntry, MboxList};
pub use record::IndexRecord;
pub use store::Store;
pub use user::{Modseqs, UserModseqs};
