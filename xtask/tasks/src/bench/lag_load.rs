//! The load of the lag benchmark: appends at a steady rate, and a watch over the replica's folders.
//!
//! ```text
//!   appenders --user, UID, time of the OK--> Watch: in order, a queue a user <--is UID. there?-- watcher
//! ```

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use testkit::Access;
use testkit::fill::Composer;
use testkit::imap::{Client, Line};

/// How often the replica's folders are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Connections that append at once, at most.
const APPENDERS: usize = 4;
const MESSAGE_BYTES: usize = 2000;

/// A message on the master.
struct Appended {
    uid: u32,
    when: Instant,
}

/// The messages that were appended and have not arrived, by user, and the lags of those that have.
pub(crate) struct Watch {
    folders: Vec<PathBuf>,
    waiting: Mutex<Vec<VecDeque<Appended>>>,
    lags: Mutex<Vec<f64>>,
    stop: AtomicBool,
}

impl Watch {
    /// Over these users' INBOX folders on the replica.
    pub(crate) fn new(folders: Vec<PathBuf>) -> Watch {
        let waiting = folders.iter().map(|_| VecDeque::new()).collect();
        let (waiting, lags) = (Mutex::new(waiting), Mutex::default());
        Watch { folders, waiting, lags, stop: AtomicBool::new(false) }
    }

    fn append(&self, user: usize, uid: u32) {
        if let Some(queue) = locked(&self.waiting).get_mut(user) {
            queue.push_back(Appended { uid, when: Instant::now() });
        }
    }

    /// How many have not arrived yet.
    pub(crate) fn waiting(&self) -> usize {
        locked(&self.waiting).iter().map(VecDeque::len).sum()
    }

    /// Seconds from the OK on the master to the file on the replica, for all that arrived.
    pub(crate) fn lags(&self) -> Vec<f64> {
        locked(&self.lags).clone()
    }

    /// Ends [`Watch::run`].
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Looks at the folders until stopped. Messages arrive in the order of their UIDs: only a user's first is looked for.
    pub(crate) fn run(&self) {
        while !self.stop.load(Ordering::SeqCst) {
            let mut waiting = locked(&self.waiting);
            for (folder, queue) in self.folders.iter().zip(waiting.iter_mut()) {
                while let Some(first) = queue.front() {
                    if !folder.join(format!("{}.", first.uid)).exists() {
                        break;
                    }
                    locked(&self.lags).push(first.when.elapsed().as_secs_f64());
                    queue.pop_front();
                }
            }
            drop(waiting);
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Appends to random users, this many per second in all, for this time. A late answer slows nothing down: messages that
/// were due meanwhile follow at once.
pub(crate) fn append(
    access: &Access,
    users: &[String],
    per_second: f64,
    time: Duration,
    seed: u64,
    watch: &Watch,
) -> Result<()> {
    // Each user has one appender, so that its UIDs are reported in order.
    let started = Instant::now() + Duration::from_millis(500);
    let total = (per_second * time.as_secs_f64()) as usize;
    std::thread::scope(|scope| {
        let mut appenders = Vec::new();
        for part in 0..APPENDERS {
            appenders.push(scope.spawn(move || -> Result<()> {
                let mut own = Vec::new();
                for nr in (part..users.len()).step_by(APPENDERS) {
                    let user = users.get(nr).context("no such user")?;
                    own.push((nr, access.login(user)?));
                }
                let mut rng = StdRng::seed_from_u64(seed + part as u64);
                let mut composer = Composer::new(seed * 1000 + part as u64);
                for nr in (part..total).step_by(APPENDERS) {
                    let due = started + Duration::from_secs_f64(nr as f64 / per_second);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    let any = rng.random_range(0..own.len());
                    let (user, client) = own.get_mut(any).context("no user")?;
                    let uid = append_one(client, &composer.message(MESSAGE_BYTES))?;
                    watch.append(*user, uid);
                }
                Ok(())
            }));
        }
        for appender in appenders {
            match appender.join() {
                Ok(ended) => ended?,
                Err(_) => anyhow::bail!("an appender panicked"),
            }
        }
        Ok(())
    })
}

/// Appends one message; returns its UID.
pub(crate) fn append_one(client: &mut Client, message: &[u8]) -> Result<u32> {
    let answer = client.run(&Line::new("APPEND INBOX ").literal(message))?;
    appended_uid(&answer.text).with_context(|| format!("no APPENDUID in {:?}", answer.text))
}

/// `[APPENDUID 1700000000 7] Completed`
fn appended_uid(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("[APPENDUID ")?;
    rest.split_once(']')?.0.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_of_appends() {
        assert_eq!(appended_uid("[APPENDUID 1700000000 7] Completed"), Some(7));
        assert_eq!(appended_uid("Completed"), None);
    }

    #[test]
    fn what_has_come_is_counted_in_order() {
        let dir = std::env::temp_dir().join(format!("bench-watch-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let watch = Watch::new(vec![dir.clone()]);
        for uid in [3, 4] {
            watch.append(0, uid);
        }
        std::fs::write(dir.join("3."), "").unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| watch.run());
            while watch.waiting() > 1 {
                std::thread::yield_now();
            }
            watch.stop();
        });
        assert_eq!((watch.waiting(), watch.lags().len()), (1, 1));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
