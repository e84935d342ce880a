//! Builds command lines: words, strings quoted as needed, literals.

/// A command line under construction, without tag and CRLF.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line(pub(super) Vec<u8>);

impl Line {
    /// Starts with raw text (`"CREATE "`).
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }

    /// Adds raw text.
    #[must_use]
    pub fn raw(mut self, text: &str) -> Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// Adds a string: quoted if possible, otherwise as a literal.
    #[must_use]
    pub fn string(self, text: &str) -> Self {
        let plain = text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && text.len() < 1000;
        if !plain {
            return self.literal(text.as_bytes());
        }
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        self.raw(&format!("\"{quoted}\""))
    }

    /// Adds a non-synchronizing literal.
    #[must_use]
    pub fn literal(mut self, bytes: &[u8]) -> Self {
        self = self.raw(&format!("{{{}+}}\r\n", bytes.len()));
        self.0.extend_from_slice(bytes);
        self
    }

    /// The line's beginning, for error messages.
    pub(super) fn summary(&self) -> String {
        let end = self.0.iter().position(|byte| *byte == b'\r').unwrap_or(self.0.len()).min(200);
        String::from_utf8_lossy(self.0.get(..end).unwrap_or_default()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_or_literals() {
        assert_eq!(Line::new("X ").string("a \"b\" \\").0, b"X \"a \\\"b\\\" \\\\\"");
        assert_eq!(Line::new("X ").string("\u{fc}").0, b"X {2+}\r\n\xc3\xbc");
        assert_eq!(Line::new("APPEND a ").literal(b"x\r\n").summary(), "APPEND a {3+}");
    }
}
