//! Real Cyrus 3.6.1 servers for the tests: started, filled, compared, disturbed.
//!
//! ```text
//!  install   makes sure Cyrus is there        cyrus     one server in a temporary folder (Cyrus, Builder)
//!  imap      a client to fill it              fill      seeded users, uniform loads, random work, many clients at work
//!  lmtp      delivers messages                sieve     puts and activates Sieve scripts
//!  oracle    what Cyrus says, compared        snapshot  proves that a store was not touched
//!  relay     delay, stalls, cuts              c_client  Cyrus' own sync_client, measured
//!  store     a master's store written without Cyrus
//!  saslauthd, log_sink, shim, process, place    what the above stand on, with the crate groundwork
//! ```
//! All calls block and run on threads. Servers end, and their folders are removed, when their values are dropped. Run it as
//! root: Cyrus changes to its own user.
//!
//! ```no_run
//! use testkit::{Cyrus, Via, fill, oracle};
//! # fn main() -> testkit::Result<()> {
//! let replica = Cyrus::replica().start()?;
//! let mut master = Cyrus::master().start()?;
//! master.replicate_to(&replica, Via::Csync)?;
//! let users = fill::fill_users(&master, 1, 3)?;
//! testkit::c_client::run(&master, &["-A"])?.must_succeed()?;
//! let report = oracle::compare(&master, &replica, &users)?;
//! assert!(report.is_empty(), "{report}");
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod c_client;
pub mod cyrus;
pub mod error;
pub mod fill;
pub mod imap;
pub mod install;
pub mod lmtp;
pub mod log_sink;
pub mod oracle;
mod place;
pub mod process;
pub mod programs;
pub mod relay;
pub mod saslauthd;
mod shim;
pub mod sieve;
pub mod snapshot;
pub mod store;

pub use cyrus::{Access, Builder, Cyrus, DeleteMode, Via};
pub use error::{Error, Result};
pub use groundwork::Folder;
pub use groundwork::roots::Release;
pub use install::ensure_cyrus;
pub use log_sink::LogSink;
pub use process::run_as_cyrus;
pub use saslauthd::Saslauthd;
