//! The last part of the handshake: compression, SIEVE-MAILBOX and FORCE, if the login may use them.
//!
//! Source: `imap/sync_server.c:cmd_compress`, `imap/imapd.c:cmd_compress`,
//! `imap/sync_support.c:sync_do_enable` and `sync_apply_force` of cyrus-imapd 3.6.1.

use crate::command;
use crate::decode::Framing;
use crate::status::{Code, Status, StatusKind};

use super::banner::Offer;
use super::{CyrusVersion, Handshake, HandshakeError, HandshakeStep, Session, Spoken, State};

impl Handshake {
    /// CAPABILITIES, FORCE and COMPRESS, each if wanted, are sent together: their answers come in order, and compression
    /// starts after the last of them. Nothing may follow COMPRESS before its answer: the server treats what it has read
    /// already as uncompressed (`lib/prot.c:prot_setcompress`). Nothing may follow AUTHENTICATE either: the server forgets
    /// what it has read (`prot_setsasl`).
    ///
    /// Early, compression is left out: questions may then be sent directly behind the first two.
    ///
    /// Over IMAP nothing is ever compressed: before each command imapd waits for its socket to become readable
    /// (`imap/proxy.c:proxy_check_input`, `lib/prot.c:prot_select` of 3.6.1), even if it has read the next command already
    /// and only has to inflate it. With commands sent ahead of their answers it soon waits for ever.
    pub(super) fn enable(&mut self) -> Result<HandshakeStep, HandshakeError> {
        let wanted = self.options.want_compress || self.options.require_compress;
        let compress = wanted && self.offer.compress && self.framing == Framing::Csync;
        if self.options.require_compress && !compress {
            let text = match self.framing {
                Framing::Csync => "it is not offered",
                Framing::Imap => "imapd can't do it reliably; use the csync port of a sync_server",
            };
            return Err(HandshakeError::CompressionRefused { text: text.to_owned() });
        }
        let mut out = Vec::new();
        self.to_come.clear();
        self.asked = self.wanted_capabilities();
        if !self.asked.is_empty() {
            self.to_come.push_back(State::Enable);
            self.prefix(&mut out, b"E01 SYNC");
            out.extend(command::capabilities(self.asked.iter().copied()).bytes);
        }
        if self.options.force && self.knows_force() {
            self.to_come.push_back(State::Force);
            self.prefix(&mut out, b"F01 SYNC");
            out.extend(command::force().bytes);
        }
        let csync = self.framing == Framing::Csync;
        let early = self.options.early && csync && !self.options.already_authenticated;
        self.early = early && !self.to_come.is_empty();
        self.session.capabilities.compress_later = compress && early;
        if compress && !early {
            self.to_come.push_back(State::Compress);
            out.extend(command::compress().bytes);
        }
        let next = self.next();
        Ok(if out.is_empty() {
            next.unwrap_or(HandshakeStep::NeedMore)
        } else {
            HandshakeStep::Send(Spoken::open(out))
        })
    }

    /// The wanted ones of the offered capabilities, in the order of the C client. To an administrator on a Unix socket nothing is
    /// offered, but 3.6 knows SIEVE-MAILBOX, and ignores what it does not know.
    fn wanted_capabilities(&self) -> Vec<&'static str> {
        let unseen = self.options.already_authenticated && self.knows_force();
        let Offer { sieve_mailbox, archive, unmailbox_id, .. } = self.offer;
        let wanted = [
            (self.options.want_sieve_mailbox && (sieve_mailbox || unseen), "SIEVE-MAILBOX"),
            (self.options.want_archive && (archive || unseen), "REPLICATION-ARCHIVE"),
            (unmailbox_id, "UNMAILBOX-ID"),
        ];
        wanted.iter().filter(|(wanted, _)| *wanted).map(|(_, name)| *name).collect()
    }

    /// Whether the peer knows FORCE and CAPABILITIES, which both came with 3.6; a peer of unknown version is asked.
    fn knows_force(&self) -> bool {
        self.offer.sieve_mailbox
            || self.session.version().is_none_or(|version| version >= CyrusVersion::new(3, 6))
    }

    /// Moves on to the next awaited answer; ready when there is none.
    fn next(&mut self) -> Option<HandshakeStep> {
        match self.to_come.pop_front() {
            Some(state) => {
                self.state = state;
                None
            }
            None => Some(self.ready()),
        }
    }

    pub(super) fn on_compress(
        &mut self,
        status: &Status,
    ) -> Result<Option<HandshakeStep>, HandshakeError> {
        if status.is_ok() {
            self.session.capabilities.compress_active = true;
            self.state = State::Compressed;
            return Ok(Some(HandshakeStep::StartCompression));
        }
        if let Some(error) = self.not_admin(status) {
            return Err(error);
        }
        if self.options.require_compress {
            return Err(HandshakeError::CompressionRefused { text: status.text.clone() });
        }
        Ok(self.next())
    }

    /// The session if the peer does what it offered.
    pub(super) fn expected(&self) -> Session {
        let mut session = self.session.clone();
        let to_come = |state| self.state == state || self.to_come.contains(&state);
        if to_come(State::Enable) {
            session.capabilities.enabled = self.asked.iter().map(|name| (*name).into()).collect();
            session.capabilities.sieve_mailbox_enabled = self.asked.contains(&"SIEVE-MAILBOX");
        }
        session.force_active = to_come(State::Force);
        session
    }

    pub(super) fn prefix(&self, out: &mut Vec<u8>, imap: &[u8]) {
        if self.framing == Framing::Imap {
            out.extend_from_slice(imap);
        }
    }

    pub(super) fn on_enabled(
        &mut self,
        status: &Status,
    ) -> Result<Option<HandshakeStep>, HandshakeError> {
        // A NO or BAD comes from an old server; without Sieve mailboxes everything works as before.
        if let Some(error) = self.not_admin(status) {
            return Err(error);
        }
        Ok(self.next())
    }

    pub(super) fn on_forced(
        &mut self,
        status: &Status,
    ) -> Result<Option<HandshakeStep>, HandshakeError> {
        if let Some(error) = self.not_admin(status) {
            return Err(error);
        }
        self.session.force_active = status.is_ok();
        Ok(self.next())
    }

    pub(super) fn ready(&mut self) -> HandshakeStep {
        self.state = State::Ready;
        HandshakeStep::Ready(self.session.clone())
    }

    /// A user that may log in but is not one of `admins` gets `NO Permission denied` for every command from a sync server,
    /// and `BAD Unrecognized command` for SYNC… from imapd.
    pub(super) fn not_admin(&self, status: &Status) -> Option<HandshakeError> {
        let denied = match (self.framing, status.kind) {
            (Framing::Csync, StatusKind::No) => status.text.starts_with("Permission denied"),
            (Framing::Imap, StatusKind::Bad) => self.state != State::Compress,
            (Framing::Imap, StatusKind::No) => status.text.starts_with("only administrators"),
            _ => false,
        };
        let other_code = matches!(&status.code, Some(code) if *code != Code::ProtocolError);
        let user = self.options.authname.clone();
        (denied && !other_code)
            .then(|| HandshakeError::NotAdmin { user, text: status.text.clone() })
    }
}
