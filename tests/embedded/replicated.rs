//! A master's store that was written without Cyrus, replicated into an embedded replica: what arrives equals what was
//! written.

use std::path::PathBuf;
use std::process::Command;

use embedded_replica::{Options, Replica, Server};
use testkit::oracle::PrivateServer;
use testkit::store::{MasterStore, Plan, Sizes};

use crate::running::{Running, ours, summary, wait_for};

const PLAN: Plan = Plan {
    seed: 7,
    users: 8,
    mailboxes: 3,
    messages: 12,
    sizes: Sizes::Spread { median: 900, most: 200_000 },
    bodies: testkit::store::Bodies::Distinct,
};

struct World {
    store: MasterStore,
    server: Server,
    conf: PathBuf,
}

impl World {
    fn new() -> World {
        let store = MasterStore::write(&PLAN).unwrap();
        let options = Options { conversations: false, ..Options::default() };
        let server = Replica::new(options).unwrap().serve("127.0.0.1:0").unwrap();
        let conf = store.conf_for("embedded", server.address().port()).unwrap();
        World { store, server, conf }
    }

    fn conf(&self) -> &str {
        self.conf.to_str().unwrap()
    }

    /// The differences between the model and the replica's answers, down to the messages' bytes.
    fn differences(&self) -> String {
        let mut said = PrivateServer::over_tcp(self.server.address().port()).unwrap();
        let records = self.store.model().differences(&mut said).unwrap();
        let bytes = self.store.model().differing_bytes(&mut said).unwrap();
        let both = [records, bytes]
            .map(|one| if one.is_empty() { String::new() } else { one.to_string() });
        both.concat()
    }
}

// A first run, one with nothing to do, and one after changes of every kind.
#[test]
fn users_arrive_and_follow_changes() {
    let mut world = World::new();
    let run = ours(&["-C", world.conf(), "-A", "-j", "4"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(summary(&run).starts_with("8 users: 8 replicated"), "{}", run.stderr);
    assert_eq!(world.differences(), "");

    let run = ours(&["-C", world.conf(), "-A"]);
    assert!(summary(&run).starts_with("8 users: 8 already equal"), "{}", run.stderr);

    let done = world.store.change(3, 60).unwrap();
    assert!(done.appended > 0 && done.expunged > 0 && done.deleted > 0, "{done:?}");
    assert_ne!(world.differences(), "", "the judge sees no difference");
    let run = ours(&["-C", world.conf(), "-A", "-j", "4"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(world.differences(), "");
}

// The changes in the log are replicated, and removed from the log.
#[test]
fn what_the_log_names_arrives() {
    let world = World::new();
    let log = world.conf.with_file_name("conf").join("sync/log");
    let users = &world.store.model().users;
    let lines: String = users.iter().map(|user| format!("USER {}\n", user.userid)).collect();
    world.store.log(&lines).unwrap();
    assert!(log.exists());
    let mut command = Command::new(env!("CARGO_BIN_EXE_sync_client"));
    command.args(["-C", world.conf(), "-R", "-d", "1"]);
    let running = Running::start(command);
    wait_for("all users", || world.differences().is_empty());
    let rest = || log.exists() || log.with_file_name("log-run").exists();
    wait_for("an empty log", || !rest());
    running.terminate();
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}
