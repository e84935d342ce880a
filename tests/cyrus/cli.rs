//! The output of a run: lists of users, verbose lines, syslog, identity.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Stdio;

use testkit::c_client;
use testkit::{fill, process, relay::Relay};

use crate::common::{Pair, Running, summary, wait_for};

/// The verbose lines of both clients, sorted. Left out on purpose: `MAILBOXES …` (the C client asks again for what GET USER
/// has answered; we use that answer), `ENABLE 0x…` (which the C client prints once per connection, and we have several),
/// and `DONE …`, which only we print.
fn common_lines<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut lines: Vec<String> = lines
        .filter(|l| !l.starts_with("MAILBOXES") && !l.starts_with("ENABLE"))
        .filter(|l| !l.starts_with("DONE "))
        .map(str::to_string)
        .collect();
    lines.sort();
    lines
}

/// One pair: verbose lines as the C client's, lists of users, a clean log, the identity, -w.
#[test]
fn what_it_says_and_who_it_is() {
    let mut pair = Pair::start();
    let mut options = fill::FillOptions::new(7, 4);
    options.big_message_bytes = 0;
    let users = fill::fill_with(&pair.master, &options).unwrap();

    // -v: the C client's lines, from the same state.
    let theirs = c_client::run(&pair.master, &["-v", "-A"]).unwrap().must_succeed().unwrap();
    pair.replica.wipe().unwrap();
    drop(pair.master.take_syslog());
    let run = pair.sync_well(&["-v", "-l", "-A", "-j", "1"]);
    let log = pair.master.take_syslog();
    assert_eq!(common_lines(run.stdout.lines()), common_lines(theirs.stdout.lines()));
    // And for each finished user a line, with what was sent and how long it took.
    let done: Vec<&str> = run.stdout.lines().filter(|l| l.starts_with("DONE ")).collect();
    assert_eq!(done.len(), users.len(), "{done:?}");
    for user in &users {
        let line = done.iter().find(|l| l.starts_with(&format!("DONE {user}: "))).unwrap();
        assert!(line.contains(" messages, ") && line.contains(" in "), "{line}");
    }
    // -l: the same in syslog, and no line that needs an admin's attention.
    for line in run.stdout.lines().filter(|l| !l.starts_with("ENABLE")) {
        assert!(log.iter().any(|l| l.text.ends_with(&format!(": {line}"))), "{line} is not logged");
    }
    let bad: Vec<_> =
        log.iter().filter(|l| l.text.contains("sync_client") && l.text.contains("ERROR")).collect();
    assert!(bad.is_empty(), "{bad:?}");
    pair.assert_equal(&users);

    // -f: comments, CRLF, a line of any length; -u: each user once; -A with a prefix.
    let list = pair.master.dir().join("users");
    let long = "x".repeat(5000);
    fs::write(&list, format!("# all\r\n\r\n{}\r\n{long}\n{}\n", users[0], users[0])).unwrap();
    let run = pair.sync(&["-v", "-u", "-f", list.to_str().unwrap()]);
    assert_eq!(run.stdout.lines().filter(|l| **l == format!("USER {}", users[0])).count(), 1);
    assert!(summary(&run).starts_with("2 users:"), "{}", run.stderr);
    let run = pair.sync(&["-u", "-f", "/nowhere/users"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("Unable to open /nowhere/users"), "{}", run.stderr);
    let run = pair.sync_well(&["-A", &format!("user.{}", users[1])]);
    assert!(summary(&run).starts_with("1 user: 1 already equal"), "{}", run.stderr);

    // -v -v: the traffic on stderr, the password hidden.
    let run = pair.sync_well(&["-v", "-v", "-u", &users[0]]);
    assert!(run.stderr.contains("GET USER") && run.stderr.contains("* SASL"), "{}", run.stderr);
    assert!(run.stderr.contains("AUTHENTICATE PLAIN …"), "{}", run.stderr);

    // -w waits and reports it.
    let run = pair.sync_well(&["-w", "1", "-u", &users[0]]);
    assert!(
        run.wall.as_millis() >= 1000 && run.stderr.contains("sync_client: Waiting for 1 seconds"),
        "{}",
        run.stderr
    );

    // The ident: syslog_prefix; CYRUS_SYSLOG_PREFIX before it.
    pair.master.set_option("syslog_prefix", "frompref").unwrap();
    drop(pair.master.take_syslog());
    pair.sync_well(&["-l", "-u", &users[0]]);
    let mut command = pair.command(&["-l", "-u", &users[0]]);
    command.env("CYRUS_SYSLOG_PREFIX", "fromenv");
    c_client::measure(command).unwrap().must_succeed().unwrap();
    let log = pair.master.take_syslog();
    for ident in ["frompref/sync_client[", "fromenv/sync_client["] {
        assert!(log.iter().any(|l| l.text.contains(ident)), "{ident}: {log:?}");
    }

    // Started as root it is the Cyrus user, in all its ids, while it works.
    let cyrus = process::cyrus_user().unwrap();
    let relay = Relay::start(pair.replica.csync_port().unwrap()).unwrap();
    relay.stall(true);
    pair.master.replicate_to_port(relay.port(), testkit::Via::Csync).unwrap();
    let mut command = pair.command(&["-u", &users[0]]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("the connection", || relay.connections() > 0);
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    relay.stall(false);
    assert!(child.wait().unwrap().success());
    for (key, id) in [("Uid:", cyrus.uid.as_raw()), ("Gid:", cyrus.gid.as_raw())] {
        let line = status.lines().find(|l| l.starts_with(key)).unwrap();
        assert!(line.split_whitespace().skip(1).all(|field| field == id.to_string()), "{line}");
    }
    let mut folders = vec![pair.master.config_dir().join("lock")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().uid(), cyrus.uid.as_raw(), "{entry:?}");
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
        }
    }
}

/// The replica's refusals are logged with the C client's words, which log watchers look for.
#[test]
fn refusals_are_logged_for_watchers() {
    let mut pair = Pair::start();
    pair.master.create_user("anna").unwrap();
    pair.master.create_user("bert").unwrap();
    // A partition that the replica can't write to: 3.6.1 refuses the mailbox without a code.
    drop(pair.master.take_syslog());
    let spool = pair.replica.spool();
    let rights = fs::metadata(&spool).unwrap().permissions();
    fs::set_permissions(&spool, fs::Permissions::from_mode(0o500)).unwrap();
    std::os::unix::fs::chown(&spool, Some(0), Some(0)).unwrap();
    let run = Running::start(pair.command(&["-n", "chan", "-u", "anna"])).wait();
    let cyrus = process::cyrus_user().unwrap();
    std::os::unix::fs::chown(&spool, Some(cyrus.uid.as_raw()), Some(cyrus.gid.as_raw())).unwrap();
    fs::set_permissions(&spool, rights).unwrap();
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("failed: anna: "), "{}", run.stderr);
    let log = pair.master.take_syslog();
    let has = |words: &[&str]| log.iter().any(|l| words.iter().all(|w| l.text.contains(w)));
    let whose = [" user=<anna>", " connection=<", " channel=<chan>"];
    for line in log.iter().filter(|l| l.text.contains("received NO response: ")) {
        assert!(whose.iter().all(|w| line.text.contains(w)), "{line:?}");
    }
    assert!(has(&["MAILBOX received NO response: "]), "{log:?}");
    assert!(has(&[
        "IOERROR: user replication failed",
        "error=<",
        "userid=<anna>",
        "channel=<chan>",
        "servername=<127.0.0.1>",
    ]));
    pair.master.set_option("sync_jobs", "2").unwrap();
    pair.sync_well(&["-A"]);
}
