//! Ways to reach a replica, and what is sent to it besides the mailboxes: compression, Unix sockets, channels, partitions,
//! -L, -O, and scripts for replicas that keep them outside of mailboxes.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use actors::Selection;
use cyrus_store::{Config, Store};
use testkit::fill::{self, FillOptions};
use testkit::install::BIN;
use testkit::oracle::{self, PrivateServer};
use testkit::process::Tree;
use testkit::relay::Relay;
use testkit::{Cyrus, DeleteMode, Via, c_client};

use crate::common::{Pair, in_process, settings, summary};

/// How many bytes an uncompressed connection may carry from us in the tests of compression.
const ALLOWED: u64 = 200_000;
/// What we send there.
const MESSAGE: usize = 1_000_000;

/// A few users with everything except a large message.
fn fill(master: &Cyrus, users: usize) -> Vec<String> {
    let options = FillOptions { big_message_bytes: 0, messages: 6, ..FillOptions::new(41, users) };
    fill::fill_with(master, &options).unwrap()
}

/// Appends a message of about [`MESSAGE`] bytes to the user's INBOX.
fn append(master: &Cyrus, user: &str, body: impl Fn(usize) -> u8) {
    let mut message = b"From: a@example.org\r\nSubject: bytes\r\n\r\n".to_vec();
    for line in 0..MESSAGE / 72 {
        message.extend((0..70).map(|at| body(line * 70 + at)));
        message.extend_from_slice(b"\r\n");
    }
    master.login(user).unwrap().append("INBOX", &[], None, &message).unwrap();
}

/// Letters without a pattern: no compressor saves more than a quarter of them.
fn noise(at: usize) -> u8 {
    let mut x = at as u64 ^ 0x9e37_79b9_7f4a_7c15;
    for _ in 0..3 {
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x ^= x >> 27;
    }
    b'0' + (x % 64) as u8
}

// Shows that compression is used on the csync port: a message that compresses well passes where its plain bytes would not.
// One that does not compress shows that such a limit cuts; the run recovers from the cut. Over IMAP nothing is compressed,
// though imapd offers it: with commands sent ahead it would wait for input that it has read already. So -z refuses such a
// replica.
#[test]
fn connections_are_compressed() {
    let mut pair = Pair::start();
    let relay = Relay::start(pair.replica.csync_port().unwrap()).unwrap();
    pair.master.replicate_to_port(relay.port(), Via::Csync).unwrap();
    pair.master.create_user("anna").unwrap();

    append(&pair.master, "anna", |_| b'x');
    relay.cut_after(ALLOWED);
    let run = pair.sync_well(&["-z", "-u", "anna", "-v", "-v"]);
    assert_eq!(relay.cuts(), 0, "more than {ALLOWED} bytes were sent");
    assert!(run.stderr.contains("COMPRESS DEFLATE\r\n"));

    append(&pair.master, "anna", noise);
    relay.cut_after(ALLOWED);
    pair.sync_well(&["-z", "-u", "anna"]);
    assert_eq!(relay.cuts(), 1, "the relay counts no bytes");
    let users = ["anna".to_owned()];
    pair.assert_equal(&users);

    append(&pair.master, "anna", |_| b'y');
    pair.master.replicate_to(&pair.replica, Via::Imap).unwrap();
    let refused = pair.sync(&["-z", "-u", "anna"]);
    assert_eq!(refused.code, Some(78), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("Failed to enable compression to server"),
        "{}",
        refused.stderr
    );
    let run = pair.sync_well(&["-u", "anna", "-v", "-v"]);
    assert!(!run.stderr.contains("COMPRESS DEFLATE\r\n"));
    pair.assert_equal(&users);
}

/// A sync_server of `replica` that listens on a Unix socket and serves one connection at a time.
struct OnSocket {
    path: PathBuf,
    _tree: Tree,
}

impl OnSocket {
    /// As `testkit::oracle` starts its own: the listening socket is file 4, a pipe is file 3.
    fn start(replica: &Cyrus) -> OnSocket {
        let path = replica.dir().join("run/csync");
        let listener = UnixListener::bind(&path).unwrap();
        // Every process that reaches the folder may connect, as with Cyrus' own sockets.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
        let (mut status, status_writer) = std::io::pipe().unwrap();
        let mut command = replica.command("/bin/sh");
        command.args(["-c", "exec 4<&0 3>&1 0</dev/null 1>/dev/null; exec \"$@\"", "sh"]);
        command.arg(format!("{BIN}/sync_server")).arg("-C").arg(replica.imapd_conf());
        // The id names the lock under which a server accepts; the oracle's have another.
        command.env("CYRUS_SERVICE", "csync").env("CYRUS_ID", "7");
        command.stdin(OwnedFd::from(listener)).stdout(OwnedFd::from(status_writer));
        command.stderr(Stdio::null());
        let tree = Tree::spawn(command).unwrap();
        // The server reports its state on the pipe; it must be read.
        std::thread::spawn(move || std::io::copy(&mut status, &mut std::io::sink()));
        OnSocket { path, _tree: tree }
    }
}

/// The files of all sync locks on the master.
fn sync_locks(pair: &Pair) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![pair.master.config_dir().join("lock"), pair.master.dir().join("lock")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().contains("*S*") {
                found.insert(path);
            }
        }
    }
    found
}

// Shows that -S accepts a Unix socket's path, without a login; and that -z is an error there, because such a server offers
// no compression.
#[test]
fn a_unix_socket_is_a_replica() {
    let mut pair = Pair::start();
    // Nothing else may lead to the replica.
    for option in ["sync_host", "sync_port", "sync_authname", "sync_password"] {
        pair.master.unset_option(option).unwrap();
    }
    let users = fill(&pair.master, 4);
    let server = OnSocket::start(&pair.replica);
    let path = server.path.to_str().unwrap();
    let run = pair.sync_well(&["-A", "-j", "1", "-S", path]);
    assert!(summary(&run).starts_with("4 users: 4 replicated;"), "{}", run.stderr);
    pair.assert_equal(&users);
    // Its locks are those of Cyrus' client, in folders of the path's names.
    let ours = sync_locks(&pair);
    let anna = format!("{path}*{}.lock", users[0]).replace('.', "^").replace("^lock", ".lock");
    assert!(ours.iter().any(|lock| lock.to_string_lossy().ends_with(&anna)), "{anna} {ours:?}");
    c_client::run(&pair.master, &["-A", "-S", path]).unwrap().must_succeed().unwrap();
    assert_eq!(sync_locks(&pair), ours, "Cyrus' client takes others");

    let run = pair.sync(&["-A", "-j", "1", "-z", "-S", path]);
    assert_eq!(run.code, Some(78), "{}", run.stderr);
    assert!(run.stderr.contains("compression") && run.stderr.contains(path), "{}", run.stderr);
}

// Shows that -n uses the channel's settings and not those without a channel, and that without -n the latter are used.
#[test]
fn a_channel_has_its_own_replica() {
    let mut pair = Pair::start();
    let port = pair.replica.csync_port().unwrap().to_string();
    let settings = [
        ("west_sync_host", "127.0.0.1"),
        ("west_sync_port", &port),
        ("west_sync_authname", "cyrus"),
        ("west_sync_password", "secret"),
        ("west_sync_try_imap", "0"),
        // Nothing listens on this port, and no host has this name.
        ("sync_port", "1"),
        ("sync_authname", "nobody"),
    ];
    for (option, value) in settings {
        pair.master.set_option(option, value).unwrap();
    }
    let users = fill(&pair.master, 2);
    let run = pair.sync(&["-o", "-A"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("127.0.0.1:1:"), "{}", run.stderr);
    let run = pair.sync_well(&["-n", "west", "-A"]);
    assert!(summary(&run).starts_with("2 users: 2 replicated;"), "{}", run.stderr);
    pair.assert_equal(&users);
}

/// How many mailboxes of these users the replica keeps on each partition: `default`, `second`.
fn on_partitions(replica: &Cyrus, users: &[String]) -> (usize, usize) {
    let mut server = PrivateServer::start(replica).unwrap();
    let (mut default, mut second) = (0, 0);
    for user in users {
        for item in server.items("USER", user).unwrap() {
            match item.value.text("PARTITION").as_deref() {
                Some("default") => default += 1,
                Some("second") => second += 1,
                _ => {}
            }
        }
    }
    (default, second)
}

// Shows that -p puts new mailboxes on that partition of the replica; that a run with another -p moves them with their
// messages; and that then nothing is left to do.
#[test]
fn mailboxes_go_to_the_partition_that_was_asked_for() {
    let pair = Pair::start();
    let users = fill(&pair.master, 3);
    let ignore = oracle::Ignore { partition: true, ..oracle::Ignore::default() };
    let equal = || {
        let lines = oracle::compare_with(&pair.master, &pair.replica, &users, ignore).unwrap();
        assert!(lines.is_empty(), "{lines}");
        let bytes = oracle::compare_bytes(&pair.master, &pair.replica, &users).unwrap();
        assert!(bytes.is_empty(), "{bytes}");
    };
    pair.sync_well(&["-A", "-p", "second"]);
    let (default, second) = on_partitions(&pair.replica, &users);
    assert!(default == 0 && second > 30, "{default} {second}");
    equal();

    let run = pair.sync_well(&["-A", "-p", "default", "-v"]);
    assert!(run.stdout.contains("RENAME user."), "{}", run.stdout);
    assert_eq!(on_partitions(&pair.replica, &users), (second, 0));
    equal();
    let run = pair.sync_well(&["-A", "-p", "default"]);
    assert!(summary(&run).starts_with("3 users: 3 already equal"), "{}", run.stderr);
}

/// Whether a command in a trace begins like this.
fn sent(trace: &str, command: &str) -> bool {
    // After a line's end, or after the mark at the beginning of a chunk.
    trace.contains(&format!("\n{command}")) || trace.contains(&format!("<{command}"))
}

// Shows that with -L mailboxes are created, renamed and deleted by LOCAL_ commands, and by no
// others.
#[test]
fn local_commands_keep_mupdate_out() {
    let master = Cyrus::master().delete_mode(DeleteMode::Immediate);
    let pair = Pair::with(master, Cyrus::replica(), Via::Csync);
    let users = fill(&pair.master, 2);
    let user = users[0].as_str();
    let run = pair.sync_well(&["-L", "-A", "-v", "-v"]);
    let mut trace = run.stderr;
    assert!(run.stdout.contains("LOCAL_MAILBOX user."), "{}", run.stdout);
    pair.assert_equal(&users);

    let mut client = pair.master.login(user).unwrap();
    client.rename("INBOX/Sent", "INBOX/Dispatched").unwrap();
    let run = pair.sync_well(&["-L", "-A", "-v", "-v"]);
    trace += &run.stderr;
    client.delete("INBOX/Drafts").unwrap();
    drop(client);
    let run = pair.sync_well(&["-L", "-A", "-v", "-v"]);
    trace += &run.stderr;
    for command in ["APPLY LOCAL_MAILBOX %(", "APPLY LOCAL_RENAME %(", "APPLY LOCAL_UNMAILBOX "] {
        assert!(sent(&trace, command), "no {command}");
    }
    for command in ["APPLY MAILBOX ", "APPLY RENAME ", "APPLY UNMAILBOX "] {
        assert!(!sent(&trace, command), "{command}");
    }
    pair.assert_equal(&users);
}

// Shows that -O sends FORCE once per connection and fills an empty replica, over both protocols; and that FORCE is not sent
// without it.
#[test]
fn one_way_runs_say_force() {
    for via in [Via::Csync, Via::Imap] {
        let pair = Pair::with(Cyrus::master(), Cyrus::replica(), via);
        let users = fill(&pair.master, 3);
        let run = pair.sync_well(&["-O", "-A", "-j", "1", "-v", "-v"]);
        assert!(summary(&run).starts_with("3 users: 3 replicated;"), "{}", run.stderr);
        let said = |what| run.stderr.matches(what).count();
        assert!(said("AUTHENTICATE PLAIN") >= 1, "{}", run.stderr);
        assert_eq!(said("APPLY FORCE %()"), said("AUTHENTICATE PLAIN"), "{via:?}");
        pair.assert_equal(&users);
        let run = pair.sync_well(&["-A", "-v", "-v"]);
        assert!(!run.stderr.contains("FORCE"), "{via:?}");
        assert!(summary(&run).starts_with("3 users: 3 already equal"), "{}", run.stderr);
    }
}

/// A replication by the actors themselves, for a peer that does not accept `#sieve` mailboxes.
struct Scripts {
    pair: Pair,
}

impl Scripts {
    fn start() -> Scripts {
        Scripts { pair: Pair::start() }
    }

    /// Changes the master's scripts, through Cyrus' own sync_server, because there is no ManageSieve here.
    fn apply(&self, command: &str) {
        PrivateServer::start_plain(&self.pair.master).unwrap().command(command).unwrap();
    }

    fn put(&self, name: &str, time: u32, text: &str) {
        self.apply(&format!(
            "APPLY SIEVE %(USERID anna FILENAME {name}.script LAST_UPDATE {time} CONTENT {{{}+}}\r\n{text})",
            text.len()
        ));
    }

    /// Replicates, expects success and equal scripts on both sides; returns the list of them.
    fn replicate(&self) -> Vec<String> {
        let config = Arc::new(Config::load(self.pair.master.imapd_conf()).unwrap());
        let settings = settings(self.pair.replica.csync_port().unwrap());
        let work = Selection::Users(vec!["anna".into()]);
        let report = in_process(settings, Arc::new(Store::open(config)), work);
        // Our lock files are root's here; Cyrus must be able to take them.
        let locks = self.pair.master.config_dir();
        let owned = Command::new("chown").args(["-R", "cyrus:mail"]).arg(&locks).status().unwrap();
        assert!(owned.success());
        assert!(report.all_well() && report.finished() == 1, "{report}");

        let ours = scripts(&self.pair.master);
        assert_eq!(ours, scripts(&self.pair.replica));
        ours
    }
}

/// What a server lists of anna's scripts: name, GUID, whether it is active. The time of the last
/// update is the server's own: activating sets it on each side when it happens there.
fn scripts(cyrus: &Cyrus) -> Vec<String> {
    let mut server = PrivateServer::start_plain(cyrus).unwrap();
    let items = server.items("USER", "anna").unwrap();
    let mut lines: Vec<String> = items
        .iter()
        .filter(|item| item.name == "SIEVE")
        .map(|item| {
            let line = item.value.to_string();
            let (name, rest) = line.split_once(" LAST_UPDATE ").unwrap();
            format!("{name}{}", rest.trim_start_matches(|c: char| c.is_ascii_digit()))
        })
        .collect();
    lines.sort();
    lines
}

/// The names of scripts in such a list, including the active one's bytecode.
fn names(scripts: &[String]) -> Vec<String> {
    let name = |line: &String| {
        line.split_once("FILENAME ").unwrap().1.split([' ', ')']).next().unwrap().to_owned()
    };
    scripts.iter().map(name).collect()
}

// Shows that a replica without SIEVE-MAILBOX gets the scripts one by one: new ones, changed ones,
// which is active, that none is, and that they are gone.
#[test]
fn scripts_go_one_by_one_to_an_older_replica() {
    let scripts = Scripts::start();
    scripts.pair.master.create_user("anna").unwrap();
    scripts.put("rules", 1_700_000_000, "keep;\r\n");
    scripts.put("holiday", 1_700_000_001, "# \"quoted\" (50%)\r\ndiscard;\r\n");
    let uploaded = scripts.replicate();
    assert_eq!(names(&uploaded), ["holiday.script", "rules.script"]);

    scripts.put("rules", 1_700_000_100, "# changed\r\nkeep;\r\n");
    let changed = scripts.replicate();
    assert_ne!(uploaded, changed);

    scripts.apply("APPLY ACTIVATE_SIEVE %(USERID anna FILENAME rules.bc)");
    assert_eq!(names(&scripts.replicate()), ["holiday.script", "rules.bc", "rules.script"]);
    scripts.apply("APPLY ACTIVATE_SIEVE %(USERID anna FILENAME holiday.bc)");
    assert_eq!(names(&scripts.replicate()), ["holiday.bc", "holiday.script", "rules.script"]);
    scripts.apply("APPLY UNACTIVATE_SIEVE %(USERID anna)");
    assert_eq!(names(&scripts.replicate()), ["holiday.script", "rules.script"]);

    // The active one is removed, then the last one.
    scripts.apply("APPLY ACTIVATE_SIEVE %(USERID anna FILENAME rules.bc)");
    scripts.replicate();
    scripts.apply("APPLY UNSIEVE %(USERID anna FILENAME rules.script)");
    assert_eq!(names(&scripts.replicate()), ["holiday.script"]);
    scripts.apply("APPLY UNSIEVE %(USERID anna FILENAME holiday.script)");
    assert!(scripts.replicate().is_empty());
}
