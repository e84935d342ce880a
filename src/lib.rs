//! What every program of this package needs beside the actors: the replica's settings from imapd.conf, privileges, syslog,
//! signals, metrics, exit codes. The programs are in `src/bin/`.
//!
//! | module | what |
//! |---|---|
//! | [`config`] | imapd.conf, and what it says about the replica |
//! | [`process`] | limits and signals before there is an event loop |
//! | [`privileges`] | becomes the Cyrus user |
//! | [`syslog`] | where log lines go |
//! | [`signals`] | SIGTERM, SIGINT, SIGHUP, SIGUSR1 |
//! | [`metrics`] | the port for `--metrics-listen` |
//! | [`exit`] | exit codes, and failures before any work is done |
#![forbid(unsafe_code)]

pub mod config;
pub mod exit;
pub mod metrics;
pub mod privileges;
pub mod process;
pub mod signals;
pub mod syslog;

/// Prints lines for the admin, each with our name in front; a closed stderr is not a failure.
pub fn tell(text: &str) {
    actors::notice(text);
}
