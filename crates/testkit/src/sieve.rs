//! A small blocking ManageSieve client (RFC 5804) for Cyrus' timsieved.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::error::{Error, Result, io};

/// How long one answer may take.
const READ_TIMEOUT: Duration = Duration::from_secs(120);

/// A literal above this size is treated as nonsense.
const LITERAL_LIMIT_BYTES: u64 = 1 << 24;

/// A script that the server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Its name.
    pub name: String,
    /// Whether it is the active one.
    pub active: bool,
}

/// A user's connection to a timsieved.
#[derive(Debug)]
pub struct Client {
    input: BufReader<TcpStream>,
    output: TcpStream,
}

impl Client {
    /// Connects to a loopback port and authenticates as `admin`, acting as `user` from then on. Cyrus makes the user's
    /// `#sieve` mailbox at this moment, and refuses a user that does not exist.
    ///
    /// # Errors
    /// When nobody answers or the login is refused.
    pub fn login(port: u16, user: &str, admin: &str, password: &str) -> Result<Self> {
        let address = format!("127.0.0.1:{port}");
        let output = TcpStream::connect(&address).map_err(io("connect to", &address))?;
        output.set_nodelay(true).map_err(io("set up", &address))?;
        output.set_read_timeout(Some(READ_TIMEOUT)).map_err(io("set a timeout on", &address))?;
        output.set_write_timeout(Some(READ_TIMEOUT)).map_err(io("set a timeout on", &address))?;
        let input = BufReader::new(output.try_clone().map_err(io("clone", &address))?);
        let mut client = Self { input, output };
        client.answer("greeting")?;
        let plain = BASE64.encode(format!("{user}\0{admin}\0{password}"));
        client.command(&format!("AUTHENTICATE \"PLAIN\" \"{plain}\""))?;
        Ok(client)
    }

    /// `PUTSCRIPT`.
    ///
    /// # Errors
    /// [`Error::Refused`] with the server's words, for example for a script that does not compile; or when the connection
    /// breaks.
    pub fn put(&mut self, name: &str, script: &str) -> Result<()> {
        let length = script.len();
        self.command(&format!("PUTSCRIPT \"{name}\" {{{length}+}}\r\n{script}")).map(drop)
    }

    /// `SETACTIVE`; the name `""` leaves none active.
    ///
    /// # Errors
    /// As [`Client::put`].
    pub fn activate(&mut self, name: &str) -> Result<()> {
        self.command(&format!("SETACTIVE \"{name}\"")).map(drop)
    }

    /// `DELETESCRIPT`; the active one is refused.
    ///
    /// # Errors
    /// As [`Client::put`].
    pub fn delete(&mut self, name: &str) -> Result<()> {
        self.command(&format!("DELETESCRIPT \"{name}\"")).map(drop)
    }

    /// `LISTSCRIPTS`.
    ///
    /// # Errors
    /// As [`Client::put`].
    pub fn list(&mut self) -> Result<Vec<Script>> {
        let lines = self.command("LISTSCRIPTS")?;
        let script = |line: &String| {
            let (name, rest) = line.strip_prefix('"')?.split_once('"')?;
            Some(Script { name: name.to_owned(), active: rest.trim() == "ACTIVE" })
        };
        Ok(lines.iter().filter_map(script).collect())
    }

    /// Sends a command; returns the lines before its OK.
    fn command(&mut self, command: &str) -> Result<Vec<String>> {
        self.output
            .write_all(format!("{command}\r\n").as_bytes())
            .map_err(io("write to", "timsieved"))?;
        self.answer(command)
    }

    fn answer(&mut self, command: &str) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let line = self.read_line()?;
            match line.get(..2) {
                Some("OK") => return Ok(lines),
                Some("NO") => {
                    let command = command.lines().next().unwrap_or_default().to_owned();
                    return Err(Error::Refused { service: "sieve", command, answer: line });
                }
                Some("BY") => {
                    return Err(io("read from", "timsieved")(std::io::Error::other(line)));
                }
                _ => lines.push(line),
            }
        }
    }

    /// Reads one line; a literal at its end, and what follows, are in it as they arrived.
    fn read_line(&mut self) -> Result<String> {
        let mut text = Vec::new();
        loop {
            let before = text.len();
            self.input.read_until(b'\n', &mut text).map_err(io("read from", "timsieved"))?;
            if text.len() == before {
                let ended = std::io::ErrorKind::UnexpectedEof.into();
                return Err(io("read from", "timsieved")(ended));
            }
            let line = String::from_utf8_lossy(&text).trim_end().to_owned();
            let size = line
                .strip_suffix('}')
                .and_then(|line| line.rsplit_once('{')?.1.parse::<u64>().ok())
                .filter(|size| *size < LITERAL_LIMIT_BYTES);
            let Some(size) = size else { return Ok(line) };
            (&mut self.input)
                .take(size)
                .read_to_end(&mut text)
                .map_err(io("read from", "timsieved"))?;
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // timsieved 3.6.1 dies of a segmentation fault when a connection just ends; and once it has answered, it has
        // released the user's #sieve.
        let _ = self.command("LOGOUT");
    }
}
