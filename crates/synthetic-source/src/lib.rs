//! Users that are made from a seed, in memory: a master without a disk, for tests and for load.
//!
//! ```text
//!   Plan (a seed and sizes) --> user.rs: a user, made when it is asked for    change.rs: step() changes one
//!                                  |  mailbox.rs   records, annotations, checksums
//!                                  |  content.rs   the bytes of a message, from its number
//!                                  v
//!                    synthetic.rs (who is in memory) --> source.rs, open.rs: the client's traits
//! ```
//! [`Synthetic`] is a [`Source`](actors::source::Source): give it to [`actors::replicate`]. A message is its number and size;
//! its bytes are made whenever they are read, and its GUID is computed once, when the message is made. Nothing depends on
//! the clock: times and modseqs count changes.
//!
//! It takes no side in how a replica works, but computes checksums with `cyrus-store`'s functions; a replica that computes
//! them on its own judges both.
#![forbid(unsafe_code)]

mod change;
mod content;
mod mailbox;
mod open;
mod plan;
mod random;
mod source;
mod synthetic;
mod user;

#[cfg(test)]
mod tests;

pub use change::Change;
pub use plan::{Plan, Sizes};
pub use synthetic::{Step, Synthetic};
