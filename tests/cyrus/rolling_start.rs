//! How rolling replication starts: problems are reported to the person who starts it, before it goes into the background.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use testkit::relay::Relay;
use testkit::{Cyrus, Via, fill, process};

use crate::common::{Pair, Running, wait_for};
use crate::rolling::{logging_pair, settle};

/// A pair whose sync log is replicated in the background; that process is killed in the end.
struct Background {
    pair: Pair,
}

impl Background {
    fn claim(&self) -> PathBuf {
        self.pair.master.config_dir().join("sync/log-replicator")
    }

    /// The process that has the log, according to its claim.
    fn pid(&self) -> Option<u32> {
        fs::read_to_string(self.claim()).ok()?.trim().parse().ok()
    }

    /// Starts it; returns the exit code and the output on stderr until then.
    fn start(&self, args: &[&str]) -> (Option<i32>, String) {
        let said = self.pair.master.dir().join("said");
        let mut command = self.pair.command(args);
        // Like the C client, the process in the background keeps the stderr that it was given.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&said).unwrap());
        let code = command.status().unwrap().code();
        (code, fs::read_to_string(said).unwrap())
    }

    fn is_running(&self) -> bool {
        self.pid().is_some_and(|pid| fs::exists(format!("/proc/{pid}")).unwrap())
    }

    /// The child writes its process id a moment after its parent has ended.
    fn wait_until_running(&self) -> u32 {
        wait_for("the one in the background", || self.is_running());
        self.pid().unwrap()
    }

    fn stop(&self) {
        if let Some(pid) = self.pid() {
            let _ = process::send_to(pid, "TERM");
            wait_for("its end", || !self.is_running());
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            let _ = process::send_to(pid, "KILL");
        }
    }
}

/// A copy of our program that every user can run.
fn program_for_all(pair: &Pair) -> PathBuf {
    let copy = pair.master.dir().join("sync_client");
    fs::copy(env!("CARGO_BIN_EXE_sync_client"), &copy).unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
    copy
}

/// A second replicator on a log is turned away before it goes into the background, in each way to start it, and reports who
/// has the log; whatever the claim's file contains, the lock decides.
#[test]
fn beside_another_replicator() {
    let background = Background { pair: logging_pair() };
    let pair = &background.pair;
    let users = fill::uniform(&pair.master, 2, 2, 3, 500).unwrap();
    assert_eq!(background.start(&["-r", "-d", "0"]), (Some(0), String::new()));
    let pid = background.wait_until_running();
    let log = pair.master.config_dir().join("sync/log");
    let words = format!(
        "sync_client: another sync_client (pid {pid}) already works on {}\n",
        log.display()
    );
    for args in [&["-r"][..], &["-R"], &["-1"]] {
        let second = pair.sync(args);
        assert_eq!((second.code, second.stderr), (Some(1), words.clone()), "{args:?}");
    }
    let mut daemon = pair.command(&["-r"]);
    daemon.env("CYRUS_ISDAEMON", "1");
    let ended = Running::start(daemon).wait();
    assert_eq!((ended.code, ended.stderr), (Some(1), words));
    wait_for("replication", || pair.differences(&users).is_empty());

    for nonsense in ["", "nobody\n", "1999999999\n"] {
        fs::write(background.claim(), nonsense).unwrap();
        let second = pair.sync(&["-r"]);
        assert_eq!(second.code, Some(1));
        let words =
            format!("sync_client: another sync_client already works on {}\n", log.display());
        assert_eq!(second.stderr, words, "{nonsense:?}");
    }
    fs::write(background.claim(), format!("{pid}\n")).unwrap();
    background.stop();
    assert_eq!(pair.sync(&["-1"]).code, Some(0));
}

/// Many that start at the same moment: one of them has the log, and the claim names it.
#[test]
fn a_race_for_the_log() {
    let background = Background { pair: logging_pair() };
    let pair = &background.pair;
    let users = fill::uniform(&pair.master, 1, 2, 3, 500).unwrap();
    for _ in 0..3 {
        let start = |_| {
            let mut command = pair.command(&["-r", "-d", "0"]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().unwrap()
        };
        let all: Vec<_> = (0..8).map(start).collect();
        let codes = all.into_iter().map(|mut child| child.wait().unwrap().code().unwrap());
        let mut codes: Vec<i32> = codes.collect();
        codes.sort_unstable();
        assert_eq!(codes, [0, 1, 1, 1, 1, 1, 1, 1]);
        background.wait_until_running();
        wait_for("replication", || pair.differences(&users).is_empty());
        background.stop();
    }
}

/// Refusals of the replica are reported with the words of -u, and the exit code is 78, in the background and in the
/// foreground; nothing is left running and the log is not changed.
#[test]
fn a_login_that_is_refused() {
    let replica = Cyrus::replica().option("failedloginpause", "0");
    let pair = Pair::with(Cyrus::master().sync_log(&[]), replica, Via::Csync);
    let mut background = Background { pair };
    let users = fill::uniform(&background.pair.master, 2, 2, 3, 500).unwrap();
    let log = fs::read(background.pair.master.config_dir().join("sync/log")).unwrap();
    let refused = |background: &Background, words: &str| {
        let pair = &background.pair;
        let one_user = pair.sync(&["-u", &users[0]]);
        assert_eq!(one_user.code, Some(78), "{}", one_user.stderr);
        let said = one_user.stderr.lines().next().unwrap().to_owned() + "\n";
        assert!(said.contains(words), "{said}");
        let same = |code, stderr: &str, how: &str| {
            assert_eq!((code, stderr), (Some(78), said.as_str()), "{how}");
        };
        let (code, stderr) = background.start(&["-r"]);
        same(code, &stderr, "-r");
        let front = pair.sync(&["-R"]);
        same(front.code, &front.stderr, "-R");
        let mut daemon = pair.command(&["-r"]);
        daemon.env("CYRUS_ISDAEMON", "1");
        let ended = Running::start(daemon).wait();
        same(ended.code, &ended.stderr, "CYRUS_ISDAEMON");
        assert_eq!(background.pid(), None, "somebody was left");
        assert_eq!(fs::read(pair.master.config_dir().join("sync/log")).unwrap(), log);
    };

    background.pair.master.set_option("sync_password", "very-wrong").unwrap();
    refused(&background, "refused the login of cyrus");
    background.pair.master.set_option("sync_password", "secret").unwrap();
    background.pair.master.set_option("sync_authname", &users[0]).unwrap();
    refused(&background, "may log in to the replica but not replicate");
    background.pair.master.set_option("sync_authname", "cyrus").unwrap();
    background.pair.replica.set_option("sasl_mech_list", "CRAM-MD5").unwrap();
    background.pair.replica.restart().unwrap();
    refused(&background, "login mechanism");
}

/// A user that may not work on the log is told which user to be.
#[test]
fn as_the_wrong_user() {
    let pair = logging_pair();
    fill::uniform(&pair.master, 1, 2, 3, 500).unwrap();
    let program = program_for_all(&pair);
    fs::set_permissions(pair.master.dir(), Permissions::from_mode(0o755)).unwrap();
    for mode in ["-r", "-R"] {
        let mut command = Command::new(&program);
        command.arg("-C").arg(pair.master.imapd_conf()).arg(mode).uid(65534).gid(65534);
        let run = testkit::c_client::measure(command).unwrap();
        assert_eq!(run.code, Some(78), "{}", run.stderr);
        let log = pair.master.config_dir().join("sync/log");
        let words = format!("sync_client: can't work on {}: ", log.display());
        assert!(run.stderr.starts_with(&words), "{}", run.stderr);
        assert!(run.stderr.contains("log-replicator"), "{}", run.stderr);
        assert!(
            run.stderr.contains("permission denied; run as root or as the Cyrus user"),
            "{}",
            run.stderr
        );
    }
}

/// A replica that is down is reported, but does not prevent the start, except with -o. Once it is up everything arrives.
#[test]
fn a_replica_that_is_away() {
    let mut background = Background { pair: logging_pair() };
    let users = fill::uniform(&background.pair.master, 2, 2, 3, 500).unwrap();
    background.pair.replica.stop();
    background.pair.master.set_option("sync_reconnect_maxwait", "1").unwrap();
    let (code, said) = background.start(&["-r", "-o"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("sync_client: Can not connect to server '127.0.0.1': "), "{said}");
    assert!(!said.contains("trying again"), "{said}");

    let (code, said) = background.start(&["-r", "-d", "0"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("sync_client: Can not connect to server '127.0.0.1': "), "{said}");
    assert!(said.lines().next().unwrap().ends_with("; trying again until it is there"), "{said}");
    background.wait_until_running();
    background.pair.replica.start().unwrap();
    wait_for("replication", || background.pair.differences(&users).is_empty());
}

/// A replica that accepts and sends nothing delays the start by ten seconds, not for ever, and that is reported.
#[test]
fn a_replica_that_says_nothing() {
    let mut background = Background { pair: logging_pair() };
    let users = fill::uniform(&background.pair.master, 1, 2, 3, 500).unwrap();
    let relay = Relay::start(background.pair.replica.csync_port().unwrap()).unwrap();
    background.pair.master.replicate_to_port(relay.port(), Via::Csync).unwrap();
    background.pair.master.set_option("sync_timeout", "12").unwrap();
    background.pair.master.set_option("sync_reconnect_maxwait", "1").unwrap();
    relay.stall(true);
    let started = Instant::now();
    let (code, said) = background.start(&["-r", "-d", "0"]);
    let took = started.elapsed();
    assert_eq!(code, Some(0), "{said}");
    assert!(took >= Duration::from_secs(9) && took < Duration::from_secs(20), "{took:?}");
    let connecting = format!("sync_client: connecting to 127.0.0.1:{} …\n", relay.port());
    assert!(said.starts_with(&connecting), "{said}");
    assert!(said.contains("no answer in 10 seconds; trying again until it is there\n"), "{said}");
    relay.stall(false);
    wait_for("replication", || background.pair.differences(&users).is_empty());
}

/// In cyrus.conf's START section a start that fails does not keep Cyrus from serving mail: the master gives up after any
/// exit code except 0 and 75. A good start replicates.
#[test]
fn started_by_the_cyrus_master() {
    let mut background = Background { pair: logging_pair() };
    let users = fill::uniform(&background.pair.master, 1, 2, 3, 500).unwrap();
    let program = program_for_all(&background.pair);
    let master = &mut background.pair.master;
    master.stop();
    master.run_at_start(&format!(
        "{} -C {} -r -d 0",
        program.display(),
        master.imapd_conf().display()
    ));
    master.set_option("sync_password", "very-wrong").unwrap();
    drop(master.take_syslog());
    master.start().unwrap();
    master.login(&users[0]).unwrap();
    let log = master.take_syslog();
    let said = log
        .iter()
        .any(|l| l.text.contains("Fatal error") && l.text.contains("refused the login of cyrus"));
    assert!(said, "{log:?}");
    assert!(!background.is_running());

    let master = &mut background.pair.master;
    master.stop();
    master.set_option("sync_password", "secret").unwrap();
    master.start().unwrap();
    let pid = background.wait_until_running();
    wait_for("replication", || background.pair.differences(&users).is_empty());

    // The one that was started before still runs: so does the mail service.
    background.pair.master.restart().unwrap();
    background.pair.master.login(&users[0]).unwrap();
    assert_eq!(background.pid(), Some(pid));
}

/// A channel that Cyrus does not log to is refused, naming both; without a channel, so is a list that lacks the log without
/// a name. If a log exists all the same it is replicated, with a warning.
#[test]
fn a_channel_that_is_not_logged() {
    let mut pair =
        Pair::with(Cyrus::master().sync_log(&["one", "two"]), Cyrus::replica(), Via::Csync);
    let users = fill::uniform(&pair.master, 1, 2, 3, 500).unwrap();
    let conf = pair.master.imapd_conf().display().to_string();
    for (args, words) in [
        (
            &["-r", "-n", "foo"][..],
            format!(
                "sync_client: channel foo is not in sync_log_channels of {conf} (it has: one two)"
            ),
        ),
        (
            &["-R", "-n", "one", "-n", "foo"],
            format!("sync_client: channel foo is not in sync_log_channels of {conf}"),
        ),
        (
            &["-R"],
            format!(
                "sync_client: no channel is given (-n), and sync_log_channels of {conf} has no \"\""
            ),
        ),
    ] {
        let run = pair.sync(args);
        assert_eq!(run.code, Some(78), "{}", run.stderr);
        assert!(run.stderr.starts_with(&words), "{}", run.stderr);
        assert!(run.stderr.contains("sync_client_sync_log_channels: "), "{}", run.stderr);
    }
    assert!(!pair.master.config_dir().join("sync/foo").exists());

    pair.sync_well(&["-1", "-n", "one"]);
    pair.assert_equal(&users);
    pair.master.set_option("sync_log_channels", "two").unwrap();
    let run = pair.sync_well(&["-1", "-n", "one"]);
    assert!(
        run.stderr.starts_with("sync_client: warning: channel one is not in "),
        "{}",
        run.stderr
    );
    // The settings of another imapd.conf can be repeated here.
    pair.master.set_option("sync_client_sync_log_channels", "one two").unwrap();
    let run = pair.sync_well(&["-1", "-n", "one"]);
    assert!(!run.stderr.contains("warning"), "{}", run.stderr);
}

/// sync_log: no is a warning that can't be missed: on stderr, in syslog and in every status.
#[test]
fn nothing_is_logged() {
    let mut pair = logging_pair();
    let users = fill::uniform(&pair.master, 1, 2, 3, 500).unwrap();
    pair.master.set_option("sync_log", "no").unwrap();
    let mut running = pair.start_sync(&["-R", "-d", "0"]);
    settle(&pair, &mut running);
    pair.assert_equal(&users);
    let conf = pair.master.imapd_conf().display().to_string();
    let warning = format!("sync_client: warning: sync_log is off in {conf}: ");
    assert!(running.stderr().starts_with(&warning), "{}", running.stderr());
    let log = pair.master.syslog();
    let warnings = log.iter().filter(|l| l.severity == 4 && l.text.contains("sync_log is off in"));
    assert_eq!(warnings.count(), 1);
    let status = format!("sync_client: sync_log is off in {conf}; 0s behind, 0 users waiting");
    running.signal("USR1");
    wait_for("the status", || running.stderr().contains(&status));
    pair.master.set_option("sync_log", "yes").unwrap();
    running.signal("HUP");
    wait_for("the status", || {
        running.signal("USR1");
        running.stderr().contains("sync_client: 0s behind, 0 users waiting")
    });
}

/// SIGHUP ends nothing and does not report an end, not even before anything is ready; neither does SIGUSR1.
#[test]
fn hangup_is_no_end() {
    let (pair, users) = {
        let pair = logging_pair();
        let users = fill::uniform(&pair.master, 2, 2, 3, 500).unwrap();
        (pair, users)
    };
    let mut running = pair.start_sync(&["-R", "-d", "0"]);
    let claim = pair.master.config_dir().join("sync/log-replicator");
    wait_for("it to have the log", || claim.exists());
    for _ in 0..50 {
        running.signal("USR1");
        running.signal("HUP");
        std::thread::sleep(Duration::from_millis(2));
    }
    settle(&pair, &mut running);
    pair.assert_equal(&users);
    running.signal("HUP");
    std::thread::sleep(Duration::from_millis(300));
    let said = running.stderr();
    for words in ["interrupted", "stopped", "rolling: "] {
        assert!(!said.contains(words), "{said}");
    }
    running.terminate();
    assert_eq!(running.wait().code, Some(0));
}

/// systemd gets READY only when the replica has accepted the login and the log was read; until then it gets the status.
#[test]
fn ready_with_the_first_login() {
    let mut pair = logging_pair();
    let users = fill::uniform(&pair.master, 1, 2, 3, 500).unwrap();
    pair.sync_well(&["-1"]);
    pair.replica.stop();
    pair.master.set_option("sync_reconnect_maxwait", "1").unwrap();
    let path = pair.master.dir().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut command = pair.command(&["-R", "-d", "0"]);
    command.env("NOTIFY_SOCKET", &path);
    let running = Running::start(command);
    let mut heard = String::new();
    let hear = |heard: &mut String| {
        let mut buffer = [0; 4096];
        if let Ok(length) = socket.recv(&mut buffer) {
            heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
            heard.push('\n');
        }
    };
    let away =
        format!("; replica 127.0.0.1:{}: not reachable for ", pair.replica.csync_port().unwrap());
    wait_for("several notices", || {
        hear(&mut heard);
        heard.matches(&away).count() >= 2
    });
    assert!(heard.contains("(Connection refused)") && !heard.contains("READY=1"), "{heard}");
    // Nothing is logged, but it logs in all the same.
    pair.replica.start().unwrap();
    heard.clear();
    wait_for("READY", || {
        hear(&mut heard);
        heard.contains("READY=1")
    });
    wait_for("the connection", || {
        hear(&mut heard);
        heard.contains(": 1 connection\n")
    });
    pair.assert_equal(&users);
    running.terminate();
    assert_eq!(running.wait().code, Some(0));
}

/// With the rights of docs/sync_client.service: as the Cyrus user, with write access only to the folders of the sync log
/// and of the locks, and above all not to the mail store. The servers are stopped meanwhile, and everything else belongs to
/// root and is readable by the group: a container may not mount anything read-only.
#[test]
fn where_little_can_be_written() {
    let mut pair = logging_pair();
    let users = fill::uniform(&pair.master, 2, 2, 3, 500).unwrap();
    pair.master.login(&users[0]).unwrap().create("INBOX/more").unwrap();
    let program = program_for_all(&pair);
    pair.master.stop();
    let run = |script: &str| {
        let mut command = Command::new("/bin/sh");
        command.args(["-ec", script]).current_dir(pair.master.dir());
        assert!(command.status().unwrap().success(), "{script}");
    };
    run("chown root . && chmod 755 . && chown -R root conf spool spool2 sieve && chmod -R g=rX,o= conf spool spool2 sieve
         chown -R cyrus conf/sync conf/lock && chmod -R g=rwX conf/sync conf/lock");
    let touch = |name: &str| {
        let mut command = pair.master.command("touch");
        command.arg(pair.master.dir().join(name)).stderr(Stdio::null());
        command.status().unwrap().success()
    };
    for forbidden in ["x", "conf/x", "conf/mailboxes.db", "conf/user/x", "spool/x"] {
        assert!(!touch(forbidden), "{forbidden}");
    }
    assert!(touch("conf/lock/x"));

    let mut command = pair.master.command(&program);
    command.arg("-C").arg(pair.master.imapd_conf()).args(["-R", "-d", "0"]);
    let mut running = Running::start(command);
    settle(&pair, &mut running);
    assert_eq!(running.stderr(), "");
    running.terminate();
    assert_eq!(running.wait().code, Some(0));
    run("chown -R cyrus:mail . && chmod -R u=rwX conf spool spool2 sieve");
    pair.master.start().unwrap();
    pair.assert_equal(&users);
}
