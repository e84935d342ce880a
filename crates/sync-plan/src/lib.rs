//! Decides how to make a replica equal to its master: pure functions, no I/O, no clock.
//!
//! ```text
//!   MasterUser (read off the disk) --\
//!                                     >-- plan_user() --> UserPlan --> (the actors act)
//!   ReplicaUser (GET USER's answer) -/
//! ```
//!
//! The order of a user's work is Cyrus' own (`imap/sync_support.c:sync_do_user`, `do_folders` of
//! cyrus-imapd 3.6.1): delete what has a local tombstone, rename without conflicts and look again
//! if anything was renamed, then the mailboxes, the quota roots, the subscriptions, the Sieve
//! scripts (only for peers without SIEVE-MAILBOX) and the seen state.
//!
//! | file | what it decides |
//! |---|---|
//! | `master.rs` | the plain types that describe the master's side of one user |
//! | `compare.rs` | whether one mailbox is the same on both sides, or would need copyback |
//! | `full.rs` | the same record by record, where headers can't tell |
//! | `folders.rs` | deletions and renames, in an order without conflicts |
//! | `meta.rs` | quota roots, subscriptions, seen state, Sieve scripts |
//! | `lost_quota.rs` | mailboxes that the replica does not count against their quota root |
//! | `missing.rs` | what is missing here, so that nothing is taken away there for it |
//! | `plan.rs` | all of it together: the plan for one user |
//! | `backlog.rs` | the tasks from the sync log, merged and by user |
#![forbid(unsafe_code)]

pub mod backlog;
mod compare;
mod folders;
mod full;
mod lost_quota;
mod master;
mod meta;
mod missing;
mod plan;

pub use compare::{CopybackReason, Verdict, compare_mailbox};
pub use folders::{Rename, order_renames};
pub use full::{FullMaster, FullPlan, FullReplica, RecordState, plan_full};
pub use lost_quota::Uncounted;
pub use master::{
    Folder, Intermediate, MailboxAnnotation, MasterMailbox, MasterQuota, MasterSeen, MasterSieve,
    MasterUser, Missing,
};
pub use meta::{QuotaChange, SieveChange, SubChange, plan_quota, plan_seen, plan_sieve, plan_subs};
pub use missing::Kept;
pub use plan::{
    Contest, Doubt, MailboxUpdate, Moved, Options, PlanError, Tombstones, UserPlan, Withheld,
    plan_user, unmatched_folders,
};
