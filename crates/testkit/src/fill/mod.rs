//! Seeded fillers: the same seed makes the same users.
//!
//! - [`fill_users`]: few users with every special case; for correctness.
//! - [`uniform`]: many equal users; for benchmarks.
//! - [`RandomWork`]: random changes to existing users.
//! - [`Load`]: many clients at work, until they are stopped.

mod load;
mod message;
mod random_work;
mod session;
mod uniform;
mod users;

pub use load::{Load, LoadOptions, LoadReport};
pub use message::Composer;
pub use random_work::{RandomWork, Tally};
pub use uniform::uniform;
pub use users::{FillOptions, fill_users, fill_with};
