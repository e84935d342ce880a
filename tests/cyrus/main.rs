//! sync_client against real Cyrus servers.
//!
//! Each test starts the servers it needs on free loopback ports and stops them itself; see `testkit`. Without Cyrus these
//! tests fail: `cargo xtask test` installs it.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails by panicking")]

mod common;
#[path = "../running/mod.rs"]
mod running;

mod advice;
mod cli;
mod databases;
mod deletion;
mod disk_full;
mod disturbed;
mod embedded;
mod equal;
mod errors;
mod first_hour;
mod folders;
mod full;
mod hardening;
mod left_out;
mod link;
mod linked;
mod list;
mod locks;
mod lost_entries;
mod mailbox_mode;
mod metrics;
mod moved;
mod no_replica;
mod one_way;
mod opening;
mod oracle_lines;
mod peers;
mod progress;
mod records;
mod releases;
mod replicas;
mod rolling;
mod rolling_cache;
mod rolling_load;
mod rolling_options;
mod rolling_start;
mod rolling_verbs;
mod safety;
mod script_files;
mod shared;
mod sieve_mode;
mod syslog;
mod tries;
mod unread;
mod uploads;
mod versions;
mod words;
mod written;
