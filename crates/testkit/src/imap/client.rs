//! The connection: tags, lines, literals, answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine;

use super::{ImapError, Line};

/// A literal above this size is treated as nonsense.
const LITERAL_LIMIT_BYTES: u64 = 1 << 31;

/// How long one answer may take: a locked mailbox must fail a test, not hang it for ever.
const READ_TIMEOUT: Duration = Duration::from_secs(120);

/// One untagged line: its text (each literal appears in it as `{n}`), and the literals.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Untagged {
    /// The line after `* `, without CRLF.
    pub text: Vec<u8>,
    /// The literals' bytes, in order.
    pub literals: Vec<Vec<u8>>,
}

impl Untagged {
    /// The text, lossily decoded.
    #[must_use]
    pub fn lossy(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned()
    }
}

/// The answer to a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    /// The untagged lines.
    pub untagged: Vec<Untagged>,
    /// The words after the final OK.
    pub text: String,
}

/// An IMAP connection.
#[derive(Debug)]
pub struct Client {
    input: BufReader<TcpStream>,
    output: TcpStream,
    next_tag: u64,
    greeting: String,
}

impl Client {
    /// Connects to a loopback port and reads the greeting.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn connect(port: u16) -> Result<Self, ImapError> {
        let output = TcpStream::connect(("127.0.0.1", port))?;
        output.set_nodelay(true)?;
        output.set_read_timeout(Some(READ_TIMEOUT))?;
        output.set_write_timeout(Some(READ_TIMEOUT))?;
        let input = BufReader::with_capacity(64 * 1024, output.try_clone()?);
        let mut client = Self { input, output, next_tag: 1, greeting: String::new() };
        let line = client.read_line("greeting")?;
        client.greeting = line.lossy();
        Ok(client)
    }

    /// The greeting, after `* `.
    #[must_use]
    pub fn greeting(&self) -> &str {
        &self.greeting
    }

    /// `LOGIN`.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn login(&mut self, user: &str, password: &str) -> Result<(), ImapError> {
        self.run(&Line::new("LOGIN ").string(user).raw(" ").string(password)).map(drop)
    }

    /// `AUTHENTICATE PLAIN` as `admin`, acting as `user` from then on.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn authenticate_as(
        &mut self,
        user: &str,
        admin: &str,
        password: &str,
    ) -> Result<(), ImapError> {
        let secret = format!("{user}\0{admin}\0{password}");
        let encoded = base64::engine::general_purpose::STANDARD.encode(secret);
        self.run(&Line::new("AUTHENTICATE PLAIN ").raw(&encoded)).map(drop)
    }

    /// Sends a command and waits for its answer.
    ///
    /// # Errors
    /// NO, BAD, BYE, or a broken connection.
    pub fn run(&mut self, line: &Line) -> Result<Response, ImapError> {
        let tag = self.send(line)?;
        self.finish(&tag, &line.summary())
    }

    /// Sends a raw command line.
    ///
    /// # Errors
    /// As [`Client::run`].
    pub fn raw(&mut self, text: &str) -> Result<Response, ImapError> {
        self.run(&Line::new(text))
    }

    /// Sends a command without waiting; returns its tag.
    pub(super) fn send(&mut self, line: &Line) -> Result<String, ImapError> {
        let tag = format!("t{}", self.next_tag);
        self.next_tag += 1;
        let mut bytes = Vec::with_capacity(line.0.len() + tag.len() + 3);
        bytes.extend_from_slice(tag.as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(&line.0);
        bytes.extend_from_slice(b"\r\n");
        self.output.write_all(&bytes)?;
        Ok(tag)
    }

    /// Reads up to the tagged answer of the oldest command in flight.
    pub(super) fn finish(&mut self, tag: &str, command: &str) -> Result<Response, ImapError> {
        let mut response = Response::default();
        let mut bye = String::new();
        loop {
            let line = match self.read_line(command) {
                Ok(line) => line,
                Err(ImapError::Bye { command, text }) if text.is_empty() => {
                    return Err(ImapError::Bye { command, text: bye });
                }
                Err(err) => return Err(err),
            };
            if let Some(rest) = line.text.strip_prefix(b"* ") {
                if rest.starts_with(b"BYE") {
                    bye = String::from_utf8_lossy(rest).into_owned();
                }
                response.untagged.push(Untagged { text: rest.to_vec(), literals: line.literals });
                continue;
            }
            let text = line.lossy();
            let words = text.strip_prefix(tag).and_then(|rest| rest.trim_start().split_once(' '));
            let command = command.to_owned();
            return match words {
                Some(("OK", rest)) => {
                    response.text = rest.to_owned();
                    Ok(response)
                }
                Some(("NO", rest)) => Err(ImapError::No { command, text: rest.to_owned() }),
                Some(("BAD", rest)) => Err(ImapError::Bad { command, text: rest.to_owned() }),
                _ => Err(ImapError::Protocol { command, answer: text }),
            };
        }
    }

    /// Reads one line with its literals.
    fn read_line(&mut self, command: &str) -> Result<Untagged, ImapError> {
        let mut line = Untagged::default();
        loop {
            let before = line.text.len();
            self.input.read_until(b'\n', &mut line.text)?;
            if line.text.len() == before {
                return Err(ImapError::Bye { command: command.to_owned(), text: String::new() });
            }
            while matches!(line.text.last(), Some(b'\r' | b'\n')) {
                line.text.pop();
            }
            let Some(size) = literal_size(&line.text) else {
                return Ok(line);
            };
            if size > LITERAL_LIMIT_BYTES {
                return Err(ImapError::Protocol {
                    command: command.to_owned(),
                    answer: line.lossy(),
                });
            }
            let mut literal = Vec::new();
            (&mut self.input).take(size).read_to_end(&mut literal)?;
            line.literals.push(literal);
        }
    }
}

/// The size in a `{n}` or `{n+}` at the end of a line.
fn literal_size(line: &[u8]) -> Option<u64> {
    let inside = line.strip_suffix(b"}")?;
    let open = inside.iter().rposition(|byte| *byte == b'{')?;
    let digits = std::str::from_utf8(inside.get(open + 1..)?).ok()?;
    digits.trim_end_matches('+').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_sizes() {
        assert_eq!(literal_size(b"* 1 FETCH (BODY[] {12}"), Some(12));
        assert_eq!(literal_size(b"x {3+}"), Some(3));
        assert_eq!(literal_size(b"x {a}"), None);
        assert_eq!(literal_size(b"x"), None);
    }
}
