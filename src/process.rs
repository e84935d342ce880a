//! The process before there is an event loop: limits, signals, a debugger.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use tracing::warn;

use crate::tell;

/// The most open files that are asked for: more than 1024 jobs need, each with a connection, a lock and a mailbox's files.
const FILES: u64 = 65_536;

/// Raises the limit of open files as far as the system permits: the usual one, 1024, is for programs that use select().
pub fn allow_many_files() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let wanted = hard.min(FILES);
    if soft < wanted
        && let Err(e) = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)
    {
        warn!("can't raise the limit of open files from {soft} to {wanted}: {e}");
    }
}

/// Blocks SIGHUP and SIGUSR1 until there is a handler, so that they do not end us; [`let_signals_in`] unblocks them.
pub fn hold_signals() {
    // If that fails, it is as it was before.
    let _ = held().thread_block();
}

/// There is a handler now.
pub fn let_signals_in() {
    let _ = held().thread_unblock();
}

fn held() -> SigSet {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGHUP);
    signals.add(Signal::SIGUSR1);
    signals
}

/// Waits this many seconds, so that a developer can attach a debugger (-w).
pub fn wait_for_debugger(seconds: u64) {
    if seconds > 0 {
        tell(&format!("Waiting for {seconds} seconds for gdb attach..."));
        std::thread::sleep(Duration::from_secs(seconds));
    }
}
