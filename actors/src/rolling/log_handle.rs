//! A Roller's handle on its log: decides when the LogReader reads or writes, one at a time.
//!
//! Reading and writing never overlap, and entries that were read are in the backlog before log-run is rewritten from it. So
//! nothing that was taken over can be struck out unseen.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use actix::prelude::*;
use cyrus_store::StoreError;
use cyrus_types::LogEntry;
use futures_util::future::LocalBoxFuture;
use tokio::sync::mpsc;

use crate::rolling::log_reader::{CHUNKS_WAITING, Keep, LogReader, TakeOver, TakenOver};
use crate::rolling::request::RollSettings;

/// How often to look for the log if no delay is wanted.
const LEAST_DELAY: Duration = Duration::from_millis(50);
/// log-run is rewritten at most once a second, and rewriting takes at most a twentieth of the time.
const SAVE_PAUSE: Duration = Duration::from_secs(1);
const SAVE_SHARE: u32 = 20;

/// How long a reader may take to notice that its receiver is gone.
const READING_GRACE: Duration = Duration::from_secs(1);

/// The handle on the log.
pub(crate) struct LogHandle {
    log: Addr<LogReader>,
    doing: Option<Doing>,
    /// When the log is taken over next; `None` if it is not to be read any more.
    read_at: Option<Instant>,
    /// log-run is not rewritten before this time.
    save_at: Instant,
    delay: Duration,
    once: bool,
    shutdown_file: Option<PathBuf>,
}

/// What the LogReader is doing.
enum Doing {
    Reading(mpsc::Receiver<Vec<LogEntry>>, LocalBoxFuture<'static, Result<TakenOver, StoreError>>),
    Saving(Instant, LocalBoxFuture<'static, Result<(), StoreError>>),
}

/// A message from the LogReader.
pub(crate) enum FromLog {
    /// Entries; more will come.
    Entries(Vec<LogEntry>),
    /// The last entries, and the result.
    Read(Vec<LogEntry>, Result<TakenOver, StoreError>),
    /// log-run is written, or could not be written.
    Saved(Result<(), StoreError>),
}

/// The state of the LogReader at the end.
pub(crate) enum Finished {
    /// It was reading: some entries were not taken in.
    WithinReading,
    /// It had nothing to do, or was writing.
    Saved(Result<(), StoreError>),
}

impl LogHandle {
    /// A log that is read at once.
    pub(crate) fn new(log: Addr<LogReader>, settings: &RollSettings, now: Instant) -> LogHandle {
        LogHandle {
            log,
            doing: None,
            read_at: Some(now),
            save_at: now,
            delay: settings.delay.max(LEAST_DELAY),
            once: settings.once,
            shutdown_file: settings.shutdown_file.clone(),
        }
    }

    /// Whether log-run can be rewritten now; at once if it would only be removed.
    pub(crate) fn may_save(&self, now: Instant, all_done: bool) -> bool {
        self.doing.is_none() && (all_done || now >= self.save_at)
    }

    /// Rewrites log-run with these entries.
    pub(crate) fn save(&mut self, now: Instant, entries: Vec<LogEntry>) {
        let saving = self.log.send(Keep(entries));
        let saving = async move { saving.await.unwrap_or_else(|e| Err(gone(&e))) };
        self.doing = Some(Doing::Saving(now, Box::pin(saving)));
    }

    /// Whether the log is to be taken over now.
    pub(crate) fn may_read(&self, now: Instant) -> bool {
        self.doing.is_none() && self.read_at.is_some_and(|at| now >= at)
    }

    /// Takes the log over.
    pub(crate) fn read(&mut self, now: Instant) {
        let (sender, entries) = mpsc::channel(CHUNKS_WAITING);
        let shutdown_file = self.shutdown_file.clone();
        let reading = self.log.send(TakeOver { entries: sender, shutdown_file });
        let reading = async move { reading.await.unwrap_or_else(|e| Err(gone(&e))) };
        self.doing = Some(Doing::Reading(entries, Box::pin(reading)));
        self.read_at = (!self.once).then(|| now + self.delay);
    }

    /// The log is not to be read any more.
    pub(crate) fn read_no_more(&mut self) {
        self.read_at = None;
    }

    /// Whether it has been read for the last time.
    pub(crate) fn is_read(&self) -> bool {
        self.read_at.is_none() && !matches!(self.doing, Some(Doing::Reading(..)))
    }

    /// When the log can be read or, if anything is `unsaved`, written next.
    pub(crate) fn next_time(&self, unsaved: bool) -> Option<Instant> {
        if self.doing.is_some() {
            return None;
        }
        self.read_at.into_iter().chain(unsaved.then_some(self.save_at)).min()
    }

    /// Waits for the LogReader; for ever while it has nothing to do. Dropping the future at any point loses nothing.
    pub(crate) async fn hear(&mut self) -> FromLog {
        match &mut self.doing {
            None => std::future::pending().await,
            Some(Doing::Saving(since, saving)) => {
                let result = saving.await;
                let now = Instant::now();
                self.save_at = now + SAVE_PAUSE.max((now - *since) * SAVE_SHARE);
                self.doing = None;
                FromLog::Saved(result)
            }
            Some(Doing::Reading(entries, reading)) => {
                tokio::select! {
                    Some(some) = entries.recv() => FromLog::Entries(some),
                    result = reading => {
                        let mut rest = Vec::new();
                        while let Ok(some) = entries.try_recv() {
                            rest.extend(some);
                        }
                        self.doing = None;
                        FromLog::Read(rest, result)
                    }
                }
            }
        }
    }

    /// Waits until the LogReader has nothing to do; entries it still reads are not taken in any more.
    pub(crate) async fn finish(&mut self) -> Finished {
        match self.doing.take() {
            None => Finished::Saved(Ok(())),
            Some(Doing::Saving(_, saving)) => Finished::Saved(saving.await),
            Some(Doing::Reading(mut entries, reading)) => {
                entries.close();
                // Standard input may never end; after this abort the log is whole, as after a crash.
                let _ = tokio::time::timeout(READING_GRACE, reading).await;
                Finished::WithinReading
            }
        }
    }
}

fn gone(e: &MailboxError) -> StoreError {
    let path = PathBuf::from("sync/log");
    StoreError::io("read", &path, std::io::Error::other(format!("the log reader is gone: {e}")))
}
