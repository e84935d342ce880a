//! How often a failing user is tried: a run does not wait for what waiting can't solve.

use std::fs;

use testkit::fill;

use crate::common::Pair;
use crate::errors::{failure_of, path_of};

/// How often a run started a user.
fn tries(stdout: &str, user: &str) -> usize {
    stdout.lines().filter(|line| *line == format!("USER {user}")).count()
}

/// A damaged header was tried four times, with seven seconds of rest. It may be a file in the middle of a change, so it is
/// tried once more; a third try shows nothing new.
#[test]
fn a_damaged_mailbox_is_looked_at_twice() {
    let pair = Pair::start();
    let users = fill::uniform(&pair.master, 2, 2, 3, 200).unwrap();
    let mailbox = format!("user/{}/folder1", users[0]);
    let header = path_of(&pair.master, "-M", &mailbox).join("cyrus.header");
    fs::write(&header, b"no header at all\n").unwrap();

    let run = pair.sync(&["-A", "-v"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(failure_of(&run, &users[0]).contains("cyrus.header"), "{}", run.stderr);
    assert_eq!(tries(&run.stdout, &users[0]), 2, "{}", run.stdout);
    assert_eq!(tries(&run.stdout, &users[1]), 1, "{}", run.stdout);
}

/// An INBOX that can't be read, and a replica that has no INBOX of that user: it refused the user's other mailboxes with
/// "Unknown error", and nothing else was reported. Now the INBOX is named, the others with it, and nothing is sent until it
/// can be read.
#[test]
fn the_inbox_that_all_wait_for_is_named() {
    let pair = Pair::start();
    let users = fill::uniform(&pair.master, 2, 2, 3, 200).unwrap();
    let inbox = format!("user/{}", users[0]);
    let header = path_of(&pair.master, "-M", &inbox).join("cyrus.header");
    let kept = fs::read(&header).unwrap();
    fs::write(&header, b"no header at all\n").unwrap();

    let run = pair.sync(&["-A", "-v"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let failure = failure_of(&run, &users[0]);
    let (first, others) = failure.split_once(" (and ").unwrap_or_else(|| panic!("{failure}"));
    assert!(first.contains("cyrus.header"), "{failure}");
    assert!(others.contains(&format!("user.{}.folder1", users[0])), "{failure}");
    assert!(!run.stdout.contains(&format!("MAILBOX user.{}.", users[0])), "{}", run.stdout);
    pair.assert_equal(&users[1..]);

    fs::write(&header, kept).unwrap();
    pair.sync_well(&["-A"]);
    pair.assert_equal(&users);
}
