//! Connections to peers that follow scripts, for tests of a pool.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::prelude::*;
use futures_util::future::LocalBoxFuture;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::peer::Peer;
use crate::monitor::command_stats::CommandStats;
use crate::monitor::events::{Event, EventSink};
use crate::monitor::progress::Progress;
use crate::replica::answer::Budget;
use crate::replica::connection::Means;
use crate::replica::connection::testing::Given;
use crate::replica::pool::ConnectionPool;
use crate::replica::transport::{ConnectError, Dial, Ready};
use crate::settings::Settings;

/// The result of the next try to connect.
pub(crate) enum Try {
    /// There is a peer, which follows this script.
    Peer(&'static str),
    /// The same, but the connection may be used before the end of the handshake, if that is requested.
    EarlyPeer(&'static str),
    /// Nothing accepts.
    Unreachable,
    /// The login is refused.
    Refused,
    /// A setting must be changed.
    Fatal,
    /// The next result, after this time.
    After(Duration),
}

/// What is recorded of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tried {
    /// When it started, in milliseconds.
    pub(crate) at: u128,
    /// Whether the connection was to be opened early.
    pub(crate) early: bool,
}

/// Makes connections as planned. When the plan is used up, peers say nothing.
#[derive(Clone)]
pub(crate) struct Tries(Arc<Shared>);

struct Shared {
    start: Instant,
    planned: Mutex<VecDeque<Try>>,
    tried: Mutex<Vec<Tried>>,
    peers: Mutex<Vec<Peer>>,
}

impl Tries {
    /// Tries with these results, one after the other.
    pub(crate) fn of(planned: impl IntoIterator<Item = Try>) -> Tries {
        Tries(Arc::new(Shared {
            start: Instant::now(),
            planned: Mutex::new(planned.into_iter().collect()),
            tried: Mutex::default(),
            peers: Mutex::default(),
        }))
    }

    /// A pool with these connections, and its events.
    pub(crate) fn pool(&self, settings: Settings) -> (Addr<ConnectionPool>, mpsc::Receiver<Event>) {
        let (events, told) = EventSink::channel(settings.run.narrate, settings.run.trace);
        let means = Means {
            settings: Arc::new(settings),
            events,
            budget: Budget::default(),
            stats: CommandStats::default(),
            dial: Arc::new(self.clone()),
        };
        (ConnectionPool::new(means, Vec::new(), Progress::default()).start(), told)
    }

    /// Milliseconds since the start of the test.
    pub(crate) fn now(&self) -> u128 {
        self.0.start.elapsed().as_millis()
    }

    /// The tries so far.
    pub(crate) fn tried(&self) -> Vec<Tried> {
        self.0.tried.lock().unwrap().clone()
    }

    /// When they started, in milliseconds.
    pub(crate) fn times(&self) -> Vec<u128> {
        self.tried().iter().map(|tried| tried.at).collect()
    }

    /// Waits until all scripts are finished.
    pub(crate) async fn all_played(&self) {
        let peers = std::mem::take(&mut *self.0.peers.lock().unwrap());
        for peer in peers {
            peer.played().await;
        }
    }
}

impl Dial for Tries {
    fn dial(
        &self,
        _: u64,
        early: bool,
        _: bool,
    ) -> LocalBoxFuture<'static, Result<Ready, ConnectError>> {
        let shared = self.0.clone();
        shared.tried.lock().unwrap().push(Tried { at: self.now(), early });
        let next = move || shared.planned.lock().unwrap().pop_front();
        let peers = self.0.clone();
        let ready = move |given: Given, script| {
            let (ready, peer) = given.ready(script);
            peers.peers.lock().unwrap().push(peer);
            Ok(ready)
        };
        Box::pin(async move {
            loop {
                return match next() {
                    Some(Try::After(pause)) => {
                        tokio::time::sleep(pause).await;
                        continue;
                    }
                    Some(Try::EarlyPeer(script)) if early => {
                        let early = Some(Duration::from_secs(30));
                        ready(Given { early, ..Given::default() }, script)
                    }
                    Some(Try::Peer(script) | Try::EarlyPeer(script)) => {
                        ready(Given::default(), script)
                    }
                    Some(Try::Unreachable) => Err(ConnectError::Unreachable {
                        address: "replica:csync".into(),
                        problem: "Connection refused".into(),
                    }),
                    Some(Try::Refused) => Err(failed("authentication failure", true)),
                    Some(Try::Fatal) => Err(failed("no mechanism", false)),
                    None => ready(Given::default(), ""),
                };
            }
        })
    }
}

fn failed(problem: &str, refused: bool) -> ConnectError {
    ConnectError::Handshake {
        address: "replica:csync".into(),
        problem: problem.into(),
        fatal: true,
        wrong_service: false,
        refused,
    }
}
