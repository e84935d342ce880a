//! `cargo xtask bench --lag`: how far a replica is behind in rolling replication, while a large user is being copied.
//!
//! ```text
//!   appends --> master (real Cyrus) --log--> client --relay--> replica of that client (real Cyrus, wiped) <-- watcher
//!                                   ^ MAILBOX user.big, after a fourth of the time
//! ```
//! One run: small users are made equal, the client is started, appends begin once it is ready. When they have ended, all
//! messages must arrive, those of the large user too, and the small users must be equal on both sides.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cyrus_store::StoreError;
use cyrus_store::lock::{FileLock, Mode};
use testkit::fill::{self, Composer};
use testkit::imap::Pipeline;
use testkit::relay::Relay;
use testkit::{Cyrus, Via, c_client, oracle};

use crate::bench::lag_client::Running;
use crate::bench::lag_load::{self as load, Watch};
use crate::bench::results::{Client, Results, median, percentile_99};
use crate::bench::samples::{LagSample, MIB};
use crate::say;

const USERS: usize = 20;
const PER_SECOND: f64 = 20.0;
const BIG: &str = "big";
const BIG_BYTES: usize = 2000;
/// A run counts as failed when nothing arrives for this long.
const PATIENCE: Duration = Duration::from_secs(300);

/// A master with its users, and a replica for each client.
pub(crate) struct Lag {
    master: Cyrus,
    ours: Cyrus,
    theirs: Cyrus,
    program: PathBuf,
    /// An older build of it; it replicates to the same replica.
    before: Option<PathBuf>,
    users: Vec<String>,
    /// The folders of the small users' INBOXes and, last, of the large one's, below a spool.
    folders: Vec<PathBuf>,
    big: u32,
    seconds: u64,
    runs: u64,
}

impl Lag {
    /// Starts the servers and fills the master: the large user gets this many messages.
    pub(crate) fn new(
        program: &Path,
        before: Option<&Path>,
        on_disk: bool,
        big: u32,
        seconds: u64,
    ) -> Result<Lag> {
        testkit::ensure_cyrus()?;
        say(&format!("starting a master and two replicas, appending {big} messages to one user"));
        let master = Cyrus::master().sync_log(&[]).conversations(false).on_disk(on_disk);
        let master = master.option("sync_repeat_interval", "0").start()?;
        let replica = || Cyrus::replica().conversations(false).on_disk(on_disk).start();
        let (ours, theirs) = (replica()?, replica()?);
        let users = fill::uniform(&master, USERS, 2, 5, BIG_BYTES)?;
        master.create_user(BIG)?;
        let mut client = master.login(BIG)?;
        let mut composer = Composer::new(7);
        let mut pipeline = Pipeline::new(&mut client);
        for _ in 0..big {
            let date = composer.date();
            pipeline.append("INBOX", &[], Some(&date), &composer.message(BIG_BYTES))?;
        }
        pipeline.finish()?;
        let names = users.iter().map(String::as_str).chain([BIG]);
        let names: Vec<String> = names.map(|user| master.name(&["user", user])).collect();
        let folders = folders(&master, &names)?;
        let copy = |program: &Path, name: &str| -> Result<PathBuf> {
            let copy = master.dir().join(name);
            fs::copy(program, &copy)
                .with_context(|| format!("failed to copy {}", program.display()))?;
            Ok(copy)
        };
        let before = before.map(|before| copy(before, "sync_client.before")).transpose()?;
        let program = copy(program, "sync_client")?;
        Ok(Lag { master, ours, theirs, program, before, users, folders, big, seconds, runs: 0 })
    }

    /// Pairs of runs over one round trip (milliseconds), with an older build three at a time.
    pub(crate) fn measure(&mut self, rtt: u64, pairs: usize, results: &mut Results) -> Result<()> {
        let older = self.before.iter().map(|_| Client::Before);
        let clients: Vec<Client> = Client::BOTH.into_iter().chain(older).collect();
        for nr in 0..pairs {
            for client in Client::order(nr, &clients) {
                let run = self
                    .run(client, rtt)
                    .with_context(|| format!("{client} at {rtt} ms failed"))?;
                say(&format!(
                    "lag at {rtt} ms, pair {} of {pairs}, {client}: median {:.3} s, p99 {:.3} s, most {:.3} s of {} messages; \
                     {BIG} took {:.1} s; CPU {:.2} s, {:.0} MiB",
                    nr + 1,
                    run.median,
                    run.p99,
                    run.most,
                    run.count,
                    run.big,
                    run.cpu,
                    run.rss / MIB
                ));
                results.add_numbers("lag", rtt, client, &run.numbers())?;
            }
        }
        Ok(())
    }

    fn run(&mut self, client: Client, rtt: u64) -> Result<LagSample> {
        self.runs += 1;
        self.prepare(client)?;
        let replica = if client == Client::C { &self.theirs } else { &self.ours };
        // There is no relay at 0 ms, as in the other benchmarks.
        let relay = Relay::start(replica.csync_port()?)?;
        relay.set_delay(Duration::from_micros(rtt * 500));
        let port = if rtt == 0 { replica.csync_port()? } else { relay.port() };
        self.master.replicate_to_port(port, Via::Csync)?;
        let mut there: Vec<PathBuf> =
            self.folders.iter().map(|folder| replica.spool().join(folder)).collect();
        let big = there.pop().context("no folder of the large user")?;
        let last = big.join(format!("{}.", self.big));
        ensure!(!last.exists(), "the large user is on the replica already");

        let older = self.before.as_ref().filter(|_| client == Client::Before);
        let program = older.unwrap_or(&self.program);
        let mut running = Running::start(client, &self.master, program)?;
        self.wait_until_rolling(&mut running, &there)?;
        let watch = Watch::new(there);
        let took = std::thread::scope(|scope| {
            scope.spawn(|| watch.run());
            let took = self.load(&watch, &last, &mut running);
            watch.stop();
            took
        })?;
        let (cpu, rss) = running.figures()?;
        running.terminate()?;
        self.judge(client, &big)?;
        let lags = watch.lags();
        Ok(LagSample {
            median: median(lags.clone()),
            p99: percentile_99(lags.clone()),
            most: lags.iter().copied().fold(0.0, f64::max),
            count: lags.len() as f64,
            big: took.as_secs_f64(),
            cpu,
            rss,
        })
    }

    /// An empty replica, the small users brought there, an empty log.
    fn prepare(&mut self, client: Client) -> Result<()> {
        let replica = if client == Client::C { &mut self.theirs } else { &mut self.ours };
        replica.wipe()?;
        let port = replica.csync_port()?;
        self.master.replicate_to_port(port, Via::Csync)?;
        let mut command = self.master.root_command(&self.program);
        command.arg("-C").arg(self.master.imapd_conf()).args(["-j", "4", "-u"]).args(&self.users);
        c_client::measure(command)?.must_succeed()?;
        for name in ["log", "log-run"] {
            let path = self.master.config_dir().join("sync").join(name);
            if path.exists() {
                fs::remove_file(&path)
                    .with_context(|| format!("failed to remove {}", path.display()))?;
            }
        }
        drop(self.master.take_syslog());
        Ok(())
    }

    /// A message that arrives shows that the client is connected and reads the log.
    fn wait_until_rolling(&self, running: &mut Running, there: &[PathBuf]) -> Result<()> {
        let user = self.users.first().context("no users")?;
        let message = Composer::new(self.runs).message(BIG_BYTES);
        let uid = load::append_one(&mut self.master.login(user)?, &message)?;
        let file = there.first().context("no users")?.join(format!("{uid}."));
        let started = Instant::now();
        while !file.exists() {
            running.must_run()?;
            ensure!(started.elapsed() < PATIENCE, "the first message does not arrive");
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_secs(1));
        Ok(())
    }

    /// Appends, has the large user copied in between, and waits until all is there; returns how long the large user took.
    fn load(&self, watch: &Watch, last: &Path, running: &mut Running) -> Result<Duration> {
        let (access, time) = (self.master.access(), Duration::from_secs(self.seconds));
        let (users, seed) = (&self.users, self.runs * 100);
        std::thread::scope(|scope| {
            let appending =
                scope.spawn(|| load::append(&access, users, PER_SECOND, time, seed, watch));
            std::thread::sleep(time.mul_f64(10.0 / 45.0));
            self.log(&format!("MAILBOX user.{BIG}"))?;
            let logged = Instant::now();
            let mut big = None;
            let (mut left, mut progress) = (usize::MAX, Instant::now());
            while big.is_none() || watch.waiting() > 0 || !appending.is_finished() {
                if big.is_none() && last.exists() {
                    big = Some(logged.elapsed());
                }
                let waiting = watch.waiting();
                if waiting != left {
                    (left, progress) = (waiting, Instant::now());
                }
                ensure!(
                    progress.elapsed() < PATIENCE,
                    "{waiting} messages do not arrive, the large user {}",
                    if big.is_some() { "did" } else { "does not either" }
                );
                running.must_run()?;
                std::thread::sleep(Duration::from_millis(5));
            }
            match appending.join() {
                Ok(ended) => ended?,
                Err(_) => anyhow::bail!("the appenders panicked"),
            }
            big.context("the large user did not arrive")
        })
    }

    /// Adds a line to the log as Cyrus does: locked, and only to the file that is at the path at that time.
    fn log(&self, line: &str) -> Result<()> {
        let path = self.master.config_dir().join("sync/log");
        let failed = || format!("failed to write {}", path.display());
        loop {
            match FileLock::on_existing(&path, Mode::Exclusive, true) {
                Ok(lock) => {
                    let mut file = lock.file();
                    file.seek(SeekFrom::End(0)).with_context(failed)?;
                    return file.write_all(format!("{line}\n").as_bytes()).with_context(failed);
                }
                Err(StoreError::MissingFile { .. }) => {}
                Err(other) => return Err(other).with_context(failed),
            }
            // A new log appears at once with its owner and its line, or another process has made one first.
            let new = path.with_extension("new");
            fs::write(&new, format!("{line}\n")).with_context(failed)?;
            let cyrus = testkit::process::cyrus_user()?;
            let (uid, gid) = (Some(cyrus.uid.as_raw()), Some(cyrus.gid.as_raw()));
            std::os::unix::fs::chown(&new, uid, gid).with_context(failed)?;
            let linked = fs::hard_link(&new, &path);
            fs::remove_file(&new).with_context(failed)?;
            match linked {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                linked => return linked.with_context(failed),
            }
        }
    }

    /// Both sides must be equal, and no server may have logged an error.
    fn judge(&self, client: Client, big: &Path) -> Result<()> {
        let replica = if client == Client::C { &self.theirs } else { &self.ours };
        let report = oracle::compare(&self.master, replica, &self.users)?;
        ensure!(report.is_empty(), "the small users differ:\n{report}");
        let files =
            fs::read_dir(big).with_context(|| format!("failed to read {}", big.display()))?;
        let messages = files
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().ends_with('.'))
            .count();
        ensure!(messages == self.big as usize, "{messages} of {} messages there", self.big);
        for line in self.master.take_syslog().into_iter().chain(replica.take_syslog()) {
            // LOG_ERR and worse.
            if line.severity <= 3 {
                say(&format!("  {client}, syslog: {}", line.text));
            }
        }
        Ok(())
    }
}

/// The folders of these mailboxes below the spool: the same on the replica, because folders are named after unique ids.
fn folders(master: &Cyrus, names: &[String]) -> Result<Vec<PathBuf>> {
    let output = master.tool("mbpath", names)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let spool = master.spool();
    let below = |line: &str| Path::new(line.trim()).strip_prefix(&spool).map(Path::to_path_buf);
    let folders: Vec<PathBuf> = text
        .lines()
        .map(below)
        .collect::<Result<_, _>>()
        .with_context(|| format!("mbpath says {text:?}"))?;
    ensure!(folders.len() == names.len(), "mbpath says {text:?}");
    Ok(folders)
}
