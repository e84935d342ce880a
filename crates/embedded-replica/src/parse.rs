//! Commands as they arrive: words, numbers and dlist values, read from the wire piece by piece.
//!
//! The size of a command is bounded, so that no peer can fill the memory: each string, the sum of all values that are kept,
//! and the depth of nesting.

use csync::Value;
use cyrus_types::Guid;

use crate::wire::{End, Wire};

/// The longest string: a Sieve script or an annotation.
const STRING_BYTES: u64 = 16 * 1024 * 1024;
/// All values of one command, plus 32 bytes for each: the C client sends a million records in one, which come to half of
/// it.
const COMMAND_BYTES: usize = 2 * 1024 * 1024 * 1024;
/// Lists within maps within lists …
const DEPTH: usize = 16;

/// Reads one command.
pub(crate) struct Parser<'w> {
    pub(crate) wire: &'w mut Wire,
    budget: usize,
}

/// A message file's head.
pub(crate) struct FileHead {
    pub(crate) partition: String,
    pub(crate) guid: Guid,
    pub(crate) size: u64,
}

fn nonsense<T>(what: impl Into<String>) -> Result<T, End> {
    Err(End::Nonsense(what.into()))
}

impl<'w> Parser<'w> {
    pub(crate) fn new(wire: &'w mut Wire) -> Parser<'w> {
        Parser { wire, budget: COMMAND_BYTES }
    }

    fn spend(&mut self, bytes: usize) -> Result<(), End> {
        match self.budget.checked_sub(bytes) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => nonsense("the command is too long"),
        }
    }

    /// Takes this byte, which must be next.
    pub(crate) fn expect(&mut self, wanted: u8) -> Result<(), End> {
        let found = self.wire.byte()?;
        if found == wanted {
            return Ok(());
        }
        nonsense(format!("expected {:?}, found {:?}", char::from(wanted), char::from(found)))
    }

    /// Takes this byte if it is next.
    pub(crate) fn accept(&mut self, wanted: u8) -> Result<bool, End> {
        let found = self.wire.peek()? == wanted;
        if found {
            self.wire.take(1);
        }
        Ok(found)
    }

    /// Takes the end of the line.
    pub(crate) fn end_line(&mut self) -> Result<(), End> {
        self.accept(b'\r')?;
        self.expect(b'\n')
    }

    /// A word: up to a space, a parenthesis or the line's end.
    pub(crate) fn word(&mut self) -> Result<Vec<u8>, End> {
        let mut word = Vec::new();
        loop {
            let some = self.wire.available()?;
            let end = some.iter().position(|b| matches!(b, b' ' | b'(' | b')' | b'\r' | b'\n'));
            let part = some.get(..end.unwrap_or(some.len())).unwrap_or_default();
            if word.len() + part.len() > 64 * 1024 {
                return nonsense("a word is too long");
            }
            word.extend_from_slice(part);
            let taken = part.len();
            self.wire.take(taken);
            if end.is_some() {
                return Ok(word);
            }
        }
    }

    /// A key of a map, and the space behind it.
    pub(crate) fn key(&mut self) -> Result<String, End> {
        let key = self.text()?;
        self.expect(b' ')?;
        Ok(key)
    }

    /// A string in any of its forms.
    pub(crate) fn string(&mut self) -> Result<Vec<u8>, End> {
        let string = match self.wire.peek()? {
            b'"' => self.quoted()?,
            b'{' => self.literal()?,
            _ => self.word()?,
        };
        self.spend(string.len() + 32)?;
        Ok(string)
    }

    /// A string of UTF-8.
    pub(crate) fn text(&mut self) -> Result<String, End> {
        String::from_utf8(self.string()?).or_else(|_| nonsense("a name is not UTF-8"))
    }

    /// A decimal number. Times before 1970 arrive as very large ones.
    pub(crate) fn number(&mut self) -> Result<u64, End> {
        let mut number: u64 = 0;
        let mut digits = 0;
        while self.wire.peek()?.is_ascii_digit() {
            let digit = u64::from(self.wire.byte()? - b'0');
            number = match number.checked_mul(10).and_then(|n| n.checked_add(digit)) {
                Some(number) => number,
                None => return nonsense("a number is too large"),
            };
            digits += 1;
        }
        if digits == 0 { nonsense("expected a number") } else { Ok(number) }
    }

    /// A number of 32 bits.
    pub(crate) fn number32(&mut self) -> Result<u32, End> {
        u32::try_from(self.number()?).or_else(|_| nonsense("a number is too large"))
    }

    /// A message's GUID.
    pub(crate) fn guid(&mut self) -> Result<Guid, End> {
        Guid::from_hex(&self.word()?).or_else(|e| nonsense(e.to_string()))
    }

    fn quoted(&mut self) -> Result<Vec<u8>, End> {
        self.expect(b'"')?;
        let mut string = Vec::new();
        loop {
            match self.wire.byte()? {
                b'"' => return Ok(string),
                b'\\' => string.push(self.wire.byte()?),
                b'\r' | b'\n' => return nonsense("a quoted string has no end"),
                byte => string.push(byte),
            }
            if string.len() > 64 * 1024 {
                return nonsense("a quoted string is too long");
            }
        }
    }

    fn literal(&mut self) -> Result<Vec<u8>, End> {
        self.expect(b'{')?;
        let size = self.number()?;
        if size > STRING_BYTES {
            return nonsense("a literal is too long");
        }
        self.accept(b'+')?;
        self.expect(b'}')?;
        self.end_line()?;
        let mut string = Vec::with_capacity(size as usize);
        self.wire.pass(size, |bytes| string.extend_from_slice(bytes))?;
        Ok(string)
    }

    /// A whole value.
    pub(crate) fn value(&mut self) -> Result<Value, End> {
        self.value_within(DEPTH)
    }

    fn value_within(&mut self, depth: usize) -> Result<Value, End> {
        let Some(depth) = depth.checked_sub(1) else {
            return nonsense("values are nested too deep");
        };
        self.spend(size_of::<Value>())?;
        match self.wire.peek()? {
            b'(' => {
                let mut values = Vec::new();
                self.list(|parser| {
                    values.push(parser.value_within(depth)?);
                    Ok(())
                })?;
                Ok(Value::List(values))
            }
            b'%' => {
                self.wire.take(1);
                let mut entries = Vec::new();
                self.list(|parser| {
                    let key = parser.key()?;
                    entries.push((key, parser.value_within(depth)?));
                    Ok(())
                })?;
                Ok(Value::Map(entries))
            }
            b'"' | b'{' => Ok(Value::Atom(self.string()?)),
            _ => {
                let word = self.string()?;
                Ok(if word == b"NIL" { Value::Nil } else { Value::Atom(word) })
            }
        }
    }

    /// `(item item …)`; `item` takes each item.
    pub(crate) fn list(
        &mut self,
        mut item: impl FnMut(&mut Parser<'w>) -> Result<(), End>,
    ) -> Result<(), End> {
        self.expect(b'(')?;
        if self.accept(b')')? {
            return Ok(());
        }
        loop {
            item(self)?;
            match self.wire.byte()? {
                b' ' => {}
                b')' => return Ok(()),
                found => {
                    return nonsense(format!("expected ' ' or ')', found {:?}", char::from(found)));
                }
            }
        }
    }

    /// `%{partition guid size}` and its line end; the file's bytes come next.
    pub(crate) fn file_head(&mut self) -> Result<FileHead, End> {
        self.expect(b'%')?;
        self.expect(b'{')?;
        let partition = self.text()?;
        self.expect(b' ')?;
        let guid = self.guid()?;
        self.expect(b' ')?;
        let size = self.number()?;
        self.expect(b'}')?;
        self.end_line()?;
        Ok(FileHead { partition, guid, size })
    }
}
