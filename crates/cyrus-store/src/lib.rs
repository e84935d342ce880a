//! A read-only view of a Cyrus IMAP mail store, as cyrus-imapd 3.6.1 and its neighbours lay it out.
//!
//! Reading happens with plain `pread` calls under the same advisory locks that Cyrus takes; nothing here ever writes to a mail
//! store (the one exception: lock files, which are created as Cyrus creates them). There are no sockets, no clocks and no
//! threads in this crate: every call blocks until the disk, or a lock, answers.
//!
//! From the bottom up:
//!
//! - [`error`], [`dlist`]: what everything else is made of.
//! - [`config`]: `imapd.conf` with the defaults of 3.6.1.
//! - [`paths`]: where each thing lives on disk.
//! - [`lock`]: locks that agree with Cyrus' own.
//! - [`db`]: the key-value files (twoskip, skiplist, flat, quotalegacy); [`databases`]: which are read, and what is missing.
//! - [`mboxlist`], [`user::subs`], [`user::seen`], [`user::quota`], [`user::counters`], [`user::conversations`], [`user::sieve`]: what is known of a user.
//! - [`mailbox::header`], [`mailbox::index`], [`mailbox::record`], [`mailbox::annotations`], [`mailbox::crc`], [`mailbox`]: what is in a mailbox.
//! - [`store`]: the front door.
#![forbid(unsafe_code)]

mod big_endian;
pub mod config;
pub mod databases;
pub mod db;
pub mod dlist;
pub mod error;
pub mod lock;
pub mod mboxlist;
pub mod paths;
mod regular;

pub mod mailbox;
pub mod store;
pub mod sync_log;
pub mod user;

pub use config::Config;
pub use error::{ErrorClass, StoreError};
pub use lock::{FileLock, sync_lock};
pub use mailbox::annotations::Annotation;
pub use mailbox::record::IndexRecord;
pub use mailbox::virtual_annotations::{VirtualAnnotation, VirtualValue};
pub use mailbox::{Mailbox, RecordIter};
pub use mboxlist::{MboxEntry, MboxList};
pub use store::Store;
pub use user::{Modseqs, UserModseqs};
