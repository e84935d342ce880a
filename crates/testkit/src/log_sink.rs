//! Catches syslog lines on a datagram socket of our own.
//!
//! Cyrus 3.6.1 has no option to log to a file: it calls libc's `syslog(3)`, which writes datagrams to `/dev/log`
//! (`imap/global.c:cyrus_init`). `/dev/log` is one for the whole machine, so each test server gets a mount namespace in
//! which `/dev/log` is its own socket (see [`crate::process`]); where namespaces are forbidden, the first one to ask binds
//! the machine's `/dev/log` if nobody has, and others go without lines.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::{Result, io};

/// Longest datagram read; libc's syslog sends less.
const DATAGRAM_BYTES: usize = 64 * 1024;

/// One syslog line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The severity: 0 (emergency) to 7 (debug); 3 is an error, 4 a warning.
    pub severity: u8,
    /// All after the priority: time stamp, `ident[pid]:`, message.
    pub text: String,
}

/// A bound socket and the lines that came in; it ends when dropped.
#[derive(Debug)]
pub struct LogSink {
    path: PathBuf,
    lines: Arc<Mutex<Vec<LogLine>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl LogSink {
    /// Binds a datagram socket at `path`, writable for all.
    ///
    /// # Errors
    /// When it cannot be bound.
    pub fn bind(path: &Path) -> Result<Self> {
        let socket = UnixDatagram::bind(path).map_err(io("bind", path))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))
            .map_err(io("chmod", path))?;
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .map_err(io("set a timeout on", path))?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (to, ended) = (Arc::clone(&lines), Arc::clone(&stop));
        let thread = std::thread::spawn(move || collect(&socket, &to, &ended));
        Ok(Self { path: path.to_path_buf(), lines, stop, thread: Some(thread) })
    }

    /// Binds the machine's `/dev/log`, or gives `None` where somebody has it.
    #[must_use]
    pub fn machine_wide() -> Option<Self> {
        let path = Path::new("/dev/log");
        if path.symlink_metadata().is_ok() {
            return None;
        }
        Self::bind(path).ok()
    }

    /// The socket's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<LogLine> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets the lines so far and gives them.
    #[must_use]
    pub fn take(&self) -> Vec<LogLine> {
        std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for LogSink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

fn collect(socket: &UnixDatagram, lines: &Mutex<Vec<LogLine>>, stop: &AtomicBool) {
    let mut buffer = vec![0; DATAGRAM_BYTES];
    while !stop.load(Ordering::SeqCst) {
        let Ok(length) = socket.recv(&mut buffer) else {
            continue;
        };
        let line = parse(buffer.get(..length).unwrap_or_default());
        lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

/// Takes `<priority>text` apart; priority is facility * 8 + severity.
fn parse(datagram: &[u8]) -> LogLine {
    let text = String::from_utf8_lossy(datagram);
    let text = text.trim_end_matches(['\n', '\0']);
    let parsed = text.strip_prefix('<').and_then(|rest| rest.split_once('>'));
    match parsed.and_then(|(priority, rest)| Some((priority.parse::<u16>().ok()?, rest))) {
        Some((priority, rest)) => LogLine { severity: (priority % 8) as u8, text: rest.to_owned() },
        None => LogLine { severity: 6, text: text.to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_arrive_with_their_severity() {
        let dir = tempfile::tempdir().unwrap();
        let sink = LogSink::bind(&dir.path().join("log")).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        sender.send_to(b"<19>Nov 22 10:00:00 master[7]: oh no\0", sink.path()).unwrap();
        for _ in 0..50 {
            if !sink.lines().is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let lines = sink.take();
        assert_eq!(
            lines,
            [LogLine { severity: 3, text: "Nov 22 10:00:00 master[7]: oh no".to_owned() }]
        );
        assert!(sink.lines().is_empty());
    }
}
