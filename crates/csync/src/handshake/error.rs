//! Why there is no session.

use crate::limits::WireError;

/// Why a connection did not become a session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// Wrong user or password.
    #[error(
        "the replica refused the login of {user}: {text}; check sync_authname and sync_password"
    )]
    LoginRefused {
        /// Who.
        user: String,
        /// The peer's words.
        text: String,
    },
    /// The login is good, but not an administrator's.
    #[error(
        "{user} may log in to the replica but not replicate ({text}); add {user} to admins in its imapd.conf"
    )]
    NotAdmin {
        /// Who.
        user: String,
        /// The peer's words.
        text: String,
    },
    /// Nothing that we can do.
    #[error(
        "the replica offers no login mechanism that can be used here (it offers: \"{offered}\"); PLAIN is needed"
    )]
    NoUsableMechanism {
        /// What it offers.
        offered: String,
    },
    /// The peer wants encryption before a password.
    #[error(
        "the replica lets nobody log in without TLS, which this program can't do yet; set SERVICE_allowplaintext: yes in its imapd.conf (csync_allowplaintext where cyrus.conf calls the service csync), and go to it through a tunnel, such as ssh -L, or over a network that you trust"
    )]
    TlsRequired,
    /// We want encryption, the peer has none.
    #[error("TLS is required but the replica does not offer STARTTLS")]
    TlsNotOffered,
    /// Somebody else answers there, or an imapd that does not replicate.
    #[error("what answers there does not replicate: \"{banner}\"; check sync_host and sync_port")]
    NotReplication {
        /// What it says it is.
        banner: String,
    },
    /// An imapd, where only a sync server is wanted.
    #[error(
        "an IMAP server answers there (\"{banner}\") and sync_try_imap is off; set it, or use the csync port"
    )]
    ImapNotWanted {
        /// What it says it is.
        banner: String,
    },
    /// Compression is required and cannot be had.
    #[error("compression is required but the replica does not do it: {text}")]
    CompressionRefused {
        /// The peer's words, or ours.
        text: String,
    },
    /// The peer ended the connection.
    #[error("the replica ended the connection: {text}")]
    Bye {
        /// Its words.
        text: String,
    },
    /// Malformed bytes.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Something that does not answer what was said.
    #[error("the replica gave an unexpected answer to {command}: \"{answer}\"")]
    UnexpectedAnswer {
        /// What was said.
        command: &'static str,
        /// What came back, shortened.
        answer: String,
    },
}

impl HandshakeError {
    /// Whether trying again cannot help: somebody must change a setting first.
    pub fn is_fatal(&self) -> bool {
        match self {
            HandshakeError::LoginRefused { .. }
            | HandshakeError::NotAdmin { .. }
            | HandshakeError::NoUsableMechanism { .. }
            | HandshakeError::TlsRequired
            | HandshakeError::TlsNotOffered
            | HandshakeError::NotReplication { .. }
            | HandshakeError::ImapNotWanted { .. }
            | HandshakeError::CompressionRefused { .. } => true,
            HandshakeError::Bye { .. }
            | HandshakeError::Wire(_)
            | HandshakeError::UnexpectedAnswer { .. } => false,
        }
    }
}
