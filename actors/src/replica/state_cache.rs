//! The replica's state of each mailbox, remembered between rolling runs (`sync_cache_db_path`).
//!
//! ```text
//!   PATH.redb   meta:    "replica" -> server, port and channel that all of this is about
//!                        "in use"  -> while a program has it open; afterwards, if that was killed or a write failed
//!               states:  user NUL mailbox -> the line that GET MAILBOXES would answer
//! ```
//! It is a hint that saves a round trip, never more: a change is sent on condition that the replica is as remembered. But a
//! mailbox remembered as equal is not sent at all. So on each new connection, before the cache is believed, the replica
//! must still have some of the remembered mailboxes. One that was rebuilt under the same name, or restored from a backup,
//! does not, and then everything is forgotten. After any failure with a user its entries are forgotten. If the program is
//! killed, or the file can't be written, older states may be in it than we know of: then the next run forgets everything.
//! The C client's file, at PATH itself, is not touched.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use csync::ReplicaMailbox;
use cyrus_types::{MailboxName, NameRules, Owner};
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    TableDefinition,
};
use tracing::{Span, warn};

use crate::replica::cached_state::{decode, encode};

const STATES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("states");
const META: TableDefinition<&str, &str> = TableDefinition::new("meta");
/// The key for which replica the states are.
const REPLICA: &str = "replica";
/// The key that is there while the file is open.
const IN_USE: &str = "in use";
/// How often changes reach the disk.
const WRITTEN_EVERY: Duration = Duration::from_secs(1);
/// How much of the file is kept in memory, in bytes.
const MEMORY: usize = 8 * 1024 * 1024;

/// The cache. If it can't be read or written, nothing is remembered; there is no other effect.
pub(crate) struct Cache {
    file: Arc<File>,
    trust: Mutex<Trust>,
}

/// The connections on which the replica was found to be the remembered one.
#[derive(Debug, Default)]
struct Trust {
    /// Connections, and whether the check has succeeded; otherwise it is in progress.
    asked: BTreeMap<u64, bool>,
    /// Mailboxes that were remembered last.
    latest: VecDeque<MailboxName>,
}

/// Whether the cache may be believed on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Belief {
    /// The replica is the remembered one.
    Proven,
    /// Another user is checking.
    Asking,
    /// The caller is to check, and to report the result ([`Cache::proven`]).
    Unknown,
}

/// How many mailboxes are asked for in the check; half of them are those remembered last.
const SAMPLE: usize = 16;
/// How many connections are remembered at most.
const CONNECTIONS: usize = 1024;

struct File {
    db: Database,
    path: PathBuf,
    rules: NameRules,
    /// When changes last reached the disk.
    written: Mutex<Option<Instant>>,
    /// A change failed: what is remembered may be old.
    failed: AtomicBool,
}

/// Any of redb's errors; they are all handled alike.
type Failed = Box<dyn std::error::Error + Send + Sync>;

impl Cache {
    /// Opens the cache beside `path`, for this replica alone; entries for another replica are removed. `None`, and a line
    /// in syslog, if that fails.
    pub(crate) fn open(path: &Path, replica: &str, rules: NameRules) -> Option<Cache> {
        let mut name = path.as_os_str().to_owned();
        name.push(".redb");
        let path = PathBuf::from(name);
        let opened = File::open(&path, rules.clone()).or_else(|e| {
            if is_open_elsewhere(&e) {
                return Err(e);
            }
            warn!("sync cache {} can't be read ({e}); starting a new one", path.display());
            std::fs::remove_file(&path)?;
            File::open(&path, rules)
        });
        match opened.and_then(|file| file.bind(replica).map(|()| file)) {
            Ok(file) => Some(Cache { file: Arc::new(file), trust: Mutex::default() }),
            Err(e) => {
                warn!("sync cache {} can't be used: {e}; going on without", path.display());
                None
            }
        }
    }

    fn trust<T>(&self, with: impl FnOnce(&mut Trust) -> T) -> T {
        with(&mut self.trust.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the cache may be believed on this connection.
    pub(crate) fn belief(&self, connection: u64) -> Belief {
        self.trust(|trust| match trust.asked.get(&connection) {
            Some(true) => Belief::Proven,
            Some(false) => Belief::Asking,
            None => {
                if trust.asked.len() >= CONNECTIONS {
                    trust.asked.pop_first();
                }
                trust.asked.insert(connection, false);
                Belief::Unknown
            }
        })
    }

    /// The replica on this connection is the remembered one, or the check did not finish.
    pub(crate) fn proven(&self, connection: u64, found_out: bool) {
        self.trust(|trust| {
            trust.asked.remove(&connection);
            if found_out {
                trust.asked.insert(connection, true);
            }
        });
    }

    /// Some of the remembered mailboxes.
    pub(crate) async fn sample(&self) -> Vec<ReplicaMailbox> {
        let latest: BTreeSet<MailboxName> =
            self.trust(|trust| trust.latest.iter().cloned().collect());
        self.blocking(move |file| file.sample(latest)).await.unwrap_or_default()
    }

    /// Forgets everything.
    pub(crate) async fn forget_all(&self) {
        self.trust(|trust| trust.latest.clear());
        self.blocking(|file| file.forget_prefix(b"")).await;
    }

    /// What is remembered of these mailboxes, and the names of those that are not.
    pub(crate) async fn known(
        &self,
        names: BTreeSet<MailboxName>,
    ) -> (Vec<ReplicaMailbox>, BTreeSet<MailboxName>) {
        let asked = names.clone();
        match self.blocking(move |file| file.known(names)).await {
            Some(found) => found,
            None => (Vec::new(), asked),
        }
    }

    /// Remembers the replica's states; of two states of one name the last.
    pub(crate) async fn remember(&self, states: Vec<ReplicaMailbox>) {
        if states.is_empty() {
            return;
        }
        self.trust(|trust| {
            for state in states.iter().take(SAMPLE) {
                trust.latest.retain(|name| *name != state.name);
                trust.latest.push_back(state.name.clone());
            }
            let surplus = trust.latest.len().saturating_sub(SAMPLE / 2);
            trust.latest.drain(..surplus);
        });
        self.blocking(move |file| file.remember(&states)).await;
    }

    /// Forgets these mailboxes.
    pub(crate) async fn forget(&self, names: Vec<MailboxName>) {
        if !names.is_empty() {
            self.blocking(move |file| file.forget(&names)).await;
        }
    }

    /// Forgets everything of a user.
    pub(crate) async fn forget_user(&self, owner: &Owner) {
        let prefix = key_prefix(owner);
        self.blocking(move |file| file.forget_prefix(&prefix)).await;
    }

    /// Runs this on a thread that may wait for the disk. `None` if it failed.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&File) -> Result<T, Failed> + Send + 'static,
    ) -> Option<T> {
        let file = self.file.clone();
        let span = Span::current();
        let done = actix_rt::task::spawn_blocking(move || {
            let _in = span.entered();
            let failed = |e: Failed| {
                file.failed.store(true, Ordering::Relaxed);
                warn!("sync cache {}: {e}", file.path.display());
            };
            work(&file).map_err(failed).ok()
        });
        done.await.ok().flatten()
    }
}

impl File {
    fn open(path: &Path, rules: NameRules) -> Result<File, Failed> {
        let db = Database::builder().set_cache_size(MEMORY).create(path)?;
        Ok(File {
            db,
            path: path.to_path_buf(),
            rules,
            written: Mutex::default(),
            failed: AtomicBool::new(false),
        })
    }

    /// Makes sure that the states belong to this replica, and that all of them were written.
    fn bind(&self, replica: &str) -> Result<(), Failed> {
        let write = self.db.begin_write()?;
        {
            let mut meta = write.open_table(META)?;
            let same = meta.get(REPLICA)?.is_some_and(|bound| bound.value() == replica);
            if !same || meta.get(IN_USE)?.is_some() {
                write.delete_table(STATES)?;
            }
            meta.insert(REPLICA, replica)?;
            meta.insert(IN_USE, "")?;
            write.open_table(STATES)?;
        }
        write.commit()?;
        Ok(())
    }

    /// All changes reach the disk. The next run may believe what is here, if none of them failed.
    fn close(&self) -> Result<(), Failed> {
        if self.failed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let write = self.db.begin_write()?;
        write.open_table(META)?.remove(IN_USE)?;
        write.commit()?;
        Ok(())
    }

    fn known(
        &self,
        names: BTreeSet<MailboxName>,
    ) -> Result<(Vec<ReplicaMailbox>, BTreeSet<MailboxName>), Failed> {
        let read = self.db.begin_read()?;
        let states = read.open_table(STATES)?;
        let mut found = Vec::new();
        let mut unknown = BTreeSet::new();
        for name in names {
            let stored = states.get(self.key(&name).as_slice())?;
            match stored.and_then(|line| decode(line.value())).filter(|state| state.name == name) {
                Some(state) => found.push(state),
                None => drop(unknown.insert(name)),
            }
        }
        Ok((found, unknown))
    }

    /// These, and others from a random place.
    fn sample(&self, latest: BTreeSet<MailboxName>) -> Result<Vec<ReplicaMailbox>, Failed> {
        let (mut sample, _) = self.known(latest)?;
        let read = self.db.begin_read()?;
        let states = read.open_table(STATES)?;
        let count = usize::try_from(states.len()?)?;
        // Seeded differently each time.
        let anywhere = RandomState::new().hash_one(0) as usize % count.max(1);
        for entry in states.iter()?.skip(anywhere).take(SAMPLE / 2) {
            sample.extend(decode(entry?.1.value()));
        }
        Ok(sample)
    }

    fn remember(&self, all: &[ReplicaMailbox]) -> Result<(), Failed> {
        self.change(Durability::None, |states| {
            for state in all {
                states.insert(self.key(&state.name).as_slice(), encode(state).as_slice())?;
            }
            Ok(())
        })
    }

    fn forget(&self, names: &[MailboxName]) -> Result<(), Failed> {
        self.change(Durability::None, |states| {
            for name in names {
                states.remove(self.key(name).as_slice())?;
            }
            Ok(())
        })
    }

    fn forget_prefix(&self, prefix: &[u8]) -> Result<(), Failed> {
        self.change(Durability::Immediate, |states| {
            let mut gone = Vec::new();
            for entry in states.range(prefix..)? {
                let key = entry?.0.value().to_vec();
                if !key.starts_with(prefix) {
                    break;
                }
                gone.push(key);
            }
            for key in gone {
                states.remove(key.as_slice())?;
            }
            Ok(())
        })
    }

    /// A change, never in part. With [`Durability::None`] it reaches the disk with a later one, after [`WRITTEN_EVERY`] or
    /// more, or when the cache is closed.
    fn change(
        &self,
        durability: Durability,
        work: impl FnOnce(&mut redb::Table<'_, &[u8], &[u8]>) -> Result<(), Failed>,
    ) -> Result<(), Failed> {
        let mut write = self.db.begin_write()?;
        let now = Instant::now();
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = matches!(durability, Durability::None)
            && written.is_some_and(|at| now.saturating_duration_since(at) < WRITTEN_EVERY);
        write.set_durability(if waits { Durability::None } else { Durability::Immediate })?;
        work(&mut write.open_table(STATES)?)?;
        write.commit()?;
        if !waits {
            *written = Some(now);
        }
        Ok(())
    }

    fn key(&self, name: &MailboxName) -> Vec<u8> {
        let mut key = key_prefix(&name.owner(&self.rules));
        key.extend_from_slice(name.as_str().as_bytes());
        key
    }
}

/// Whether another program uses the file.
fn is_open_elsewhere(e: &Failed) -> bool {
    matches!(e.downcast_ref(), Some(DatabaseError::DatabaseAlreadyOpen))
}

impl Drop for File {
    fn drop(&mut self) {
        if let Err(e) = self.close() {
            warn!("sync cache {}: {e}", self.path.display());
        }
    }
}

/// What the keys of an owner's mailboxes begin with.
fn key_prefix(owner: &Owner) -> Vec<u8> {
    [owner.userid().unwrap_or_default().as_bytes(), b"\0"].concat()
}

/// Whether the replica has the remembered state, or a newer one; otherwise the first mailbox that it lacks.
pub(crate) fn first_missing<'a>(
    remembered: &'a [ReplicaMailbox],
    said: &[ReplicaMailbox],
) -> Option<&'a MailboxName> {
    let has = |state: &ReplicaMailbox| {
        said.iter().any(|now| {
            now.name == state.name
                && now.uniqueid == state.uniqueid
                && now.highestmodseq >= state.highestmodseq
                && now.last_uid >= state.last_uid
        })
    };
    remembered.iter().find(|state| !has(state)).map(|state| &state.name)
}

#[cfg(test)]
#[path = "state_cache_tests.rs"]
mod tests;
