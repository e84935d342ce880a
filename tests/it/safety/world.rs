//! The servers that stories play on: a pair, and its twin for Cyrus' own client.
//!
//! The pair's users are made first, all stories' at once; then the twin becomes a copy of the pair; then the runs come. So both
//! clients start from the very same bytes.

use testkit::c_client::{self, Outcome};
use testkit::oracle::PrivateServer;
use testkit::{Builder, Cyrus, DeleteMode, Via};

use super::story::{Kind, Mode};
use crate::common::Pair;

/// A pair of servers and its twin.
pub(super) struct World {
    pub(super) pair: Pair,
    /// A copy of the pair as it was before the runs: the master's copy also tells what the master is without its damage.
    pub(super) twin: Pair,
    next_user: u32,
}

impl World {
    pub(super) fn start(kind: Kind) -> World {
        let mode = if kind.immediate { DeleteMode::Immediate } else { DeleteMode::Delayed };
        let like = |builder: Builder| builder.delete_mode(mode).conversations(kind.conversations);
        let pair = || Pair::with(like(Cyrus::master()), like(Cyrus::replica()), Via::Csync);
        // Starting is waiting.
        let (pair, twin) = std::thread::scope(|scope| {
            let twin = scope.spawn(pair);
            (pair(), twin.join().unwrap())
        });
        World { pair, twin, next_user: 0 }
    }

    /// A name that no user of this world has had.
    pub(super) fn fresh_user(&mut self) -> String {
        self.next_user += 1;
        format!("s{:05}", self.next_user)
    }

    /// Makes the twin what the pair is now.
    pub(super) fn copy(&mut self) {
        self.twin.master.become_copy_of(&self.pair.master).unwrap();
        self.twin.replica.become_copy_of(&self.pair.replica).unwrap();
        self.twin.replica.start().unwrap();
        self.twin.master.replicate_to(&self.twin.replica, Via::Csync).unwrap();
    }
}

/// A server's own words.
pub(super) fn ask(cyrus: &Cyrus) -> PrivateServer {
    PrivateServer::start(cyrus).unwrap()
}

/// A run of our program for one user.
pub(super) fn run_ours(pair: &Pair, user: &str, mode: Mode, all_users: bool) -> Outcome {
    let prefix = format!("user.{user}");
    let mut args = if all_users { vec!["-A", &prefix] } else { vec!["-u", user] };
    args.push("-v");
    match mode {
        Mode::Plain => {}
        Mode::OneWay => args.push("-O"),
        Mode::Overwrite => {
            args.push("-O");
            let help = pair.sync(&["--help"]).stdout;
            if help.contains("--overwrite") {
                args.push("--overwrite");
            }
        }
    }
    pair.sync(&args)
}

/// A run of Cyrus' own client for one user.
pub(super) fn run_cyrus(pair: &Pair, user: &str, mode: Mode) -> Outcome {
    let mut args = vec!["-v"];
    if mode != Mode::Plain {
        args.push("-O");
    }
    args.extend(["-u", user]);
    c_client::run(&pair.master, &args).unwrap()
}
