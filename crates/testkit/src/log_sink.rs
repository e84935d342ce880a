//! Catches syslog lines on a datagram socket of our own; `shim.rs` makes programs send them there.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::{Result, io};

/// Longest datagram read; the shim sends less.
const DATAGRAM_BYTES: usize = 64 * 1024;
/// The prefix of a datagram that is only a marker: everything before it has been read.
const MARKER: &[u8] = b"\0marker";

/// One syslog line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The severity: 0 (emergency) to 7 (debug); 3 is an error, 4 a warning.
    pub severity: u8,
    /// The facility: 2 is mail, 16 to 23 are local0 to local7.
    pub facility: u8,
    /// Everything after the priority: time stamp, `ident[pid]:`, message.
    pub text: String,
}

/// A bound socket and the lines that arrived; it ends when dropped.
#[derive(Debug)]
pub struct LogSink {
    path: PathBuf,
    inbox: Arc<Mutex<Inbox>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The lines that arrived, and the markers that were sent and read.
#[derive(Debug, Default)]
struct Inbox {
    lines: Vec<LogLine>,
    asked: u64,
    answered: u64,
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
        let inbox = Arc::new(Mutex::new(Inbox::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (to, ended) = (Arc::clone(&inbox), Arc::clone(&stop));
        let thread = std::thread::spawn(move || collect(&socket, &to, &ended));
        Ok(Self { path: path.to_path_buf(), inbox, stop, thread: Some(thread) })
    }

    /// The socket's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All lines that were sent before the call.
    #[must_use]
    pub fn lines(&self) -> Vec<LogLine> {
        self.catch_up();
        self.held().lines.clone()
    }

    /// Removes and returns the lines that were sent before the call.
    #[must_use]
    pub fn take(&self) -> Vec<LogLine> {
        self.catch_up();
        std::mem::take(&mut self.held().lines)
    }

    fn held(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until everything sent before is read: datagrams arrive in the order in which they were sent, so it sends a
    /// marker and waits for that.
    fn catch_up(&self) {
        let Ok(sender) = UnixDatagram::unbound() else { return };
        let number = {
            let mut inbox = self.held();
            inbox.asked += 1;
            inbox.asked
        };
        let marker = [MARKER, &number.to_ne_bytes()].concat();
        if sender.send_to(&marker, &self.path).is_err() {
            return;
        }
        let end = Instant::now() + Duration::from_secs(10);
        while self.held().answered < number && Instant::now() < end {
            std::thread::sleep(Duration::from_micros(50));
        }
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

fn collect(socket: &UnixDatagram, inbox: &Mutex<Inbox>, stop: &AtomicBool) {
    let mut buffer = vec![0; DATAGRAM_BYTES];
    while !stop.load(Ordering::SeqCst) {
        let Ok(length) = socket.recv(&mut buffer) else {
            continue;
        };
        let datagram = buffer.get(..length).unwrap_or_default();
        let number = datagram.strip_prefix(MARKER).and_then(|rest| rest.try_into().ok());
        let mut inbox = inbox.lock().unwrap_or_else(PoisonError::into_inner);
        match number {
            Some(number) => inbox.answered = inbox.answered.max(u64::from_ne_bytes(number)),
            None => inbox.lines.push(parse(datagram)),
        }
    }
}

/// Splits `<priority>text`; priority is facility * 8 + severity.
fn parse(datagram: &[u8]) -> LogLine {
    let text = String::from_utf8_lossy(datagram);
    let text = text.trim_end_matches(['\n', '\0']);
    let parsed = text.strip_prefix('<').and_then(|rest| rest.split_once('>'));
    match parsed.and_then(|(priority, rest)| Some((priority.parse::<u16>().ok()?, rest))) {
        Some((priority, rest)) => LogLine {
            severity: (priority % 8) as u8,
            facility: (priority / 8) as u8,
            text: rest.to_owned(),
        },
        None => LogLine { severity: 6, facility: 2, text: text.to_owned() },
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
        assert_eq!(
            sink.take(),
            [LogLine {
                severity: 3,
                facility: 2,
                text: "Nov 22 10:00:00 master[7]: oh no".to_owned()
            }]
        );
        assert!(sink.lines().is_empty());
    }
}
