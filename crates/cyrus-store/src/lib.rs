//! A read-only view of a Cyrus IMAP mail store, in the layout of cyrus-imapd 3.6.1 and other versions.
//!
//! It reads with plain `pread` calls under the same advisory locks that Cyrus takes. It never writes to a mail store,
//! except that it creates lock files as Cyrus creates them. There are no sockets and no clocks in this crate. Every call blocks
//! until the disk, or a lock, answers; no thread outlives the call that starts it (only [`db::kept`] starts one).
//!
//! From the bottom up:
//!
//! - [`error`], [`dlist`]: the base of everything else.
//! - [`config`]: `imapd.conf` with the defaults of 3.6.1.
//! - [`paths`]: where each file is on disk.
//! - [`lock`]: locks that agree with Cyrus' own.
//! - [`db`]: the key-value files (twoskip, skiplist, flat, quotalegacy); [`databases`]: which are read, and what is missing.
//! - [`mboxlist`], [`user::subs`], [`user::seen`], [`user::quota`], [`user::counters`], [`user::conversations`],
//!   [`user::sieve`]: the data of a user.
//! - [`mailbox::header`], [`mailbox::index`], [`mailbox::record`], [`mailbox::annotations`], [`mailbox::crc`], [`mailbox`]:
//!   the contents of a mailbox.
//! - [`store`]: the entry point.
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
