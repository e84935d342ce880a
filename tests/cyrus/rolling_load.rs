//! Rolling replication while clients keep working, undisturbed and disturbed: in the end both sides are equal.
//!
//! The undisturbed run takes two minutes, the others less; `ROLLING_SECONDS=120` makes every one take that long, and
//! `ROLLING_SEED=1` makes the clients do other things.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cyrus_store::lock::sync_lock_file;
use cyrus_store::{Config, sync_lock};
use testkit::fill::{self, Load, LoadOptions, LoadReport};
use testkit::oracle::{self, Ignore};
use testkit::relay::Relay;
use testkit::{Cyrus, Via};

use crate::common::{Pair, Running, wait_for};
use crate::rolling::{last_said, log_files, settle_within};

/// How long a replica may lag after the end of the load, at worst: these tests share a small machine.
const CATCH_UP: Duration = Duration::from_secs(40);

/// A busy master, and our client that replicates it over a relay.
struct Scene {
    pair: Pair,
    relay: Relay,
    users: Vec<String>,
    load: Load,
    running: Running,
}

const ROLLING: [&str; 5] = ["-R", "-j", "4", "-d", "0"];

impl Scene {
    fn begin(seed: u64) -> Scene {
        // Reconnecting and resting are as usual, but with a shorter maximum, so that a test ends.
        let master = Cyrus::master()
            .lmtp(true)
            .sieve(true)
            .sync_log(&[])
            .option("sync_reconnect_maxwait", "2")
            .option("sync_retry_maxwait", "4")
            .option("sync_timeout", "10");
        let mut pair = Pair::with(master, Cyrus::replica(), Via::Csync);
        let relay = Relay::start(pair.replica.csync_port().unwrap()).unwrap();
        pair.master.replicate_to_port(relay.port(), Via::Csync).unwrap();
        let users = fill::uniform(&pair.master, 8, 3, 5, 800).unwrap();
        let running = pair.start_sync(&ROLLING);
        let seed = seed + 1000 * number("ROLLING_SEED").unwrap_or(0);
        let options = LoadOptions { per_second: 12.0, ..LoadOptions::new(seed, 3) };
        let load = Load::start_with(&pair.master, &users, &options).unwrap();
        Scene { pair, relay, users, load, running }
    }

    /// Ends the load and expects both sides to be equal soon after.
    fn end(self) -> (Pair, LoadReport) {
        let Scene { pair, relay, load, mut running, .. } = self;
        let report = load.stop().unwrap();
        settle_within(&pair, &mut running, CATCH_UP);
        running.terminate();
        let ended = running.wait();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_equal(&pair, &report);
        assert!(!pair.master.config_dir().join("sync/log-unread").exists());
        drop(relay);
        (pair, report)
    }
}

/// Equal in everything of existing users, and in the mailboxes of removed ones: their seen state may stay on a replica
/// whose INBOX was renamed before the user was removed (3.6.1; no command of the protocol removes it).
fn assert_equal(pair: &Pair, report: &LoadReport) {
    assert!(report.tally.total_done() > 100, "{report}");
    pair.assert_equal(&report.present);
    let ignore = Ignore { absent_users: true, ..Ignore::default() };
    let deleted = oracle::compare_with(&pair.master, &pair.replica, &report.deleted, ignore);
    let mut deleted = deleted.unwrap();
    deleted.0.retain(|difference| !difference.key.starts_with("SEEN"));
    assert!(deleted.is_empty(), "{deleted}");
}

/// How long a load takes: this many seconds, or the value from the environment.
fn seconds(least: u64) -> Duration {
    Duration::from_secs(number("ROLLING_SECONDS").unwrap_or(least))
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Waits, and calls this from time to time.
fn during(time: Duration, every: Duration, mut disturb: impl FnMut(u32)) {
    let started = Instant::now();
    let mut times = 0;
    while started.elapsed() < time {
        std::thread::sleep(every.min(time.saturating_sub(started.elapsed())));
        if started.elapsed() < time {
            disturb(times);
            times += 1;
        }
    }
}

/// Two minutes of everything clients can do.
#[test]
fn undisturbed() {
    let scene = Scene::begin(11);
    std::thread::sleep(seconds(120));
    let (mut pair, report) = scene.end();
    assert!(report.users.len() > 8, "no guests: {report}");
    // Nothing is left to do. The relay is gone.
    pair.master.replicate_to(&pair.replica, Via::Csync).unwrap();
    let run = pair.sync_well(&["-A"]);
    assert!(!run.stderr.contains(" replicated"), "{}", run.stderr);
}

/// Our client is killed every five seconds, wherever it is, and started again.
#[test]
fn ours_is_killed_again_and_again() {
    let mut scene = Scene::begin(12);
    during(seconds(45), Duration::from_secs(5), |_| {
        scene.running.kill();
        scene.running = scene.pair.start_sync(&ROLLING);
    });
    scene.end();
}

/// The replica's servers are killed, one or all, every other second.
#[test]
fn servers_are_killed_again_and_again() {
    let scene = Scene::begin(13);
    let mut killed = 0;
    during(seconds(30), Duration::from_secs(2), |_| {
        killed += scene.pair.replica.kill_service("sync_server");
    });
    assert!(killed > 3, "only {killed} servers were killed");
    scene.end();
}

/// The replica is down for half a minute.
#[test]
fn the_replica_is_away() {
    let mut scene = Scene::begin(14);
    std::thread::sleep(Duration::from_secs(5));
    scene.pair.replica.stop();
    std::thread::sleep(Duration::from_secs(30));
    assert!(scene.running.is_running());
    scene.pair.replica.start().unwrap();
    std::thread::sleep(seconds(5));
    scene.end();
}

/// The link stalls now and then, once for longer than `sync_timeout`.
#[test]
fn the_link_stalls() {
    let scene = Scene::begin(15);
    for stall in [1, 3, 14] {
        std::thread::sleep(Duration::from_secs(4));
        scene.relay.stall(true);
        std::thread::sleep(Duration::from_secs(stall));
        scene.relay.stall(false);
    }
    std::thread::sleep(seconds(4));
    scene.end();
}

/// Another process holds a user's sync lock for a minute: all others stay equal meanwhile, with and without -N.
#[test]
fn a_lock_is_held() {
    for (seed, extra) in [(16, "-v"), (17, "-N")] {
        let mut scene = Scene::begin(seed);
        scene.running.kill();
        scene.running = scene.pair.start_sync(&[&ROLLING[..], &[extra]].concat());
        let config = Config::load(scene.pair.master.imapd_conf()).unwrap();
        let (locked, _) = scene.users.split_first().unwrap();
        // A lock file that belongs to root would lock out everybody else.
        let name = sync_lock_file(&config, "127.0.0.1", Some(locked));
        wait_for("the lock file", || name.exists());
        let mut lock = None;
        wait_for("the lock", || {
            lock = sync_lock(&config, "127.0.0.1", Some(locked), true).unwrap();
            lock.is_some()
        });
        std::thread::sleep(seconds(30));
        let load = scene.load.stop().unwrap();
        only_left(&scene.pair, &scene.running, locked);
        assert!(scene.running.is_running());
        drop(lock);
        settle_within(&scene.pair, &mut scene.running, CATCH_UP);
        assert_equal(&scene.pair, &load);
        scene.running.terminate();
        assert_eq!(scene.running.wait().code, Some(0));
    }
}

/// One user's index is broken: all others stay equal, that one is reported and, once it is repaired, catches up by itself.
#[test]
fn a_broken_index() {
    let mut scene = Scene::begin(18);
    std::thread::sleep(Duration::from_secs(3));
    // A user that nobody works on, because Cyrus itself can't either.
    let broken = "broken";
    scene.pair.master.create_user(broken).unwrap();
    wait_for("the new user", || scene.pair.differences(&[broken.into()]).is_empty());
    let index = index_of(&scene.pair, broken);
    scene.running.signal("STOP");
    let mut client = scene.pair.master.login(broken).unwrap();
    client.append("INBOX", &[], None, b"Subject: late\r\n\r\nlate\r\n").unwrap();
    client.create("INBOX/healthy").unwrap();
    drop(client);
    let whole = fs::read(&index).unwrap();
    fs::write(&index, b"broken").unwrap();
    scene.running.signal("CONT");
    std::thread::sleep(seconds(25));
    let load = scene.load.stop().unwrap();
    only_left(&scene.pair, &scene.running, broken);
    scene.running.signal("USR1");
    wait_for("the report", || {
        let said = scene.running.stderr();
        said.contains("1 failing, 1 of them in quarantine") && said.contains("cyrus.index")
    });
    let lines = scene.pair.master.syslog();
    let quarantined = |text: &str| {
        text.contains("mailbox in quarantine") && text.contains(&format!("userid=<{broken}>"))
    };
    assert_eq!(lines.iter().filter(|line| quarantined(&line.text)).count(), 1);
    // The entries in log-run outlive us.
    scene.running.kill();
    scene.running = scene.pair.start_sync(&ROLLING);
    std::thread::sleep(Duration::from_secs(1));
    fs::write(&index, whole).unwrap();
    settle_within(&scene.pair, &mut scene.running, CATCH_UP);
    assert_equal(&scene.pair, &load);
    scene.pair.assert_equal(&[broken.into()]);
    scene.running.terminate();
    assert_eq!(scene.running.wait().code, Some(0));
}

/// Everything is done except the entries of one user.
fn only_left(pair: &Pair, running: &Running, userid: &str) {
    let [log, run] = log_files(pair);
    let started = Instant::now();
    loop {
        let left = [&log, &run].map(|file| fs::read_to_string(file).unwrap_or_default()).concat();
        let its = |line: &str| line.split([' ', '.', '"']).any(|word| word == userid);
        if !left.is_empty() && left.lines().all(its) {
            return;
        }
        if started.elapsed() > CATCH_UP {
            running.signal("USR1");
            std::thread::sleep(Duration::from_secs(1));
            panic!("left:\n{left}\n{}\n{}", running.stderr(), last_said(pair));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn index_of(pair: &Pair, user: &str) -> PathBuf {
    let inbox = pair.master.name(&["user", user]);
    let found = pair.master.tool("mbpath", &["-m", &inbox]).unwrap();
    PathBuf::from(String::from_utf8(found.stdout).unwrap().trim()).join("cyrus.index")
}

/// SIGTERM while a user with many messages is in flight: the program ends within five seconds, and the next one does the
/// rest.
#[test]
fn a_signal_ends_it_soon() {
    let mut pair = Pair::with(Cyrus::master().sync_log(&[]), Cyrus::replica(), Via::Csync);
    let relay = Relay::start(pair.replica.csync_port().unwrap()).unwrap();
    pair.master.replicate_to_port(relay.port(), Via::Csync).unwrap();
    let users = fill::uniform(&pair.master, 4, 3, 60, 3000).unwrap();
    relay.hide("DEFLATE");
    relay.stall_after(200_000);
    let running = pair.start_sync(&ROLLING);
    wait_for("work in flight", || relay.is_stalled());
    let asked = Instant::now();
    running.terminate();
    let ended = running.wait();
    assert!(asked.elapsed() < Duration::from_secs(5), "it took {:?}", asked.elapsed());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(log_files(&pair).iter().any(|file| file.exists()));
    relay.stall(false);
    pair.sync_well(&["-1"]);
    pair.assert_equal(&users);
}
