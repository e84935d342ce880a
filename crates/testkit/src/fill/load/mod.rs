//! Many clients at work on a master, until they are told to stop: the load that rolling replication has to keep up with.
//!
//! ```text
//!  Load ── start ──> worker threads ──> imapd, lmtpd, timsieved        each: draws a kind, does it, waits for its next turn
//!       <── stop ───     │
//!                     Guests: users that the workers create, delete and re-create; who is there is known to all of them
//! ```
//! | kind | what is done |
//! |---|---|
//! | those of [`RandomWork`](super::RandomWork) | on one user's mailboxes |
//! | deliver | a message over LMTP to one or two users, or to a folder |
//! | share, seen, copy and move between users | rights for another user, who then reads, copies and moves there |
//! | server annotation | set or removed by the admin |
//! | sieve put, activate, delete | over ManageSieve; those of guests only while they are being made |
//! | user create, delete, re-create | guests, with some mailboxes, messages, quota, script |
//!
//! Without an lmtpd or a timsieved ([`Builder::lmtp`](crate::Builder::lmtp), [`Builder::sieve`](crate::Builder::sieve)) their kinds
//! are left out. Each client does each kind early on, so that a load of some seconds has done all of them.
//!
//! Clients disturb each other, as real ones do: a refusal is counted and the work goes on; a session that ends (its user
//! was deleted, its mailbox is gone) is counted and opened again; a server that can't be reached for some seconds is an
//! error. The seed decides what is tried, not how the clients' work is interleaved.

mod guests;
mod operations;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use self::guests::Guests;
use self::worker::{Done, Worker};
use super::Tally;
use crate::cyrus::{Access, Cyrus};
use crate::error::{Result, io};

/// How much work a [`Load`] does.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Decides what is tried.
    pub seed: u64,
    /// The number of clients.
    pub clients: usize,
    /// Operations per second of each client, at most; a busy server lowers it.
    pub per_second: f64,
    /// Guests that exist at the same time, at most.
    pub guests: usize,
}

impl LoadOptions {
    /// 25 operations a second of each client, four guests.
    #[must_use]
    pub fn new(seed: u64, clients: usize) -> Self {
        Self { seed, clients, per_second: 25.0, guests: 4 }
    }
}

/// Random work on a master by several clients at once until it is stopped. It borrows nothing, so the test may go on with
/// its servers; it may even restart them (on the same ports), if that takes no longer than five seconds.
///
/// Dropped without [`Load::stop`], the clients end by themselves soon after.
#[derive(Debug)]
pub struct Load {
    access: Access,
    common: Arc<Common>,
    threads: Vec<JoinHandle<Result<Done>>>,
    started: Instant,
}

/// What the workers share.
#[derive(Debug)]
struct Common {
    users: Vec<String>,
    guests: Guests,
    stop: AtomicBool,
    operations: AtomicUsize,
}

/// The result of a load.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LoadReport {
    /// What was done, refused and dropped, by kind.
    pub tally: Tally,
    /// The server's last words to each kind that was refused.
    pub reasons: BTreeMap<&'static str, String>,
    /// Every user that ever existed: the given ones, then all guests, including deleted ones.
    pub users: Vec<String>,
    /// Those of them that exist now.
    pub present: Vec<String>,
    /// Those of them that were deleted and do not exist now; their mailboxes may still exist below `DELETED`.
    pub deleted: Vec<String>,
    /// From start to stop.
    pub elapsed: Duration,
}

impl Load {
    /// Starts `clients` threads that work on `users` (which exist), and create and delete further users, `guest0` and so on.
    ///
    /// # Errors
    /// When the server can't be reached.
    pub fn start<S: AsRef<str>>(
        cyrus: &Cyrus,
        users: &[S],
        clients: usize,
        seed: u64,
    ) -> Result<Self> {
        Self::start_with(cyrus, users, &LoadOptions::new(seed, clients))
    }

    /// As [`Load::start`], with all options.
    ///
    /// # Errors
    /// As [`Load::start`].
    pub fn start_with<S: AsRef<str>>(
        cyrus: &Cyrus,
        users: &[S],
        options: &LoadOptions,
    ) -> Result<Self> {
        let access = cyrus.access();
        let first = first_free_guest(&access)?;
        let common = Arc::new(Common {
            users: users.iter().map(|user| user.as_ref().to_owned()).collect(),
            guests: Guests::new(first, options.guests),
            stop: AtomicBool::new(false),
            operations: AtomicUsize::new(0),
        });
        let mut load = Self { access, common, threads: Vec::new(), started: Instant::now() };
        for nr in 0..options.clients {
            let worker = Worker::new(load.access.clone(), Arc::clone(&load.common), options, nr);
            let thread = std::thread::Builder::new()
                .name(format!("load client {nr}"))
                .spawn(move || worker.run())
                .map_err(io("start", "a thread"))?;
            load.threads.push(thread);
        }
        Ok(load)
    }

    /// Operations tried so far, by all clients.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.common.operations.load(Ordering::SeqCst)
    }

    /// Whether all clients are still at work: no client has met an error.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.threads.iter().all(|thread| !thread.is_finished())
    }

    /// Stops, waits until the threads have finished their current operations, and returns the result.
    ///
    /// # Errors
    /// The error of the first client that met an unreachable server.
    pub fn stop(mut self) -> Result<LoadReport> {
        self.common.stop.store(true, Ordering::SeqCst);
        let mut all = Done::default();
        let mut failed = None;
        for thread in std::mem::take(&mut self.threads) {
            match thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
                Ok(done) => all.add(done),
                Err(err) => failed = failed.or(Some(err)),
            }
        }
        if let Some(err) = failed {
            return Err(err);
        }
        let elapsed = self.started.elapsed();
        let guests = self.common.guests.all();
        let mut users = self.common.users.clone();
        users.extend(guests);
        let there = existing(&self.access)?;
        let (present, deleted) =
            users.iter().cloned().partition(|user| there.contains(&user.to_lowercase()));
        Ok(LoadReport { tally: all.tally, reasons: all.reasons, users, present, deleted, elapsed })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.common.stop.store(true, Ordering::SeqCst);
    }
}

impl LoadReport {
    /// Operations of a kind that the server carried out.
    #[must_use]
    pub fn done(&self, kind: &str) -> usize {
        self.tally.done.get(kind).copied().unwrap_or(0)
    }

    /// Every kind of work that a load does on a server with all services.
    #[must_use]
    pub fn kinds() -> Vec<&'static str> {
        worker::kinds(true, true).into_iter().map(|(kind, _)| kind).collect()
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} operations done, {} refused, {} sessions dropped in {:.1?}; {} users, {} of them deleted",
            self.tally.total_done(),
            self.tally.total_refused(),
            self.tally.dropped.len(),
            self.elapsed,
            self.users.len(),
            self.deleted.len(),
        )?;
        let kinds: BTreeSet<_> = self.tally.done.keys().chain(self.tally.refused.keys()).collect();
        for kind in kinds {
            let refused = self.tally.refused.get(kind).copied().unwrap_or(0);
            let reason = self.reasons.get(kind).map(String::as_str).unwrap_or_default();
            writeln!(f, "  {kind}: {} done, {refused} refused {reason}", self.done(kind))?;
        }
        for dropped in &self.tally.dropped {
            writeln!(f, "  dropped: {dropped}")?;
        }
        Ok(())
    }
}

/// All users there are.
fn existing(access: &Access) -> Result<BTreeSet<String>> {
    let prefix = access.name(&["user", ""]);
    let mut admin = worker::patiently("imap", || access.admin())?;
    let names = admin.list("", &format!("{prefix}%"))?;
    let user = |name: &String| Some(name.strip_prefix(&prefix)?.to_lowercase());
    Ok(names.iter().filter_map(user).collect())
}

/// A number for the first guest: greater than those of guests that an earlier load has left.
fn first_free_guest(access: &Access) -> Result<usize> {
    let number = |user: &String| user.strip_prefix(guests::PREFIX)?.parse::<usize>().ok();
    Ok(existing(access)?.iter().filter_map(number).max().map_or(0, |number| number + 1))
}
