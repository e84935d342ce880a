//! `cyrus.header`: data of a mailbox apart from its messages, above all the names of its user flags.
//!
//! ```text
//! \241\002\213\015Cyrus mailbox header\n                                           magic,
//! "The best thing about this system was that it had lots of goals."\n              three lines
//! \t--Jim Morris on Andrew\n
//! %(T type N name I uniqueid Q quotaroot A %(user rights …) U (flag NIL flag …))\n  since 3.5; Q, A and U are optional
//! or, before:
//! quotaroot \t uniqueid \n
//! flag flag  flag \n                                 one space between flags: an empty name is an unused number
//! user \t rights \t user \t rights \t\n
//! ```
//!
//! Source: `mailbox_read_header`, `_parse_header_data`, `mailbox_header_data_cstring` in `imap/mailbox.c` of cyrus-imapd 3.6.1.
//! Values with line breaks (literals) are refused: Cyrus cannot read them back either.

use cyrus_types::{MailboxName, UniqueId};
use thiserror::Error;

/// How many user flags a mailbox can have.
pub const MAX_USER_FLAGS: usize = 128;

/// The first bytes of every `cyrus.header`.
pub const MAGIC: &[u8] = b"\xa1\x02\x8b\x0dCyrus mailbox header\n\
\"The best thing about this system was that it had lots of goals.\"\n\
\t--Jim Morris on Andrew\n";

/// Lists do not nest deeper than this in any header.
const MAX_DEPTH: u32 = 8;

/// Why a `cyrus.header` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// Not a mailbox header at all.
    #[error("the first line is not that of a mailbox header")]
    Magic,
    /// The file ends in the middle.
    #[error("the header ends before its {0}")]
    Short(&'static str),
    /// The list in the header does not follow its grammar.
    #[error("syntax error at byte {at} of the header's list")]
    Syntax {
        /// Where, counted from the list's start.
        at: usize,
    },
    /// A value is not UTF-8.
    #[error("'{0}' is not utf-8")]
    NotUtf8(String),
    /// More user flags than Cyrus has numbers for.
    #[error("more than 128 user flags")]
    TooManyFlags,
}

/// A mailbox's header file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MailboxHeader {
    /// The quota root that the mailbox counts against.
    pub quotaroot: Option<String>,
    /// The mailbox's unique id; empty where an ancient header has none.
    pub uniqueid: UniqueId,
    /// Internal name (since 3.5). It may be out of date: mailboxes.db is right.
    pub name: Option<MailboxName>,
    /// Access rights, `user TAB rights TAB …`; if they differ, mailboxes.db is right.
    pub acl: String,
    /// Names of the user flags by number, always 128 long; `None` is an unused number.
    pub flags: Vec<Option<String>>,
    /// The mailbox type's letters (since 3.5), such as `e`.
    pub mbtype: Option<String>,
}

impl MailboxHeader {
    /// Decodes the whole file.
    ///
    /// # Errors
    /// [`HeaderError`]: not a header, incomplete, or wrong syntax.
    pub fn decode(file: &[u8]) -> Result<Self, HeaderError> {
        let rest = file.strip_prefix(MAGIC).ok_or(HeaderError::Magic)?;
        let (line, rest) = split_line(rest).ok_or(HeaderError::Short("first line"))?;
        let mut header = if line.first() == Some(&b'%') {
            decode_list(line)?
        } else {
            decode_lines(line, rest)?
        };
        if header.flags.len() > MAX_USER_FLAGS {
            return Err(HeaderError::TooManyFlags);
        }
        header.flags.resize(MAX_USER_FLAGS, None);
        Ok(header)
    }
}

fn split_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| *byte == b'\n')?;
    Some((text.get(..end)?, text.get(end + 1..)?))
}

fn utf8(bytes: &[u8]) -> Result<String, HeaderError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_string()),
        Err(_) => Err(HeaderError::NotUtf8(String::from_utf8_lossy(bytes).into_owned())),
    }
}

fn non_empty(bytes: &[u8]) -> Result<Option<String>, HeaderError> {
    if bytes.is_empty() { Ok(None) } else { utf8(bytes).map(Some) }
}

/// The three lines of old headers.
fn decode_lines(first: &[u8], rest: &[u8]) -> Result<MailboxHeader, HeaderError> {
    let mut fields = first.split(|byte| *byte == b'\t');
    let quotaroot = non_empty(fields.next().unwrap_or_default())?;
    let uniqueid = match fields.next() {
        Some([]) => return Err(HeaderError::Short("unique id")),
        Some(id) => UniqueId::new(utf8(id)?),
        None => UniqueId::default(),
    };
    let (flag_line, rest) = split_line(rest).ok_or(HeaderError::Short("user flags"))?;
    let (acl, _) = split_line(rest).ok_or(HeaderError::Short("access rights"))?;
    let mut flags = Vec::new();
    for name in flag_line.split(|byte| *byte == b' ').take(MAX_USER_FLAGS) {
        flags.push(non_empty(name)?);
    }
    Ok(MailboxHeader { quotaroot, uniqueid, name: None, acl: utf8(acl)?, flags, mbtype: None })
}

/// The list of new headers; unknown keys are ignored.
fn decode_list(line: &[u8]) -> Result<MailboxHeader, HeaderError> {
    let mut header = MailboxHeader::default();
    let mut parser = Parser { text: line, at: 0 };
    parser.expect(b"%(")?;
    while !parser.list_ends()? {
        let key = parser.item()?.unwrap_or_default();
        parser.expect(b" ")?;
        match key.as_slice() {
            b"A" => header.acl = parser.acl()?,
            b"U" => header.flags = parser.flags()?,
            b"I" => header.uniqueid = parser.text()?.map(UniqueId::new).unwrap_or_default(),
            b"N" => header.name = parser.text()?.map(MailboxName::new),
            b"Q" => header.quotaroot = parser.text()?,
            b"T" => header.mbtype = parser.text()?,
            _ => parser.skip(0)?,
        }
    }
    if parser.at != line.len() {
        return Err(parser.error());
    }
    Ok(header)
}

/// Walks over a list as `dlist_print` writes it: single spaces, atoms, quoted strings.
struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn error(&self) -> HeaderError {
        HeaderError::Syntax { at: self.at }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn expect(&mut self, what: &[u8]) -> Result<(), HeaderError> {
        let found = self.text.get(self.at..).is_some_and(|rest| rest.starts_with(what));
        if !found {
            return Err(self.error());
        }
        self.at += what.len();
        Ok(())
    }

    /// At the closing parenthesis, skips it and returns true; else skips the space between two members.
    fn list_ends(&mut self) -> Result<bool, HeaderError> {
        match self.peek() {
            Some(b')') => {
                self.at += 1;
                return Ok(true);
            }
            Some(b' ') => self.at += 1,
            Some(_) => {}
            None => return Err(self.error()),
        }
        Ok(false)
    }

    /// An atom or a quoted string; `None` is NIL.
    fn item(&mut self) -> Result<Option<Vec<u8>>, HeaderError> {
        if self.peek() == Some(b'"') {
            return self.quoted().map(Some);
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        // As Cyrus does it: up to the next space, without the closing parentheses of the lists around.
        let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
        let mut atom = rest.get(..end).unwrap_or_default();
        while let Some(shorter) = atom.strip_suffix(b")") {
            atom = shorter;
        }
        if atom.is_empty() || atom.starts_with(b"{") {
            return Err(self.error());
        }
        self.at += atom.len();
        Ok(if atom == b"NIL" { None } else { Some(atom.to_vec()) })
    }

    fn quoted(&mut self) -> Result<Vec<u8>, HeaderError> {
        self.expect(b"\"")?;
        let mut value = Vec::new();
        loop {
            let mut byte = self.peek().ok_or_else(|| self.error())?;
            self.at += 1;
            match byte {
                b'"' => return Ok(value),
                b'\\' => {
                    byte = self.peek().ok_or_else(|| self.error())?;
                    self.at += 1;
                }
                _ => {}
            }
            value.push(byte);
        }
    }

    fn text(&mut self) -> Result<Option<String>, HeaderError> {
        self.item()?.as_deref().map(utf8).transpose()
    }

    fn acl(&mut self) -> Result<String, HeaderError> {
        let mut acl = String::new();
        self.expect(b"%(")?;
        while !self.list_ends()? {
            let user = self.text()?.unwrap_or_default();
            self.expect(b" ")?;
            let rights = self.text()?.unwrap_or_default();
            for part in [user, rights] {
                acl.push_str(&part);
                acl.push('\t');
            }
        }
        Ok(acl)
    }

    fn flags(&mut self) -> Result<Vec<Option<String>>, HeaderError> {
        let mut flags = Vec::new();
        self.expect(b"(")?;
        while !self.list_ends()? {
            if flags.len() == MAX_USER_FLAGS {
                return Err(HeaderError::TooManyFlags);
            }
            flags.push(self.text()?);
        }
        Ok(flags)
    }

    /// Skips a value of any kind.
    fn skip(&mut self, depth: u32) -> Result<(), HeaderError> {
        let keyed = match self.peek() {
            Some(b'(') => false,
            Some(b'%') => true,
            _ => return self.item().map(|_| ()),
        };
        if depth == MAX_DEPTH {
            return Err(self.error());
        }
        self.expect(if keyed { b"%(" } else { b"(" })?;
        while !self.list_ends()? {
            if keyed {
                self.item()?;
                self.expect(b" ")?;
            }
            self.skip(depth + 1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(rest: &str) -> Vec<u8> {
        [MAGIC, rest.as_bytes()].concat()
    }

    #[test]
    fn the_list_form() {
        let text = "%(T e N user.anna I 0a1b Q user.anna A %(anna lrswipkxtecdan anyone \"p x\") X ((a) %(k v)) \
                    U ($Forwarded NIL \"a \\\"b\"))\n";
        let header = MailboxHeader::decode(&file(text)).unwrap();
        assert_eq!(header.quotaroot.as_deref(), Some("user.anna"));
        assert_eq!((header.uniqueid.as_str(), header.mbtype.as_deref()), ("0a1b", Some("e")));
        assert_eq!(header.acl, "anna\tlrswipkxtecdan\tanyone\tp x\t");
        assert_eq!(header.flags.len(), MAX_USER_FLAGS);
        assert_eq!(header.flags[0].as_deref(), Some("$Forwarded"));
        assert_eq!((header.flags[1].as_deref(), header.flags[2].as_deref()), (None, Some("a \"b")));
    }

    #[test]
    fn the_line_form() {
        let header =
            MailboxHeader::decode(&file("user.anna\t0a1b\nJunk  $X\nanna\tlrs\t\n")).unwrap();
        assert_eq!(
            (header.quotaroot.as_deref(), header.uniqueid.as_str()),
            (Some("user.anna"), "0a1b")
        );
        assert_eq!((header.flags[0].as_deref(), header.flags[1].as_deref()), (Some("Junk"), None));
        assert_eq!((header.flags[2].as_deref(), header.acl.as_str()), (Some("$X"), "anna\tlrs\t"));

        let header = MailboxHeader::decode(&file("\t0a1b\n\nanna\tlrs\t\n")).unwrap();
        assert_eq!((header.quotaroot, header.flags.iter().flatten().count()), (None, 0));
    }

    #[test]
    fn every_cut_and_flip_is_an_error_or_a_header() {
        let good = file("%(T e N user.anna I 0a1b A %(anna lrs) U (a NIL b))\n");
        for len in 0..good.len() {
            assert!(MailboxHeader::decode(&good[..len]).is_err(), "{len}");
        }
        for at in MAGIC.len()..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                let _ = MailboxHeader::decode(&bad);
            }
        }
    }

    #[test]
    fn hostile_lists_are_bounded() {
        let many = format!("%(U ({}))\n", vec!["a"; 129].join(" "));
        assert_eq!(MailboxHeader::decode(&file(&many)), Err(HeaderError::TooManyFlags));
        let deep = format!("%(X {}a{})\n", "(".repeat(9999), ")".repeat(9999));
        assert!(matches!(MailboxHeader::decode(&file(&deep)), Err(HeaderError::Syntax { .. })));
    }
}
