//! A Roller's hand on its log: when the LogReader is to read or to write, one thing at a time.
//!
//! Reading and writing never overlap, and entries that were read are in the backlog before log-run is
//! written anew from it: so nothing that was taken over can be struck out unseen.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use actix::prelude::*;
use cyrus_store::StoreError;
use cyrus_types::LogEntry;
use futures_util::future::LocalBoxFuture;
use tokio::sync::mpsc;

use crate::rolling::log_reader::{CHUNKS_WAITING, Keep, LogReader, TakeOver, TakenOver};
use crate::rolling::request::RollSettings;

/// How often the log is looked for when no delay is wanted.
const LEAST_DELAY: Duration = Duration::from_millis(50);
/// log-run is written anew once a second at most, and never spends more than a twentieth of the time on it.
const SAVE_PAUSE: Duration = Duration::from_secs(1);
const SAVE_SHARE: u32 = 20;

/// How long a reader may take to notice that nobody listens any more.
const READING_GRACE: Duration = Duration::from_secs(1);

/// The hand on the log.
pub(crate) struct LogHandle {
    log: Addr<LogReader>,
    doing: Option<Doing>,
    /// When the log is taken over next; none if it is not to be read any more.
    read_at: Option<Instant>,
    /// Not before then log-run is written anew.
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

/// Something from the LogReader.
pub(crate) enum FromLog {
    /// Entries; more will come.
    Entries(Vec<LogEntry>),
    /// The last entries, and how it went.
    Read(Vec<LogEntry>, Result<TakenOver, StoreError>),
    /// log-run is written, or could not be.
    Saved(Result<(), StoreError>),
}

/// How the LogReader was found in the end.
pub(crate) enum Finished {
    /// It was reading: not all entries were taken in.
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

    /// Whether log-run can be written anew now; at once when it would only be removed.
    pub(crate) fn may_save(&self, now: Instant, all_done: bool) -> bool {
        self.doing.is_none() && (all_done || now >= self.save_at)
    }

    /// Writes log-run anew with these entries.
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

    /// When it can be read or, if there is anything `unsaved`, written next.
    pub(crate) fn next_time(&self, unsaved: bool) -> Option<Instant> {
        if self.doing.is_some() {
            return None;
        }
        self.read_at.into_iter().chain(unsaved.then_some(self.save_at)).min()
    }

    /// Waits for the LogReader; for ever while it has nothing to do. Given up at any point, nothing is lost.
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

    /// Waits until the LogReader has nothing to do; what it reads is not taken in any more.
    pub(crate) async fn finish(&mut self) -> Finished {
        match self.doing.take() {
            None => Finished::Saved(Ok(())),
            Some(Doing::Saving(_, saving)) => Finished::Saved(saving.await),
            Some(Doing::Reading(mut entries, reading)) => {
                entries.close();
                // Standard input may never end; a log that is cut off here is as after a crash: whole.
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
