//! The bounded framer: cuts the stream into dlist tokens, and examines no byte twice.
//!
//! ```text
//!  * MAILBOX %(UNIQUEID abc ACL "anna lrs" X {3+}CRLF … FLAGS (\Seen))CRLF
//!    Word    Map Word   Word ..  Quoted   ..  Literal  ..  List Word CloseClose Eol
//!  %{default 0123… 42}CRLF…   FileHead Word Word Literal
//! ```
//! A token is returned only when all of it has arrived; until then its bytes stay in the caller's buffer and only the
//! position in them is remembered. Quoted strings are unescaped here.
//!
//! Source: `imap/dlist.c:dlist_parse`, `imap/imapparse.c:getxstring` of cyrus-imapd 3.6.1. Literals
//! may say `{n}` or `{n+}`: imapd and sync_server differ.

use std::borrow::Cow;
use std::ops::Range;

use crate::limits::{Limits, WireError};

/// The longest literal head that is accepted: `{18446744073709551615+}CRLF`.
const HEAD_BYTES: usize = 25;

/// A piece of a dlist. Ranges are positions in the bytes given to [`Lexer::next`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// An atom; `NIL` is one.
    Word(&'a [u8]),
    /// A quoted string, without quotes and backslashes.
    Quoted(Cow<'a, [u8]>),
    /// A literal's or a file's bytes.
    Literal(Range<usize>),
    /// `%(`
    Map,
    /// `(`
    List,
    /// `%{`: partition, guid and the bytes follow.
    FileHead,
    /// `)`
    Close,
    /// The line's end.
    Eol,
}

/// What is known about the bytes ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Ahead {
    /// Nothing yet: between tokens.
    #[default]
    Unknown,
    /// An atom; this many bytes were examined.
    Word(usize),
    /// A quoted string; this many bytes were examined, whether the next one is escaped, whether there are escapes.
    Quoted { seen: usize, escape: bool, escapes: bool },
    /// This many bytes of a literal.
    Literal(usize),
    /// A text line; this many bytes were examined.
    Text(usize),
}

/// Where in a `%{partition guid size}` head the lexer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum FileField {
    #[default]
    None,
    Partition,
    Guid,
    Size,
}

/// The state between two calls.
#[derive(Debug, Default)]
pub(crate) struct Lexer {
    ahead: Ahead,
    file: FileField,
    line_used: usize,
    literal_used: u64,
}

impl Lexer {
    /// Forgets the line's counts; call at the beginning of a line.
    pub(crate) fn start_line(&mut self) {
        *self = Lexer::default();
    }

    /// The next token of `src` and how many bytes it consumed, including blanks before it. `Ok(None)` if more bytes are
    /// needed; the first `usize` bytes are consumed in any case.
    pub(crate) fn next<'a>(
        &mut self,
        src: &'a [u8],
        limits: &Limits,
    ) -> Result<(Option<Token<'a>>, usize), WireError> {
        let blanks = match self.ahead {
            Ahead::Unknown => src.iter().take_while(|b| is_blank(**b)).count(),
            _ => 0,
        };
        let src = &src[blanks..];
        self.use_line(blanks, limits)?;
        let (token, used) = match self.ahead {
            Ahead::Unknown => self.begin(src, limits)?,
            Ahead::Word(seen) => self.word(src, seen, limits)?,
            Ahead::Quoted { seen, escape, escapes } => {
                self.quoted(src, seen, escape, escapes, limits)?
            }
            Ahead::Literal(size) => self.literal(src, size),
            // Only text() leaves this state, and a line is never read in both ways.
            Ahead::Text(_) => return Err(WireError::AlreadyFailed),
        };
        let token = match token {
            // Positions count from the caller's first byte.
            Some(Token::Literal(range)) => {
                Some(Token::Literal(range.start + blanks..range.end + blanks))
            }
            other => other,
        };
        Ok((token, used + blanks))
    }

    /// A whole line that is not a dlist, without its end; and how many bytes it consumed.
    pub(crate) fn text<'a>(
        &mut self,
        src: &'a [u8],
        limits: &Limits,
    ) -> Result<Option<(&'a [u8], usize)>, WireError> {
        let seen = if let Ahead::Text(seen) = self.ahead { seen } else { 0 };
        let Some(end) = src.iter().skip(seen).position(|b| *b == b'\n') else {
            self.use_line(src.len() - seen, limits)?;
            check_token(src.len(), limits)?;
            self.ahead = Ahead::Text(src.len());
            return Ok(None);
        };
        self.use_line(end, limits)?;
        check_token(seen + end, limits)?;
        self.ahead = Ahead::Unknown;
        let line = &src[..seen + end];
        Ok(Some((line.strip_suffix(b"\r").unwrap_or(line), seen + end + 1)))
    }

    fn begin<'a>(
        &mut self,
        src: &'a [u8],
        limits: &Limits,
    ) -> Result<(Option<Token<'a>>, usize), WireError> {
        let Some(first) = src.first() else {
            return Ok((None, 0));
        };
        if self.file == FileField::Size {
            return self.file_size(src, limits);
        }
        let second = src.get(1);
        let (token, used) = match (first, second) {
            (b'\n', _) => (Token::Eol, 1),
            (b'\r', Some(b'\n')) => (Token::Eol, 2),
            (b'\r', Some(_)) => return Err(WireError::malformed("a carriage return alone", src)),
            (b'(', _) => (Token::List, 1),
            (b')', _) => (Token::Close, 1),
            (b'%', Some(b'(')) => (Token::Map, 2),
            (b'%', Some(b'{')) if self.file == FileField::None => {
                self.file = FileField::Partition;
                (Token::FileHead, 2)
            }
            (b'%', Some(_)) => {
                return Err(WireError::malformed("neither a map nor a file after %", src));
            }
            (b'\r' | b'%', None) => return Ok((None, 0)),
            (b'{', _) => return self.literal_head(src, limits),
            (b'"', _) => return self.quoted(src, 1, false, false, limits),
            _ => return self.word(src, 0, limits),
        };
        self.use_line(used, limits)?;
        Ok((Some(token), used))
    }

    fn word<'a>(
        &mut self,
        src: &'a [u8],
        seen: usize,
        limits: &Limits,
    ) -> Result<(Option<Token<'a>>, usize), WireError> {
        let Some(more) = src[seen..].iter().position(|b| ends_word(*b)) else {
            self.use_line(src.len() - seen, limits)?;
            check_token(src.len(), limits)?;
            self.ahead = Ahead::Word(src.len());
            return Ok((None, 0));
        };
        self.use_line(more, limits)?;
        check_token(seen + more, limits)?;
        self.ahead = Ahead::Unknown;
        self.next_file_field();
        Ok((Some(Token::Word(&src[..seen + more])), seen + more))
    }

    fn quoted<'a>(
        &mut self,
        src: &'a [u8],
        seen: usize,
        mut escape: bool,
        mut escapes: bool,
        limits: &Limits,
    ) -> Result<(Option<Token<'a>>, usize), WireError> {
        let mut at = seen;
        for byte in &src[seen..] {
            at += 1;
            match byte {
                _ if escape => escape = false,
                b'\\' => (escape, escapes) = (true, true),
                b'\r' | b'\n' => {
                    self.use_line(at - seen, limits)?;
                    check_token(at, limits)?;
                    return Err(WireError::malformed("a quoted string without an end", src));
                }
                b'"' => {
                    self.use_line(at - seen, limits)?;
                    check_token(at, limits)?;
                    self.ahead = Ahead::Unknown;
                    self.next_file_field();
                    let inside = &src[1..at - 1];
                    let text =
                        if escapes { Cow::Owned(unescape(inside)) } else { Cow::Borrowed(inside) };
                    return Ok((Some(Token::Quoted(text)), at));
                }
                _ => {}
            }
        }
        self.use_line(at - seen, limits)?;
        check_token(at, limits)?;
        self.ahead = Ahead::Quoted { seen: at, escape, escapes };
        Ok((None, 0))
    }

    /// `{n}CRLF` or `{n+}CRLF`. It is short, so it may be examined again when it arrives in pieces.
    fn literal_head<'a>(
        &mut self,
        src: &'a [u8],
        limits: &Limits,
    ) -> Result<(Option<Token<'a>>, usize), WireError> {
        self.head(src, 1, limits)
    }

    /// The rest of a file's head: `n}CRLF`.
    fn file_size<'a>(
        &mut self,
        src: &'a [u8],
        limits: &Limits,
    ) -> Result<(Option<Token<'a>>, usize), WireError> {
        self.head(src, 0, limits)
    }

    fn head<'a>(
        &mut self,
        src: &'a [u8],
        skip: usize,
        limits: &Limits,
    ) -> Result<(Option<Token<'a>>, usize), WireError> {
        let Some(end) = src.iter().take(HEAD_BYTES).position(|b| *b == b'\n') else {
            if src.len() < HEAD_BYTES {
                return Ok((None, 0));
            }
            return Err(WireError::malformed("not a literal's length", src));
        };
        let head = &src[skip..end];
        let head = head.strip_suffix(b"\r").unwrap_or(head);
        let size = head
            .strip_suffix(b"}")
            .map(|digits| digits.strip_suffix(b"+").unwrap_or(digits))
            .filter(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
            .and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u64>().ok())
            .ok_or_else(|| WireError::malformed("not a literal's length", src))?;
        self.use_line(end + 1, limits)?;
        self.literal_used = self.literal_used.saturating_add(size);
        if self.literal_used > limits.literal_bytes as u64 {
            let announced = self.literal_used;
            return Err(WireError::LiteralTooLong { announced, limit: limits.literal_bytes });
        }
        // In bounds: not above a limit that is itself a usize.
        let size = size as usize;
        check_token(size, limits)?;
        if self.file == FileField::Size {
            self.file = FileField::None;
        } else {
            self.next_file_field();
        }
        let (token, used) = self.literal(&src[end + 1..], size);
        let token = match token {
            Some(Token::Literal(range)) => {
                Some(Token::Literal(range.start + end + 1..range.end + end + 1))
            }
            other => other,
        };
        Ok((token, used + end + 1))
    }

    fn literal<'a>(&mut self, src: &'a [u8], size: usize) -> (Option<Token<'a>>, usize) {
        if src.len() < size {
            self.ahead = Ahead::Literal(size);
            return (None, 0);
        }
        self.ahead = Ahead::Unknown;
        (Some(Token::Literal(0..size)), size)
    }

    fn next_file_field(&mut self) {
        self.file = match self.file {
            FileField::Partition => FileField::Guid,
            FileField::Guid => FileField::Size,
            other => other,
        };
    }

    fn use_line(&mut self, bytes: usize, limits: &Limits) -> Result<(), WireError> {
        self.line_used = self.line_used.saturating_add(bytes);
        if self.line_used > limits.line_bytes {
            return Err(WireError::LineTooLong { limit: limits.line_bytes });
        }
        Ok(())
    }
}

fn check_token(bytes: usize, limits: &Limits) -> Result<(), WireError> {
    if bytes > limits.token_bytes {
        return Err(WireError::ValueTooLong { limit: limits.token_bytes });
    }
    Ok(())
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0b | 0x0c)
}

fn ends_word(byte: u8) -> bool {
    is_blank(byte) || matches!(byte, b'\r' | b'\n' | b'(' | b')' | b'"')
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        out.push(if *byte == b'\\' { *bytes.next().unwrap_or(byte) } else { *byte });
    }
    out
}
