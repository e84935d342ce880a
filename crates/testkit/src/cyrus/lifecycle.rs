//! Starting, stopping and wiping an instance.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use groundwork::Folder;

use super::files::Files;
use super::{Builder, Cyrus};
use crate::error::{Error, Result, io};
use crate::log_sink::LogSink;
use crate::place;
use crate::process::{self, Tree};
use crate::saslauthd::Saslauthd;
use crate::shim::Shim;

/// How long a server may take to answer its first greeting.
const START_TIMEOUT: Duration = Duration::from_secs(30);

impl Cyrus {
    pub(super) fn launch(builder: &Builder) -> Result<Self> {
        crate::ensure_cyrus()?;
        let identity = process::cyrus_user()?;
        let base = if builder.on_disk { place::on_disk() } else { place::in_memory() };
        let dir = Folder::make(base, "cy").map_err(io("make a folder in", base))?;
        let files = Files::make(dir.path(), builder)?;
        let saslauthd = Saslauthd::start(&dir.path().join("mux"))?;
        let log = LogSink::bind(&dir.path().join("log"))?;
        let shim = Shim::make(log.path(), builder.on_disk)?;
        let mut cyrus = Self { tree: None, saslauthd, log, shim, files, dir, identity };
        cyrus.start()?;
        cyrus.check_syslog()?;
        Ok(cyrus)
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
            let mut command = self.root_program("master");
            command.arg("-C").arg(self.imapd_conf());
            command.arg("-M").arg(self.dir.path().join("cyrus.conf"));
            command.arg("-p").arg(self.dir.path().join("master.pid"));
            command.arg("-L").arg(self.dir.path().join("master.err"));
            self.tree = Some(Tree::spawn(command)?);
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

    /// Stops the servers, empties the store (mailboxes, users, quotas, logs), and starts them again on the same ports: a
    /// new instance for the next run of a benchmark.
    ///
    /// # Errors
    /// As [`Cyrus::start`], or when a folder cannot be emptied.
    pub fn wipe(&mut self) -> Result<()> {
        self.stop();
        for folder in ["conf", "spool", "spool2", "sieve"] {
            let path = self.dir.path().join(folder);
            std::fs::remove_dir_all(&path).map_err(io("empty", &path))?;
        }
        Files::make_folders(self.dir.path())?;
        self.start()
    }

    /// Makes this instance's store a copy of another's (mailboxes, users, quotas, logs), and leaves its servers stopped: a
    /// twin for another experiment. Nobody may work on the other instance meanwhile.
    ///
    /// # Errors
    /// When a file cannot be copied.
    pub fn become_copy_of(&mut self, other: &Cyrus) -> Result<()> {
        self.stop();
        for folder in ["conf", "spool", "spool2", "sieve"] {
            let path = self.dir.path().join(folder);
            std::fs::remove_dir_all(&path).map_err(io("empty", &path))?;
            let mut copy = std::process::Command::new("cp");
            copy.arg("-a").arg(other.dir.path().join(folder)).arg(&path);
            process::must_run(&mut copy)?;
        }
        // These belong to processes.
        for folder in ["conf/lock", "conf/proc", "conf/socket"] {
            let path = self.dir.path().join(folder);
            std::fs::remove_dir_all(&path).map_err(io("empty", &path))?;
        }
        Files::make_folders(self.dir.path())
    }

    /// Stops and starts the servers, so that they read imapd.conf again.
    ///
    /// # Errors
    /// As [`Cyrus::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.stop();
        self.start()
    }

    /// `ctl_cyrusdb -r`, the first program that the master process runs, always logs something. If that line does not
    /// arrive, no other line would.
    fn check_syslog(&self) -> Result<()> {
        if !self.syslog().is_empty() {
            return Ok(());
        }
        let library = self.shim.library();
        let reason = format!(
            "no syslog line came through {}: is code loaded from there (mount option noexec), and is this glibc?{}",
            library.display(),
            self.last_words()
        );
        Err(Error::Start { dir: self.dir.path().to_path_buf(), reason })
    }

    fn wait_until_up(&mut self) -> std::result::Result<(), String> {
        // timsieved does not report its host name.
        let services = [
            (self.files.imap_port, self.files.servername.as_str()),
            (self.files.csync_port, self.files.servername.as_str()),
            (self.files.sieve_port, "Cyrus timsieved"),
        ];
        let services = services.map(|(port, words)| port.map(|port| (port, words.to_owned())));
        let deadline = Instant::now() + START_TIMEOUT;
        for (port, words) in services.into_iter().flatten() {
            loop {
                match greeting(port) {
                    Some(text) if text.contains(&words) => break,
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

    /// The servers' last lines, for an error message.
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

/// Reads the greeting of the service at a port, up to its `OK` line.
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
            || so_far.lines().any(|line| line.starts_with("* OK") || line == "OK")
                && so_far.ends_with('\n')
        {
            return (!so_far.is_empty()).then_some(so_far);
        }
    }
}
