//! The LogReader actor: a channel's sync log, on a thread of its own.
//!
//! ```text
//!   Roller --TakeOver--> LogReader: log -> log-run, its new lines --entries, bounded--> Roller
//!          --Keep-----> LogReader: log-run = what is not done yet; removed when that is nothing
//!          --LetGo----> LogReader: another replicator may have the log
//! ```
//! Entries that the Roller has not reported as done are in log or log-run at all times (`cyrus-store`, `sync_log/file.rs`).
//! Only one process works on a log: a second replicator is turned away.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use actix::prelude::*;
use cyrus_store::StoreError;
use cyrus_store::sync_log::{Claim, Claimed, Line, Lines, LogFile, Rival, RunFile};
use cyrus_types::LogEntry;
use tokio::sync::mpsc;
use tracing::{Span, error, info, warn};

/// How many entries go to the Roller at a time: merging them takes it a fraction of a millisecond.
const CHUNK: usize = 256;
/// Chunks that may wait for the Roller.
pub(crate) const CHUNKS_WAITING: usize = 16;

/// Where entries come from.
#[derive(Debug, Clone)]
pub enum LogSource {
    /// The log that Cyrus writes.
    Channel(LogFile),
    /// A file that is read once and not changed (`-f FILE`).
    File(PathBuf),
    /// Standard input, once (`-f -`).
    Stdin,
}

/// A claim on a log that was made before there was a LogReader to take it. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct EarlyClaim(Arc<Mutex<Option<Claim>>>);

impl From<Claim> for EarlyClaim {
    fn from(claim: Claim) -> EarlyClaim {
        EarlyClaim(Arc::new(Mutex::new(Some(claim))))
    }
}

impl EarlyClaim {
    /// Moves the claim to this process, after a fork.
    pub fn renew(&self) {
        if let Some(claim) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            claim.renew();
        }
    }

    fn take(&self) -> Option<Claim> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Reads a log.
pub(crate) struct LogReader {
    source: LogSource,
    run: Option<RunFile>,
    /// Held as long as the actor lives: there is no other replicator on this log.
    claim: Option<Claim>,
    early: EarlyClaim,
    begun: bool,
    /// The channel in its lines in syslog.
    span: Span,
}

impl LogReader {
    /// For this log, which may be claimed already.
    pub(crate) fn new(source: LogSource, early: EarlyClaim, span: Span) -> LogReader {
        LogReader { source, run: None, claim: None, early, begun: false, span }
    }
}

impl Actor for LogReader {
    type Context = SyncContext<Self>;
}

/// Takes over what was logged since the last time.
#[derive(Message)]
#[rtype(result = "Result<TakenOver, StoreError>")]
pub(crate) struct TakeOver {
    /// Where the entries go.
    pub(crate) entries: mpsc::Sender<Vec<LogEntry>>,
    /// The file that asks us to stop; it is removed when found.
    pub(crate) shutdown_file: Option<PathBuf>,
}

/// The result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TakenOver {
    /// The shutdown file was there; nothing was read.
    pub(crate) shutdown: bool,
    /// Another replicator works on this log; nothing was read.
    pub(crate) rival: Option<Rival>,
}

/// Leaves exactly these entries in log-run.
#[derive(Message)]
#[rtype(result = "Result<(), StoreError>")]
pub(crate) struct Keep(pub(crate) Vec<LogEntry>);

/// Releases the log: the next replicator may claim it as soon as this is answered.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct LetGo;

impl Handler<LetGo> for LogReader {
    type Result = ();

    fn handle(&mut self, _: LetGo, _: &mut SyncContext<Self>) {
        self.run = None;
        self.claim = None;
        // The log may never have been read.
        drop(self.early.take());
    }
}

impl Handler<TakeOver> for LogReader {
    type Result = Result<TakenOver, StoreError>;

    fn handle(&mut self, msg: TakeOver, _: &mut SyncContext<Self>) -> Self::Result {
        let span = self.span.clone();
        let _in = span.enter();
        if let Some(file) = &msg.shutdown_file
            && file.exists()
        {
            info!("{} is there: stopping", file.display());
            if let Err(e) = std::fs::remove_file(file) {
                warn!("{} can't be removed: {e}; remove it before the next start", file.display());
            }
            return Ok(TakenOver { shutdown: true, rival: None });
        }
        let rival = match self.source.clone() {
            LogSource::Channel(log) => self.take_over(&log, &msg.entries)?,
            LogSource::File(path) => {
                let file = File::open(&path).map_err(|e| StoreError::io("open", &path, e))?;
                hand_on(Lines::new(BufReader::new(file)), None, &msg.entries)
                    .map_err(|e| StoreError::io("read", &path, e))?;
                None
            }
            LogSource::Stdin => {
                let path = PathBuf::from("standard input");
                hand_on(Lines::new(io::stdin().lock()), None, &msg.entries)
                    .map_err(|e| StoreError::io("read", &path, e))?;
                None
            }
        };
        Ok(TakenOver { shutdown: false, rival })
    }
}

impl LogReader {
    /// Returns the replicator that has this log already, if there is one.
    fn take_over(
        &mut self,
        log: &LogFile,
        entries: &mpsc::Sender<Vec<LogEntry>>,
    ) -> Result<Option<Rival>, StoreError> {
        if self.claim.is_none() {
            self.claim = self.early.take();
        }
        if self.claim.is_none() {
            match log.claim()? {
                Claimed::Ours(claim) => self.claim = Some(claim),
                Claimed::Others(rival) => return Ok(Some(rival)),
            }
        }
        match &self.run {
            Some(_) => drop(log.more()?),
            None => {
                self.run = log.begin()?;
                let left_over = self.run.as_ref().is_some_and(|run| run.left_over);
                if left_over && !self.begun {
                    warn!("Reprocessing sync log file {}", log.run_path().display());
                }
                // Reads separately what a crash left and what was logged since.
                if left_over {
                    log.more()?;
                }
            }
        }
        self.begun = true;
        if let Some(run) = &mut self.run
            && let Err(e) = hand_on(run.lines(), Some(log), entries)
        {
            // The position in the file is unknown: the next time it is read from its beginning, and until then it is not
            // rewritten.
            self.run = None;
            return Err(StoreError::io("read", log.run_path(), e));
        }
        Ok(None)
    }
}

impl Handler<Keep> for LogReader {
    type Result = Result<(), StoreError>;

    fn handle(&mut self, Keep(entries): Keep, _: &mut SyncContext<Self>) -> Self::Result {
        if let (LogSource::Channel(log), Some(_)) = (&self.source, &self.run) {
            let since = Instant::now();
            self.run = log.keep(&entries)?;
            tracing::debug!("{} entries kept in {:?}", entries.len(), since.elapsed());
        }
        Ok(())
    }
}

/// Sends the entries to the Roller. An invalid line is reported, and kept aside if there is a place for it.
fn hand_on(
    lines: Lines<impl BufRead>,
    log: Option<&LogFile>,
    entries: &mpsc::Sender<Vec<LogEntry>>,
) -> io::Result<()> {
    let mut chunk = Vec::with_capacity(CHUNK);
    for line in lines {
        match line? {
            Line::Entry(entry) => chunk.push(entry),
            Line::Unread { text, why } => set_aside(&text, why, log),
        }
        // The Roller is gone; the lines stay where they are.
        if chunk.len() == CHUNK && entries.blocking_send(std::mem::take(&mut chunk)).is_err() {
            return Ok(());
        }
    }
    let _ = entries.blocking_send(chunk);
    Ok(())
}

fn set_aside(text: &[u8], why: &str, log: Option<&LogFile>) {
    let shown = text.get(..200).unwrap_or(text).escape_ascii();
    error!("SYNCERROR: unreadable line in the sync log: {why}: <{shown}>");
    if let Some(log) = log {
        match log.set_aside(text) {
            Ok(()) => warn!("the line is kept in {}", log.unread_path().display()),
            Err(e) => error!("the line can't be kept: {e}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Shows that a claim that was made early, although it was not needed, is dropped with the others: after a SIGHUP in the
    // first moment our own log seemed to be another's.
    #[test]
    fn an_early_claim_is_let_go_too() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("configdirectory: {}\n", dir.path().display());
        let config = cyrus_store::Config::parse(&text, "/t").unwrap();
        let log = LogFile::of_channel(&config, None);
        let Claimed::Ours(claim) = log.claim().unwrap() else { panic!("it is nobody's") };
        let (early, source) = (EarlyClaim::from(claim), LogSource::Channel(log.clone()));
        actix_rt::System::new().block_on(async {
            let reader = SyncArbiter::start(1, move || {
                LogReader::new(source.clone(), early.clone(), Span::none())
            });
            assert!(matches!(log.claim().unwrap(), Claimed::Others(_)));
            reader.send(LetGo).await.unwrap();
            assert!(matches!(log.claim().unwrap(), Claimed::Ours(_)));
        });
    }
}
