//! The 20-byte SHA-1 that names a message in Cyrus, and the pair of checksums replication compares.
//!
//! Source: `imap/message_guid.h` and `imap/mailbox.h` (`struct synccrcs`) of cyrus-imapd 3.6.1.

use std::fmt;
use std::str::FromStr;

/// A message's globally unique id: the SHA-1 of its bytes. All zeros means "none".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Guid(pub [u8; 20]);

impl Guid {
    /// The id that stands for "no message".
    pub const NULL: Guid = Guid([0; 20]);

    /// Reads the 20 bytes an index record holds; `None` if there are not exactly 20.
    pub fn from_slice(bytes: &[u8]) -> Option<Guid> {
        Some(Guid(bytes.try_into().ok()?))
    }

    /// Is this the id that stands for "no message"?
    pub fn is_null(&self) -> bool {
        *self == Guid::NULL
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guid({self})")
    }
}

/// The text was not forty hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message guid is forty hexadecimal digits")]
pub struct BadGuid;

impl FromStr for Guid {
    type Err = BadGuid;

    fn from_str(text: &str) -> Result<Guid, BadGuid> {
        let digits = text.as_bytes();
        if digits.len() != 40 {
            return Err(BadGuid);
        }
        let mut guid = [0u8; 20];
        for (byte, pair) in guid.iter_mut().zip(digits.chunks_exact(2)) {
            let mut value = 0u8;
            for digit in pair {
                let nibble = char::from(*digit).to_digit(16).ok_or(BadGuid)?;
                value = (value << 4) | nibble as u8;
            }
            *byte = value;
        }
        Ok(Guid(guid))
    }
}

/// The two checksums by which master and replica compare a mailbox (`mailbox_synccrcs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SyncCrcs {
    /// Over the records that are not expunged.
    pub basic: u32,
    /// Over the mailbox's and those records' annotations.
    pub annot: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_hexadecimal() {
        let text = "0123456789abcdef0123456789abcdef01234567";
        let guid: Guid = text.parse().unwrap();
        assert_eq!(guid.to_string(), text);
        assert_eq!(text.to_uppercase().parse::<Guid>().unwrap(), guid);
        assert!(!guid.is_null());
        assert!(Guid::NULL.is_null());
    }

    #[test]
    fn refuses_anything_else() {
        assert!("".parse::<Guid>().is_err());
        assert!("zz".repeat(20).parse::<Guid>().is_err());
        assert!("+1".repeat(20).parse::<Guid>().is_err());
        assert!(Guid::from_slice(&[0; 19]).is_none());
    }
}
