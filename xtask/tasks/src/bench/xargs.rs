//! What people with many users do today: `xargs -P` over Cyrus' own client, a few users each.
//!
//! ```text
//!   this thread --measure--> xargs --> up to 16 sync_client -u A B C D
//!   a sampler: /proc/…/children --> xargs' --> the sum of what these hold, every few milliseconds
//! ```
//! Time is xargs' own; CPU is that of xargs and of all its children, as the kernel adds it up.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use testkit::c_client::{self, Outcome};
use testkit::run_as_cyrus;

use crate::bench::results::output;
use crate::program::C_CLIENT;

/// Clients at a time, and users for each.
pub(crate) const CLIENTS: &str = "16";
pub(crate) const USERS_EACH: &str = "4";
/// Each sample reads a file of every client: much more often would disturb the run.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Whether the GNU program is installed; only that has all the options.
pub(crate) fn is_there() -> bool {
    output(Command::new("xargs").arg("--version")).contains("GNU findutils")
}

/// The command for the users in a file, one a line.
pub(crate) fn command(conf: &Path, users: &Path) -> Result<Command> {
    let mut command = run_as_cyrus("xargs")?;
    command.arg("-a").arg(users).args(["-P", CLIENTS, "-n", USERS_EACH]);
    command.args([C_CLIENT, "-C"]).arg(conf).arg("-u");
    Ok(command)
}

/// Runs it to its end. Its memory is the most that its clients held together; shared pages are counted for each.
pub(crate) fn measure(command: Command) -> Result<Outcome> {
    let this = fs::read_link("/proc/thread-self").context("failed to read /proc/thread-self")?;
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sampler = scope.spawn(|| peak(&Path::new("/proc").join(this), &ended));
        let outcome = c_client::measure(command);
        ended.store(true, Ordering::SeqCst);
        let peak_rss_bytes = sampler.join().unwrap_or(0);
        Ok(Outcome { peak_rss_bytes, ..outcome? })
    })
}

/// The most that the clients of this thread's xargs held at once, until it has ended.
fn peak(thread: &Path, ended: &AtomicBool) -> u64 {
    let mut most = 0;
    let mut xargs = None;
    while !ended.load(Ordering::SeqCst) {
        if xargs.is_none() {
            let named = |dir: &PathBuf| {
                fs::read_to_string(dir.join("comm")).is_ok_and(|name| name.trim() == "xargs")
            };
            xargs = children(thread).into_iter().find(named);
        }
        if let Some(xargs) = &xargs {
            let id = xargs.file_name().unwrap_or_default();
            let clients = children(&xargs.join("task").join(id));
            most = most.max(clients.iter().map(|client| rss(client)).sum());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    most
}

/// The folders in /proc of a thread's children.
fn children(thread: &Path) -> Vec<PathBuf> {
    let ids = fs::read_to_string(thread.join("children")).unwrap_or_default();
    ids.split_whitespace().map(|id| Path::new("/proc").join(id)).collect()
}

/// What a process holds now, in bytes; nothing after it has ended.
fn rss(process: &Path) -> u64 {
    let status = fs::read_to_string(process.join("status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three clients, some at a time.
    fn three(at_a_time: &str, list: &Path) -> Outcome {
        let busy = "n=0; while [ $n -lt 50000 ]; do n=$((n+1)); done; sleep 0.3; :";
        let mut command = Command::new("xargs");
        command.arg("-a").arg(list).args(["-P", at_a_time, "-n", "1", "sh", "-c", busy]);
        measure(command).unwrap().must_succeed().unwrap()
    }

    #[test]
    fn what_all_clients_take_counts() {
        let list = std::env::temp_dir().join(format!("bench-xargs-{}", std::process::id()));
        fs::write(&list, "anna\nbert\ncarl\n").unwrap();
        let (one, all) = (three("1", &list), three("3", &list));
        fs::remove_file(&list).unwrap();
        assert!(one.cpu() > Duration::from_millis(30), "{one:?}");
        assert!(one.wall > Duration::from_millis(900) && all.wall < one.wall, "{one:?} {all:?}");
        assert!(one.peak_rss_bytes > 100_000, "{one:?}");
        assert!(all.peak_rss_bytes > 2 * one.peak_rss_bytes, "{one:?} {all:?}");
    }
}
