//! What the client sends in the handshake, and which part of it is secret.

use std::fmt;
use std::ops::Range;

/// Bytes to be sent, with the place of the password in them.
#[derive(Clone, PartialEq, Eq)]
pub struct Spoken {
    bytes: Vec<u8>,
    secret: Range<usize>,
}

impl Spoken {
    /// Nothing in it is secret.
    pub(super) fn open(bytes: impl Into<Vec<u8>>) -> Spoken {
        Spoken { bytes: bytes.into(), secret: 0..0 }
    }

    /// The bytes that `write` adds to `before` are secret; CRLF follows them.
    pub(super) fn with_secret(before: Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Spoken {
        let mut bytes = before;
        let start = bytes.len();
        write(&mut bytes);
        let secret = start..bytes.len();
        bytes.extend_from_slice(b"\r\n");
        Spoken { bytes, secret }
    }

    /// The bytes for the peer.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The text for a log or a trace: `…` replaces the secret.
    pub fn shown(&self) -> Vec<u8> {
        let mut shown = self.bytes.clone();
        if !self.secret.is_empty() {
            shown.splice(self.secret.clone(), "…".bytes());
        }
        shown
    }
}

impl fmt::Debug for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spoken({:?})", String::from_utf8_lossy(&self.shown()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_sent_and_not_shown() {
        let login = Spoken::with_secret(b"AUTHENTICATE PLAIN ".to_vec(), |out| {
            out.extend_from_slice(b"AGEAYg==");
        });
        assert_eq!(login.bytes(), b"AUTHENTICATE PLAIN AGEAYg==\r\n");
        assert_eq!(login.shown(), "AUTHENTICATE PLAIN …\r\n".as_bytes());
        assert_eq!(format!("{login:?}"), "Spoken(\"AUTHENTICATE PLAIN …\\r\\n\")");
        assert_eq!(Spoken::open("NOOP\r\n").shown(), b"NOOP\r\n");
    }
}
