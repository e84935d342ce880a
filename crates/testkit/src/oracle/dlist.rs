//! A small reader of dlist lines, written independently of the program's own so that it can check that one.
//!
//! ```text
//!  * NAME value CRLF
//!  value:  atom | "quoted" | {n+} CRLF bytes | NIL | (value …) | %(KEY value …) | %{partition guid n} CRLF bytes
//! ```
//! Source: `imap/dlist.c` of cyrus-imapd 3.6.1.

use std::fmt;

use crate::error::{Error, Result};

/// Deeper nesting is refused; Cyrus nests four levels.
const DEPTH_LIMIT: usize = 32;

/// One `* NAME value` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The first word, `MAILBOX` for example.
    pub name: String,
    /// The value.
    pub value: Value,
}

/// A dlist value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `NIL`.
    Nil,
    /// An atom, quoted string or literal: the dlist makes no difference between them.
    Atom(Vec<u8>),
    /// `( … )`.
    List(Vec<Value>),
    /// `%( KEY value … )`.
    Map(Vec<(String, Value)>),
    /// `%{partition guid size}` and the bytes.
    File {
        /// The partition named.
        partition: String,
        /// The SHA-1 in hex.
        guid: String,
        /// The contents.
        bytes: Vec<u8>,
    },
}

impl Item {
    /// Reads a line as [`super::PrivateServer::get`] gives it (without the last CRLF).
    ///
    /// # Errors
    /// [`Error::Dlist`] if it is not one.
    pub fn parse(line: &[u8]) -> Result<Self> {
        let mut reader = Reader { line, at: 0 };
        if line.starts_with(b"* ") {
            reader.at = 2;
        }
        let name = reader.word()?;
        reader.expect(b' ', "no space after the name")?;
        let value = reader.value(0)?;
        if reader.at != line.len() {
            return Err(reader.error("something after the value"));
        }
        Ok(Self { name, value })
    }
}

impl Value {
    /// A map's value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        let Self::Map(pairs) = self else { return None };
        pairs.iter().find(|(had, _)| had == key).map(|(_, value)| value)
    }

    /// A map's value of a key as text (lossily decoded).
    #[must_use]
    pub fn text(&self, key: &str) -> Option<String> {
        match self.get(key) {
            Some(Self::Atom(bytes)) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        }
    }

    /// A map's value of a key as a number.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<u64> {
        self.text(key)?.parse().ok()
    }

    /// A list's values; empty for anything else.
    #[must_use]
    pub fn items(&self) -> &[Value] {
        match self {
            Self::List(values) => values,
            _ => &[],
        }
    }

    /// A map's pairs; empty for anything else.
    #[must_use]
    pub fn pairs(&self) -> &[(String, Value)] {
        match self {
            Self::Map(pairs) => pairs,
            _ => &[],
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => out.write_str("NIL"),
            Self::Atom(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) if !text.is_empty() && !text.contains([' ', '(', ')', '"']) => {
                    out.write_str(text)
                }
                Ok(text) => write!(out, "{text:?}"),
                Err(_) => write!(out, "<{} bytes>", bytes.len()),
            },
            Self::List(values) => {
                out.write_str("(")?;
                for (nr, value) in values.iter().enumerate() {
                    write!(out, "{}{value}", if nr == 0 { "" } else { " " })?;
                }
                out.write_str(")")
            }
            Self::Map(pairs) => {
                out.write_str("%(")?;
                for (nr, (key, value)) in pairs.iter().enumerate() {
                    write!(out, "{}{key} {value}", if nr == 0 { "" } else { " " })?;
                }
                out.write_str(")")
            }
            Self::File { partition, guid, bytes } => {
                write!(out, "%{{{partition} {guid} {}}}", bytes.len())
            }
        }
    }
}

struct Reader<'a> {
    line: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn error(&self, why: &'static str) -> Error {
        let start = self.line.get(..self.line.len().min(200)).unwrap_or_default();
        Error::Dlist { offset: self.at, why, line: String::from_utf8_lossy(start).into_owned() }
    }

    fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8, why: &'static str) -> Result<()> {
        if self.peek() != Some(byte) {
            return Err(self.error(why));
        }
        self.at += 1;
        Ok(())
    }

    fn take(&mut self, length: usize) -> Result<Vec<u8>> {
        let bytes = self.at.checked_add(length).and_then(|end| self.line.get(self.at..end));
        let Some(bytes) = bytes else {
            return Err(self.error("cut short"));
        };
        self.at += length;
        Ok(bytes.to_vec())
    }

    fn atom(&mut self) -> Result<Vec<u8>> {
        let rest = self.line.get(self.at..).unwrap_or_default();
        let end =
            rest.iter().position(|byte| matches!(byte, b' ' | b')' | b'(' | b'}' | b'\r' | b'\n'));
        let length = end.unwrap_or(rest.len());
        if length == 0 {
            return Err(self.error("a value is missing"));
        }
        self.take(length)
    }

    fn word(&mut self) -> Result<String> {
        String::from_utf8(self.atom()?).map_err(|_| self.error("a word is not UTF-8"))
    }

    fn value(&mut self, depth: usize) -> Result<Value> {
        if depth > DEPTH_LIMIT {
            return Err(self.error("nested too deeply"));
        }
        match (self.peek(), self.line.get(self.at + 1)) {
            (Some(b'('), _) => {
                self.at += 1;
                self.list(depth)
            }
            (Some(b'%'), Some(b'(')) => {
                self.at += 2;
                self.map(depth)
            }
            (Some(b'%'), Some(b'{')) => {
                self.at += 2;
                self.file()
            }
            (Some(b'"'), _) => {
                self.at += 1;
                self.quoted().map(Value::Atom)
            }
            (Some(b'{'), _) => {
                self.at += 1;
                let size = self.size()?;
                self.take(size).map(Value::Atom)
            }
            _ => match self.atom()? {
                atom if atom == b"NIL" => Ok(Value::Nil),
                atom => Ok(Value::Atom(atom)),
            },
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value> {
        let mut values = Vec::new();
        while self.peek() != Some(b')') {
            if !values.is_empty() {
                self.expect(b' ', "no space in a list")?;
            }
            values.push(self.value(depth + 1)?);
        }
        self.at += 1;
        Ok(Value::List(values))
    }

    fn map(&mut self, depth: usize) -> Result<Value> {
        let mut pairs = Vec::new();
        while self.peek() != Some(b')') {
            if !pairs.is_empty() {
                self.expect(b' ', "no space in a map")?;
            }
            let key = self.word()?;
            self.expect(b' ', "no space after a key")?;
            pairs.push((key, self.value(depth + 1)?));
        }
        self.at += 1;
        Ok(Value::Map(pairs))
    }

    fn quoted(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            let byte = self.peek();
            self.at += 1;
            match byte {
                Some(b'"') => return Ok(bytes),
                Some(b'\\') => {
                    bytes.extend(self.peek());
                    self.at += 1;
                }
                Some(other) => bytes.push(other),
                None => return Err(self.error("a quoted string does not end")),
            }
        }
    }

    /// After `{`: the number, an optional `+`, `}` and CRLF.
    fn size(&mut self) -> Result<usize> {
        let text = self.word()?;
        let size = text
            .trim_end_matches('+')
            .parse()
            .map_err(|_| self.error("a literal's size is no number"))?;
        self.expect(b'}', "no } after a literal's size")?;
        self.expect(b'\r', "no line end after a literal's size")?;
        self.expect(b'\n', "no line end after a literal's size")?;
        Ok(size)
    }

    fn file(&mut self) -> Result<Value> {
        let partition = self.word()?;
        self.expect(b' ', "no space in a file's head")?;
        let guid = self.word()?;
        self.expect(b' ', "no space in a file's head")?;
        let size = self.size()?;
        Ok(Value::File { partition, guid, bytes: self.take(size)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_of_values() {
        let line = b"* MAILBOX %(A b Q \"a \\\"q\\\"\" N NIL L (x (y)) T {3+}\r\na\r\n E ())";
        let item = Item::parse(line).unwrap();
        assert_eq!(item.name, "MAILBOX");
        assert_eq!(item.value.text("Q").unwrap(), "a \"q\"");
        assert_eq!(item.value.get("N"), Some(&Value::Nil));
        assert_eq!(item.value.get("T"), Some(&Value::Atom(b"a\r\n".to_vec())));
        assert_eq!(item.value.get("L").unwrap().to_string(), "(x (y))");
        assert!(item.value.get("E").unwrap().items().is_empty());
        let file = Item::parse(b"MESSAGE %{default abc 2}\r\nhi").unwrap();
        assert!(matches!(file.value, Value::File { ref bytes, .. } if bytes == b"hi"));
    }

    #[test]
    fn cut_lines_are_errors() {
        let line = b"* M %(A b L (x {3+}\r\nabc) F %{p g 2}\r\nhi Q \"x\")";
        Item::parse(line).unwrap();
        // The first six bytes make a line of their own: the atom %.
        for end in 6..line.len() {
            assert!(Item::parse(&line[..end]).is_err(), "cut at {end}");
        }
        let deep = [b"* M ".to_vec(), b"(".repeat(100)].concat();
        assert!(Item::parse(&deep).is_err());
    }
}
