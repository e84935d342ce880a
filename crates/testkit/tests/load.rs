//! Many clients at work on a real master: each kind of work is done, and messages arrive.

use std::time::{Duration, Instant};

use testkit::fill::{self, FillOptions, Load, LoadOptions, LoadReport};
use testkit::{Cyrus, DeleteMode};

/// How long a busy machine may take.
const PATIENCE: Duration = Duration::from_secs(240);

/// A master with all services, and some users with odd names and mailboxes.
fn master(mode: DeleteMode) -> testkit::Result<(Cyrus, Vec<String>)> {
    let master = Cyrus::master().lmtp(true).sieve(true).sync_log(&[]).delete_mode(mode);
    let master = master.start()?;
    let few = FillOptions { big_message_bytes: 0, messages: 4, ..FillOptions::new(11, 4) };
    let users = fill::fill_with(&master, &few)?;
    Ok((master, users))
}

#[test]
fn three_clients_do_all_kinds_of_work() {
    let (master, users) = master(DeleteMode::Delayed).unwrap();
    let mut lmtp = master.access().lmtp().unwrap();
    for user in &users {
        assert_eq!(lmtp.deliver(&[user], b"Subject: first\r\n\r\n.dot\r\n").unwrap(), 1, "{user}");
    }
    assert!(lmtp.deliver(&["nobody"], b"Subject: x\r\n\r\n").unwrap_err().is_refusal());
    assert_eq!(lmtp.deliver(&["nobody", &users[0]], b"Subject: y\r\n\r\n").unwrap(), 1);
    let mut client = master.login(&users[2]).unwrap();
    let count = client.select("INBOX").unwrap();
    let (_, body) = client.fetch_bodies("*").unwrap().pop().unwrap();
    assert!(body.ends_with(b"\r\n\r\n.dot\r\n"), "{}", String::from_utf8_lossy(&body));
    assert!(count > 1);
    drop(client);

    let load = Load::start_with(&master, &users, &options(1)).unwrap();
    work(&load, 400);
    assert!(load.is_running());
    let report = load.stop().unwrap();
    println!("{report}");
    all_kinds_were_done(&report);
    assert!(report.users.starts_with(&users));
    let log = std::fs::read_to_string(master.config_dir().join("sync/log")).unwrap();
    for word in ["APPEND ", "MAILBOX ", "DOUBLEMAILBOX ", "RENAME ", "SEEN ", "SUB ", "QUOTA "] {
        assert!(log.lines().any(|line| line.starts_with(word)), "no {word} in the sync log");
    }
    assert!(log.contains("ANNOTATION \"\"\n") && log.contains("UNUSER guest"), "{log}");

    // The users that should exist do, and the others do not.
    let mut admin = master.admin().unwrap();
    for user in &report.users {
        let there = !admin.list("", &master.name(&["user", user])).unwrap().is_empty();
        assert_eq!(there, report.present.contains(user), "{user}");
        assert_eq!(!there, report.deleted.contains(user), "{user}");
    }

    // A second load makes guests of its own, and a restart of the server does not end it.
    let mut master = master;
    let load = Load::start_with(&master, &users, &options(2)).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    master.restart().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let second = load.stop().unwrap();
    println!("{second}");
    assert!(!second.tally.dropped.is_empty());
    // A server that is gone ends it.
    let load = Load::start_with(&master, &users, &options(3)).unwrap();
    master.stop();
    let started = Instant::now();
    while load.is_running() {
        assert!(started.elapsed() < PATIENCE, "clients go on without a server");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(load.stop().unwrap_err().to_string().contains("failed to reach"));
}

/// Without an lmtpd and a timsieved, and with deletions at once.
#[test]
fn what_is_lacking_is_left_out() {
    let master = Cyrus::master().delete_mode(DeleteMode::Immediate).start().unwrap();
    master.create_user("anna").unwrap();
    let options = LoadOptions { per_second: 100.0, ..options(4) };
    let load = Load::start_with(&master, &["anna"], &options).unwrap();
    work(&load, 600);
    let report = load.stop().unwrap();
    println!("{report}");
    for kind in ["deliver", "sieve put", "sieve activate", "sieve delete"] {
        assert_eq!(report.done(kind), 0);
    }
    assert!(report.done("append") > 0 && report.done("user delete") > 0);
}

/// With deletions at once, and Sieve sessions that hold locks meanwhile.
#[test]
fn users_go_at_once_beside_sieve_sessions() {
    let (master, users) = master(DeleteMode::Immediate).unwrap();
    let load = Load::start_with(&master, &users, &options(5)).unwrap();
    work(&load, 400);
    let report = load.stop().unwrap();
    println!("{report}");
    all_kinds_were_done(&report);
}

/// Lets clients work for some seconds (guests are not deleted before) and until they have tried this many operations, which
/// takes seconds on a machine at rest.
fn work(load: &Load, operations: usize) {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(5) || load.operations() < operations {
        let done = load.operations();
        assert!(started.elapsed() < PATIENCE, "{done} operations in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn options(seed: u64) -> LoadOptions {
    LoadOptions::new(seed, 3)
}

/// Each kind was done at least once.
fn all_kinds_were_done(report: &LoadReport) {
    for kind in LoadReport::kinds() {
        assert!(report.done(kind) > 0, "{kind} was not done: {report}");
    }
    assert!(report.done("deliver") > 5, "{report}");
    assert!(report.tally.total_done() > 4 * report.tally.total_refused(), "{report}");
}
