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
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [0u8; 40];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.0) {
            if let [high, low] = pair {
                *high = DIGITS[usize::from(byte >> 4)];
                *low = DIGITS[usize::from(byte & 15)];
            }
        }
        hex
    }

    /// Reads forty hexadecimal digits.
    ///
    /// # Errors
    /// [`GuidError`] when there are more, fewer or other characters.
    pub fn from_hex(digits: &[u8]) -> Result<Guid, GuidError> {
        if digits.len() != 40 {
            return Err(GuidError);
        }
        let mut guid = [0u8; 20];
        for (byte, pair) in guid.iter_mut().zip(digits.chunks_exact(2)) {
            for digit in pair {
                let nibble = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'a'..=b'f' => digit - b'a' + 10,
                    b'A'..=b'F' => digit - b'A' + 10,
                    _ => return Err(GuidError),
                };
                *byte = (*byte << 4) | nibble;
            }
        }
        Ok(Guid(guid))
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
        assert!("0".repeat(41).parse::<Guid>().is_err());
    }
}
