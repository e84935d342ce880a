//! A user who was removed: UNUSER takes all that the replica has of him, so it must not come late, behind what was sent since.

use std::time::{Duration, Instant};

use embedded_replica::{Fault, Keep, Options, Replica, Server};
use testkit::c_client::Outcome;
use testkit::oracle::PrivateServer;
use testkit::store::{MasterStore, Plan, Sizes};

use crate::running::ours;

/// A store, and a replica that has one user more.
struct World {
    store: MasterStore,
    replica: Replica,
    server: Server,
}

impl World {
    fn new() -> World {
        let plan = Plan {
            users: 1,
            mailboxes: 1,
            messages: 1,
            sizes: Sizes::Fixed(300),
            ..Plan::default()
        };
        let store = MasterStore::write(&plan).unwrap();
        let options = Options { keep: Keep::Count, conversations: false, ..Options::default() };
        let replica = Replica::new(options).unwrap();
        let server = replica.serve("127.0.0.1:0").unwrap();
        let mut said = PrivateServer::over_tcp(server.address().port()).unwrap();
        let gone = "APPLY MAILBOX %(UNIQUEID u9 MBOXNAME user.gone SYNC_CRC 0 SYNC_CRC_ANNOT 12345678 LAST_UID 0 HIGHESTMODSEQ 9 RECENTUID 0 RECENTTIME 0 LAST_APPENDDATE 0 POP3_LAST_LOGIN 0 POP3_SHOW_AFTER 0 UIDVALIDITY 7 PARTITION default ACL \"\" OPTIONS P RECORD ())";
        said.command(gone).unwrap();
        World { store, replica, server }
    }

    /// Carries out these lines of the log.
    fn roll(&self, log: &str, options: &str) -> Outcome {
        self.store.log(log).unwrap();
        let conf = self.store.conf_for("gone", self.server.address().port()).unwrap();
        let text = std::fs::read_to_string(&conf).unwrap();
        std::fs::write(&conf, text + options).unwrap();
        let run = ours(&["-C", conf.to_str().unwrap(), "-R", "-1"]);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        run
    }

    fn removals(&self) -> u64 {
        self.replica.stats().commands.get("APPLY UNUSER").copied().unwrap_or(0)
    }
}

// Behind another user's slow answer it was sent again on another connection, and carried out twice: the second time when the
// user might be there again.
#[test]
fn a_removal_is_not_sent_twice_because_another_s_answer_is_slow() {
    let world = World::new();
    let other = world.store.model().users[0].userid.clone();
    world.replica.faults().always("GET USER", &other, Fault::Delay(Duration::from_secs(13)));
    world.roll(&format!("UNUSER gone\nUSER {other}\n"), "");
    assert_eq!(world.removals(), 1);
}

// A connection that fell silent may still carry it out: the user waits for its end.
#[test]
fn a_removal_that_was_not_answered_is_waited_for() {
    let world = World::new();
    let late = Duration::from_secs(9);
    world.replica.faults().at("APPLY UNUSER", 1, Fault::Delay(late));
    let started = Instant::now();
    world.roll("UNUSER gone\n", "sync_timeout: 3s\n");
    assert!(started.elapsed() > late, "{:?}", started.elapsed());
    assert_eq!(world.removals(), 2);
}
