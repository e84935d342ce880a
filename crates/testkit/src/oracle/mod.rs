//! Cyrus itself as the judge: what a private sync_server reports, compared between master and replica.
//!
//! - [`PrivateServer`] asks an instance's own sync_server over a Unix socket; its answers are the truth about a store.
//! - [`compare`] asks both sides for everything about some users and lists the differences ([`Difference`]).
//! - [`compare_bytes`] compares the files of every live message.

mod bytes;
mod compare;
mod difference;
mod dlist;
mod server;

pub use bytes::{compare_bytes, compare_fetched};
pub use compare::{Ignore, compare, compare_servers, compare_with};
pub use difference::{Difference, Report};
pub use dlist::{Item, Value};
pub use server::PrivateServer;
