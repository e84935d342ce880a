//! A small blocking LMTP client (RFC 2033) for Cyrus' lmtpd on its Unix socket, which trusts every client (`-a`).
//!
//! A recipient is a user's name as it is (`anna.x002` if `/` separates), or `user+folder` for a folder below the INBOX. A
//! message to a folder goes into the INBOX unless `anyone` may post there (right `p`). No virtual domains are needed.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result, io};

/// How long one answer may take.
const READ_TIMEOUT: Duration = Duration::from_secs(120);

/// A connection to an lmtpd.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    input: BufReader<UnixStream>,
    output: UnixStream,
}

impl Client {
    /// Connects and says LHLO.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn connect(path: &Path) -> Result<Self> {
        let output = UnixStream::connect(path).map_err(io("connect to", path))?;
        output.set_read_timeout(Some(READ_TIMEOUT)).map_err(io("set a timeout on", path))?;
        output.set_write_timeout(Some(READ_TIMEOUT)).map_err(io("set a timeout on", path))?;
        let input = BufReader::new(output.try_clone().map_err(io("clone", path))?);
        let mut client = Self { path: path.to_path_buf(), input, output };
        client.wants('2', "greeting")?;
        client.command("LHLO testkit.example", '2')?;
        Ok(client)
    }

    /// Delivers one message to several recipients; returns how many of them got it.
    ///
    /// # Errors
    /// [`Error::Refused`] when no recipient got it, with the last one's answer; or when the connection breaks.
    pub fn deliver(&mut self, recipients: &[&str], message: &[u8]) -> Result<usize> {
        self.command("MAIL FROM:<sender@testkit.example>", '2')?;
        let mut accepted = 0;
        let mut refusal = None;
        for recipient in recipients {
            match self.command(&format!("RCPT TO:<{recipient}>"), '2') {
                Ok(()) => accepted += 1,
                Err(err) if err.is_refusal() => refusal = Some(err),
                Err(err) => return Err(err),
            }
        }
        if accepted == 0 {
            self.command("RSET", '2')?;
            return Err(refusal.unwrap_or_else(|| refused("DATA", "no recipients".to_owned())));
        }
        self.command("DATA", '3')?;
        self.send(&dotted(message))?;
        let mut delivered = 0;
        for _ in 0..accepted {
            match self.wants('2', "message") {
                Ok(()) => delivered += 1,
                Err(err) if err.is_refusal() => refusal = Some(err),
                Err(err) => return Err(err),
            }
        }
        match refusal {
            Some(refusal) if delivered == 0 => Err(refusal),
            _ => Ok(delivered),
        }
    }

    fn command(&mut self, command: &str, wanted: char) -> Result<()> {
        self.send(format!("{command}\r\n").as_bytes())?;
        self.wants(wanted, command)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.output.write_all(bytes).map_err(io("write to", &self.path))
    }

    /// Reads one answer, of one or several lines; its code must begin with `wanted`.
    fn wants(&mut self, wanted: char, command: &str) -> Result<()> {
        loop {
            let mut line = String::new();
            self.input.read_line(&mut line).map_err(io("read from", &self.path))?;
            if line.is_empty() {
                let ended = std::io::ErrorKind::UnexpectedEof.into();
                return Err(io("read from", &self.path)(ended));
            }
            if line.as_bytes().get(3) == Some(&b'-') {
                continue;
            }
            // 421 comes before the connection is closed.
            if line.starts_with("421") {
                let ended = std::io::Error::other(line.trim_end().to_owned());
                return Err(io("read from", &self.path)(ended));
            }
            if line.starts_with(wanted) {
                return Ok(());
            }
            return Err(refused(command, line.trim_end().to_owned()));
        }
    }
}

fn refused(command: &str, answer: String) -> Error {
    Error::Refused { service: "lmtp", command: command.to_owned(), answer }
}

/// The message as it follows DATA: leading dots doubled, and a line with a dot at the end.
fn dotted(message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(message.len() + 64);
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if line.first() == Some(&b'.') {
            bytes.push(b'.');
        }
        bytes.extend_from_slice(line);
    }
    if !bytes.ends_with(b"\r\n") {
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b".\r\n");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_doubled() {
        assert_eq!(dotted(b"a\r\n.b\r\n..\r\nc."), b"a\r\n..b\r\n...\r\nc.\r\n.\r\n");
        assert_eq!(dotted(b""), b"\r\n.\r\n");
    }
}
