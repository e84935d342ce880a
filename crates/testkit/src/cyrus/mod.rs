//! One real Cyrus 3.6.1 in a temporary folder, on free loopback ports.
//!
//! ```text
//!  /dev/shm/cyXXXXXX/        or below /tmp; owned cyrus:mail; short, so that Unix sockets' 107 bytes suffice
//!    imapd.conf cyrus.conf annotations.conf
//!    conf/{db,sync,socket,log,proc,user,quota,lock}  spool/  spool2/  sieve/
//!    mux        our saslauthd          log, syslog socket of the instance (its /dev/log)
//! ```
//! [`Builder`] says what it shall be, [`Cyrus`] runs until dropped; the drop kills its process group and removes the
//! folder.

mod builder;
mod files;

use std::ffi::OsStr;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

pub use builder::{Builder, DeleteMode};
use files::Files;
use nix::sys::signal::Signal;

use crate::error::{Error, Result, io};
use crate::imap;
use crate::install::BIN;
use crate::log_sink::{LogLine, LogSink};
use crate::process::{self, Identity, Tree};
use crate::saslauthd::{PASSWORD, Saslauthd};

/// The admin of every instance, and the user sync_client logs in as.
pub const ADMIN: &str = "cyrus";

/// How long a server may take to answer its first greeting.
const START_TIMEOUT: Duration = Duration::from_secs(30);

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
    // Order matters: the processes go first, then the daemons they talk to, then the folder.
    tree: Option<Tree>,
    saslauthd: Saslauthd,
    log: Option<LogSink>,
    files: Files,
    dir: tempfile::TempDir,
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

    fn launch(builder: &Builder) -> Result<Self> {
        crate::ensure_cyrus()?;
        let identity = process::cyrus_user()?;
        let base = base_dir(builder.on_disk);
        let dir = tempfile::Builder::new()
            .prefix("cy")
            .tempdir_in(base)
            .map_err(io("create a folder in", base))?;
        let files = Files::make(dir.path(), builder)?;
        let saslauthd = Saslauthd::start(&dir.path().join("mux"))?;
        let log = if process::namespaces_work() {
            Some(LogSink::bind(&dir.path().join("log"))?)
        } else {
            LogSink::machine_wide()
        };
        let mut cyrus = Self { tree: None, saslauthd, log, files, dir, identity };
        cyrus.start()?;
        Ok(cyrus)
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
        Ok(imap::Client::connect(self.imap_port()?)?)
    }

    /// An IMAP session of the admin.
    ///
    /// # Errors
    /// When the login fails.
    pub fn admin(&self) -> Result<imap::Client> {
        let mut client = self.connect()?;
        client.login(ADMIN, PASSWORD)?;
        Ok(client)
    }

    /// An IMAP session of a user (the admin's password, the user's rights).
    ///
    /// # Errors
    /// When the login fails.
    pub fn login(&self, user: &str) -> Result<imap::Client> {
        let mut client = self.connect()?;
        client.authenticate_as(user, ADMIN, PASSWORD)?;
        Ok(client)
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

    /// Sets an option in imapd.conf (replacing the lines that set it) for every process started from now on; imapd and
    /// sync_server processes that run already keep the old value (see [`Cyrus::restart`]).
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

    /// Starts the servers (after [`Cyrus::stop`]); does nothing when they run.
    ///
    /// # Errors
    /// [`Error::Start`] with the last syslog lines.
    pub fn start(&mut self) -> Result<()> {
        if self.tree.as_mut().is_some_and(Tree::is_running) {
            return Ok(());
        }
        self.tree = None;
        // Another process may take a free port between our choice and the master's bind: then choose again.
        let mut reason = String::new();
        for _ in 0..3 {
            self.files.write_cyrus_conf(self.dir.path())?;
            let mut command = self.server_command(format!("{BIN}/master"));
            command.arg("-C").arg(self.imapd_conf());
            command.arg("-M").arg(self.dir.path().join("cyrus.conf"));
            command.arg("-p").arg(self.dir.path().join("master.pid"));
            command.arg("-L").arg(self.dir.path().join("master.err"));
            self.tree = Some(Tree::spawn(command, Some(self.dir.path()))?);
            match self.wait_until_up() {
                Ok(()) => return Ok(()),
                Err(why) => reason = why,
            }
            self.tree = None;
            self.files.choose_ports()?;
        }
        Err(Error::Start {
            dir: self.dir.path().to_path_buf(),
            reason: format!("{reason}{}", self.last_words()),
        })
    }

    /// Ends the servers: asks the master process, and kills the rest after three seconds.
    pub fn stop(&mut self) {
        if let Some(mut tree) = self.tree.take() {
            tree.stop(Duration::from_secs(3));
        }
    }

    /// Stops and starts the servers, so that they read imapd.conf anew.
    ///
    /// # Errors
    /// As [`Cyrus::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.stop();
        self.start()
    }

    /// Kills every running process of one program (`imapd`, `sync_server`); gives their number.
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

    /// A command that runs as the Cyrus user, with this instance's syslog where it runs; see also [`Cyrus::tool`].
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.command_as(Some(self.identity), program)
    }

    /// As [`Cyrus::command`], but as root: for programs that change to the Cyrus user by themselves, or that he cannot
    /// reach (a target folder below `/root`).
    #[must_use]
    pub fn root_command(&self, program: impl AsRef<OsStr>) -> Command {
        self.command_as(None, program)
    }

    fn command_as(&self, identity: Option<Identity>, program: impl AsRef<OsStr>) -> Command {
        let mut command = match (&self.tree, &self.log) {
            (Some(tree), Some(log)) if log.path().starts_with(self.dir.path()) => {
                process::in_namespace_of(tree.id(), identity, program)
            }
            _ => {
                let mut plain = Command::new(program);
                plain.process_group(0);
                if let Some(identity) = identity {
                    plain.uid(identity.uid.as_raw()).gid(identity.gid.as_raw());
                }
                plain
            }
        };
        command.env_remove("CYRUS_VERBOSE");
        command
    }

    /// Runs one of Cyrus' own tools with `-C imapd.conf` and more arguments, and gives its output.
    ///
    /// # Errors
    /// [`Error::Program`] unless it succeeds.
    pub fn tool<S: AsRef<OsStr>>(&self, name: &str, args: &[S]) -> Result<Output> {
        let mut command = self.command(format!("{BIN}/{name}"));
        command.arg("-C").arg(self.imapd_conf()).args(args);
        process::must_run(&mut command)
    }

    /// Whether syslog lines of this instance are caught (not where mount namespaces are forbidden and `/dev/log` taken).
    #[must_use]
    pub fn has_syslog(&self) -> bool {
        self.log.is_some()
    }

    /// The syslog lines of all this instance's processes so far.
    #[must_use]
    pub fn syslog(&self) -> Vec<LogLine> {
        self.log.as_ref().map(LogSink::lines).unwrap_or_default()
    }

    /// Takes the syslog lines so far, so that the next call gives newer ones only.
    #[must_use]
    pub fn take_syslog(&self) -> Vec<LogLine> {
        self.log.as_ref().map(LogSink::take).unwrap_or_default()
    }

    /// The command that starts the master process, as root.
    fn server_command(&self, program: impl AsRef<OsStr>) -> Command {
        match &self.log {
            Some(log) if log.path().starts_with(self.dir.path()) => {
                process::with_private_log(log.path(), &self.dir.path().join("dev"), program)
            }
            _ => {
                let mut plain = Command::new(program);
                plain.process_group(0);
                plain
            }
        }
    }

    fn wait_until_up(&mut self) -> std::result::Result<(), String> {
        let ports: Vec<u16> =
            [self.files.imap_port, self.files.csync_port].into_iter().flatten().collect();
        let deadline = Instant::now() + START_TIMEOUT;
        for port in ports {
            loop {
                match greeting(port) {
                    Some(text) if text.contains(&self.files.servername) => break,
                    Some(_) => return Err(format!("port {port} belongs to somebody else")),
                    None => {}
                }
                if !self.tree.as_mut().is_some_and(Tree::is_running) {
                    return Err(
                        "the master process ended at once (an option with an empty value?)"
                            .to_owned(),
                    );
                }
                if Instant::now() > deadline {
                    return Err(format!("no greeting on port {port} within {START_TIMEOUT:?}"));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        if self.files.lmtp {
            let socket = self.config_dir().join("socket/lmtp");
            while !socket.exists() {
                if Instant::now() > deadline {
                    return Err("no lmtp socket".to_owned());
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    /// What the servers said last, for an error message.
    fn last_words(&self) -> String {
        let mut text = String::new();
        let lines = self.syslog();
        for line in lines.get(lines.len().saturating_sub(10)..).unwrap_or_default() {
            text.push_str("\n  ");
            text.push_str(&line.text);
        }
        if let Ok(stderr) = std::fs::read_to_string(self.dir.path().join("master.err")) {
            text.push_str("\n  ");
            text.push_str(stderr.trim_end());
        }
        text
    }
}

impl Drop for Cyrus {
    fn drop(&mut self) {
        // Before the folder goes, so that no process writes into it any more.
        self.tree = None;
    }
}

/// Where instances live. Cyrus calls fsync all the time, so a store in memory is filled and replicated some five times
/// faster; the disk is taken when asked for, and where `/dev/shm` is small (containers have 64 MB).
fn base_dir(on_disk: bool) -> &'static Path {
    const ENOUGH_BYTES: u64 = 2 << 30;
    let memory = Path::new("/dev/shm");
    let roomy = nix::sys::statfs::statfs(memory).is_ok_and(|fs| {
        let block = u64::try_from(fs.block_size()).unwrap_or(0);
        fs.filesystem_type() == nix::sys::statfs::TMPFS_MAGIC
            && fs.blocks_available().saturating_mul(block) > ENOUGH_BYTES
    });
    if roomy && !on_disk { memory } else { Path::new("/tmp") }
}

/// Reads what the service at a port says first, up to its `OK` line.
fn greeting(port: u16) -> Option<String> {
    use std::io::Read;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer).ok()?;
        text.extend_from_slice(buffer.get(..length)?);
        let so_far = String::from_utf8_lossy(&text).into_owned();
        if length == 0
            || so_far.lines().any(|line| line.starts_with("* OK")) && so_far.ends_with('\n')
        {
            return (!so_far.is_empty()).then_some(so_far);
        }
    }
}
