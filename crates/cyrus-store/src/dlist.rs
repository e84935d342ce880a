//! The notation in which Cyrus writes the values of its databases.
//!
//! ```text
//! value  = atom | "quoted \" string" | {3+} CR LF abc | NIL | (value value …) | %(key value key value …)
//! ```
//!
//! One space between things, none elsewhere. An atom ends at a space or at the brackets that close around it. Source:
//! `imap/dlist.c` (dlist_parsesax) of cyrus-imapd 3.6.1.

/// Cyrus never nests deeper; a limit keeps hostile input from exhausting the stack.
const MAX_DEPTH: u32 = 32;

/// A parsed value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `NIL`.
    Nil,
    /// A piece of text (or any bytes).
    Text(Vec<u8>),
    /// `(…)`.
    List(Vec<Value>),
    /// `%(…)`: keys in their order; they may repeat.
    Map(Vec<(Vec<u8>, Value)>),
}

/// The text is not valid in this notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset}")]
pub struct BadValue {
    /// Bytes from the start of the value.
    pub offset: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl Value {
    /// Parses a whole value; nothing may follow it.
    ///
    /// # Errors
    /// The text does not follow the notation.
    pub fn parse(text: &[u8]) -> Result<Value, BadValue> {
        let mut parser = Parser { text, at: 0 };
        let value = parser.value(0)?;
        if parser.at < text.len() {
            return Err(parser.bad("something follows the value"));
        }
        Ok(value)
    }

    /// The first value under a key of a map.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let Value::Map(entries) = self else {
            return None;
        };
        entries.iter().find(|(name, _)| name == key.as_bytes()).map(|(_, value)| value)
    }

    /// The bytes of a text.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Text(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A text that is UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// A text that is a decimal number.
    pub fn number(&self) -> Option<u64> {
        self.text()?.parse().ok()
    }

    /// The values of a list.
    pub fn list(&self) -> Option<&[Value]> {
        match self {
            Value::List(values) => Some(values),
            _ => None,
        }
    }
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Parser<'a> {
    fn value(&mut self, depth: u32) -> Result<Value, BadValue> {
        if depth > MAX_DEPTH {
            return Err(self.bad("brackets are nested too deeply"));
        }
        match self.peek() {
            None => Err(self.bad("a value is missing")),
            Some(b'(') => {
                self.at += 1;
                let mut values = Vec::new();
                while !self.close(values.is_empty())? {
                    values.push(self.value(depth + 1)?);
                }
                Ok(Value::List(values))
            }
            Some(b'%') => {
                self.at += 1;
                if self.peek() != Some(b'(') {
                    return Err(self.bad("'(' is missing after '%'"));
                }
                self.at += 1;
                let mut entries = Vec::new();
                while !self.close(entries.is_empty())? {
                    let key = self.item()?.unwrap_or_default();
                    if self.peek() != Some(b' ') {
                        return Err(self.bad("a key has no value"));
                    }
                    self.at += 1;
                    entries.push((key, self.value(depth + 1)?));
                }
                Ok(Value::Map(entries))
            }
            Some(_) => Ok(self.item()?.map_or(Value::Nil, Value::Text)),
        }
    }

    /// Skips a separator between values, or the closing bracket; true for the latter.
    fn close(&mut self, first: bool) -> Result<bool, BadValue> {
        match self.peek() {
            Some(b')') => {
                self.at += 1;
                Ok(true)
            }
            Some(b' ') if !first => {
                self.at += 1;
                // Cyrus writes no space before the bracket, but one is harmless.
                if self.peek() == Some(b')') {
                    self.at += 1;
                    return Ok(true);
                }
                Ok(false)
            }
            Some(_) if first => Ok(false),
            Some(_) => Err(self.bad("a space is missing")),
            None => Err(self.bad("a closing bracket is missing")),
        }
    }

    /// An atom, string or literal; `None` for `NIL`.
    fn item(&mut self) -> Result<Option<Vec<u8>>, BadValue> {
        match self.peek() {
            Some(b'"') => self.quoted().map(Some),
            Some(b'{') => self.literal().map(Some),
            _ => {
                let rest = self.rest();
                let mut len = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
                while len > 0 && rest.get(len - 1) == Some(&b')') {
                    len -= 1;
                }
                let atom = rest.get(..len).unwrap_or_default();
                if atom.is_empty() {
                    return Err(self.bad("a value is missing"));
                }
                self.at += len;
                Ok((atom != b"NIL").then(|| atom.to_vec()))
            }
        }
    }

    fn quoted(&mut self) -> Result<Vec<u8>, BadValue> {
        self.at += 1;
        let mut text = Vec::new();
        while let Some(byte) = self.next() {
            match byte {
                b'"' => return Ok(text),
                b'\\' => text.extend(self.next()),
                _ => text.push(byte),
            }
        }
        Err(self.bad("a closing quote is missing"))
    }

    fn literal(&mut self) -> Result<Vec<u8>, BadValue> {
        self.at += 1;
        let mut len = 0usize;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            len = len.saturating_mul(10).saturating_add(usize::from(digit - b'0'));
            self.at += 1;
        }
        if self.peek() == Some(b'+') {
            self.at += 1;
        }
        let Some(bytes) = self.rest().strip_prefix(b"}\r\n").and_then(|bytes| bytes.get(..len))
        else {
            return Err(self.bad("a literal is malformed or cut short"));
        };
        let bytes = bytes.to_vec();
        self.at += 3 + len;
        Ok(bytes)
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn bad(&self, what: &'static str) -> BadValue {
        BadValue { offset: self.at, what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_cyrus_writes() {
        let text = b"%(A %(anna lrs \"b \\\"c\\\"\" NIL) H (%(N user\x1fx M 5) %()) E () L {3+}\r\na)b V 7)";
        let value = Value::parse(text).unwrap();
        let acl = value.get("A").unwrap();
        assert_eq!(acl.get("anna").unwrap().text(), Some("lrs"));
        assert_eq!(acl.get("b \"c\""), Some(&Value::Nil));
        let history = value.get("H").unwrap().list().unwrap();
        assert_eq!(history.len(), 2);
        assert_eq!(history[0].get("N").unwrap().bytes(), Some(b"user\x1fx".as_slice()));
        assert_eq!(value.get("L").unwrap().text(), Some("a)b"));
        assert_eq!(value.get("V").unwrap().number(), Some(7));
        assert_eq!(value.get("E").unwrap().list(), Some([].as_slice()));
        assert_eq!(Value::parse(b"(1 2)").unwrap().list().unwrap().len(), 2);
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            "(",
            "(a",
            "%x",
            "%(a)",
            "%(a b",
            "(a))",
            "\"a",
            "{5}\r\nab",
            "{99999999999999999999}\r\n",
            "(a)b",
            "(a  b)",
        ] {
            assert!(Value::parse(text.as_bytes()).is_err(), "{text}");
        }
        let deep = "(".repeat(100_000);
        assert!(Value::parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn every_cut_is_an_error_or_a_value() {
        let text = b"%(A %(anna lrs) H (%(N \"x y\" M 5)) L {3+}\r\na)b)";
        for len in 0..text.len() {
            assert!(Value::parse(&text[..len]).is_err(), "{len}");
        }
    }
}
