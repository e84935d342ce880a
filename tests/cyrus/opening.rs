//! The handshake, and what is sent ahead of its end: uncompressed questions, compression when there is work.

use std::fs;
use std::time::Duration;

use embedded_replica::{Fault, Options, Replica};
use testkit::c_client::{self, Outcome};
use testkit::oracle::PrivateServer;
use testkit::relay::Relay;
use testkit::store::{MasterStore, Plan, Sizes};
use testkit::{Cyrus, Via, fill};

use crate::common::{Pair, summary};

fn message(text: &str) -> Vec<u8> {
    format!("From: a@example.com\r\nSubject: {text}\r\n\r\n{text}\r\n").into_bytes()
}

/// A trace without what the greeting offers.
fn traced(run: &Outcome) -> String {
    run.stderr.replace("* COMPRESS DEFLATE", "* offered")
}

/// These are in the text in this order.
fn assert_in_order(text: &str, parts: &[&str]) {
    let mut from = 0;
    for part in parts {
        let found = text[from..].find(part);
        from += found.unwrap_or_else(|| panic!("no {part} after byte {from} of:\n{text}"));
    }
}

// Shows, against a real replica, that questions follow the end of the handshake without waiting for its answers,
// uncompressed; that compression is requested once before there is anything to send, and never if there is nothing; with -z
// it comes first. The two sides are equal each time.
#[test]
fn questions_go_ahead_in_clear_and_work_is_compressed() {
    let mut pair = Pair::start();
    let users = fill::uniform(&pair.master, 2, 3, 4, 500).unwrap();
    // With latency, so that everything that waits for an answer visibly comes after it.
    let relay = Relay::start(pair.replica.csync_port().unwrap()).unwrap();
    relay.set_delay(Duration::from_millis(50));
    pair.master.replicate_to_port(relay.port(), Via::Csync).unwrap();
    let trace = ["-v", "-v", "-j", "1", "-A"];
    let first = pair.sync_well(&trace);
    assert_in_order(
        &traced(&first),
        &[
            "APPLY CAPABILITIES",
            "GET USER",
            "ENABLED (SIEVE-MAILBOX)",
            "COMPRESS DEFLATE\r\n",
            "APPLY MESSAGE",
        ],
    );
    pair.assert_equal(&users);
    let idle = pair.sync_well(&trace);
    assert!(idle.stderr.contains("GET USER"));
    assert!(!traced(&idle).contains("COMPRESS DEFLATE"), "{}", idle.stderr);
    let mut client = pair.master.login(&users[0]).unwrap();
    client.append("INBOX", &[], None, &message("new")).unwrap();
    let changed = pair.sync_well(&["-v", "-v", "-z", "-j", "1", "-A"]);
    assert_in_order(&traced(&changed), &["APPLY CAPABILITIES", "COMPRESS DEFLATE\r\n", "GET USER"]);
    pair.assert_equal(&users);
    // All the connections that the work needs, each compressed once.
    for user in &users {
        let mut client = pair.master.login(user).unwrap();
        client.append("INBOX", &[], None, &message("newer")).unwrap();
    }
    pair.sync_well(&["-A", "-j", "2"]);
    pair.assert_equal(&users);
}

// Shows, against a real replica, that a connection that has received many uncompressed bytes is compressed while other
// users still wait to look, and that none is missed because of that.
#[test]
fn much_in_clear_is_followed_by_compression() {
    testkit::ensure_cyrus().unwrap();
    let plan = Plan {
        users: 120,
        mailboxes: 30,
        messages: 1,
        sizes: Sizes::Fixed(200),
        ..Plan::default()
    };
    let store = MasterStore::write(&plan).unwrap();
    let replica = Cyrus::replica().start().unwrap();
    let conf = store.conf_for("real", replica.csync_port().unwrap()).unwrap();
    let run = |more: &[&str]| {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_sync_client"));
        program.arg("-C").arg(&conf).args(["-A", "-j", "1"]).args(more);
        c_client::measure(program).unwrap().must_succeed().unwrap()
    };
    run(&[]);
    let mut said = PrivateServer::start(&replica).unwrap();
    let report = store.model().differences(&mut said).unwrap();
    assert!(report.is_empty(), "{report}");
    let idle = run(&["-v", "-v"]);
    assert!(summary(&idle).contains(" 120 already equal"), "{}", summary(&idle));
    let idle = traced(&idle);
    let (before, after) = idle.split_once("COMPRESS DEFLATE").unwrap();
    assert!(before.contains("GET USER") && after.contains("GET USER"), "{before}");
}

// Shows that a replica that does not keep its offer costs no user anything: questions that were sent ahead are sent again,
// on a connection that waits for the whole handshake. Refused, cut off before and after, and answered with nonsense.
#[test]
fn what_was_asked_too_early_is_asked_again() {
    let mut pair = Pair::start();
    let users = fill::uniform(&pair.master, 5, 2, 3, 500).unwrap();
    let refuse = |code: &str, text: &str| Fault::Refuse { code: code.into(), text: text.into() };
    let faults = [
        refuse("IMAP_PROTOCOL_ERROR", "not today"),
        Fault::Drop,
        Fault::DropAfter,
        Fault::Answer(b"* ENABLED ()\r\nOK success\r\n".to_vec()),
        Fault::Answer(b"what\r\n".to_vec()),
    ];
    for (nr, fault) in faults.into_iter().enumerate() {
        let replica = Replica::new(Options::default()).unwrap();
        let server = replica.serve("127.0.0.1:0").unwrap();
        pair.master.replicate_to_port(server.address().port(), Via::Csync).unwrap();
        replica.faults().at("APPLY CAPABILITIES", 1, fault.clone());
        let run = pair.sync_well(&["-A", "-j", "2"]);
        assert_eq!(replica.faults().left(), 0, "{fault:?} never came");
        assert!(summary(&run).contains(" 5 replicated"), "{nr} {fault:?}: {}", run.stderr);
        let mut theirs = PrivateServer::over_tcp(server.address().port()).unwrap();
        let mut ours = PrivateServer::start(&pair.master).unwrap();
        let ignore = testkit::oracle::Ignore::default();
        let lines = testkit::oracle::compare_servers(&mut ours, &mut theirs, &users, ignore);
        let lines = lines.unwrap();
        assert!(lines.is_empty(), "{nr} {fault:?}: {lines}");
    }
}

// Shows that a login that is not one of the replica's admins is reported, once, though questions went ahead of the refusal;
// no user is blamed for it.
#[test]
fn a_login_without_rights_is_told_as_such() {
    let pair = Pair::start();
    let users = fill::uniform(&pair.master, 3, 2, 2, 300).unwrap();
    let conf = fs::read_to_string(pair.master.imapd_conf()).unwrap();
    let conf: Vec<String> = conf
        .lines()
        .map(|line| match line.strip_prefix("sync_authname:") {
            Some(_) => format!("sync_authname: {}", users[0]),
            None => line.to_string(),
        })
        .collect();
    let mere = pair.master.config_dir().join("mere-user.conf");
    fs::write(&mere, conf.join("\n") + "\n").unwrap();
    let mut command = pair.master.root_command(env!("CARGO_BIN_EXE_sync_client"));
    command.arg("-C").arg(&mere).args(["-A", "-o"]);
    let run = c_client::measure(command).unwrap();
    assert_ne!(run.code, Some(0));
    let told = format!("{} may log in to the replica but not replicate", users[0]);
    assert!(run.stderr.contains(&told), "{}", run.stderr);
    assert!(!run.stderr.contains("failed: "), "{}", run.stderr);
}
