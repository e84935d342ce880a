//! The settings of an instance.

use groundwork::roots::Release;

use super::Cyrus;
use crate::error::Result;

/// What `DELETE` does with a mailbox (`delete_mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteMode {
    /// Renames it below `DELETED`.
    Delayed,
    /// Removes it at once.
    Immediate,
}

/// The settings of an instance; [`Builder::start`] runs it.
#[derive(Debug, Clone)]
#[must_use]
pub struct Builder {
    pub(super) imap: bool,
    pub(super) csync: bool,
    pub(super) lmtp: bool,
    pub(super) sieve: bool,
    pub(super) on_disk: bool,
    pub(super) unixhierarchysep: bool,
    pub(super) archive: bool,
    pub(super) release: Option<Release>,
    pub(super) options: Vec<(String, String)>,
}

impl Builder {
    pub(super) fn master() -> Self {
        Self {
            imap: true,
            csync: false,
            lmtp: false,
            sieve: false,
            on_disk: false,
            unixhierarchysep: true,
            archive: false,
            release: None,
            options: Vec::new(),
        }
        .conversations(true)
        .delete_mode(DeleteMode::Delayed)
    }

    pub(super) fn replica() -> Self {
        let mut builder = Self::master();
        builder.csync = true;
        builder
    }

    /// Runs an imapd (default: yes) on a free loopback port.
    pub fn imap(mut self, yes: bool) -> Self {
        self.imap = yes;
        self
    }

    /// Runs a sync_server (default: a replica does) on a free loopback port.
    pub fn csync(mut self, yes: bool) -> Self {
        self.csync = yes;
        self
    }

    /// Runs an lmtpd (default: no) on a Unix socket.
    pub fn lmtp(mut self, yes: bool) -> Self {
        self.lmtp = yes;
        self
    }

    /// Runs a timsieved (default: no) on a free loopback port.
    pub fn sieve(mut self, yes: bool) -> Self {
        self.sieve = yes;
        self
    }

    /// Keeps the store on the disk, below `/tmp` (default: in memory, if there is room). For benchmarks, because Cyrus then
    /// waits for its fsync calls as in real use.
    pub fn on_disk(mut self, yes: bool) -> Self {
        self.on_disk = yes;
        self
    }

    /// `/` between folders and dots within names (default), or `.` between folders.
    pub fn unixhierarchysep(mut self, yes: bool) -> Self {
        self.unixhierarchysep = yes;
        self.option("unixhierarchysep", yes_no(yes))
    }

    /// Keeps conversations databases (default: yes).
    pub fn conversations(self, yes: bool) -> Self {
        self.option("conversations", yes_no(yes))
    }

    /// Delayed (default) or immediate deletion of mailboxes.
    pub fn delete_mode(self, mode: DeleteMode) -> Self {
        self.option(
            "delete_mode",
            if mode == DeleteMode::Delayed { "delayed" } else { "immediate" },
        )
    }

    /// Whether expunged messages stay in the index (`expunge_mode: delayed`, the default) or are removed at once.
    pub fn delayed_expunge(self, yes: bool) -> Self {
        self.option("expunge_mode", if yes { "delayed" } else { "immediate" })
    }

    /// Writes the sync log (default: no), to `conf/sync/log` or to those of the channels.
    pub fn sync_log(self, channels: &[&str]) -> Self {
        let builder = self.option("sync_log", "yes");
        if channels.is_empty() {
            builder
        } else {
            builder.option("sync_log_channels", &channels.join(" "))
        }
    }

    /// Keeps old messages on an archive partition (`archive_enabled`; default: no).
    pub fn archive(mut self) -> Self {
        self.archive = true;
        self.option("archive_enabled", "yes")
    }

    /// Runs the Cyrus of another release of Debian (default: this machine's 3.6.1).
    pub fn release(mut self, release: Release) -> Self {
        self.release = Some(release);
        self
    }

    /// Sets any imapd.conf option; a later setting of the same key wins.
    pub fn option(mut self, key: &str, value: &str) -> Self {
        self.options.retain(|(had, _)| had != key);
        self.options.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Starts it and waits until every service answers.
    ///
    /// # Errors
    /// When Cyrus is not installed, we are not root, or it does not start.
    pub fn start(self) -> Result<Cyrus> {
        Cyrus::launch(&self)
    }
}

fn yes_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}
