//! Runs of our program, and their output: shared by the tests with Cyrus (`tests/cyrus`) and those without
//! (`tests/embedded`).

#![allow(dead_code, reason = "not everything is needed by both")]

pub(crate) mod scrape;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actors::source::Source;
use actors::{
    ReplicaSettings, Reporting, RunReport, RunSettings, Selection, Settings, SyncSettings,
};
use testkit::c_client::{self, Outcome};
use testkit::process;

/// Runs our program with these arguments to its end.
pub(crate) fn ours(args: &[&str]) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sync_client"));
    command.args(args);
    c_client::measure(command).unwrap()
}

/// The summary's first line without the time of the run: how many users ended how, and what was sent.
/// `3 users: 2 replicated, 1 failed; sent 5 messages, 1.2 kB`. With -m it begins with the mailboxes.
pub(crate) fn summary(run: &Outcome) -> String {
    summary_in(&run.stderr).unwrap_or_else(|| {
        panic!("no summary in:\n{}\n{}", run.stdout, run.stderr);
    })
}

/// The same from stderr, if it is there.
pub(crate) fn summary_in(stderr: &str) -> Option<String> {
    let lines = stderr.lines().filter_map(|line| line.strip_prefix("sync_client: "));
    lines.into_iter().find_map(|line| {
        let (users, rest) = line.split_once(" in ")?;
        let (number, word) = users.split_once(' ')?;
        let counted = ["user", "mailbox"].iter().any(|counted| word.starts_with(counted));
        if number.parse::<u64>().is_err() || !counted {
            return None;
        }
        let counts = rest.split_once(": ").map_or("", |(_, counts)| counts);
        let counts = counts.rsplit_once(" (").map_or(counts, |(counts, _)| counts);
        Some(format!("{users}: {counts}"))
    })
}

/// Waits until a condition holds; fails the test after half a minute.
pub(crate) fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(30), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The settings for replication to this port of loopback from within the test: -u's and -A's defaults.
pub(crate) fn settings(port: u16) -> Settings {
    Settings {
        replica: ReplicaSettings {
            server: "127.0.0.1".into(),
            port: Some(port.to_string()),
            authname: "cyrus".into(),
            password: "secret".into(),
            try_imap: false,
            sieve_mailbox: false,
            connect_once: true,
            reconnect_maxwait: Duration::from_secs(1),
            timeout: Duration::from_secs(60),
            ..ReplicaSettings::default()
        },
        sync: SyncSettings::default(),
        run: RunSettings { retry_pause: Duration::from_millis(10), ..RunSettings::default() },
    }
}

/// Replicates within the test process.
pub(crate) fn in_process(
    settings: Settings,
    source: Arc<dyn Source>,
    work: Selection,
) -> RunReport {
    actix_rt::System::new().block_on(async move {
        let (_keep, stop) = tokio::sync::watch::channel(false);
        let progress = actors::Progress::default();
        actors::replicate(settings, source, work, Reporting::default(), stop, progress).await
    })
}

/// A program that runs beside the test; it is killed if the test ends before it.
pub(crate) struct Running {
    child: Child,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

/// How it ended: exit code (`None`: by a signal) and its output.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Running {
    /// Starts a command.
    pub(crate) fn start(mut command: Command) -> Running {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdout, stderr) = (Arc::default(), Arc::default());
        let readers = vec![
            gather(child.stdout.take().unwrap(), &stdout),
            gather(child.stderr.take().unwrap(), &stderr),
        ];
        Running { child, stdout, stderr, readers }
    }

    /// Its stdout so far.
    pub(crate) fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    /// Its stderr so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends it SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        process::send(&self.child, name).unwrap();
    }

    /// Kills it; when this returns it has ended, and released everything that it held.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Ended {
        let started = Instant::now();
        while self.is_running() {
            if started.elapsed() > Duration::from_secs(60) {
                let (out, err) = (self.stdout(), self.stderr.lock().unwrap().clone());
                panic!("the program does not end:\n{out}\n{err}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        let code = self.child.wait().unwrap().code();
        let stderr = self.stderr.lock().unwrap().clone();
        Ended { code, stdout: self.stdout(), stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Expects exit code 0; returns the summary as [`summary`] does.
    pub(crate) fn well(&self) -> String {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        summary_in(&self.stderr).unwrap_or_else(|| panic!("no summary in:\n{}", self.stderr))
    }
}

fn gather(pipe: impl Read + Send + 'static, into: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let into = Arc::clone(into);
    std::thread::spawn(move || {
        let mut lines = BufReader::new(pipe);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            into.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}
