//! The 20-byte SHA-1 that names a message in Cyrus, as the wire writes it.
//!
//! Source: `imap/message_guid.h` and `message_guid.c` of cyrus-imapd 3.6.1: forty lower-case
//! hexadecimal digits out, either case in.

use std::fmt;
use std::str::FromStr;

/// A message's globally unique id: the SHA-1 of its bytes. All zeros means "none".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Guid(pub [u8; 20]);

impl Guid {
    /// The id that stands for "no message".
    pub const NULL: Guid = Guid([0; 20]);

    /// Is this the id that stands for "no message"?
    pub fn is_null(&self) -> bool {
        *self == Guid::NULL
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// The forty digits, without an allocation.
    pub fn to_hex(&self) -> [u8; 40] {
        let mut hex = [0; 40];
        // Twenty bytes have forty digits.
        let _ = faster_hex::hex_encode(&self.0, &mut hex);
        hex
    }

    /// Reads forty hexadecimal digits.
    ///
    /// # Errors
    /// [`GuidError`] when there are more, fewer or other characters.
    pub fn from_hex(digits: &[u8]) -> Result<Guid, GuidError> {
        let mut guid = [0; 20];
        if digits.len() != 2 * guid.len() {
            return Err(GuidError);
        }
        faster_hex::hex_decode(digits, &mut guid).map_err(|_| GuidError)?;
        Ok(Guid(guid))
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hex = [0; 40];
        f.write_str(faster_hex::hex_encode(&self.0, &mut hex).map_err(|_| fmt::Error)?)
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
pub struct GuidError;

impl FromStr for Guid {
    type Err = GuidError;

    fn from_str(text: &str) -> Result<Guid, GuidError> {
        Guid::from_hex(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_hexadecimal() {
        let text = "0123456789abcdef0123456789abcdef01234567";
        let guid: Guid = text.parse().unwrap();
        assert_eq!(guid.to_string(), text);
        assert_eq!(guid.to_hex(), text.as_bytes());
        assert_eq!(text.to_uppercase().parse::<Guid>().unwrap(), guid);
        assert!(!guid.is_null());
        assert!(Guid::NULL.is_null());
    }

    #[test]
    fn refuses_anything_else() {
        assert!("".parse::<Guid>().is_err());
        assert!("zz".repeat(20).parse::<Guid>().is_err());
        assert!("+1".repeat(20).parse::<Guid>().is_err());
        assert!(format!("0x{}", "0".repeat(38)).parse::<Guid>().is_err());
        assert!(format!("0x{}", "0".repeat(40)).parse::<Guid>().is_err());
        assert!("0".repeat(41).parse::<Guid>().is_err());
    }
}
