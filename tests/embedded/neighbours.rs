//! One user's bad or slow answer concerns that user alone: users that were asked about on the same connection lose nothing
//! by it.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use embedded_replica::{Fault, Keep, Options, Replica, Server};
use testkit::c_client::{self, Outcome};
use testkit::store::{MasterStore, Plan, Sizes};

use crate::running::summary;

/// A store without servers, and a replica that fails on demand.
struct World {
    replica: Replica,
    server: Server,
    store: MasterStore,
}

impl World {
    /// This many users of two small mailboxes each.
    fn new(users: usize) -> World {
        let plan =
            Plan { users, mailboxes: 2, messages: 1, sizes: Sizes::Fixed(300), ..Plan::default() };
        let store = MasterStore::write(&plan).unwrap();
        let options = Options { keep: Keep::Count, conversations: false, ..Options::default() };
        let replica = Replica::new(options).unwrap();
        let server = replica.serve("127.0.0.1:0").unwrap();
        World { replica, server, store }
    }

    /// An imapd.conf with a sync_timeout of three seconds, the lowest possible.
    fn conf(&self, name: &str) -> PathBuf {
        let conf = self.store.conf_for(name, self.server.address().port()).unwrap();
        let mut file = std::fs::OpenOptions::new().append(true).open(&conf).unwrap();
        file.write_all(b"sync_timeout: 3s\n").unwrap();
        conf
    }

    fn sync(&self, args: &[&str]) -> Outcome {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sync_client"));
        command.arg("-C").arg(self.conf("peer")).args(args);
        c_client::measure(command).unwrap()
    }

    /// Every user except these arrives, and these are named.
    fn assert_only_these_fail(&self, bad: &[String], args: &[&str]) {
        let started = Instant::now();
        let run = self.sync(args);
        let took = started.elapsed();
        let users = self.store.model().users.len();
        let rest = users - bad.len();
        let wanted = format!("{users} users: {rest} replicated, {} failed", bad.len());
        assert!(summary(&run).starts_with(&wanted), "in {took:?}: {}", run.stderr);
        assert_eq!(run.code, Some(1));
        for userid in bad {
            let named = format!("\nsync_client: failed: {userid}: ");
            assert!(run.stderr.contains(&named), "{userid} is not named: {}", run.stderr);
        }
        // And when the replica works again no user has a problem.
        self.replica.faults().mend();
        let healed = self.sync(args);
        let wanted = format!("{users} users: {} replicated, {rest} already equal", bad.len());
        assert!(summary(&healed).starts_with(&wanted), "{}", healed.stderr);
    }

    /// Users at several places in the list.
    fn some(&self, count: usize) -> Vec<String> {
        let users = &self.store.model().users;
        let step = users.len() / count;
        (0..count).map(|nr| users[nr * step + step / 2].userid.clone()).collect()
    }

    fn fail(&self, bad: &[String], fault: &Fault) {
        for userid in bad {
            self.replica.faults().always("GET USER", userid, fault.clone());
        }
    }
}

// Three users whose GET USER makes the replica drop the connection. Before, up to 96 users lost a try with each of them,
// and 13 of 100 innocent ones were reported as failed.
#[test]
fn who_was_asked_beside_a_user_that_ends_the_connection_arrives() {
    let world = World::new(100);
    let bad = world.some(3);
    world.fail(&bad, &Fault::Drop);
    world.assert_only_these_fail(&bad, &["-A", "-j", "2"]);
}

// Three users for which the replica sends no answer. Before, all users behind them waited for the whole sync_timeout, four
// times.
#[test]
fn silence_about_some_users_fails_nobody_else() {
    let world = World::new(100);
    let bad = world.some(3);
    world.fail(&bad, &Fault::Stall);
    world.assert_only_these_fail(&bad, &["-A", "-j", "4"]);
}

// Answers of a byte every half second, which are never silent for sync_timeout: an answer has a deadline as a whole.
#[test]
fn an_answer_that_drips_has_a_deadline() {
    let world = World::new(60);
    let bad = world.some(2);
    let bytes = b"* LSUB (".iter().chain(&[b'x'; 4000]).copied().collect();
    world.fail(&bad, &Fault::Drip { bytes, pause: Duration::from_millis(500) });
    let started = Instant::now();
    world.assert_only_these_fail(&bad, &["-A", "-j", "4"]);
    assert!(started.elapsed() < Duration::from_secs(120), "{:?}", started.elapsed());
}

// An extra OK: the answers to all later commands on that connection belong to another user. Before, those users were
// treated as missing there, uploaded again, and reported as done.
#[test]
fn an_answer_too_many_shifts_nobody_s_answers() {
    let world = World::new(60);
    world.sync(&["-A"]).must_succeed().unwrap();
    let before = world.replica.stats().messages;
    for nr in [5, 20, 40] {
        world.replica.faults().at("GET USER", nr, Fault::Then(b"OK success\r\n".to_vec()));
    }
    let run = world.sync(&["-A", "-j", "1"]);
    assert_eq!(world.replica.faults().left(), 0);
    assert!(summary(&run).starts_with("60 users: 60 already equal"), "{}", run.stderr);
    assert_eq!(run.code, Some(0));
    assert_eq!(world.replica.stats().messages, before, "somebody was uploaded again");
}

// Another user's data in the answer about a user: no mailbox is touched because of it.
#[test]
fn another_user_s_mailbox_in_an_answer_ends_the_connection() {
    let world = World::new(12);
    world.sync(&["-A"]).must_succeed().unwrap();
    let bad = world.some(1);
    let foreign = b"* MAILBOX %(UNIQUEID strange MBOXNAME user.somebody.else LAST_UID 0 HIGHESTMODSEQ 1 RECENTUID 0 \
        RECENTTIME 0 LAST_APPENDDATE 0 POP3_LAST_LOGIN 0 UIDVALIDITY 9 PARTITION default ACL \"\" OPTIONS \"\")\r\n\
        OK success\r\n";
    world.fail(&bad, &Fault::Answer(foreign.to_vec()));
    let run = world.sync(&["-A", "-j", "2"]);
    assert!(summary(&run).starts_with("12 users: 11 already equal, 1 failed"), "{}", run.stderr);
    let named = format!("failed: {}: ", bad[0]);
    let line = run.stderr.lines().find(|line| line.contains(&named)).unwrap();
    assert!(line.contains("user.somebody.else"), "{line}");
}
