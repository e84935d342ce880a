//! An instance's own sync_server, run privately on a Unix socket.
//!
//! `master/service.c` of cyrus-imapd 3.6.1: a service inherits its listening socket as file 4 and a pipe to the master
//! process as file 3, and finds its name in `CYRUS_SERVICE` and its number in `CYRUS_ID`. A peer on a Unix socket is the
//! admin already (`sync_server.c:service_main`), so there is nothing to authenticate. A small shell moves stdin and stdout
//! to 4 and 3, as std cannot without unsafe code.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::dlist::Item;
use crate::cyrus::{ADMIN, Cyrus};
use crate::error::{Error, Result, io};
use crate::process::Tree;
use crate::saslauthd::PASSWORD;

/// How long one answer may take.
const READ_TIMEOUT: Duration = Duration::from_secs(120);

/// A private sync_server and the connection to it, or a connection to any server that speaks csync.
pub struct PrivateServer {
    input: BufReader<Box<dyn Read + Send>>,
    output: Box<dyn Write + Send>,
    banner: Vec<String>,
    // Last, so that the connection ends first. None: the server is not ours.
    _tree: Option<Tree>,
}

impl std::fmt::Debug for PrivateServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrivateServer").field("banner", &self.banner).finish_non_exhaustive()
    }
}

impl PrivateServer {
    /// Starts one for an instance, and sends `APPLY CAPABILITIES (SIEVE-MAILBOX)`, as sync_client does: then `#sieve`
    /// mailboxes are reported as mailboxes, and scripts are not.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(cyrus: &Cyrus) -> Result<Self> {
        let mut server = Self::start_plain(cyrus)?;
        server.command("APPLY CAPABILITIES (SIEVE-MAILBOX)")?;
        Ok(server)
    }

    /// Starts one without any capability: Sieve scripts are reported as `* SIEVE` lines.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_plain(cyrus: &Cyrus) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let path = cyrus.dir().join(format!("run/oracle{number}"));
        let listener = UnixListener::bind(&path).map_err(io("bind", &path))?;
        let (mut status, status_writer) = std::io::pipe().map_err(io("make a pipe for", &path))?;
        let mut command = cyrus.command("/bin/sh");
        command.args(["-c", "exec 4<&0 3>&1 0</dev/null 1>/dev/null; exec \"$@\"", "sh"]);
        command.args(cyrus.programs().words("sync_server")).arg("-C").arg(cyrus.imapd_conf());
        command.env("CYRUS_SERVICE", "csync").env("CYRUS_ID", "1");
        command
            .stdin(OwnedFd::from(listener))
            .stdout(OwnedFd::from(status_writer))
            .stderr(Stdio::null());
        let tree = Tree::spawn(command)?;
        // The server reports its state on the pipe; nobody needs it, but it must be read.
        std::thread::spawn(move || std::io::copy(&mut status, &mut std::io::sink()));
        let output = UnixStream::connect(&path).map_err(io("connect to", &path))?;
        std::fs::remove_file(&path).map_err(io("remove", &path))?;
        output.set_read_timeout(Some(READ_TIMEOUT)).map_err(io("set a timeout on", &path))?;
        let input = output.try_clone().map_err(io("clone", &path))?;
        Self::greeted(Box::new(input), Box::new(output), Some(tree))
    }

    /// Connects to a running server on this port of loopback, as the admin of the testkit's instances.
    ///
    /// # Errors
    /// When nothing listens there, or the login is refused.
    pub fn over_tcp(port: u16) -> Result<Self> {
        let address = format!("127.0.0.1:{port}");
        let output = TcpStream::connect(&address).map_err(io("connect to", &address))?;
        output.set_read_timeout(Some(READ_TIMEOUT)).map_err(io("set a timeout on", &address))?;
        let input = output.try_clone().map_err(io("clone", &address))?;
        let mut server = Self::greeted(Box::new(input), Box::new(output), None)?;
        let plain = BASE64.encode(format!("\0{ADMIN}\0{PASSWORD}"));
        server.command(&format!("AUTHENTICATE PLAIN {plain}"))?;
        match server.command("APPLY CAPABILITIES (SIEVE-MAILBOX)") {
            // No version before 3.6 knew it.
            Err(Error::Csync { answer, .. }) if answer.starts_with("NO IMAP_PROTOCOL_ERROR") => {}
            answer => drop(answer?),
        }
        Ok(server)
    }

    fn greeted(
        input: Box<dyn Read + Send>,
        output: Box<dyn Write + Send>,
        tree: Option<Tree>,
    ) -> Result<Self> {
        let input = BufReader::new(input);
        let mut server = Self { input, output, banner: Vec::new(), _tree: tree };
        loop {
            let line = server.read_line("banner")?;
            let text = String::from_utf8_lossy(&line).into_owned();
            let last = text.starts_with("* OK");
            server.banner.push(text);
            if last {
                return Ok(server);
            }
        }
    }

    /// The banner's lines.
    #[must_use]
    pub fn banner(&self) -> &[String] {
        &self.banner
    }

    /// `GET …` (pass everything after `GET `, such as `USER anna`): the raw `* ` lines of the answer, each without its last
    /// CRLF, with literals inside as they arrived.
    ///
    /// # Errors
    /// [`Error::Csync`] when the server says NO or BAD.
    pub fn get(&mut self, what: &str) -> Result<Vec<Vec<u8>>> {
        self.command(&format!("GET {what}"))
    }

    /// As [`PrivateServer::get`], with a mailbox or user name added, quoted as needed.
    ///
    /// # Errors
    /// As [`PrivateServer::get`].
    pub fn get_named(&mut self, what: &str, name: &str) -> Result<Vec<Vec<u8>>> {
        self.command(&format!("GET {what} {{{}+}}\r\n{name}", name.len()))
    }

    /// As [`PrivateServer::get_named`], parsed.
    ///
    /// # Errors
    /// As [`PrivateServer::get`], and [`Error::Dlist`].
    pub fn items(&mut self, what: &str, name: &str) -> Result<Vec<Item>> {
        self.get_named(what, name)?.iter().map(|line| Item::parse(line)).collect()
    }

    /// The bytes of a message on the default partition, by GET FETCH; `None` if the server does not have it. A real server
    /// finds the file by the unique id and checks the GUID (hexadecimal).
    pub fn fetch_message(
        &mut self,
        mailbox: &str,
        uniqueid: &str,
        guid: &str,
        uid: u32,
    ) -> Option<Vec<u8>> {
        let asked = self.command(&format!(
            "GET FETCH %(MBOXNAME {{{}+}}\r\n{mailbox} PARTITION default UNIQUEID {uniqueid} GUID {guid} UID {uid})",
            mailbox.len()
        ));
        // `* MESSAGE %{…}CRLF` and the file.
        let line = asked.ok()?.into_iter().next()?;
        let head = line.windows(2).position(|end| end == b"\r\n")?;
        line.get(head + 2..).map(<[u8]>::to_vec)
    }

    /// Any command; returns the `* ` lines of the answer.
    ///
    /// # Errors
    /// [`Error::Csync`] when the server's answer is not OK.
    pub fn command(&mut self, command: &str) -> Result<Vec<Vec<u8>>> {
        self.send(command)?;
        self.answer(command)
    }

    /// Asks the same about many names, ahead of the answers, and passes each name's answer on, in order. A NO or BAD is
    /// that name's answer.
    ///
    /// # Errors
    /// When the connection breaks, or the error of `each`.
    pub fn for_each(
        &mut self,
        what: &str,
        names: &[String],
        mut each: impl FnMut(&str, Result<Vec<Item>>) -> Result<()>,
    ) -> Result<()> {
        // So few that the server's socket buffer holds them while it is busy with a long answer.
        for some in names.chunks(16) {
            let commands: Vec<String> = some
                .iter()
                .map(|name| format!("GET {what} {{{}+}}\r\n{name}", name.len()))
                .collect();
            for command in &commands {
                self.send(command)?;
            }
            for (name, command) in some.iter().zip(&commands) {
                let answer = self.answer(command);
                each(
                    name,
                    answer.and_then(|lines| lines.iter().map(|line| Item::parse(line)).collect()),
                )?;
            }
        }
        Ok(())
    }

    fn send(&mut self, command: &str) -> Result<()> {
        self.output
            .write_all(format!("{command}\r\n").as_bytes())
            .map_err(io("write to", "the private sync_server"))
    }

    fn answer(&mut self, command: &str) -> Result<Vec<Vec<u8>>> {
        let mut lines = Vec::new();
        loop {
            let line = self.read_line(command)?;
            if line.starts_with(b"* ") {
                lines.push(line);
            } else if line.starts_with(b"OK") {
                return Ok(lines);
            } else {
                let answer = String::from_utf8_lossy(&line).into_owned();
                return Err(Error::Csync { command: command.to_owned(), answer });
            }
        }
    }

    /// Reads a line and the literals and files in it.
    fn read_line(&mut self, command: &str) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            let before = line.len();
            self.input
                .read_until(b'\n', &mut line)
                .map_err(io("read from", "the private sync_server"))?;
            if line.len() == before {
                let answer = "the server closed the connection".to_owned();
                return Err(Error::Csync { command: command.to_owned(), answer });
            }
            let Some(end) = line.len().checked_sub(2).filter(|_| line.ends_with(b"\r\n")) else {
                continue;
            };
            let Some(size) = literal_size(line.get(before..end).unwrap_or_default()) else {
                line.truncate(end);
                return Ok(line);
            };
            let wanted = line.len() as u64 + size;
            (&mut self.input)
                .take(size)
                .read_to_end(&mut line)
                .map_err(io("read from", "the private sync_server"))?;
            if line.len() as u64 != wanted {
                let answer = "the server closed the connection within a literal".to_owned();
                return Err(Error::Csync { command: command.to_owned(), answer });
            }
        }
    }
}

/// The size in `{n+}`, `{n}` or `%{partition guid n}` at a line's end.
fn literal_size(line: &[u8]) -> Option<u64> {
    let inside = line.strip_suffix(b"}")?;
    let open = inside.iter().rposition(|byte| *byte == b'{')?;
    let text = std::str::from_utf8(inside.get(open + 1..)?).ok()?;
    let number = match text.split(' ').collect::<Vec<_>>().as_slice() {
        [number] | [_, _, number] => *number,
        _ => return None,
    };
    number.trim_end_matches('+').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_files_have_sizes() {
        assert_eq!(literal_size(b"* X {12+}"), Some(12));
        assert_eq!(literal_size(b"* X %{default abcdef 7}"), Some(7));
        assert_eq!(literal_size(b"* X {a b}"), None);
        assert_eq!(literal_size(b"* X (y)"), None);
    }
}
