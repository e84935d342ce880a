//! The claim on a sync log: one replicator of our kind works on a log at a time.
//!
//! ```text
//!   log-replicator   locked for as long as the replicator lives (or until it lets go); holds its process id,
//!                    decimal, and a line end; empty once it was let go
//! ```
//! Only the lock decides. The number is for people: it is believed only if it is a number and such a process exists, since
//! a crash leaves it behind and the next holder may not have written its own yet.
//!
//! The lock belongs to the open file, so a process that forks passes it on to its child; the child then writes its own
//! process id ([`Claim::renew`]). Cyrus' own client takes no such lock.

use std::fmt;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::LogFile;
use crate::error::StoreError;
use crate::lock::FileLock;
use crate::regular;

/// Longer than any process id in digits.
const MOST_BYTES: u64 = 32;

/// The result of a request for a log.
#[derive(Debug)]
pub enum Claimed {
    /// It is ours.
    Ours(Claim),
    /// Another replicator has it.
    Others(Rival),
}

/// A log that only this process works on, among replicators of our kind, until this is dropped.
#[derive(Debug)]
pub struct Claim {
    lock: FileLock,
}

/// Another replicator that has a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rival {
    /// Its process id, if that is known.
    pub pid: Option<u32>,
    /// The log that it has.
    pub log: PathBuf,
}

/// `another sync_client (pid 13229) already works on /var/lib/cyrus/sync/log`
impl fmt::Display for Rival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another sync_client")?;
        if let Some(pid) = self.pid {
            write!(f, " (pid {pid})")?;
        }
        write!(f, " already works on {}", self.log.display())
    }
}

pub(super) fn claim(log: &LogFile) -> Result<Claimed, StoreError> {
    let path = log.claim_path();
    match FileLock::try_exclusive(&path)? {
        Some(lock) => {
            let claim = Claim { lock };
            claim.renew();
            Ok(Claimed::Ours(claim))
        }
        None => {
            // A process that can lock the file can read it; if not, only the message suffers, not the lock.
            let text = regular::open(&path).map_err(io::Error::other).and_then(read_some);
            let text = text.unwrap_or_default();
            let pid = pid_in(&text).filter(|pid| is_alive(*pid));
            Ok(Claimed::Others(Rival { pid, log: log.path().to_path_buf() }))
        }
    }
}

impl Claim {
    /// Writes the id of this process: once more after a fork.
    pub fn renew(&self) {
        let text = format!("{}\n", process::id());
        let file = self.lock.file();
        // On a full disk the id is not written; the lock still shows that the log is taken.
        let _ = file.set_len(0).and_then(|()| file.write_all_at(text.as_bytes(), 0));
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // The remaining text is not believed anyway.
        let _ = self.lock.file().set_len(0);
    }
}

fn read_some(file: std::fs::File) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

/// The process id in a claim's file, if there is one.
fn pid_in(text: &[u8]) -> Option<u32> {
    let line = std::str::from_utf8(text).ok()?.strip_suffix('\n')?;
    let digits = line.bytes().all(|byte| byte.is_ascii_digit());
    line.parse().ok().filter(|pid| digits && *pid > 0)
}

fn is_alive(pid: u32) -> bool {
    let Ok(pid) = i32::try_from(pid) else { return false };
    // We may not signal another user's process, but it exists all the same.
    kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn rival(log: &LogFile) -> Rival {
        match log.claim().unwrap() {
            Claimed::Ours(_) => panic!("two have it"),
            Claimed::Others(rival) => rival,
        }
    }

    fn ours(log: &LogFile) -> Claim {
        match log.claim().unwrap() {
            Claimed::Ours(claim) => claim,
            Claimed::Others(rival) => panic!("{rival}"),
        }
    }

    #[test]
    fn one_has_a_log_and_others_hear_who() {
        let dir = tempfile::tempdir().unwrap();
        let log = LogFile::within(dir.path());
        let claim = ours(&log);
        let words = format!(
            "another sync_client (pid {}) already works on {}",
            process::id(),
            dir.path().join("log").display()
        );
        assert_eq!(rival(&log).to_string(), words);
        // Asking changes nothing.
        assert_eq!(rival(&log).to_string(), words);
        drop(claim);
        assert_eq!(fs::read(log.claim_path()).unwrap(), b"");
        drop(ours(&log));
    }

    #[test]
    fn what_is_no_living_process_is_not_named() {
        let dir = tempfile::tempdir().unwrap();
        let log = LogFile::within(dir.path());
        let _claim = ours(&log);
        // The last one is far above what Linux assigns.
        for text in [
            "",
            "\n",
            "12",
            "-1\n",
            "+1\n",
            "0\n",
            "12 13\n",
            "sync_client\n",
            "99999999999999999999\n",
            "1999999999\n",
        ] {
            fs::write(log.claim_path(), text).unwrap();
            assert_eq!(rival(&log).pid, None, "{text:?}");
        }
        fs::write(log.claim_path(), [0xff; 100]).unwrap();
        let rival = rival(&log);
        assert_eq!(
            rival.to_string(),
            format!("another sync_client already works on {}", log.path().display())
        );
    }
}
