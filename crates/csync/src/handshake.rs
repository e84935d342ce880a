//! The handshake, from the first byte after connecting to the first GET.
//!
//! ```text
//!  csync port                              imapd
//!  * SASL PLAIN LOGIN                      * OK [CAPABILITY …] host Cyrus IMAP … server ready
//!  * STARTTLS                              (C01 CAPABILITY, if the greeting names none)
//!  * COMPRESS DEFLATE                      (S01 STARTTLS, TLS, CAPABILITY again)
//!  * SIEVE-MAILBOX                         A01 AUTHENTICATE PLAIN AGN5…    or LOGIN
//!  * OK host Cyrus sync server 3.6.1       A01 OK [CAPABILITY … X-REPLICATION …]
//!  (STARTTLS, OK, TLS, the banner again)   E01 SYNCAPPLY CAPABILITIES (SIEVE-MAILBOX)
//!  AUTHENTICATE PLAIN AGN5…                * ENABLED (SIEVE-MAILBOX)
//!  OK Success                              E01 OK success
//!  APPLY CAPABILITIES (SIEVE-MAILBOX)      F01 SYNCAPPLY FORCE %()
//!  APPLY FORCE %()                         F01 OK success
//!  COMPRESS DEFLATE
//!  * ENABLED (SIEVE-MAILBOX)
//!  OK success
//!  OK success
//!  OK DEFLATE active, then deflate both ways
//! ```
//! The banner shows which of the two it is, so one connection is enough; Cyrus' client makes a second one. Neither client
//! compresses over IMAP; `enable.rs` says why.
//!
//! Source: `imap/sync_server.c`, `imap/imapd.c`, `imap/sync_support.c:sync_connect`,
//! `imap/sync_client.c` (FORCE) of cyrus-imapd 3.6.1.

mod banner;
mod enable;
mod error;
mod options;
mod spoken;
mod version;

use std::collections::VecDeque;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Buf, BytesMut};

use crate::decode::Framing;
use crate::limits::WireError;
use crate::status::{Status, split_word};
use crate::value::shorten;
use crate::write::{Literals, put_string};

use banner::Offer;
pub use error::HandshakeError;
pub use options::{Capabilities, HandshakeOptions, Session, TlsWish};
pub use spoken::Spoken;
pub use version::CyrusVersion;

/// No line of the dialogue is longer than this; imapd's capability line has about 1,000 bytes.
const LINE_BYTES: usize = 64 * 1024;

/// No banner has more lines than this; Cyrus' has five.
const BANNER_LINES: usize = 64;

/// What the caller must do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandshakeStep {
    /// Read more into the buffer, then call again.
    NeedMore,
    /// Send these bytes, then call again.
    Send(Spoken),
    /// Wrap both directions in raw deflate, then call again. The rest of the buffer is compressed already.
    StartCompression,
    /// Do the TLS handshake, then call again. The buffer is empty.
    StartTls,
    /// The login has succeeded and the rest of the handshake has been sent: commands may follow now. This session is what
    /// we expect. Call again with the received bytes until [`HandshakeStep::Ready`] brings the actual one; the commands'
    /// answers come after that. With a Unix socket or an imapd this step never occurs.
    Early(Session),
    /// The connection is ready for commands. The rest of the buffer belongs to the decoder.
    Ready(Session),
}

/// The handshake. Call [`handle`](Handshake::handle) with the received bytes until it returns [`HandshakeStep::Ready`] or
/// fails; it never waits and never reads a clock.
#[derive(Debug)]
pub struct Handshake {
    options: HandshakeOptions,
    framing: Framing,
    state: State,
    /// The answers still to come after the login.
    to_come: VecDeque<State>,
    /// What APPLY CAPABILITIES asks for.
    asked: Vec<&'static str>,
    /// The next call returns [`HandshakeStep::Early`].
    early: bool,
    offer: Offer,
    session: Session,
    scanned: usize,
    lines: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Banner,
    Capability,
    StartTls,
    TlsDone,
    Login,
    LoginContinuation,
    CapabilityAfterLogin,
    Enable,
    Force,
    Compress,
    Compressed,
    Ready,
    Failed,
}

impl Handshake {
    /// A handshake at its beginning.
    pub fn new(options: HandshakeOptions) -> Handshake {
        Handshake {
            options,
            framing: Framing::Csync,
            state: State::Banner,
            to_come: VecDeque::new(),
            asked: Vec::new(),
            early: false,
            offer: Offer::default(),
            session: Session::default(),
            scanned: 0,
            lines: 0,
        }
    }

    /// Which form of the protocol the peer speaks: csync, until the banner shows that it is an imapd.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Takes the bytes received so far and returns what to do next. It consumes whole lines of `src`.
    ///
    /// # Errors
    /// When there will be no session; see [`HandshakeError::is_fatal`].
    pub fn handle(&mut self, src: &mut BytesMut) -> Result<HandshakeStep, HandshakeError> {
        let step = self.step(src);
        if step.is_err() {
            self.state = State::Failed;
        }
        step
    }

    fn step(&mut self, src: &mut BytesMut) -> Result<HandshakeStep, HandshakeError> {
        if std::mem::take(&mut self.early) {
            return Ok(HandshakeStep::Early(self.expected()));
        }
        match self.state {
            State::TlsDone => return self.after_tls(),
            State::Compressed => return Ok(self.ready()),
            State::Ready => return Ok(HandshakeStep::Ready(self.session.clone())),
            State::Failed => return Err(WireError::AlreadyFailed.into()),
            _ => {}
        }
        loop {
            let Some(line) = self.line(src)? else {
                return Ok(HandshakeStep::NeedMore);
            };
            if let Some(step) = self.on_line(&line, src)? {
                return Ok(step);
            }
        }
    }

    /// The next line without its end. No byte is examined twice.
    fn line(&mut self, src: &mut BytesMut) -> Result<Option<Vec<u8>>, HandshakeError> {
        let end =
            src.iter().skip(self.scanned).position(|b| *b == b'\n').map(|at| at + self.scanned);
        if end.unwrap_or(src.len()) > LINE_BYTES {
            return Err(WireError::LineTooLong { limit: LINE_BYTES }.into());
        }
        let Some(end) = end else {
            self.scanned = src.len();
            return Ok(None);
        };
        self.scanned = 0;
        let line = src.split_to(end);
        src.advance(1);
        Ok(Some(line.strip_suffix(b"\r").unwrap_or(&line).to_vec()))
    }

    fn on_line(
        &mut self,
        line: &[u8],
        src: &BytesMut,
    ) -> Result<Option<HandshakeStep>, HandshakeError> {
        if let Some(text) = banner::bye(line) {
            return Err(HandshakeError::Bye { text });
        }
        if self.state == State::Banner {
            return self.on_banner(line);
        }
        if let Some(text) = line.strip_prefix(b"* ") {
            self.on_untagged(text);
            return Ok(None);
        }
        if self.state == State::LoginContinuation && line.starts_with(b"+") {
            self.state = State::Login;
            return Ok(Some(HandshakeStep::Send(self.plain_behind(Vec::new()))));
        }
        let status = self.status(line).ok_or_else(|| self.unexpected(line))?;
        match self.state {
            State::Capability => self.on_capability(&status),
            State::StartTls => self.on_starttls(&status, src),
            State::Login | State::LoginContinuation => self.on_login(&status),
            State::CapabilityAfterLogin => self.on_capability(&status),
            State::Compress => self.on_compress(&status),
            State::Enable => self.on_enabled(&status),
            State::Force => self.on_forced(&status),
            _ => Err(self.unexpected(line)),
        }
    }

    fn on_banner(&mut self, line: &[u8]) -> Result<Option<HandshakeStep>, HandshakeError> {
        self.lines += 1;
        let text = line.strip_prefix(b"* ").filter(|_| self.lines <= BANNER_LINES);
        let Some(text) = text else {
            return Err(HandshakeError::NotReplication { banner: shorten(line) });
        };
        let (word, rest) = split_word(text);
        if word == b"OK" || word == b"PREAUTH" {
            let rest = String::from_utf8_lossy(rest).into_owned();
            // Only a sync server sends lines before its OK. On a Unix socket it sends none, but its OK says what it is.
            let csync = self.offer.seen || rest.contains("Cyrus sync server");
            self.framing = if csync { Framing::Csync } else { Framing::Imap };
            self.session.framing = self.framing;
            self.session.capabilities.software = banner::software(&rest);
            return if csync {
                self.csync_ready()
            } else {
                self.imap_ready(&rest, word == b"PREAUTH")
            };
        }
        self.offer.csync_line(text);
        Ok(None)
    }

    fn on_untagged(&mut self, text: &[u8]) {
        let (word, rest) = split_word(text);
        match word {
            b"CAPABILITY" => self.offer.imap_words(&String::from_utf8_lossy(rest)),
            b"ENABLED" if self.state == State::Enable => {
                let names = String::from_utf8_lossy(rest);
                let names = names.trim_matches(|c| matches!(c, '(' | ')' | ' '));
                self.session.capabilities.enabled =
                    names.split_whitespace().map(str::to_owned).collect();
                self.session.capabilities.sieve_mailbox_enabled =
                    names.split_whitespace().any(|name| name.eq_ignore_ascii_case("SIEVE-MAILBOX"));
            }
            // `* OK [ALERT] …` and the like.
            _ => {}
        }
    }

    fn csync_ready(&mut self) -> Result<Option<HandshakeStep>, HandshakeError> {
        self.note_offer();
        if let Some(step) = self.wish_tls()? {
            return Ok(Some(step));
        }
        // A peer on a Unix socket is an administrator already, and nothing is offered to it.
        if self.options.already_authenticated && self.offer.mechanisms.is_empty() {
            return Ok(Some(self.enable()?));
        }
        if !self.offer.has_plain() {
            return Err(self.no_mechanism());
        }
        self.state = State::Login;
        Ok(Some(HandshakeStep::Send(self.plain_behind(b"AUTHENTICATE PLAIN ".to_vec()))))
    }

    fn imap_ready(
        &mut self,
        greeting: &str,
        preauth: bool,
    ) -> Result<Option<HandshakeStep>, HandshakeError> {
        if !self.options.try_imap {
            let banner = self.session.capabilities.software.clone();
            return Err(HandshakeError::ImapNotWanted { banner });
        }
        if preauth {
            return Ok(Some(self.ask_capability(State::CapabilityAfterLogin)));
        }
        match banner::capability_code(greeting) {
            Some(words) => {
                self.offer.imap_words(words);
                self.imap_login()
            }
            None => Ok(Some(self.ask_capability(State::Capability))),
        }
    }

    fn ask_capability(&mut self, state: State) -> HandshakeStep {
        self.state = state;
        self.offer = Offer::default();
        HandshakeStep::Send(Spoken::open("C01 CAPABILITY\r\n"))
    }

    fn on_capability(&mut self, status: &Status) -> Result<Option<HandshakeStep>, HandshakeError> {
        if !status.is_ok() {
            return Err(self.refused("CAPABILITY", status));
        }
        if self.state == State::Capability { self.imap_login() } else { self.imap_logged_in() }
    }

    fn imap_login(&mut self) -> Result<Option<HandshakeStep>, HandshakeError> {
        if let Some(step) = self.wish_tls()? {
            return Ok(Some(step));
        }
        let (user, password) = (&self.options.authname, &self.options.password);
        let spoken = if self.offer.has_plain() && self.offer.initial_response {
            self.state = State::Login;
            self.plain_behind(b"A01 AUTHENTICATE PLAIN ".to_vec())
        } else if self.offer.has_plain() {
            self.state = State::LoginContinuation;
            Spoken::open("A01 AUTHENTICATE PLAIN\r\n")
        } else if !self.offer.login_disabled
            && self.offer.can_send(user)
            && self.offer.can_send(password)
        {
            let mut login = b"A01 LOGIN ".to_vec();
            put_string(&mut login, user.as_bytes(), Literals::Client);
            login.push(b' ');
            let spoken = Spoken::with_secret(login, |out| {
                put_string(out, password.as_bytes(), Literals::Client);
            });
            self.state = State::Login;
            spoken
        } else {
            return Err(self.no_mechanism());
        };
        Ok(Some(HandshakeStep::Send(spoken)))
    }

    /// STARTTLS, if it is wanted and not done; an error if it is required and not available.
    fn wish_tls(&mut self) -> Result<Option<HandshakeStep>, HandshakeError> {
        let wanted = match self.options.tls {
            TlsWish::Never => false,
            TlsWish::IfOffered => self.offer.starttls,
            TlsWish::Required => true,
        };
        if self.session.capabilities.tls_active || !wanted {
            return Ok(None);
        }
        if !self.offer.starttls {
            return Err(HandshakeError::TlsNotOffered);
        }
        self.state = State::StartTls;
        let command: &[u8] = match self.framing {
            Framing::Csync => b"STARTTLS\r\n",
            Framing::Imap => b"S01 STARTTLS\r\n",
        };
        Ok(Some(HandshakeStep::Send(Spoken::open(command))))
    }

    fn on_starttls(
        &mut self,
        status: &Status,
        src: &BytesMut,
    ) -> Result<Option<HandshakeStep>, HandshakeError> {
        if !status.is_ok() {
            return Err(self.refused("STARTTLS", status));
        }
        // The server waits for our part of TLS: bytes in clear behind its OK come from an attacker.
        if !src.is_empty() {
            return Err(HandshakeError::UnexpectedAnswer {
                command: "STARTTLS",
                answer: shorten(src),
            });
        }
        self.state = State::TlsDone;
        Ok(Some(HandshakeStep::StartTls))
    }

    fn after_tls(&mut self) -> Result<HandshakeStep, HandshakeError> {
        self.session.capabilities.tls_active = true;
        // Nothing that was received without TLS counts any more.
        self.offer = Offer::default();
        if self.framing == Framing::Imap {
            return Ok(self.ask_capability(State::Capability));
        }
        self.state = State::Banner;
        self.lines = 0;
        Ok(HandshakeStep::NeedMore)
    }

    fn on_login(&mut self, status: &Status) -> Result<Option<HandshakeStep>, HandshakeError> {
        if !status.is_ok() {
            let user = self.options.authname.clone();
            return Err(HandshakeError::LoginRefused { user, text: status.text.clone() });
        }
        if self.framing == Framing::Csync {
            return Ok(Some(self.enable()?));
        }
        match banner::capability_code(&status.text) {
            Some(words) => {
                self.offer = Offer::default();
                self.offer.imap_words(words);
                self.imap_logged_in()
            }
            None => Ok(Some(self.ask_capability(State::CapabilityAfterLogin))),
        }
    }

    fn imap_logged_in(&mut self) -> Result<Option<HandshakeStep>, HandshakeError> {
        if !self.offer.replication {
            let banner = self.session.capabilities.software.clone();
            return Err(HandshakeError::NotReplication { banner });
        }
        self.note_offer();
        Ok(Some(self.enable()?))
    }

    /// Keeps the offers for the session.
    fn note_offer(&mut self) {
        let capabilities = &mut self.session.capabilities;
        capabilities.sieve_mailbox = self.offer.sieve_mailbox;
        capabilities.replication_archive = self.offer.archive;
    }

    /// The status in a line, with the tag of the command that was sent.
    fn status(&self, line: &[u8]) -> Option<Status> {
        if self.framing == Framing::Csync {
            return Status::decode(None, line);
        }
        let tag: &[u8] = match self.state {
            State::Capability | State::CapabilityAfterLogin => b"C01",
            State::StartTls => b"S01",
            State::Login | State::LoginContinuation => b"A01",
            State::Enable => b"E01",
            State::Force => b"F01",
            _ => return None,
        };
        let (word, rest) = split_word(line);
        if word == tag { Status::decode(Some(tag), rest) } else { None }
    }

    /// The answer to SASL PLAIN (RFC 4616), behind the prefix of the line.
    fn plain_behind(&self, before: Vec<u8>) -> Spoken {
        let plain = format!("\0{}\0{}", self.options.authname, self.options.password);
        Spoken::with_secret(before, |out| out.extend_from_slice(BASE64.encode(plain).as_bytes()))
    }

    fn no_mechanism(&self) -> HandshakeError {
        // A replica that allows no login in clear offers no mechanism, and without a certificate not even TLS.
        let nothing = match self.framing {
            Framing::Csync => self.offer.mechanisms.is_empty(),
            Framing::Imap => self.offer.login_disabled,
        };
        if (self.offer.starttls || nothing) && !self.session.capabilities.tls_active {
            return HandshakeError::TlsRequired;
        }
        HandshakeError::NoUsableMechanism { offered: self.offer.mechanisms.join(" ") }
    }

    fn refused(&self, command: &'static str, status: &Status) -> HandshakeError {
        HandshakeError::UnexpectedAnswer { command, answer: status.text.clone() }
    }

    fn unexpected(&self, line: &[u8]) -> HandshakeError {
        let command = match self.state {
            State::Capability | State::CapabilityAfterLogin => "CAPABILITY",
            State::StartTls => "STARTTLS",
            State::Login | State::LoginContinuation => "AUTHENTICATE",
            State::Compress => "COMPRESS",
            State::Enable => "CAPABILITIES",
            State::Force => "FORCE",
            _ => "connecting",
        };
        HandshakeError::UnexpectedAnswer { command, answer: shorten(line) }
    }
}

#[cfg(test)]
mod tests;
