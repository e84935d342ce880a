//! sync_client without Cyrus: `testkit::store` writes the master's store, an embedded replica is the replica.
//!
//! These tests run on any Linux, as any user: `cargo test --test embedded`.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails by panicking")]

#[path = "../running/mod.rs"]
mod running;

mod answers;
mod asked_to_stop;
mod blocked;
mod cli;
mod growth;
mod link;
mod list;
mod memory;
mod metrics;
mod named;
mod neighbours;
mod progress_bar;
mod removed;
mod replicated;
mod reports;
mod synthetic;
mod words;
