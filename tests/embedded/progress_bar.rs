//! `--progress`: a bar on a terminal of 80 columns, recorded through a pseudo-terminal and replayed on an emulated screen.

use std::fs::File;
use std::io::Read;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cyrus_store::{Config, sync_lock};
use embedded_replica::{Keep, Options, Replica};
use nix::pty::{Winsize, openpty};
use testkit::store::{MasterStore, Plan, Sizes};

const ROWS: u16 = 24;
const COLUMNS: u16 = 80;

/// A terminal, and the program's side of it.
pub(crate) fn terminal() -> (File, OwnedFd) {
    let size = Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
    let pair = openpty(Some(&size), None).unwrap();
    (File::from(pair.master), pair.slave)
}

/// What a run showed: the screen after each piece of output.
struct Recorded {
    screens: Vec<String>,
    /// Rows below a bar that are none of its lines: one that went on in the next row, say.
    foreign: Vec<String>,
    code: Option<i32>,
    bytes: String,
}

impl Recorded {
    fn last(&self) -> &str {
        self.screens.last().unwrap()
    }
}

/// The rows that are below a bar and begin as none of its lines: `sent …`, then users.
fn foreign(rows: impl Iterator<Item = String>) -> Vec<String> {
    let below = rows.skip_while(|row| !row.contains("/200 users")).skip(2);
    below.filter(|row| !row.trim().is_empty() && !row.starts_with("  ")).collect()
}

/// Runs a command with stdout and stderr on a terminal.
fn record(mut command: Command) -> Recorded {
    let (mut screen, program) = terminal();
    command.stdin(Stdio::null()).env("TERM", "xterm").env_remove("NO_COLOR");
    command.stdout(program.try_clone().unwrap()).stderr(program);
    let mut child = command.spawn().unwrap();
    // Our copies of the program's side: with them there would be no end.
    drop(command);
    let [rows, columns] = [ROWS, COLUMNS].map(|size| NonZero::new(size).unwrap());
    let mut parser = vt100::Parser::new(rows, columns, 1000);
    let mut recorded =
        Recorded { screens: Vec::new(), foreign: Vec::new(), code: None, bytes: String::new() };
    let mut piece = [0; 65536];
    let since = Instant::now();
    // The end is an error (EIO).
    while let Ok(length @ 1..) = screen.read(&mut piece) {
        assert!(since.elapsed() < Duration::from_secs(60), "it does not end");
        parser.process(&piece[..length]);
        recorded.bytes.push_str(&String::from_utf8_lossy(&piece[..length]));
        let screen = parser.screen();
        // Full rows are followed by no line end, so the screen's text as a whole is of no use.
        let rows: Vec<String> = screen.rows(0, COLUMNS).collect();
        recorded.foreign.extend(foreign(rows.iter().cloned()));
        recorded.screens.push(rows.join("\n"));
    }
    recorded.code = child.wait().unwrap().code();
    recorded
}

/// A store of 200 users, and a replica.
struct World {
    _replica: Replica,
    server: embedded_replica::Server,
    store: MasterStore,
}

impl World {
    fn new() -> World {
        let plan = Plan {
            users: 200,
            mailboxes: 1,
            messages: 1,
            sizes: Sizes::Fixed(300),
            ..Plan::default()
        };
        let store = MasterStore::write(&plan).unwrap();
        let options = Options { keep: Keep::Count, conversations: false, ..Options::default() };
        let replica = Replica::new(options).unwrap();
        let server = replica.serve("127.0.0.1:0").unwrap();
        World { _replica: replica, server, store }
    }

    /// Holds a user's sync lock for some time from now on.
    fn hold(&self, userid: &str) -> JoinHandle<()> {
        let conf = self.store.conf_for("bar", self.server.address().port()).unwrap();
        let config = Config::load_as(&conf, "sync_client").unwrap();
        let lock = sync_lock(&config, "127.0.0.1", Some(userid), true).unwrap().unwrap();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_secs(3));
            drop(lock);
        })
    }

    fn command(&self, args: &[&str]) -> Command {
        let conf = self.store.conf_for("bar", self.server.address().port()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sync_client"));
        command.arg("-C").arg(conf).args(["-A", "-j", "4"]).args(args);
        command
    }
}

/// The bar shows who is done and who is slow, and nothing of it wraps; -v's lines stand above it; at the end only lines
/// are left.
#[test]
fn a_bar_on_a_terminal() {
    let world = World::new();
    let slow = &world.store.model().users[99].userid;
    // The lock's file is made by the program.
    let mut one = world.command(&[]);
    one.arg(slow);
    assert_eq!(testkit::c_client::measure(one).unwrap().code, Some(0));
    let holding = world.hold(slow);
    let run = record(world.command(&["-v"]));
    holding.join().unwrap();
    assert_eq!(run.code, Some(0), "{}", run.last());
    assert!(run.foreign.is_empty(), "{:?}", run.foreign);
    let shown = |words: &str| run.screens.iter().any(|screen| screen.contains(words));
    assert!(shown("199/200 users"), "{:?}", run.screens.iter().rev().nth(2));
    assert!(shown(&format!("\n  {slow}: ")), "{:?}", run.screens);
    assert!(shown(" messages/s, "));
    assert!(run.bytes.contains("\x1b[36m"), "it has no colours");
    // Each line once, above the bar.
    for user in &world.store.model().users {
        let line = format!("DONE {}: ", user.userid);
        assert_eq!(run.bytes.matches(&line).count(), 1, "{line}");
    }
    let last = run.last().trim_end();
    let end = last.rfind("\nsync_client: ").unwrap();
    assert!(last[end..].starts_with("\nsync_client: 200 users in "), "{last}");
    // Only the summary, in one row or two.
    assert!(last[end + 1..].lines().count() <= 2, "{last}");
    assert!(!last.contains("/200 users") && !last.contains('█'), "{last}");
}

/// No colours with NO_COLOR, no bar with --quiet, with plain lines, or where stderr is no terminal.
#[test]
fn where_there_is_no_bar() {
    let world = World::new();
    let mut command = world.command(&[]);
    command.env("NO_COLOR", "1");
    // Set on the command, it counts.
    let (mut screen, program) = terminal();
    command.env("TERM", "xterm").stdin(Stdio::null());
    command.stdout(program.try_clone().unwrap()).stderr(program);
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut bytes = Vec::new();
    let _ = screen.read_to_end(&mut bytes);
    assert!(child.wait().unwrap().success());
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("/200 users") && !text.contains("\x1b[36m"), "{text}");

    for args in [&["--quiet"][..], &["--progress", "none"], &["--progress", "plain"]] {
        let run = record(world.command(args));
        let wanted = "sync_client: 200 users in ";
        assert!(run.bytes.starts_with(wanted), "{args:?}: {}", run.bytes);
        assert_eq!(run.bytes.lines().count(), 1, "{args:?}: {}", run.bytes);
    }
    let plain = testkit::c_client::measure(world.command(&["--progress", "bar"])).unwrap();
    assert_eq!(plain.stderr.lines().count(), 1, "{}", plain.stderr);
}
