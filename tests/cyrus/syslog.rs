//! The test kit's own syslog: the lines of our program, Cyrus' servers and Cyrus' client arrive at the right instance.

use std::os::unix::net::UnixDatagram;

use testkit::log_sink::LogLine;
use testkit::{Cyrus, c_client};

use crate::common::Pair;

/// The lines with all of these words.
fn find<'a>(lines: &'a [LogLine], words: &[&str]) -> Vec<&'a LogLine> {
    lines.iter().filter(|line| words.iter().all(|word| line.text.contains(word))).collect()
}

/// Two servers side by side: each gets the lines of its own programs and not the other's, with their severity.
#[test]
fn everybody_is_heard_where_he_belongs() {
    let pair = Pair::start();
    pair.master.create_user("anna").unwrap();
    for side in [&pair.master, &pair.replica] {
        let started = side.wait_for_syslog("done recovering cyrus databases").unwrap();
        assert_eq!(started.severity, 5, "{started:?}");
        assert!(started.text.contains(" cyrus/ctl_cyrusdb["), "{started:?}");
    }
    let login = pair.master.wait_for_syslog("cyrus plaintext User logged in").unwrap();
    assert!(login.text.contains(" cyrus/imap["), "{login:?}");
    assert!(find(&pair.replica.syslog(), &["cyrus plaintext"]).is_empty());

    // Ours and the C client's, with the time and the process.
    pair.sync_well(&["-l", "-u", "anna"]);
    c_client::run(&pair.master, &["-l", "-u", "anna"]).unwrap().must_succeed().unwrap();
    let lines = pair.master.take_syslog();
    let ours = find(&lines, &["sync_client[", "USER anna"]);
    assert_eq!(ours.len(), 2, "{lines:#?}");
    for line in ours {
        assert_eq!(line.severity, 6, "{line:?}");
        let time: Vec<&str> = line.text.split_whitespace().nth(2).unwrap().split(':').collect();
        assert_eq!(time.len(), 3, "{line:?}");
    }
    assert!(find(&pair.replica.syslog(), &["sync_client["]).is_empty());

    // Errors arrive as errors; the lines of the replica's server arrive at the replica.
    pair.master.saslauthd().refuse(true);
    pair.replica.saslauthd().refuse(true);
    let run = pair.sync(&["-o", "-u", "anna"]);
    assert_eq!(run.code, Some(78), "{}", run.stderr);
    let wrong = pair.master.take_syslog();
    let wrong = find(&wrong, &["sync_client["]);
    assert!(!wrong.is_empty() && wrong.iter().any(|line| line.severity == 3), "{wrong:?}");
    pair.replica.wait_for_syslog("badlogin").unwrap();
    assert!(find(&pair.master.syslog(), &["badlogin"]).is_empty());
}

/// Lines that were sent before the query are there, however many.
#[test]
fn no_line_is_late() {
    let cyrus = Cyrus::master().start().unwrap();
    let sender = UnixDatagram::unbound().unwrap();
    for nr in 0..300 {
        let line = format!("<20>Nov 22 10:00:00 many[1]: line {nr}.");
        sender.send_to(line.as_bytes(), cyrus.dir().join("log")).unwrap();
        if nr % 7 == 0 {
            let lines = cyrus.syslog();
            assert_eq!(find(&lines, &["many[1]: "]).len(), nr + 1);
        }
    }
    assert_eq!(cyrus.take_syslog().last().unwrap().severity, 4);
}
