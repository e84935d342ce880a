//! A small saslauthd on a Unix socket: any user, one password, and a switch to refuse all logins.
//!
//! Debian's Cyrus ignores a private sasldb path, so passwords are checked by this daemon
//! (`sasl_pwcheck_method: saslauthd`). The protocol, as `saslauthd/ipc_unix.c` of cyrus-sasl speaks it:
//! ```text
//!  client: | len u16 BE | user | len | password | len | service | len | realm |
//!  server: | len u16 BE | "OK …" or "NO …" |
//! ```

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::{Result, io};

/// Every user's password unless changed.
pub const PASSWORD: &str = "secret";

/// A running saslauthd; it ends when dropped.
#[derive(Debug)]
pub struct Saslauthd {
    path: PathBuf,
    rules: Arc<Rules>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Rules {
    stop: AtomicBool,
    refuse: AtomicBool,
    own_passwords: Mutex<HashMap<String, String>>,
}

impl Saslauthd {
    /// Starts one on the socket `path` (at most 107 bytes long).
    ///
    /// # Errors
    /// When the socket cannot be bound.
    pub fn start(path: &Path) -> Result<Self> {
        let listener = UnixListener::bind(path).map_err(io("bind", path))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777))
            .map_err(io("chmod", path))?;
        let rules = Arc::new(Rules::default());
        let shared = Arc::clone(&rules);
        let thread = std::thread::spawn(move || serve(&listener, &shared));
        Ok(Self { path: path.to_path_buf(), rules, thread: Some(thread) })
    }

    /// Gives one user another password than [`PASSWORD`].
    pub fn set_password(&self, user: &str, password: &str) {
        let mut own = self.rules.own_passwords.lock().unwrap_or_else(PoisonError::into_inner);
        own.insert(user.to_owned(), password.to_owned());
    }

    /// From now on refuses every login (`true`), or checks passwords again (`false`).
    pub fn refuse(&self, refuse: bool) {
        self.rules.refuse.store(refuse, Ordering::SeqCst);
    }
}

impl Drop for Saslauthd {
    fn drop(&mut self) {
        self.rules.stop.store(true, Ordering::SeqCst);
        // The thread waits in accept(): one connection wakes it.
        let _ = UnixStream::connect(&self.path);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Rules {
    fn allows(&self, user: &[u8], password: &[u8]) -> bool {
        if self.refuse.load(Ordering::SeqCst) {
            return false;
        }
        let own = self.own_passwords.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = std::str::from_utf8(user).ok().and_then(|user| own.get(user));
        password == wanted.map_or(PASSWORD, String::as_str).as_bytes()
    }
}

fn serve(listener: &UnixListener, rules: &Rules) {
    for stream in listener.incoming() {
        if rules.stop.load(Ordering::SeqCst) {
            return;
        }
        // A client that goes away or sends invalid data only harms itself.
        if let Ok(stream) = stream {
            let _ = answer(stream, rules);
        }
    }
}

fn answer(mut stream: UnixStream, rules: &Rules) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let user = read_string(&mut stream)?;
    let password = read_string(&mut stream)?;
    let _service = read_string(&mut stream)?;
    let _realm = read_string(&mut stream)?;
    let text: &[u8] = if rules.allows(&user, &password) { b"OK" } else { b"NO wrong password" };
    let length = u16::try_from(text.len()).unwrap_or(0).to_be_bytes();
    stream.write_all(&[&length[..], text].concat())
}

fn read_string(stream: &mut UnixStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(path: &Path, user: &str, password: &str) -> String {
        let mut stream = UnixStream::connect(path).unwrap();
        for part in [user, password, "imap", ""] {
            stream.write_all(&u16::try_from(part.len()).unwrap().to_be_bytes()).unwrap();
            stream.write_all(part.as_bytes()).unwrap();
        }
        String::from_utf8(read_string(&mut stream).unwrap()).unwrap()
    }

    #[test]
    fn one_password_own_passwords_and_refusal() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mux");
        let daemon = Saslauthd::start(&path).unwrap();
        assert_eq!(ask(&path, "anna", PASSWORD), "OK");
        assert!(ask(&path, "anna", "wrong").starts_with("NO"));
        daemon.set_password("bob", "else");
        assert!(ask(&path, "bob", PASSWORD).starts_with("NO"));
        assert_eq!(ask(&path, "bob", "else"), "OK");
        daemon.refuse(true);
        assert!(ask(&path, "anna", PASSWORD).starts_with("NO"));
    }
}
