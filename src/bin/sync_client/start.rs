//! Checks before rolling replication starts, and so before it goes into the background, where nobody sees errors: the log
//! is written, it is ours, and the replica accepts the login.
//!
//! There is no event loop here and no thread, except during the login ([`actors::check_logins`]): a process with threads
//! must not fork. The child inherits the claim on the log as an open file.

use std::collections::BTreeSet;
use std::io;

use actors::{LogSource, LoginCheck};
use cyrus_store::StoreError;
use cyrus_store::sync_log::{Claim, Claimed, LogFile};
use program::exit::{Exit, Failure};
use program::tell;
use tracing::warn;

use crate::channel::Channel;
use crate::cli::Args;

/// Makes these channels ready to start.
///
/// # Errors
/// [`Exit::Failed`] when another replicator has a log, or with `-o` the replica can't be reached;
/// [`Exit::Config`] when we may not work on a log, or the login is refused.
pub(crate) fn check(channels: &mut [Channel]) -> Result<(), Failure> {
    for warning in warnings(channels) {
        warn!("{warning}");
        tell(&format!("warning: {warning}"));
    }
    for channel in channels.iter_mut() {
        if let LogSource::Channel(log) = &channel.rolling.source {
            let claimed = claim(log);
            let claim = claimed.map_err(|e| Failure { text: channel.prefix() + &e.text, ..e })?;
            channel.rolling.claim = claim.into();
        }
    }
    log_in(channels)
}

/// Possible problems with the channels' logs, each one once.
pub(crate) fn warnings(channels: &[Channel]) -> BTreeSet<&str> {
    channels.iter().filter_map(|channel| Some(&*channel.warning.as_ref()?.text)).collect()
}

fn claim(log: &LogFile) -> Result<Claim, Failure> {
    match log.claim() {
        Ok(Claimed::Ours(claim)) => Ok(claim),
        Ok(Claimed::Others(rival)) => Err(Failure::new(Exit::Failed, rival.to_string())),
        Err(e) => {
            let why = format!("can't work on {}: {e}", log.path().display());
            Err(Failure::new(exit_of(&e), why))
        }
    }
}

/// A full or failing disk may recover by itself; missing write permission does not.
fn exit_of(e: &StoreError) -> Exit {
    match e {
        StoreError::Io { source, .. }
            if matches!(
                source.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            Exit::Config
        }
        _ => Exit::Failed,
    }
}

/// Logs in if a channel is to run for ever. A single pass logs in when it has something to do, and its exit code reports
/// the result.
fn log_in(channels: &[Channel]) -> Result<(), Failure> {
    let going_on: Vec<&Channel> = channels.iter().filter(|c| !c.rolling.once).collect();
    let settings: Vec<_> = going_on.iter().map(|channel| channel.settings.clone()).collect();
    if settings.is_empty() {
        return Ok(());
    }
    let checked = actors::check_logins(&settings)
        .map_err(|e| Failure::new(Exit::Failed, format!("can't log in to the replica: {e}")))?;
    let mut first = None;
    for (channel, check) in going_on.iter().zip(checked) {
        let prefix = channel.prefix();
        match check {
            LoginCheck::Good => {}
            LoginCheck::Bad(why) => {
                let failure = Failure::new(Exit::of_stop(&why), format!("{prefix}{why}"));
                first.get_or_insert(failure);
            }
            LoginCheck::Away(why) => {
                let line = format!("{prefix}{why}; trying again until it is there");
                warn!("{line}");
                tell(&line);
            }
        }
    }
    first.map_or(Ok(()), Err)
}

/// Whether the program goes into the background. Cyrus' master keeps the programs of its DAEMON section in the foreground.
pub(crate) fn goes_into_background(args: &Args) -> bool {
    args.rolling && args.input_file.is_none() && std::env::var_os("CYRUS_ISDAEMON").is_none()
}

/// Cyrus' master gives up its own start when a program in the START section of cyrus.conf ends with a code other than 0 or
/// 75 (`master/master.c`: run_startup, decode_wait_status). Mail must not depend on replication.
pub(crate) fn as_master_bears(args: &Args, failure: Failure) -> Failure {
    if !goes_into_background(args) || !is_started_by_master() {
        return failure;
    }
    let text = format!("{} (exit 75, or Cyrus' master would not start)", failure.text);
    Failure { exit: Exit::TempFail, text }
}

/// Whether our parent is Cyrus' master, by the names under which it is installed.
fn is_started_by_master() -> bool {
    let parent = std::os::unix::process::parent_id();
    let name = std::fs::read_to_string(format!("/proc/{parent}/comm")).unwrap_or_default();
    matches!(name.trim_end(), "master" | "cyrmaster" | "cyrus-master")
}
