//! Compares the embedded replica with a real sync_server: whatever a client sends, both report the same in the end.

use std::time::Duration;

use cyrus_types::{MailboxName, Uid};
use embedded_replica::{Fault, Keep, Options, Replica, Server};
use testkit::oracle::{self, Ignore, PrivateServer};
use testkit::{Cyrus, Via, c_client, fill};

use crate::common::{Pair, summary};

/// An embedded replica and its port.
struct Embedded {
    replica: Replica,
    server: Server,
}

impl Embedded {
    fn start(options: Options) -> Embedded {
        let replica = Replica::new(options).unwrap();
        let server = replica.serve("127.0.0.1:0").unwrap();
        Embedded { replica, server }
    }

    fn port(&self) -> u16 {
        self.server.address().port()
    }

    /// It reports the same as the master about these users, and has every message's bytes.
    fn assert_equal(&self, master: &Cyrus, users: &[String]) {
        let mut ours = PrivateServer::start(master).unwrap();
        let mut theirs = PrivateServer::over_tcp(self.port()).unwrap();
        let lines =
            oracle::compare_servers(&mut ours, &mut theirs, users, Ignore::default()).unwrap();
        assert!(lines.is_empty(), "{lines}");
        let bytes = oracle::compare_fetched(master, &mut theirs, users).unwrap();
        assert!(bytes.is_empty(), "{bytes}");
    }
}

// Shows that our client and the C client leave an embedded replica in the same state in which ours
// leaves a real sync_server, at first and after each of three rounds of changes: renames, deletions, flags,
// annotations, quota, subscriptions, scripts and seen state among them. Then nothing is left to do for either.
#[test]
fn both_clients_leave_it_as_they_leave_a_real_one() {
    let mut pair = Pair::start();
    let users = fill::fill_users(&pair.master, 11, 12).unwrap();
    let ours = Embedded::start(Options::default());
    let theirs = Embedded::start(Options::default());
    for round in 0..4 {
        if round > 0 {
            fill::RandomWork::new(100 + round).run(&pair.master, &users, 150).unwrap();
        }
        pair.master.replicate_to(&pair.replica, Via::Csync).unwrap();
        pair.sync_well(&["-A"]);
        pair.assert_equal(&users);

        pair.master.replicate_to_port(ours.port(), Via::Csync).unwrap();
        pair.sync_well(&["-A", "-j", "3"]);
        ours.assert_equal(&pair.master, &users);
        let again = pair.sync_well(&["-A"]);
        assert!(summary(&again).ends_with(": 12 already equal"), "round {round}: {}", again.stderr);

        pair.master.replicate_to_port(theirs.port(), Via::Csync).unwrap();
        c_client::run(&pair.master, &["-A"]).unwrap().must_succeed().unwrap();
        theirs.assert_equal(&pair.master, &users);
    }
}

// Shows that failures on demand work: each command in turn is refused, answered with nonsense, dropped before and after it
// is carried out, or answered late. In every case the next run ends well and both sides are equal; a transient failure is
// over within the run.
#[test]
fn it_fails_where_it_is_told_to() {
    let mut pair = Pair::start();
    let users = fill::uniform(&pair.master, 3, 3, 4, 500).unwrap();
    let embedded = Embedded::start(Options::default());
    pair.master.replicate_to_port(embedded.port(), Via::Csync).unwrap();
    let refuse = |code: &str| Fault::Refuse { code: code.into(), text: "on demand".into() };
    let faults = [
        ("GET USER", Fault::Drop, true),
        ("GET USER", Fault::Answer(b"* MAILBOX %(UNIQUEID\r\n".to_vec()), true),
        ("GET USER", refuse("IMAP_MAILBOX_LOCKED"), true),
        ("APPLY MESSAGE", Fault::Drop, true),
        ("APPLY MESSAGE", refuse("IMAP_IOERROR"), false),
        ("APPLY MAILBOX", Fault::DropAfter, true),
        ("APPLY MAILBOX", Fault::Delay(Duration::from_millis(300)), true),
        ("APPLY MAILBOX", refuse("IMAP_SYNC_CHECKSUM"), true),
        ("APPLY MAILBOX", refuse("IMAP_MAILBOX_MOVED"), true),
        ("APPLY MAILBOX", refuse("IMAP_PROTOCOL_ERROR"), false),
        ("RESTART", Fault::Drop, true),
    ];
    for (nr, (command, fault, heals)) in faults.into_iter().enumerate() {
        for user in &users {
            let mut client = pair.master.login(user).unwrap();
            let message = format!("Subject: {nr}\r\n\r\nFor {user}.\r\n");
            client.append("INBOX", &[], None, message.as_bytes()).unwrap();
        }
        embedded.replica.faults().at(command, 2, fault.clone());
        let run = pair.sync(&["-A", "-j", "2"]);
        assert_eq!(embedded.replica.faults().left(), 0, "{command} {fault:?} never came");
        assert_eq!(run.code, Some(i32::from(!heals)), "{command} {fault:?}: {}", run.stderr);
        if !heals {
            assert!(
                summary(&run).contains(" 2 replicated, ") && summary(&run).contains(" 1 failed")
            );
            pair.sync_well(&["-A"]);
        }
        embedded.assert_equal(&pair.master, &users);
    }
}

// Shows that as a sink it accepts everything that a client sends, keeps the records and no bodies, and counts: the same for
// both clients.
#[test]
fn a_sink_counts_what_it_throws_away() {
    let mut pair = Pair::start();
    let users = fill::uniform(&pair.master, 4, 2, 10, 3000).unwrap();
    for ours in [true, false] {
        let sink = Embedded::start(Options { keep: Keep::Count, ..Options::default() });
        pair.master.replicate_to_port(sink.port(), Via::Csync).unwrap();
        if ours {
            pair.sync_well(&["-A"]);
        } else {
            c_client::run(&pair.master, &["-A"]).unwrap().must_succeed().unwrap();
        }
        let stats = sink.replica.stats();
        assert_eq!(stats.messages, 80, "{stats:?}");
        assert!(stats.bytes > 80 * 3000, "{stats:?}");
        let mut said = PrivateServer::start(&pair.master).unwrap();
        let mut asked = PrivateServer::over_tcp(sink.port()).unwrap();
        let lines = oracle::compare_servers(&mut said, &mut asked, &users, Ignore::default());
        assert!(lines.as_ref().unwrap().is_empty(), "{}", lines.unwrap());
        assert!(
            sink.replica.body(&MailboxName::new(format!("user.{}", users[0])), Uid(1)).is_none()
        );
    }
}

// Shows COMPRESS with both clients, STARTTLS with the C client (ours has no TLS and says so), and a
// login that is refused.
#[test]
fn logins_compression_and_tls() {
    let mut pair = Pair::start();
    let users = fill::uniform(&pair.master, 2, 2, 3, 500).unwrap();
    for (compress, starttls) in [(false, false), (true, false), (true, true)] {
        let embedded = Embedded::start(Options { compress, starttls, ..Options::default() });
        pair.master.replicate_to_port(embedded.port(), Via::Csync).unwrap();
        let run = pair.sync(&["-z", "-A"]);
        let possible = compress && !starttls;
        assert_eq!(run.code, Some(if possible { 0 } else { 78 }), "{}", run.stderr);
        c_client::run(&pair.master, &["-A"]).unwrap().must_succeed().unwrap();
        if starttls {
            // The oracle has no TLS either.
            assert_eq!(embedded.replica.stats().messages, 12);
        } else {
            embedded.assert_equal(&pair.master, &users);
        }
    }
    let login = Some(("somebody".to_string(), "else".to_string()));
    let embedded = Embedded::start(Options { login, ..Options::default() });
    pair.master.replicate_to_port(embedded.port(), Via::Csync).unwrap();
    assert_eq!(pair.sync(&["-A"]).code, Some(78));
}

/// A replica that refuses a mailbox with IMAP_SYNC_CHANGED, and accepts it at the next try: messages that it had, according
/// to its answer to RESERVE, are not uploaded because of that.
#[test]
fn what_was_reserved_is_not_uploaded_for_a_refusal() {
    let mut pair = Pair::start();
    pair.master.create_user("anna").unwrap();
    let mut anna = pair.master.login("anna").unwrap();
    anna.create("INBOX/b").unwrap();
    for nr in 0..10 {
        let text = format!("Subject: {nr}\r\n\r\n{}\r\n", "x".repeat(30_000));
        anna.append("INBOX", &[], None, text.as_bytes()).unwrap();
    }
    let embedded = Embedded::start(Options::default());
    pair.master.replicate_to_port(embedded.port(), Via::Csync).unwrap();
    pair.sync_well(&["-u", "anna"]);
    for code in ["IMAP_SYNC_CHANGED", "IMAP_SYNC_CHECKSUM"] {
        anna.select("INBOX").unwrap();
        anna.copy("1:*", "INBOX/b").unwrap();
        let (code, text) = (code.to_string(), "on demand".to_string());
        embedded.replica.faults().at("APPLY MAILBOX", 1, Fault::Refuse { code, text });
        let before = embedded.replica.stats().messages;
        pair.sync_well(&["-u", "anna"]);
        assert_eq!(embedded.replica.faults().left(), 0, "nothing was refused");
        assert_eq!(embedded.replica.stats().messages, before);
        embedded.assert_equal(&pair.master, &["anna".into()]);
    }
}

/// Whichever MAILBOX of five is refused, and with whatever code: everything arrives, no record is sent without its message
/// (which this replica refuses), and each message counts once however often it was uploaded.
#[test]
fn a_refused_mailbox_is_made_good_and_counted_once() {
    let mut pair = Pair::start();
    pair.master.create_user("anna").unwrap();
    let folders = ["INBOX", "INBOX/a", "INBOX/b", "INBOX/c", "INBOX/d"];
    for folder in &folders[1..] {
        pair.master.login("anna").unwrap().create(folder).unwrap();
    }
    let embedded = Embedded::start(Options::default());
    pair.master.replicate_to_port(embedded.port(), Via::Csync).unwrap();
    pair.sync_well(&["-u", "anna"]);
    for code in ["IMAP_SYNC_CHANGED", "IMAP_SYNC_CHECKSUM"] {
        for nth in 1..=5 {
            for folder in folders {
                let text = format!("Subject: {code} {nth}\r\n\r\n{folder}\r\n");
                let mut anna = pair.master.login("anna").unwrap();
                anna.append(folder, &[], None, text.as_bytes()).unwrap();
            }
            let (code, text) = (code.to_string(), "on demand".to_string());
            embedded.replica.faults().at("APPLY MAILBOX", nth, Fault::Refuse { code, text });
            let run = pair.sync_well(&["-u", "anna"]);
            assert_eq!(embedded.replica.faults().left(), 0, "nothing was refused");
            assert!(summary(&run).contains("sent 5 messages"), "{}", run.stderr);
            embedded.assert_equal(&pair.master, &["anna".into()]);
        }
    }
}
