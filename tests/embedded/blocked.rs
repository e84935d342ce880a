//! A terminal that takes no more, as after Ctrl-S or behind a pager.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use cyrus_store::{Config, FileLock, sync_lock};
use embedded_replica::{Fault, Keep, Options, Replica, Server};
use testkit::process;
use testkit::store::{MasterStore, Plan, Sizes};

use crate::progress_bar::terminal;
use crate::running::wait_for;

/// What Ctrl-S and Ctrl-Q send.
const STOP: &[u8] = b"\x13";
const GO_ON: &[u8] = b"\x11";

/// Nobody reads its stderr, which is full of traffic. A first signal may not be heard of in time; a second one ends it.
#[test]
fn a_second_signal_ends_a_run_that_can_not_write() {
    let store = MasterStore::write(&Plan { users: 40, messages: 10, ..Plan::default() }).unwrap();
    let options = Options { keep: Keep::Count, conversations: false, ..Options::default() };
    let replica = Replica::new(options).unwrap();
    let server = replica.serve("127.0.0.1:0").unwrap();
    let conf = store.conf_for("blocked", server.address().port()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sync_client"));
    command.arg("-C").arg(conf).args(["-A", "-v", "-v"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It is stuck when it asks for nothing more.
    let mut before = None;
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let now = replica.stats().messages;
        if before == Some(now) {
            break;
        }
        before = Some(now);
    }
    assert!(child.try_wait().unwrap().is_none(), "it was not stuck");
    process::send(&child, "TERM").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    process::send(&child, "TERM").unwrap();
    let ended = end_of(&mut child, Duration::from_secs(8));
    assert_eq!(ended.code(), Some(75));
}

/// Waits for the end of it, at most this long.
fn end_of(child: &mut Child, most: Duration) -> ExitStatus {
    let asked = Instant::now();
    loop {
        if let Some(ended) = child.try_wait().unwrap() {
            return ended;
        }
        if asked.elapsed() > most {
            child.kill().unwrap();
            panic!("it goes on");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A store of some users, and a replica.
struct World {
    replica: Replica,
    server: Server,
    store: MasterStore,
}

impl World {
    fn new(users: usize) -> World {
        let sizes = Sizes::Fixed(300);
        let plan = Plan { users, mailboxes: 1, messages: 1, sizes, ..Plan::default() };
        let store = MasterStore::write(&plan).unwrap();
        let options = Options { keep: Keep::Count, conversations: false, ..Options::default() };
        let replica = Replica::new(options).unwrap();
        let server = replica.serve("127.0.0.1:0").unwrap();
        World { replica, server, store }
    }

    fn userid(&self, nr: usize) -> &str {
        &self.store.model().users[nr].userid
    }

    /// Replicates a user, and holds its lock from then on.
    fn locked(&self, userid: &str) -> FileLock {
        // The lock's file is made by the program.
        let made = self.command(&["-u", userid]).stderr(Stdio::null()).status().unwrap();
        assert!(made.success());
        let config = Config::load_as(self.conf(), "sync_client").unwrap();
        sync_lock(&config, "127.0.0.1", Some(userid), true).unwrap().unwrap()
    }

    fn conf(&self) -> std::path::PathBuf {
        self.store.conf_for("blocked", self.server.address().port()).unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sync_client"));
        command.arg("-C").arg(self.conf()).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::null()).env("TERM", "xterm");
        command
    }
}

/// Starts it with stderr on a terminal, and returns that once it shows the bar.
fn started(mut command: Command) -> (Child, File) {
    let (mut screen, program) = terminal();
    command.stderr(program);
    let child = command.spawn().unwrap();
    // Our copy of the program's side: with it there would be no end.
    drop(command);
    let mut shown = Vec::new();
    let mut piece = [0; 65536];
    while !String::from_utf8_lossy(&shown).contains("users") {
        let length = screen.read(&mut piece).unwrap();
        shown.extend_from_slice(&piece[..length]);
    }
    (child, screen)
}

/// Ctrl-S, for good: the bar, and lines about failing users, wait for ever. All users are replicated, what -v writes
/// elsewhere is complete, and the run ends.
#[test]
fn a_stopped_terminal_does_not_stop_a_run() {
    const USERS: usize = 900;
    let world = World::new(USERS);
    for nr in 0..USERS / 3 {
        let (code, text) = ("IMAP_MAILBOX_BADNAME".to_string(), "no such luck".to_string());
        let refusal = Fault::Refuse { code, text };
        world.replica.faults().always("GET USER", world.userid(nr * 3), refusal);
    }
    let mut lines = tempfile::tempfile().unwrap();
    let mut command = world.command(&["-A", "-j", "4", "-v"]);
    command.stdout(lines.try_clone().unwrap());
    let (mut child, mut screen) = started(command);
    screen.write_all(STOP).unwrap();
    let ended = end_of(&mut child, Duration::from_secs(60));
    assert_eq!(ended.code(), Some(1));
    let mut rest = Vec::new();
    // The end is an error (EIO).
    let _ = screen.read_to_end(&mut rest);
    let rest = String::from_utf8_lossy(&rest).into_owned();
    assert!(!rest.contains("sync_client: 900 users in"), "it was not stopped: {rest}");
    let mut actions = String::new();
    std::io::Seek::rewind(&mut lines).unwrap();
    lines.read_to_string(&mut actions).unwrap();
    for nr in 0..USERS {
        let done = actions.contains(&format!("DONE {}: ", world.userid(nr)));
        assert_eq!(done, nr % 3 > 0, "{}", world.userid(nr));
    }
}

/// Ctrl-S for good, then one signal: the run ends, and its report is written.
#[test]
fn a_stopped_terminal_does_not_hold_up_a_signal() {
    let world = World::new(30);
    let lock = world.locked(world.userid(7));
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let report = folder.path().join("report");
    let mut command = world.command(&["-A", "-j", "4", "--report"]);
    command.arg(&report);
    let (mut child, mut screen) = started(command);
    screen.write_all(STOP).unwrap();
    wait_for("all others", || world.replica.stats().messages == 30);
    process::send(&child, "TERM").unwrap();
    assert_eq!(end_of(&mut child, Duration::from_secs(15)).code(), Some(75));
    drop(lock);
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    let totals = &report["totals"];
    assert_eq!(
        (&totals["replicated"], &totals["not_reached"]),
        (&29.into(), &1.into()),
        "{report}"
    );
    assert_eq!(report["stopped"]["why"], "signal");
}

/// What came while a terminal was stopped is shown when it goes on, in order and above the bar.
#[test]
fn a_terminal_that_goes_on_shows_what_waited() {
    let world = World::new(30);
    let slow = world.userid(7);
    let lock = world.locked(slow);
    let (mut child, mut screen) = started(world.command(&["-A", "-j", "4"]));
    screen.write_all(STOP).unwrap();
    process::send(&child, "USR1").unwrap();
    std::thread::sleep(Duration::from_secs(1));
    drop(lock);
    screen.write_all(GO_ON).unwrap();
    let mut shown = Vec::new();
    let _ = screen.read_to_end(&mut shown);
    assert_eq!(end_of(&mut child, Duration::from_secs(10)).code(), Some(0));
    let shown = String::from_utf8_lossy(&shown);
    let status = shown.find(" in flight").unwrap();
    let end = shown.find("sync_client: 30 users in ").unwrap();
    assert!(status < end, "{shown}");
    assert_eq!(shown.matches("sync_client: 30 users in ").count(), 1, "{shown}");
    assert!(!shown[end..].contains("/30 users"), "a bar below the end: {shown}");
}
