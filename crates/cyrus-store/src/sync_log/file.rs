//! Takes a log over from Cyrus, and keeps what is left of it.
//!
//! ```text
//!   Cyrus writes:  open log, lock it, is it still the one at the path?, write, unlock
//!   taken over:    rename log -> log-run, lock it (waits for the last writer), unlock
//!   there is a log-run already:  lock log, append its lines to log-run, remove log, unlock
//!   when some are done:          the others -> log-run.NEW, rename to log-run
//!   when all are done:           remove log-run
//!   lines that say nothing:      appended to log-unread, for an admin to look at
//!   who does all that:           has a lock on log-replicator (claim.rs)
//! ```
//! Whenever and however the program ends, all entries that are not done are in log or log-run, where any replicator looks
//! next. Beside lock files, this is the only place where we write on the master: the log belongs to the replicator.
//!
//! Source: `imap/sync_log.c` (sync_log_base, sync_log_reader_begin) of cyrus-imapd 3.6.1.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cyrus_types::LogEntry;

use super::claim::{self, Claimed};
use super::{Lines, channel_dir};
use crate::config::Config;
use crate::error::StoreError;
use crate::lock::{FileLock, Mode};
use crate::regular;

/// A channel's log.
#[derive(Debug, Clone)]
pub struct LogFile {
    log: PathBuf,
    run: PathBuf,
    unread: PathBuf,
}

/// The lines that were taken over, to be read from the first one that was not read before.
#[derive(Debug)]
pub struct RunFile {
    file: File,
    /// Whether it existed before, left by a replicator that was stopped.
    pub left_over: bool,
}

impl LogFile {
    /// The log of a channel, or of no channel, below this configuration's folder.
    #[must_use]
    pub fn of_channel(conf: &Config, channel: Option<&str>) -> LogFile {
        LogFile::within(&channel_dir(conf, channel))
    }

    pub(super) fn within(folder: &Path) -> LogFile {
        LogFile {
            log: folder.join("log"),
            run: folder.join("log-run"),
            unread: folder.join("log-unread"),
        }
    }

    /// Where lines are kept that are not entries.
    #[must_use]
    pub fn unread_path(&self) -> &Path {
        &self.unread
    }

    /// The log itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.log
    }

    /// The file that is being worked on.
    #[must_use]
    pub fn run_path(&self) -> &Path {
        &self.run
    }

    /// The file whose lock is the claim on this log.
    pub(super) fn claim_path(&self) -> PathBuf {
        self.run.with_file_name("log-replicator")
    }

    /// Claims this log, among replicators of our kind, for as long as the claim lives.
    ///
    /// # Errors
    /// The lock file (`log-replicator`, beside the log) can't be made or locked.
    pub fn claim(&self) -> Result<Claimed, StoreError> {
        claim::claim(self)
    }

    /// Takes over what there is at the start: a log-run that was left, else the log. `None` if there is neither.
    ///
    /// # Errors
    /// A file can't be renamed, opened or locked.
    pub fn begin(&self) -> Result<Option<RunFile>, StoreError> {
        let left_over = self.run.exists();
        if !left_over {
            match fs::rename(&self.log, &self.run) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                renamed => renamed.map_err(|e| StoreError::io("take over", &self.log, e))?,
            }
        }
        // A process that opened the log before the rename has written its line when we get this lock.
        drop(FileLock::on_existing(&self.run, Mode::Exclusive, true)?);
        let file = regular::open_own(OpenOptions::new().read(true), &self.run)?;
        Ok(Some(RunFile { file, left_over }))
    }

    /// Takes over what has been logged since, while entries of `run` are still open: appends the lines to log-run. True if
    /// there were any.
    ///
    /// # Errors
    /// A file can't be locked, read or written; then nothing has changed.
    pub fn more(&self) -> Result<bool, StoreError> {
        let lock = match FileLock::on_existing(&self.log, Mode::Exclusive, true) {
            Ok(lock) => lock,
            Err(StoreError::MissingFile { .. }) => return Ok(false),
            Err(e) => return Err(e),
        };
        let failed = |action| move |e| StoreError::io(action, &self.run, e);
        let mut run =
            regular::open_own(OpenOptions::new().append(true).create(true).mode(0o640), &self.run)?;
        let mut log = lock.file();
        let before = run.metadata().map_err(failed("stat"))?.len();
        let copied = self
            .end_last_line(&mut run, before)
            .and_then(|()| io::copy(&mut log, &mut run))
            .and_then(|_| run.sync_data());
        if let Err(e) = copied {
            // An incomplete line must not run into the next one.
            let _ = run.set_len(before);
            return Err(failed("write")(e));
        }
        fs::remove_file(&self.log).map_err(|e| StoreError::io("remove", &self.log, e))?;
        drop(lock);
        Ok(true)
    }

    /// An incomplete last line must not run into the first one that comes after it.
    fn end_last_line(&self, run: &mut File, length: u64) -> io::Result<()> {
        let Some(last) = length.checked_sub(1) else { return Ok(()) };
        let mut byte = [0];
        let reading = regular::open_own(OpenOptions::new().read(true), &self.run);
        reading.map_err(io::Error::other)?.read_exact_at(&mut byte, last)?;
        if byte == *b"\n" { Ok(()) } else { run.write_all(b"\n") }
    }

    /// Keeps a line that is not an entry, for an admin to look at.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn set_aside(&self, line: &[u8]) -> Result<(), StoreError> {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o640);
        let mut file = regular::open_own(&mut options, &self.unread)?;
        let written = file.write_all(&[line, b"\n"].concat());
        written.map_err(|e| StoreError::io("write", &self.unread, e))
    }

    /// Leaves exactly these entries in log-run; removes it if there are none. It is another file then: first read the lines
    /// of the old one.
    ///
    /// # Errors
    /// A file can't be written; then log-run has not changed.
    pub fn keep<'e>(
        &self,
        entries: impl IntoIterator<Item = &'e LogEntry>,
    ) -> Result<Option<RunFile>, StoreError> {
        let mut entries = entries.into_iter().peekable();
        if entries.peek().is_none() {
            return match fs::remove_file(&self.run) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    Err(StoreError::io("remove", &self.run, e))
                }
                _ => Ok(None),
            };
        }
        let new = self.run.with_extension("NEW");
        let failed = |e| StoreError::io("write", &new, e);
        let mut options = OpenOptions::new();
        options.write(true).read(true).create(true).truncate(true).mode(0o640);
        let mut out = BufWriter::new(regular::open_own(&mut options, &new)?);
        for entry in entries {
            writeln!(out, "{entry}").map_err(failed)?;
        }
        let mut file = out.into_inner().map_err(|e| failed(e.into_error()))?;
        file.sync_data().map_err(failed)?;
        fs::rename(&new, &self.run).map_err(|e| StoreError::io("replace", &self.run, e))?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(Some(RunFile { file, left_over: false }))
    }
}

impl RunFile {
    /// The lines that were not read before, up to the present end.
    pub fn lines(&mut self) -> Lines<BufReader<&mut File>> {
        Lines::new(BufReader::with_capacity(256 * 1024, &mut self.file))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Line;
    use super::*;

    fn entries(run: &mut RunFile) -> Vec<String> {
        let lines = run.lines().map(|line| match line.unwrap() {
            Line::Entry(entry) => entry.to_string(),
            Line::Unread { why, .. } => panic!("{why}"),
        });
        lines.collect()
    }

    #[test]
    fn a_log_is_taken_over_in_parts() {
        let dir = tempfile::tempdir().unwrap();
        let log = LogFile::within(dir.path());
        assert!(log.begin().unwrap().is_none() && !log.more().unwrap());
        fs::write(&log.log, "USER anna\n").unwrap();
        let mut run = log.begin().unwrap().unwrap();
        assert!(!run.left_over && !log.log.exists());
        assert_eq!(entries(&mut run), ["USER anna"]);
        fs::write(&log.log, "USER bert\nMAILBOX user.carl\n").unwrap();
        assert!(log.more().unwrap());
        assert!(!log.more().unwrap() && !log.log.exists());
        assert_eq!(entries(&mut run), ["USER bert", "MAILBOX user.carl"]);
        assert_eq!(
            fs::read_to_string(&log.run).unwrap(),
            "USER anna\nUSER bert\nMAILBOX user.carl\n"
        );

        // A replicator that starts now finds all of it.
        let mut again = log.begin().unwrap().unwrap();
        assert!(again.left_over);
        assert_eq!(entries(&mut again).len(), 3);

        let left = LogEntry::User("bert".into());
        let mut run = log.keep([&left]).unwrap().unwrap();
        assert_eq!(fs::read_to_string(&log.run).unwrap(), "USER bert\n");
        fs::write(&log.log, "USER dora\n").unwrap();
        log.more().unwrap();
        assert_eq!(entries(&mut run), ["USER dora"]);
        assert!(log.keep([]).unwrap().is_none());
        assert!(!log.run.exists());
    }

    #[test]
    fn a_torn_line_stays_apart_from_what_comes_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let log = LogFile::within(dir.path());
        fs::write(&log.log, "USER anna\nUSER be").unwrap();
        let mut run = log.begin().unwrap().unwrap();
        assert_eq!(entries(&mut run), ["USER anna", "USER be"]);
        fs::write(&log.log, "USER carl\n").unwrap();
        assert!(log.more().unwrap());
        assert_eq!(entries(&mut run), ["USER carl"]);
        log.set_aside(b"GREET dora").unwrap();
        log.set_aside(b"GREET \xff").unwrap();
        assert_eq!(fs::read(log.unread_path()).unwrap(), b"GREET dora\nGREET \xff\n");
    }

    #[test]
    fn a_writer_that_has_begun_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let log = LogFile::within(dir.path());
        fs::write(&log.log, "USER anna\n").unwrap();
        let writer = FileLock::on_existing(&log.log, Mode::Exclusive, true).unwrap();
        let taken = std::thread::scope(|scope| {
            let taking = scope.spawn(|| entries(&mut log.begin().unwrap().unwrap()));
            while log.log.exists() {
                std::thread::yield_now();
            }
            // The file has its new name, and the writer the old file.
            (&mut writer.file()).seek(SeekFrom::End(0)).unwrap();
            (&mut writer.file()).write_all(b"USER late\n").unwrap();
            drop(writer);
            taking.join().unwrap()
        });
        assert_eq!(taken, ["USER anna", "USER late"]);
    }
}
