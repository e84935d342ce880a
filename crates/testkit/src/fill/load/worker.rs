//! One client of a load: its turns, its connections, what it counts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Common, LoadOptions};
use crate::cyrus::Access;
use crate::error::{Error, Result};
use crate::fill::random_work::OPERATIONS;
use crate::fill::session::Session;
use crate::fill::{Composer, RandomWork, Tally};
use crate::{imap, lmtp};

/// Kinds of work besides those of [`RandomWork`], and their shares (those have 100 together).
const KINDS: [(&str, u32); 6] = [
    ("share", 4),
    ("seen", 6),
    ("copy between users", 4),
    ("move between users", 3),
    ("server annotation", 3),
    ("user create", 5),
];
const DELETIONS: [(&str, u32); 2] = [("user delete", 4), ("user re-create", 4)];
const LMTP: [(&str, u32); 1] = [("deliver", 20)];
const SIEVE: [(&str, u32); 3] = [("sieve put", 4), ("sieve activate", 4), ("sieve delete", 3)];

/// Users' sessions that a client keeps open; each is an imapd process.
const MOST_SESSIONS: usize = 6;

/// How long to retry a server that does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// All kinds of work and their shares.
pub(super) fn kinds(lmtp: bool, sieve: bool) -> Vec<(&'static str, u32)> {
    let mut kinds = OPERATIONS.to_vec();
    kinds.extend(KINDS);
    kinds.extend(DELETIONS);
    if lmtp {
        kinds.extend(LMTP);
    }
    if sieve {
        kinds.extend(SIEVE);
    }
    kinds
}

/// Opens a connection; tries again for some seconds, as a server may be starting.
pub(super) fn patiently<T>(
    service: &'static str,
    mut open: impl FnMut() -> Result<T>,
) -> Result<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        let err = match open() {
            Ok(opened) => return Ok(opened),
            Err(err) => err,
        };
        if Instant::now() > end {
            let source = Box::new(err);
            return Err(Error::Unreachable { service, seconds: PATIENCE.as_secs(), source });
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What one client, or all of them, did.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) tally: Tally,
    pub(super) reasons: BTreeMap<&'static str, String>,
}

impl Done {
    pub(super) fn add(&mut self, other: Done) {
        for (kind, count) in other.tally.done {
            *self.tally.done.entry(kind).or_default() += count;
        }
        for (kind, count) in other.tally.refused {
            *self.tally.refused.entry(kind).or_default() += count;
        }
        self.tally.dropped.extend(other.tally.dropped);
        self.reasons.extend(other.reasons);
    }
}

/// A mailbox that another user may read and change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) reader: String,
    /// The mailbox's name, as the reader and the admin write it.
    pub(super) mailbox: String,
}

/// A client.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) access: Access,
    pub(super) common: Arc<Common>,
    pub(super) rng: StdRng,
    pub(super) work: RandomWork,
    pub(super) composer: Composer,
    pub(super) shares: Vec<Share>,
    interval: Duration,
    kinds: Vec<(&'static str, u32)>,
    /// Kinds that this client has not done yet; they are drawn more often.
    undone: Vec<&'static str>,
    sessions: VecDeque<(String, Session)>,
    admin: Option<imap::Client>,
    lmtp: Option<lmtp::Client>,
    done: Done,
}

impl Worker {
    pub(super) fn new(
        access: Access,
        common: Arc<Common>,
        options: &LoadOptions,
        nr: usize,
    ) -> Self {
        let seed = options.seed.wrapping_mul(1009).wrapping_add(nr as u64);
        let kinds = kinds(access.has_lmtp(), access.has_sieve() && !common.users.is_empty());
        Self {
            rng: StdRng::seed_from_u64(seed),
            work: RandomWork::new(seed).numbered_from(nr as u64 * 100_000),
            composer: Composer::new(seed ^ 0x5eed_0000_0000),
            shares: Vec::new(),
            interval: Duration::from_secs_f64(1.0 / options.per_second.clamp(0.001, 1e6)),
            undone: kinds.iter().map(|(kind, _)| *kind).collect(),
            kinds,
            sessions: VecDeque::new(),
            admin: None,
            lmtp: None,
            done: Done::default(),
            access,
            common,
        }
    }

    /// Works until it is told to stop.
    pub(super) fn run(mut self) -> Result<Done> {
        let mut due = Instant::now();
        loop {
            // The time that a slow operation took is not made up for.
            due = Instant::now().max(due + self.interval);
            while Instant::now() < due && !self.common.stop.load(Ordering::SeqCst) {
                let left = due.saturating_duration_since(Instant::now());
                std::thread::sleep(left.min(Duration::from_millis(50)));
            }
            if self.common.stop.load(Ordering::SeqCst) {
                return Ok(self.done);
            }
            let drawn = self.draw();
            let kind = self.possible(drawn);
            let outcome = self.perform(kind);
            self.common.operations.fetch_add(1, Ordering::SeqCst);
            match outcome {
                Ok(()) => {
                    *self.done.tally.done.entry(kind).or_default() += 1;
                    self.undone.retain(|undone| *undone != kind);
                }
                Err(refusal) if refusal.is_refusal() => {
                    *self.done.tally.refused.entry(kind).or_default() += 1;
                    self.done.reasons.insert(kind, refusal.to_string());
                }
                Err(err @ Error::Unreachable { .. }) => return Err(err),
                Err(broken) => self.done.tally.dropped.push(format!("{kind}: {broken}")),
            }
        }
    }

    fn draw(&mut self) -> &'static str {
        if !self.undone.is_empty() && self.rng.random_ratio(1, 4) {
            let nr = self.rng.random_range(0..self.undone.len());
            return self.undone.get(nr).copied().unwrap_or("append");
        }
        let all: u32 = self.kinds.iter().map(|(_, share)| share).sum();
        let mut drawn = self.rng.random_range(0..all);
        for (kind, share) in &self.kinds {
            if drawn < *share {
                return kind;
            }
            drawn -= share;
        }
        "append"
    }

    /// What is done instead if a kind is not possible.
    fn possible(&self, kind: &'static str) -> &'static str {
        let guests = &self.common.guests;
        let (ripe, deleted) = guests.counts();
        match kind {
            "user create" if guests.is_full() && ripe > 0 => "user delete",
            "user create" if guests.is_full() => "append",
            "user delete" if ripe > 0 => kind,
            "user re-create" if ripe + deleted > 0 => kind,
            "user delete" | "user re-create" if guests.is_full() => "append",
            "user delete" | "user re-create" => "user create",
            "seen" | "copy between users" | "move between users" if self.shares.is_empty() => {
                "share"
            }
            _ if self.common.users.is_empty() && guests.is_empty() => "user create",
            other => other,
        }
    }

    /// Any existing user: a given one, or a guest.
    pub(super) fn any_user(&mut self) -> String {
        let mut users = self.common.users.clone();
        users.extend(self.common.guests.present());
        let nr = self.rng.random_range(0..users.len().max(1));
        // The last guest may just have been deleted: then the operation is refused.
        users.into_iter().nth(nr).unwrap_or_else(|| "nobody".to_owned())
    }

    /// Does something in a user's session. After a refusal the session asks again which mailboxes exist (another client may
    /// have renamed them); after anything worse it is closed.
    pub(super) fn in_session<T>(
        &mut self,
        user: &str,
        job: impl FnOnce(&mut Self, &mut Session) -> Result<T>,
    ) -> Result<T> {
        let kept = self.sessions.iter().position(|(of, _)| of == user);
        let mut session = match kept.and_then(|nr| self.sessions.remove(nr)) {
            Some((_, session)) => session,
            None => patiently("imap", || Session::open(&self.access, user))?,
        };
        let outcome = job(self, &mut session);
        let keep = match &outcome {
            Ok(_) => true,
            Err(err) => err.is_refusal() && session.list().is_ok(),
        };
        if keep {
            self.sessions.push_back((user.to_owned(), session));
            if self.sessions.len() > MOST_SESSIONS {
                self.sessions.pop_front();
            }
        }
        outcome
    }

    /// Closes a user's session, if one is open.
    pub(super) fn forget(&mut self, user: &str) {
        self.sessions.retain(|(of, _)| of != user);
    }

    /// Does something in the admin's session.
    pub(super) fn as_admin<T>(
        &mut self,
        job: impl FnOnce(&mut imap::Client) -> std::result::Result<T, imap::ImapError>,
    ) -> Result<T> {
        let mut admin = match self.admin.take() {
            Some(admin) => admin,
            None => patiently("imap", || self.access.admin())?,
        };
        let outcome = job(&mut admin);
        if outcome.as_ref().err().is_none_or(imap::ImapError::is_refusal) {
            self.admin = Some(admin);
        }
        Ok(outcome?)
    }

    /// Delivers a message.
    pub(super) fn lmtp(&mut self, recipients: &[&str], message: &[u8]) -> Result<usize> {
        let mut client = match self.lmtp.take() {
            Some(client) => client,
            None => patiently("lmtp", || self.access.lmtp())?,
        };
        let outcome = client.deliver(recipients, message);
        if outcome.as_ref().err().is_none_or(Error::is_refusal) {
            self.lmtp = Some(client);
        }
        outcome
    }
}
