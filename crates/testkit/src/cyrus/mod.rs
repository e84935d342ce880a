//! One real Cyrus 3.6.1 in a temporary folder, on free loopback ports.
//!
//! ```text
//!  /dev/shm/cyXXXXXX/        or below /tmp; owned cyrus:mail; short, so that Unix sockets' 107 bytes suffice
//!    imapd.conf cyrus.conf annotations.conf
//!    conf/{db,sync,socket,log,proc,user,quota,lock}  spool/  spool2/  sieve/
//!    mux        our saslauthd          log, where all its programs send their syslog lines
//! ```
//! [`Builder`] has its settings, [`Cyrus`] runs until dropped; the drop kills its process group and removes the folder.

mod access;
mod builder;
mod files;
mod lifecycle;

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

pub use access::Access;
pub use builder::{Builder, DeleteMode};
use files::Files;
use groundwork::Folder;
use nix::sys::signal::Signal;

use crate::error::{Error, Result};
use crate::imap;
use crate::log_sink::{LogLine, LogSink};
use crate::process::{self, Identity, Tree};
use crate::programs::Programs;
use crate::saslauthd::{PASSWORD, Saslauthd};
use crate::shim::Shim;

/// The admin of every instance, and the user sync_client logs in as.
pub const ADMIN: &str = "cyrus";

/// How long a syslog line is waited for.
const LOG_TIMEOUT: Duration = Duration::from_secs(30);

/// How sync_client reaches the replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// Its sync_server (the csync port).
    Csync,
    /// Its imapd (`SYNCGET` and friends).
    Imap,
}

/// A running Cyrus.
#[derive(Debug)]
pub struct Cyrus {
    // The order matters: the processes end first, then the daemons they talk to, then the folder.
    tree: Option<Tree>,
    saslauthd: Saslauthd,
    log: LogSink,
    shim: Shim,
    files: Files,
    dir: Folder,
    identity: Identity,
}

impl Cyrus {
    /// A builder with the settings of a master: imapd, delayed deletion and expunging, conversations.
    pub fn master() -> Builder {
        Builder::master()
    }

    /// A builder with the settings of a replica: imapd and sync_server.
    pub fn replica() -> Builder {
        Builder::replica()
    }

    /// The instance's folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its imapd.conf.
    #[must_use]
    pub fn imapd_conf(&self) -> PathBuf {
        self.dir.path().join("imapd.conf")
    }

    /// Its configdirectory (mailboxes.db, user files, quotas, locks, sync log).
    #[must_use]
    pub fn config_dir(&self) -> PathBuf {
        self.dir.path().join("conf")
    }

    /// The folder of its default partition.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        self.dir.path().join("spool")
    }

    /// The folder of a partition (`default` or `second`).
    #[must_use]
    pub fn partition(&self, name: &str) -> PathBuf {
        self.dir.path().join(if name == "second" { "spool2" } else { "spool" })
    }

    /// Its Sieve folder.
    #[must_use]
    pub fn sieve_dir(&self) -> PathBuf {
        self.dir.path().join("sieve")
    }

    /// The name it greets with (`servername`).
    #[must_use]
    pub fn servername(&self) -> &str {
        &self.files.servername
    }

    /// The separator in mailbox names that clients see: `/` or `.`.
    #[must_use]
    pub fn separator(&self) -> char {
        if self.files.unixhierarchysep { '/' } else { '.' }
    }

    /// Turns an external admin name's parts into a name: `name(&["user", "anna", "Sent"])`.
    #[must_use]
    pub fn name(&self, parts: &[&str]) -> String {
        parts.join(&self.separator().to_string())
    }

    /// The admin's name of a mailbox that csync names internally (`user.bob^smith.Sent` is `user/bob.smith/Sent`).
    #[must_use]
    pub fn external(&self, internal: &str) -> String {
        if !self.files.unixhierarchysep {
            return internal.to_owned();
        }
        let swap = |letter| match letter {
            '.' => '/',
            '^' => '.',
            other => other,
        };
        internal.chars().map(swap).collect()
    }

    /// The imapd's loopback port.
    ///
    /// # Errors
    /// [`Error::NoService`] when it runs none.
    pub fn imap_port(&self) -> Result<u16> {
        self.files.imap_port.ok_or(Error::NoService("imap"))
    }

    /// The sync_server's loopback port.
    ///
    /// # Errors
    /// [`Error::NoService`] when it runs none.
    pub fn csync_port(&self) -> Result<u16> {
        self.files.csync_port.ok_or(Error::NoService("csync"))
    }

    /// The timsieved's loopback port.
    ///
    /// # Errors
    /// [`Error::NoService`] when it runs none.
    pub fn sieve_port(&self) -> Result<u16> {
        self.files.sieve_port.ok_or(Error::NoService("sieve"))
    }

    /// The lmtpd's Unix socket.
    ///
    /// # Errors
    /// [`Error::NoService`] when it runs none.
    pub fn lmtp_socket(&self) -> Result<PathBuf> {
        if self.files.lmtp {
            Ok(self.config_dir().join("socket/lmtp"))
        } else {
            Err(Error::NoService("lmtp"))
        }
    }

    /// Its saslauthd, to change passwords or refuse logins.
    #[must_use]
    pub fn saslauthd(&self) -> &Saslauthd {
        &self.saslauthd
    }

    /// Connects to the imapd without logging in.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub fn connect(&self) -> Result<imap::Client> {
        self.access().connect()
    }

    /// An IMAP session of the admin.
    ///
    /// # Errors
    /// When the login fails.
    pub fn admin(&self) -> Result<imap::Client> {
        self.access().admin()
    }

    /// An IMAP session of a user (the admin's password, the user's rights).
    ///
    /// # Errors
    /// When the login fails.
    pub fn login(&self, user: &str) -> Result<imap::Client> {
        self.access().login(user)
    }

    /// Makes a user (the INBOX) unless there is one.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn create_user(&self, user: &str) -> Result<()> {
        let name = self.name(&["user", user]);
        let mut admin = self.admin()?;
        if admin.list("", &name)?.is_empty() {
            admin.create(&name)?;
        }
        Ok(())
    }

    /// Sets an option in imapd.conf (replacing the lines that set it) for every process started from now on; running imapd
    /// and sync_server processes keep the old value (see [`Cyrus::restart`]).
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_option(&mut self, key: &str, value: &str) -> Result<()> {
        self.files.set(key, value);
        self.files.write_imapd_conf(self.dir.path())
    }

    /// Removes an option from imapd.conf.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn unset_option(&mut self, key: &str) -> Result<()> {
        self.files.unset(key);
        self.files.write_imapd_conf(self.dir.path())
    }

    /// Writes the `sync_*` lines that make `replica` the replica of this master.
    ///
    /// # Errors
    /// When the replica runs no such service or the file cannot be written.
    pub fn replicate_to(&mut self, replica: &Cyrus, via: Via) -> Result<()> {
        let port = match via {
            Via::Csync => replica.csync_port()?,
            Via::Imap => replica.imap_port()?,
        };
        self.replicate_to_port(port, via)
    }

    /// As [`Cyrus::replicate_to`], to any port on loopback (a [`crate::relay::Relay`]'s, say).
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn replicate_to_port(&mut self, port: u16, via: Via) -> Result<()> {
        self.files.set("sync_host", "127.0.0.1");
        self.files.set("sync_port", &port.to_string());
        self.files.set("sync_authname", ADMIN);
        self.files.set("sync_password", PASSWORD);
        self.files.set("sync_try_imap", if via == Via::Imap { "yes" } else { "no" });
        self.files.write_imapd_conf(self.dir.path())
    }

    /// Makes the master run this command, with its arguments, before it serves clients (cyrus.conf's START section), from
    /// the next [`Cyrus::start`] on.
    pub fn run_at_start(&mut self, command: &str) {
        self.files.at_start.push(command.to_owned());
    }

    /// Kills every running process of one program (`imapd`, `sync_server`); returns their number.
    #[must_use]
    pub fn kill_service(&self, program: &str) -> usize {
        let Some(tree) = &self.tree else { return 0 };
        tree.pids_named(program)
            .into_iter()
            .filter(|pid| tree.signal(*pid, Signal::SIGKILL))
            .count()
    }

    /// The number of running processes of one program.
    #[must_use]
    pub fn count_service(&self, program: &str) -> usize {
        self.tree.as_ref().map_or(0, |tree| tree.pids_named(program).len())
    }

    /// A command that runs as the Cyrus user and logs to this instance's syslog; see also [`Cyrus::tool`].
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.root_command(program);
        command.uid(self.identity.uid.as_raw()).gid(self.identity.gid.as_raw());
        command
    }

    /// As [`Cyrus::command`], but as root: for programs that change to the Cyrus user by themselves, or that this user
    /// cannot reach (a target folder below `/root`).
    #[must_use]
    pub fn root_command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.process_group(0).env_remove("CYRUS_VERBOSE");
        self.shim.aim(&mut command);
        if let Some(path) = self.files.programs.sasl_path() {
            command.env("SASL_PATH", path);
        }
        command
    }

    /// Its Cyrus programs.
    #[must_use]
    pub fn programs(&self) -> &Programs {
        &self.files.programs
    }

    /// One of its Cyrus programs, to be run as the Cyrus user.
    pub fn program(&self, name: &str) -> Command {
        let mut command = self.root_program(name);
        command.uid(self.identity.uid.as_raw()).gid(self.identity.gid.as_raw());
        command
    }

    fn root_program(&self, name: &str) -> Command {
        let mut words = self.files.programs.words(name).into_iter();
        let mut command = self.root_command(words.next().unwrap_or_default());
        command.args(words);
        command
    }

    /// Runs one of Cyrus' own tools with `-C imapd.conf` and more arguments, and returns its output.
    ///
    /// # Errors
    /// [`Error::Program`] unless it succeeds.
    pub fn tool<S: AsRef<OsStr>>(&self, name: &str, args: &[S]) -> Result<Output> {
        let mut command = self.program(name);
        command.arg("-C").arg(self.imapd_conf()).args(args);
        process::must_run(&mut command)
    }

    /// The syslog lines that all processes of this instance sent before the call. A line that a server logs by itself may
    /// arrive a moment later: [`Cyrus::wait_for_syslog`].
    #[must_use]
    pub fn syslog(&self) -> Vec<LogLine> {
        self.log.lines()
    }

    /// Takes the syslog lines so far, so that the next call returns only newer ones.
    #[must_use]
    pub fn take_syslog(&self) -> Vec<LogLine> {
        self.log.take()
    }

    /// Waits until a syslog line with this text has arrived.
    ///
    /// # Errors
    /// [`Error::NoLine`] with all lines that arrived instead, after 30 seconds.
    pub fn wait_for_syslog(&self, words: &str) -> Result<LogLine> {
        let end = Instant::now() + LOG_TIMEOUT;
        loop {
            let lines = self.syslog();
            if let Some(line) = lines.iter().find(|line| line.text.contains(words)) {
                return Ok(line.clone());
            }
            if Instant::now() > end {
                let came = lines.into_iter().map(|line| line.text).collect();
                return Err(Error::NoLine { words: words.to_owned(), came });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Cyrus {
    fn drop(&mut self) {
        // Before the folder is removed, so that no process writes into it any more.
        self.tree = None;
    }
}
