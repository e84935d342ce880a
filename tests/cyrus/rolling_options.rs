//! The options of rolling replication, and what ends it.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use testkit::fill;
use testkit::{Cyrus, Via, c_client};

use crate::common::{Pair, summary, wait_for};
use crate::rolling::{log_files, logging_pair, settle};

/// A pair with a log full of new entries that nobody has read.
fn with_a_log(users: usize) -> (Pair, Vec<String>) {
    let pair = logging_pair();
    let users = fill::uniform(&pair.master, users, 3, 4, 600).unwrap();
    (pair, users)
}

fn news(pair: &Pair, user: &str) {
    let text = format!("Subject: {:?}\r\n\r\nnews\r\n", Instant::now());
    pair.master.login(user).unwrap().append("INBOX", &[], None, text.as_bytes()).unwrap();
}

/// -1: one log, with or without -R, and no later entries. It is not a failure if there is no log.
#[test]
fn one_log() {
    let (pair, users) = with_a_log(3);
    let run = pair.sync_well(&["-1"]);
    assert!(run.stderr.contains("rolling: 3 users done in "), "{}", run.stderr);
    pair.assert_equal(&users);
    assert!(log_files(&pair).iter().all(|file| !file.exists()));
    let run = pair.sync_well(&["-1", "-R"]);
    assert!(run.stderr.contains("rolling: 0 users done in "), "{}", run.stderr);
    // Taken over by a process that then died: those entries come first, then what was logged since.
    news(&pair, &users[0]);
    let [log, run_file] = log_files(&pair);
    fs::rename(&log, &run_file).unwrap();
    news(&pair, &users[1]);
    pair.sync_well(&["-1"]);
    pair.assert_equal(&users);
    let lines = pair.master.syslog();
    let said = lines.iter().any(|line| line.text.contains("Reprocessing sync log file"));
    assert!(said);
}

/// -f: a log of the user's own, by name or on standard input, with any verbs and names in it. It is not changed.
#[test]
fn a_given_log() {
    let (pair, users) = with_a_log(3);
    let [log, _] = log_files(&pair);
    fs::remove_file(&log).unwrap();
    let given = pair.master.dir().join("given");
    let text = format!(
        "USER {}\r\nGREET nobody\nMAILBOX {{{}+}}\r\nuser.{}\nAPPEND \"user.{}.folder1\"\n",
        users[0],
        users[1].len() + 5,
        users[1],
        users[1]
    );
    fs::write(&given, &text).unwrap();
    let run = pair.sync_well(&["-R", "-f", given.to_str().unwrap(), "-v"]);
    assert!(run.stderr.contains("rolling: 2 users done in "), "{}", run.stderr);
    assert!(run.stdout.contains(&format!("USER {}\n", users[0])), "{}", run.stdout);
    pair.assert_equal(&users[..1]);
    assert!(!pair.differences(&users[1..2]).is_empty(), "more was replicated than was named");
    assert_eq!(fs::read_to_string(&given).unwrap(), text);
    let unreadable =
        pair.master.syslog().into_iter().any(|line| line.text.contains("GREET nobody"));
    assert!(unreadable);

    let mut child = pair
        .command(&["-r", "-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    write!(stdin, "USER {}\nUSER {}", users[1], users[2]).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    pair.assert_equal(&users);

    // A list that never ends does not prevent its end.
    let mut child = pair.command(&["-R", "-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let held = child.stdin.take();
    std::thread::sleep(Duration::from_millis(500));
    testkit::process::send(&child, "TERM").unwrap();
    let asked = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(75));
    assert!(asked.elapsed() < Duration::from_secs(5));
    drop(held);
}

/// Invalid lines are reported and kept beside the log.
#[test]
fn unreadable_lines_are_kept() {
    let (pair, users) = with_a_log(1);
    let [log, _] = log_files(&pair);
    let before = fs::read(&log).unwrap();
    fs::write(&log, [b"DANCE user.x\nMAILBOX \xff\n".as_slice(), &before, b"MAILBOX"].concat())
        .unwrap();
    pair.sync_well(&["-1"]);
    pair.assert_equal(&users);
    let kept = fs::read(pair.master.config_dir().join("sync/log-unread")).unwrap();
    assert_eq!(kept, b"DANCE user.x\nMAILBOX \xff\nMAILBOX\n");
}

/// A shutdown file ends it, from the command line or the configuration, and is removed.
#[test]
fn a_shutdown_file() {
    let (mut pair, users) = with_a_log(2);
    let file = pair.master.dir().join("stop-here");
    for from_config in [false, true] {
        let path = file.to_str().unwrap().to_string();
        let running = if from_config {
            pair.master.set_option("sync_shutdown_file", &path).unwrap();
            pair.start_sync(&["-R", "-d", "0"])
        } else {
            pair.start_sync(&["-R", "-d", "0", "-F", &path])
        };
        wait_for("replication", || pair.differences(&users).is_empty());
        fs::write(&file, "").unwrap();
        let ended = running.wait();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stderr.contains("stopped by the shutdown file"), "{}", ended.stderr);
        assert!(!file.exists());
        news(&pair, &users[0]);
    }
}

/// -r goes into the background; CYRUS_ISDAEMON keeps it in the foreground, as cyrus.conf's DAEMON section requires. A
/// second one on the same log is turned away.
#[test]
fn into_the_background() {
    let (pair, users) = with_a_log(2);
    let file = pair.master.dir().join("stop");
    let shutdown = file.to_str().unwrap();
    // Like the C client, it keeps the stdout and stderr that it was given.
    let mut command = pair.command(&["-r", "-d", "0", "-F", shutdown]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(command.status().unwrap().success());
    wait_for("replication", || pair.differences(&users).is_empty());
    let second = pair.sync(&["-R"]);
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.stderr.contains("already works on"), "{second:?}");
    news(&pair, &users[0]);
    wait_for("replication", || pair.differences(&users).is_empty());
    fs::write(&file, "").unwrap();
    wait_for("the end", || !file.exists());
    wait_for("the end", || pair.sync(&["-1"]).code == Some(0));

    let mut command = pair.command(&["-r", "-d", "0"]);
    command.env("CYRUS_ISDAEMON", "1");
    let mut running = crate::common::Running::start(command);
    news(&pair, &users[1]);
    settle(&pair, &mut running);
    running.terminate();
    assert_eq!(running.wait().code, Some(0));
    pair.assert_equal(&users);
}

/// Without -o it waits for a missing replica, and a signal ends the wait with 75; with -o it gives up at once. No entry of
/// the log is lost.
#[test]
fn without_a_replica() {
    let (mut pair, users) = with_a_log(2);
    pair.replica.stop();
    let run = pair.sync(&["-R", "-o"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.contains("Can not connect to server"), "{run:?}");
    let running = pair.start_sync(&["-R"]);
    let tries = || running.stderr().matches("retrying in 15 seconds").count();
    wait_for("the first try", || tries() == 1);
    running.signal("HUP");
    wait_for("another first try", || tries() == 2);
    running.terminate();
    let ended = running.wait();
    assert_eq!(ended.code, Some(75), "{}", ended.stderr);
    assert!(log_files(&pair).iter().any(|file| file.exists()));
    pair.replica.start().unwrap();
    pair.sync_well(&["-1"]);
    pair.assert_equal(&users);
}

/// An unreadable log is reported once, not at each try, and in each status; once it is readable, all of it is done.
#[test]
fn a_log_without_rights() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let (pair, users) = with_a_log(2);
    let log = log_files(&pair).into_iter().find(|file| file.exists()).unwrap();
    let owner = fs::metadata(&log).unwrap();
    chown(&log, Some(0), Some(0)).unwrap();
    fs::set_permissions(&log, fs::Permissions::from_mode(0o600)).unwrap();
    let mut running = pair.start_sync(&["-R", "-d", "0"]);
    // Before that, the signal would end it.
    wait_for("it to take the log over", || !log.exists());
    wait_for("it to be told", || {
        running.signal("USR1");
        running.stderr().contains("the log can't be read (")
    });
    // Twenty tries a second.
    std::thread::sleep(Duration::from_millis(500));
    let told = |words: &str| pair.master.syslog().iter().filter(|l| l.text.contains(words)).count();
    assert_eq!(told("the sync log can't be read"), 1);
    for file in log_files(&pair).iter().filter(|file| file.exists()) {
        chown(file, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    settle(&pair, &mut running);
    pair.assert_equal(&users);
    assert_eq!(told("the sync log can be read again"), 1);
    running.signal("USR1");
    wait_for("the status", || running.stderr().contains("0s behind, 0 users waiting"));
}

/// SIGHUP: the configuration is read again; an invalid one is reported and the previous one stays.
#[test]
fn hangup_reads_the_configuration_again() {
    let (mut pair, users) = with_a_log(2);
    pair.master.set_option("sync_repeat_interval", "1h").unwrap();
    let mut running = pair.start_sync(&["-R"]);
    settle(&pair, &mut running);
    news(&pair, &users[0]);
    pair.master.set_option("sync_jobs", "none").unwrap();
    running.signal("HUP");
    // A new start reads the log at once.
    settle(&pair, &mut running);
    pair.assert_equal(&users);
    pair.master.wait_for_syslog("option sync_jobs: 'none'").unwrap();
    pair.master.set_option("sync_jobs", "2").unwrap();
    pair.master.set_option("sync_repeat_interval", "0").unwrap();
    running.signal("HUP");
    pair.master.wait_for_syslog("was read again").unwrap();
    news(&pair, &users[1]);
    settle(&pair, &mut running);
    pair.assert_equal(&users);
    running.terminate();
    assert_eq!(running.wait().code, Some(0));
}

/// Two channels in one process, each with its own log, replica and settings; one whose replica is down holds up neither the
/// other nor the end.
#[test]
fn two_channels_at_once() {
    testkit::ensure_cyrus().unwrap();
    let (one, mut two) = (Cyrus::replica().start().unwrap(), Cyrus::replica().start().unwrap());
    let mut master = Cyrus::master().sync_log(&["one", "two"]).start().unwrap();
    master.replicate_to(&one, Via::Csync).unwrap();
    for (channel, replica) in [("one", &one), ("two", &two)] {
        master
            .set_option(&format!("{channel}_sync_port"), &replica.csync_port().unwrap().to_string())
            .unwrap();
    }
    let mut pair = Pair { master, replica: one };
    let users = fill::uniform(&pair.master, 3, 2, 4, 600).unwrap();
    let mut running = pair.start_sync(&["-R", "-d", "0", "-n", "one", "-n", "two"]);
    let equal = |pair: &Pair, replica: &Cyrus| {
        testkit::oracle::compare(&pair.master, replica, &users).unwrap().is_empty()
    };
    wait_for("both replicas", || equal(&pair, &pair.replica) && equal(&pair, &two));
    two.stop();
    news(&pair, &users[0]);
    wait_for("the replica that is there", || equal(&pair, &pair.replica));
    running.signal("USR1");
    wait_for("the status", || {
        let said = running.stderr();
        said.contains("channel one: 0s behind, 0 users waiting") && said.contains("channel two: ")
    });
    two.start().unwrap();
    assert!(running.is_running());
    wait_for("the other replica", || equal(&pair, &two));
    running.terminate();
    assert_eq!(running.wait().code, Some(0));
    std::mem::swap(&mut pair.replica, &mut two);
    pair.assert_equal(&users);
}

/// One SIGHUP after the other: each time the log and the cache are free for the next run.
#[test]
fn many_hangups_in_a_row() {
    let (mut pair, users) = with_a_log(2);
    let cache = pair.master.config_dir().join("sync-cache");
    pair.master.set_option("sync_cache_db_path", cache.to_str().unwrap()).unwrap();
    let mut running = pair.start_sync(&["-R", "-d", "0"]);
    settle(&pair, &mut running);
    let told = |words: &str| pair.master.syslog().iter().filter(|l| l.text.contains(words)).count();
    for nr in 1..=30 {
        running.signal("HUP");
        wait_for("the configuration", || {
            assert!(running.is_running(), "after {nr} SIGHUPs it ended: {}", running.stderr());
            told("was read again") == nr
        });
    }
    news(&pair, &users[0]);
    settle(&pair, &mut running);
    pair.assert_equal(&users);
    assert_eq!(told("sync cache"), 0, "the cache could not be used");
    running.terminate();
    assert_eq!(running.wait().code, Some(0));
}

/// systemd gets a message when the log was read, the status, signs of life, and the end.
#[test]
fn systemd_is_told() {
    let (pair, users) = with_a_log(2);
    let path = pair.master.dir().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut command = pair.command(&["-R", "-d", "0"]);
    command.env("NOTIFY_SOCKET", &path);
    let mut running = crate::common::Running::start(command);
    let mut heard = String::new();
    let hear = |heard: &mut String| {
        let mut buffer = [0; 4096];
        if let Ok(length) = socket.recv(&mut buffer) {
            heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
            heard.push('\n');
        }
    };
    settle(&pair, &mut running);
    wait_for("the notices", || {
        hear(&mut heard);
        ["READY=1", "WATCHDOG=1", "STATUS=0s behind, 0 users waiting"]
            .iter()
            .all(|words| heard.contains(words))
    });
    running.terminate();
    assert_eq!(running.wait().code, Some(0));
    wait_for("the farewell", || {
        hear(&mut heard);
        heard.contains("STOPPING=1")
    });
    pair.assert_equal(&users);
}

/// skipuser files: such a user is skipped, in every mode, and the user's entries are kept until the file is removed.
#[test]
fn skipped_users() {
    let (pair, users) = with_a_log(3);
    let (skipped, others) = users.split_first().unwrap();
    let file = pair.master.config_dir().join(format!("sync/skipuser-{skipped}"));
    fs::write(&file, "").unwrap();
    let all = pair.sync_well(&["-A"]);
    assert_eq!(summary(&all).split(';').next(), Some("3 users: 2 replicated, 1 skipped"));
    let once = pair.sync_well(&["-1"]);
    assert!(once.stderr.contains(", 1 left in the log (1 skipped)"), "{}", once.stderr);
    let mut running = pair.start_sync(&["-R", "-d", "0"]);
    news(&pair, &others[0]);
    wait_for("the others", || pair.differences(others).is_empty());
    assert!(!pair.differences(&users).is_empty());
    let [_, run_file] = log_files(&pair);
    wait_for("the skipped one's entries alone", || {
        fs::read_to_string(&run_file).is_ok_and(|left| {
            !left.is_empty() && left.lines().all(|line| line.contains(&format!("user.{skipped}")))
        })
    });
    std::thread::sleep(Duration::from_secs(6));
    let told = pair.master.syslog().into_iter().filter(|l| l.text.contains("is not replicated"));
    let told = told.filter(|l| l.text.contains("skipuser")).count();
    assert_eq!(told, 2, "once by each run is enough");
    fs::remove_file(&file).unwrap();
    settle(&pair, &mut running);
    pair.assert_equal(&users);
    running.terminate();
    assert_eq!(running.wait().code, Some(0));
}

/// The C client is stopped in the middle of a log and ours goes on with it, then the other way round: nothing is lost.
#[test]
fn the_c_client_before_and_after() {
    let (mut pair, users) = with_a_log(8);
    let relay = testkit::relay::Relay::start(pair.replica.csync_port().unwrap()).unwrap();
    relay.hide("DEFLATE");
    pair.master.replicate_to_port(relay.port(), Via::Csync).unwrap();
    let [log, run_file] = log_files(&pair);
    let theirs = |args: &[&str]| -> Command {
        let mut command = pair.master.command("/usr/lib/cyrus/bin/sync_client");
        command.arg("-C").arg(pair.master.imapd_conf()).args(args);
        command
    };
    relay.stall_after(30_000);
    let mut running = crate::common::Running::start(theirs(&["-R", "-1"]));
    wait_for("the C client at work", || relay.is_stalled());
    assert!(run_file.exists() && running.is_running());
    running.kill();
    relay.cut_all();
    relay.stall(false);
    news(&pair, &users[7]);
    pair.sync_well(&["-1"]);
    pair.assert_equal(&users);
    assert!(!log.exists() && !run_file.exists());

    for user in &users {
        news(&pair, user);
        pair.master.login(user).unwrap().create("INBOX/more").unwrap();
    }
    relay.set_delay(Duration::from_millis(20));
    relay.stall_after(9_000);
    let mut running = pair.start_sync(&["-R", "-j", "1", "-d", "0"]);
    wait_for("ours at work", || relay.is_stalled());
    assert!(run_file.exists() && running.is_running());
    running.kill();
    relay.cut_all();
    relay.stall(false);
    relay.set_delay(Duration::ZERO);
    news(&pair, &users[0]);
    // The first run does the entries that our client had taken over, the second those logged since.
    for _ in 0..2 {
        c_client::run(&pair.master, &["-R", "-1"]).unwrap().must_succeed().unwrap();
    }
    pair.assert_equal(&users);
}

/// SIGHUP and SIGTERM at the same moment, many times: it ends each time. Before, the SIGHUP could be handled last, and the
/// end forgotten.
#[test]
fn a_hangup_beside_the_end_is_no_reason_to_go_on() {
    let (pair, _) = with_a_log(1);
    for _ in 0..12 {
        let mut running = pair.start_sync(&["-R", "-d", "0"]);
        settle(&pair, &mut running);
        running.signal("HUP");
        running.terminate();
        assert_eq!(running.wait().code, Some(0));
    }
}
