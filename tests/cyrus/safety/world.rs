//! The servers that stories play on: a pair, and its twin for Cyrus' own client.
//!
//! All stories' users of the pair are made first; then the twin becomes a copy of the pair; then the runs start. So both
//! clients start from exactly the same bytes.

use testkit::c_client::{self, Outcome};
use testkit::oracle::PrivateServer;
use testkit::{Builder, Cyrus, DeleteMode, Via};

use super::story::{Kind, Mode, Whom};
use crate::common::Pair;

/// A pair of servers and its twin.
pub(super) struct World {
    pub(super) pair: Pair,
    /// A copy of the pair from before the runs: the master's copy also shows the master without its damage.
    pub(super) twin: Pair,
    next_user: u32,
}

impl World {
    pub(super) fn start(kind: Kind) -> World {
        let mode = if kind.immediate { DeleteMode::Immediate } else { DeleteMode::Delayed };
        let like = |builder: Builder| builder.delete_mode(mode).conversations(kind.conversations);
        let pair = || {
            let master = like(Cyrus::master()).sync_log(&[]);
            Pair::with(master, like(Cyrus::replica()), Via::Csync)
        };
        // Most of the time of a start is waiting.
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

    /// Makes the twin a copy of the pair.
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

/// The user that a user's folders may be given to; its name begins with that user's.
pub(super) fn friend_of(user: &str) -> String {
    format!("{user}friend")
}

/// A run: its users, and its options.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) user: &'a str,
    pub(super) mode: Mode,
    pub(super) whom: Whom,
    /// The log's lines, for [`Whom::Log`].
    pub(super) log: &'a str,
}

impl Call<'_> {
    /// The arguments for either program.
    fn args(&self, pair: &Pair) -> Vec<String> {
        let mut args = vec!["-v".to_owned()];
        if self.mode != Mode::Plain {
            args.push("-O".to_owned());
        }
        match self.whom {
            Whom::User => args.extend(["-u".to_owned(), self.user.to_owned()]),
            Whom::Prefix => args.extend(["-A".to_owned(), format!("user.{}", self.user)]),
            Whom::Log => {
                // Not within the master's folder, which must not change.
                let path = pair.replica.dir().join("log-to-do");
                std::fs::write(&path, self.log).unwrap();
                args.extend(["-R", "-f"].map(str::to_owned));
                args.push(path.display().to_string());
            }
        }
        args
    }
}

/// A run of our program for one user.
pub(super) fn run_ours(pair: &Pair, call: Call<'_>) -> Outcome {
    let mut args = call.args(pair);
    if call.mode == Mode::Overwrite && pair.sync(&["--help"]).stdout.contains("--overwrite") {
        args.insert(0, "--overwrite".to_owned());
    }
    pair.sync(&args.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A run of Cyrus' own client for one user.
pub(super) fn run_cyrus(pair: &Pair, call: Call<'_>) -> Outcome {
    let args = call.args(pair);
    c_client::run(&pair.master, &args.iter().map(String::as_str).collect::<Vec<_>>()).unwrap()
}
