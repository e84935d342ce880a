//! A run that is killed leaves nothing behind: no server, no daemon, no folder.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use testkit::store::{MasterStore, Plan};
use testkit::{Cyrus, process};

/// Set for the process that will be killed.
const VICTIM: &str = "TESTKIT_VICTIM";
/// Writes into a folder again and again, making it again if it is missing, from a session of its own.
const WRITER: &str = "while :; do mkdir -p \"$1/conf/late\"; : >\"$1/conf/late/$$\"; done";

#[test]
fn a_killed_run_leaves_nothing() {
    if std::env::var_os(VICTIM).is_some() {
        hold_everything();
    }
    for signal in ["KILL", "TERM"] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "a_killed_run_leaves_nothing", "--nocapture"]).env(VICTIM, "1");
        let mut victim = command.process_group(0).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(victim.stdout.take().unwrap()).lines().map_while(Result::ok);
        let held: Vec<PathBuf> = lines
            .filter_map(|line| line.strip_prefix("held: ").map(PathBuf::from))
            .take(3)
            .collect();
        assert!(held.len() == 3 && held.iter().all(|path| path.is_dir()), "{held:?}");
        assert!(!workers(&held).is_empty());

        process::send(&victim, signal).unwrap();
        assert_eq!(victim.wait().unwrap().code(), None);
        let started = Instant::now();
        while held.iter().any(|path| path.exists()) || !workers(&held).is_empty() {
            let left = workers(&held);
            assert!(started.elapsed() < Duration::from_secs(30), "{left:?} work on {held:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Starts everything that a test may start, prints where, and waits for its end.
#[expect(clippy::print_stdout, reason = "the other process reads it")]
fn hold_everything() -> ! {
    let cyrus = Cyrus::master().lmtp(true).start().unwrap();
    let store = MasterStore::write(&Plan::default()).unwrap();
    let mut daemon = cyrus.command("setsid");
    daemon.args(["--fork", "/bin/sh", "-c", WRITER, "sh"]).arg(cyrus.dir());
    assert!(daemon.status().unwrap().success());
    let session = cyrus.admin().unwrap();
    // The library before libc has a folder of its own.
    let library = PathBuf::from(preloaded(&cyrus));
    for folder in [cyrus.dir(), store.imapd_conf().parent().unwrap(), library.parent().unwrap()] {
        println!("held: {}", folder.display());
    }
    loop {
        std::thread::sleep(Duration::from_secs(1));
        std::hint::black_box(&session);
    }
}

fn preloaded(cyrus: &Cyrus) -> String {
    let command = cyrus.command("/bin/true");
    let value = command.get_envs().find(|(name, _)| *name == "LD_PRELOAD").and_then(|(_, v)| v);
    value.unwrap().to_str().unwrap().split(':').next().unwrap().to_owned()
}

/// Processes that name one of these folders.
fn workers(folders: &[PathBuf]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let text = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).replace('\0', " ");
        if folders.iter().any(|folder| text.contains(&folder.display().to_string())) {
            found.push(format!("{} {text}", entry.file_name().display()));
        }
    }
    found
}
