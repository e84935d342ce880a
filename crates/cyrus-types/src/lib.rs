//! The types that the protocol, the store and the plan share, so that none of these has to know another. Plain values:
//! nothing here reads a file or a socket, and this crate depends on no other of ours.
//!
//! | file | what it holds |
//! |---|---|
//! | `guid.rs` | the SHA-1 that names a message |
//! | `numbers.rs` | UIDs, modseqs and UIDVALIDITY |
//! | `crcs.rs` | the checksums by which both sides compare a mailbox |
//! | `unique_id.rs` | the id that a mailbox keeps for life |
//! | `mailbox_name.rs` | a mailbox's internal name |
//! | `owner.rs` | a user, or the shared mailboxes |
//! | `names.rs` | the spellings of a mailbox's name, and its owner |
//! | `log_entry.rs` | one line of the sync log |
#![forbid(unsafe_code)]

mod crcs;
mod guid;
mod log_entry;
mod mailbox_name;
mod names;
mod numbers;
mod owner;
mod unique_id;

pub use crcs::SyncCrcs;
pub use guid::{Guid, GuidError};
pub use log_entry::LogEntry;
pub use mailbox_name::MailboxName;
pub use names::{NameParts, NameRules};
pub use numbers::{ModSeq, Uid, UidValidity};
pub use owner::Owner;
pub use unique_id::UniqueId;
