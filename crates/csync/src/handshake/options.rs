//! The options of a handshake, and its result.

use std::fmt;

use crate::decode::Framing;

use super::CyrusVersion;

/// Whether to ask for TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsWish {
    /// Never: loopback, Unix sockets, and as long as the transport has no TLS.
    #[default]
    Never,
    /// If the peer offers it.
    IfOffered,
    /// Required.
    Required,
}

/// The options of a handshake.
#[derive(Clone, PartialEq, Eq)]
pub struct HandshakeOptions {
    /// The user to log in as (`sync_authname`): one of the replica's admins.
    pub authname: String,
    /// The password (`sync_password`).
    pub password: String,
    /// The realm (`sync_realm`). PLAIN and LOGIN do not use it; it is here for other mechanisms.
    pub realm: Option<String>,
    /// Whether an imapd is accepted (`sync_try_imap`).
    pub try_imap: bool,
    /// Compress if it is offered.
    pub want_compress: bool,
    /// Fail if it is not (-z).
    pub require_compress: bool,
    /// Accept questions as soon as the login is through, without compression: see
    /// [`HandshakeStep::Early`](super::HandshakeStep::Early). Not together with `require_compress`.
    pub early: bool,
    /// Whether to ask for TLS.
    pub tls: TlsWish,
    /// A Unix socket's peer counts as logged in; then the banner offers no mechanisms.
    pub already_authenticated: bool,
    /// Switch on SIEVE-MAILBOX if it is offered.
    pub want_sieve_mailbox: bool,
    /// Switch on REPLICATION-ARCHIVE if it is offered (-a).
    pub want_archive: bool,
    /// Switch on FORCE (-O) if the peer knows it, from 3.6 on. It outlives the connection in the server's process.
    pub force: bool,
}

impl Default for HandshakeOptions {
    fn default() -> Self {
        HandshakeOptions {
            authname: String::new(),
            password: String::new(),
            realm: None,
            try_imap: true,
            want_compress: false,
            require_compress: false,
            early: false,
            tls: TlsWish::Never,
            already_authenticated: false,
            want_sieve_mailbox: true,
            want_archive: false,
            force: false,
        }
    }
}

/// Without the password: options may be logged.
impl fmt::Debug for HandshakeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandshakeOptions")
            .field("authname", &self.authname)
            .field("realm", &self.realm)
            .field("try_imap", &self.try_imap)
            .field("want_compress", &self.want_compress)
            .field("require_compress", &self.require_compress)
            .field("early", &self.early)
            .field("tls", &self.tls)
            .field("already_authenticated", &self.already_authenticated)
            .field("want_sieve_mailbox", &self.want_sieve_mailbox)
            .field("want_archive", &self.want_archive)
            .field("force", &self.force)
            .finish_non_exhaustive()
    }
}

/// A connection that is ready for commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Which form of the protocol it speaks.
    pub framing: Framing,
    /// What the peer can do and what is switched on.
    pub capabilities: Capabilities,
    /// Whether FORCE was requested and granted; replicas before 3.6 do not know it, and are not asked.
    pub force_active: bool,
}

impl Session {
    /// The peer's version of Cyrus, if it reports one.
    pub fn version(&self) -> Option<CyrusVersion> {
        CyrusVersion::of(&self.capabilities.software)
    }
}

impl Default for Session {
    fn default() -> Self {
        Session {
            framing: Framing::Csync,
            capabilities: Capabilities::default(),
            force_active: false,
        }
    }
}

impl Capabilities {
    /// Whether APPLY CAPABILITIES switched this on.
    pub fn has_enabled(&self, name: &str) -> bool {
        self.enabled.iter().any(|enabled| enabled.eq_ignore_ascii_case(name))
    }
}

/// What the peer can do and what is switched on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// The peer can take Sieve scripts as a mailbox (offered, not switched on).
    pub sieve_mailbox: bool,
    /// Sieve scripts go as a mailbox.
    pub sieve_mailbox_enabled: bool,
    /// Both directions are compressed.
    pub compress_active: bool,
    /// They are not, but COMPRESS DEFLATE may be sent at any time when no answer is due.
    pub compress_later: bool,
    /// The connection is encrypted.
    pub tls_active: bool,
    /// The peer can place messages on archive partitions (offered, not switched on).
    pub replication_archive: bool,
    /// Everything that APPLY CAPABILITIES switched on.
    pub enabled: Vec<String>,
    /// Host, name and version from the banner: `host Cyrus sync server 3.6.1`.
    pub software: String,
}
