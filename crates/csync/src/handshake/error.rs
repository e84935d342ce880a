//! Why there is no session.

use crate::limits::WireError;

/// Why the handshake failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// Wrong user or password.
    #[error(
        "the replica refused the login of {user}: {text}; check sync_authname and sync_password"
    )]
    LoginRefused {
        /// The user.
        user: String,
        /// The peer's words.
        text: String,
    },
    /// The login is good, but it is not an administrator's.
    #[error(
        "{user} may log in to the replica but not replicate ({text}); add {user} to admins in its imapd.conf"
    )]
    NotAdmin {
        /// The user.
        user: String,
        /// The peer's words.
        text: String,
    },
    /// No mechanism that we know.
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
    /// We require encryption, but the peer has none.
    #[error("TLS is required but the replica does not offer STARTTLS")]
    TlsNotOffered,
    /// Another service, or an imapd that does not replicate.
    #[error("what answers there does not replicate: \"{banner}\"; check sync_host and sync_port")]
    NotReplication {
        /// What it says it is.
        banner: String,
    },
    /// An imapd, but only a sync server is accepted.
    #[error(
        "an IMAP server answers there (\"{banner}\") and sync_try_imap is off; set it, or use the csync port"
    )]
    ImapNotWanted {
        /// What it says it is.
        banner: String,
    },
    /// Compression is required but not available.
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
    /// The answer does not fit the command.
    #[error("the replica gave an unexpected answer to {command}: \"{answer}\"")]
    UnexpectedAnswer {
        /// The command.
        command: &'static str,
        /// The answer, shortened.
        answer: String,
    },
}

impl HandshakeError {
    /// Whether trying again can't help: an admin must change a setting first.
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
