//! dlist values as they arrive, and typed access to them.
//!
//! ```text
//!  NIL                         Nil
//!  atom  "quoted"  {5+}CRLF…   Atom   (the three are the same value)
//!  %(KEY value KEY value)      Map    (order and repeats kept)
//!  (value value)               List
//!  %{part guid size}CRLF…      File
//! ```
//! Source: `imap/dlist.c` of cyrus-imapd 3.6.1. Numbers, dates and guids are atoms there; the caller decides what an atom
//! means, so the conversions are here.

use bytes::Bytes;
use cyrus_types::Guid;

/// One dlist value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `NIL`.
    Nil,
    /// An atom, a quoted string or a literal: the protocol makes no difference.
    Atom(Vec<u8>),
    /// `%(KEY value …)`, in the order received.
    Map(Vec<(String, Value)>),
    /// `(value …)`.
    List(Vec<Value>),
    /// `%{partition guid size}`, then the file's bytes.
    File {
        /// The partition that the file is for.
        partition: String,
        /// Its SHA-1 according to the sender; not checked here.
        guid: Guid,
        /// The file's bytes.
        data: Bytes,
    },
}

/// A value does not have the requested type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {wanted}, found {found}")]
pub struct ValueError {
    /// The requested type.
    pub wanted: &'static str,
    /// The value, shortened.
    pub found: String,
}

impl Value {
    /// An atom from text.
    pub fn atom(text: impl Into<Vec<u8>>) -> Value {
        Value::Atom(text.into())
    }

    /// The first value under `key`, if this is a map that has it. Keys are case-sensitive.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Map(entries) => entries.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// Is this `NIL`?
    pub fn is_nil(&self) -> bool {
        *self == Value::Nil
    }

    /// The bytes of an atom.
    ///
    /// # Errors
    /// When it is something else.
    pub fn bytes(&self) -> Result<&[u8], ValueError> {
        match self {
            Value::Atom(bytes) => Ok(bytes),
            _ => Err(self.not("a string")),
        }
    }

    /// The text of an atom.
    ///
    /// # Errors
    /// When it is something else, or not UTF-8.
    pub fn str(&self) -> Result<&str, ValueError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| self.not("UTF-8 text"))
    }

    /// A decimal number of at most 64 bits.
    ///
    /// # Errors
    /// When there is a character other than a digit, or too many.
    pub fn u64(&self) -> Result<u64, ValueError> {
        self.digits().and_then(|text| text.parse().ok()).ok_or_else(|| self.not("a 64-bit number"))
    }

    /// A decimal number of at most 32 bits.
    ///
    /// # Errors
    /// When there is a character other than a digit, or too many.
    pub fn u32(&self) -> Result<u32, ValueError> {
        self.digits().and_then(|text| text.parse().ok()).ok_or_else(|| self.not("a 32-bit number"))
    }

    /// A time in Unix seconds. The sender prints the 64-bit pattern without a sign, so a time before 1970 arrives as a huge
    /// number and is converted back here.
    ///
    /// # Errors
    /// When there is a character other than a digit, or too many.
    pub fn date(&self) -> Result<i64, ValueError> {
        self.u64().map(|seconds| seconds as i64).map_err(|_| self.not("a time"))
    }

    /// A message's guid.
    ///
    /// # Errors
    /// When it is not forty hexadecimal digits.
    pub fn guid(&self) -> Result<Guid, ValueError> {
        Guid::from_hex(self.bytes()?).map_err(|_| self.not("a message guid"))
    }

    /// A list's values.
    ///
    /// # Errors
    /// When it is something else.
    pub fn list(&self) -> Result<&[Value], ValueError> {
        match self {
            Value::List(values) => Ok(values),
            _ => Err(self.not("a list")),
        }
    }

    /// A map's keys and values.
    ///
    /// # Errors
    /// When it is something else.
    pub fn map(&self) -> Result<&[(String, Value)], ValueError> {
        match self {
            Value::Map(entries) => Ok(entries),
            _ => Err(self.not("a map")),
        }
    }

    fn digits(&self) -> Option<&str> {
        let bytes = self.bytes().ok()?;
        // str::parse would accept a leading plus sign, Cyrus does not.
        if !bytes.iter().all(u8::is_ascii_digit) {
            return None;
        }
        std::str::from_utf8(bytes).ok()
    }

    fn not(&self, wanted: &'static str) -> ValueError {
        let found = match self {
            Value::Nil => "NIL".to_owned(),
            Value::Atom(bytes) => format!("\"{}\"", shorten(bytes)),
            Value::Map(_) => "a map".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::File { .. } => "a file".to_owned(),
        };
        ValueError { wanted, found }
    }
}

/// The first bytes of something, printable, for an error message.
pub(crate) fn shorten(bytes: &[u8]) -> String {
    const SHOWN: usize = 60;
    let mut text: String =
        bytes.iter().take(SHOWN).flat_map(|b| b.escape_ascii()).map(char::from).collect();
    if bytes.len() > SHOWN {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_only() {
        assert_eq!(Value::atom("0").u32(), Ok(0));
        assert_eq!(Value::atom("4294967295").u32(), Ok(u32::MAX));
        assert_eq!(Value::atom("18446744073709551615").u64(), Ok(u64::MAX));
        assert_eq!(Value::atom("18446744073709551615").date(), Ok(-1));
        for bad in ["", "+1", "-1", "1x", " 1", "4294967296", "99999999999999999999"] {
            assert!(Value::atom(bad).u32().is_err(), "{bad}");
        }
        let error = Value::atom("+1").u64().unwrap_err();
        assert_eq!(error.to_string(), "expected a 64-bit number, found \"+1\"");
        assert!(Value::Nil.u64().is_err());
    }

    #[test]
    fn maps_are_looked_up_by_exact_key() {
        let map = Value::Map(vec![("UID".into(), Value::atom("7")), ("UID".into(), Value::Nil)]);
        assert_eq!(map.get("UID"), Some(&Value::atom("7")));
        assert_eq!(map.get("uid"), None);
        assert_eq!(Value::List(vec![]).get("UID"), None);
        assert!(map.list().is_err() && map.str().is_err() && map.map().is_ok());
    }

    #[test]
    fn errors_show_little_of_what_came() {
        let error = Value::atom(vec![0xff; 1000]).str().unwrap_err();
        assert!(error.found.len() < 300, "{}", error.found);
    }
}
