//! A streaming dlist writer: its output is byte for byte what Cyrus would send.
//!
//! ```text
//!  string   empty                                     ""
//!           1-1023 bytes, none of  >0x7f <0x1f DEL
//!             SP { ( ) " % * \ , and not NIL          as it is
//!           shorter than 1024, none of
//!             NUL CR LF " % \ >0x7f                   "quoted"
//!           else                                      {n+}CRLF bytes  ({n} in a server's answers)
//!  number   decimal, 64 bits, no sign (a negative date wraps)
//!  hex      16 lower-case digits
//!  guid     40 lower-case digits
//!  file     %{partition guid size}CRLF, then the bytes, which the caller adds
//! ```
//! Source: `imap/dlist.c:dlist_print`, `lib/prot.c:prot_printastring`, `lib/imparse.c:imparse_isatom`
//! of cyrus-imapd 3.6.1. `0x1f` counts as an atom character there, by the comparison it uses.

use cyrus_types::{Guid, ModSeq, Uid, UidValidity};

use crate::value::Value;

/// Strings this long are always literals (`MAXQSTRING` and the limit in `imparse_isnatom`).
const QUOTED_LIMIT: usize = 1024;

/// Appends dlist values to a buffer, with spaces between them.
///
/// The buffer may be emptied between two writers: [`DlistWriter::resume`] goes on after a value.
#[derive(Debug)]
pub struct DlistWriter<'a> {
    out: &'a mut Vec<u8>,
    need_space: bool,
    literals: Literals,
}

/// How literals are announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Literals {
    /// `{n+}`: the sender of a command does not wait.
    Client,
    /// `{n}`: Cyrus' servers print this in their answers, on the csync port too.
    Server,
}

impl<'a> DlistWriter<'a> {
    /// Starts where no space is wanted: after `APPLY `, `%(` or `(`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        DlistWriter { out, need_space: false, literals: Literals::Client }
    }

    /// Goes on after a key or value.
    pub fn resume(out: &'a mut Vec<u8>) -> Self {
        DlistWriter { out, need_space: true, literals: Literals::Client }
    }

    /// Writes as a server does in its answers: literals are `{n}` instead of `{n+}`. Everything else is the same, so lines
    /// can be compared with a server's.
    #[must_use]
    pub fn as_server(mut self) -> Self {
        self.literals = Literals::Server;
        self
    }

    /// A whole value, as Cyrus would print what it has read: strings that begin with a backslash
    /// are flags, and a file's bytes follow its head.
    pub fn value(&mut self, value: &Value) -> &mut Self {
        match value {
            Value::Nil => self.nil(),
            Value::Atom(text) if text.starts_with(b"\\") && is_flag(text) => self.raw(text),
            Value::Atom(text) => self.atom(text),
            Value::Map(entries) => {
                self.map_begin();
                for (key, value) in entries {
                    self.atom(key).value(value);
                }
                self.map_end()
            }
            Value::List(values) => {
                self.list_begin();
                for value in values {
                    self.value(value);
                }
                self.list_end()
            }
            Value::File { partition, guid, data } => {
                self.file_head(partition, guid, data.len() as u64);
                self.out.extend_from_slice(data);
                self
            }
        }
    }

    /// A key, which must be a word of the protocol itself and is written as it is; the next call writes its value.
    pub fn key(&mut self, key: &'static str) -> &mut Self {
        self.raw(key.as_bytes())
    }

    /// A string, in the shortest form that can hold it. Bytes with a NUL become a literal.
    pub fn atom(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        self.space();
        put_string(self.out, text.as_ref(), self.literals);
        self
    }

    /// Binary data (`DL_BUF`): the same forms as a string.
    pub fn amap(&mut self, data: &[u8]) -> &mut Self {
        self.atom(data)
    }

    /// A flag, written as it is: `\Seen`, `$Forwarded`.
    pub fn flag(&mut self, flag: &str) -> &mut Self {
        self.raw(flag.as_bytes())
    }

    /// A decimal number.
    pub fn num(&mut self, number: u64) -> &mut Self {
        self.space();
        put_num(self.out, number);
        self
    }

    /// A UID, in decimal.
    pub fn uid(&mut self, uid: Uid) -> &mut Self {
        self.num(uid.0.into())
    }

    /// A modseq, in decimal.
    pub fn modseq(&mut self, modseq: ModSeq) -> &mut Self {
        self.num(modseq.0)
    }

    /// A UIDVALIDITY, in decimal.
    pub fn uidvalidity(&mut self, uidvalidity: UidValidity) -> &mut Self {
        self.num(uidvalidity.0.into())
    }

    /// A time in Unix seconds; before 1970 it is written as its unsigned 64-bit pattern, as Cyrus does.
    pub fn date(&mut self, seconds: i64) -> &mut Self {
        self.num(seconds as u64)
    }

    /// Sixteen hexadecimal digits.
    pub fn hex64(&mut self, number: u64) -> &mut Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [0u8; 16];
        for (place, digit) in hex.iter_mut().rev().enumerate() {
            *digit = DIGITS[(number >> (4 * place)) as usize & 15];
        }
        self.raw(&hex)
    }

    /// A guid's forty digits.
    pub fn guid(&mut self, guid: &Guid) -> &mut Self {
        self.raw(&guid.to_hex())
    }

    /// `NIL`.
    pub fn nil(&mut self) -> &mut Self {
        self.raw(b"NIL")
    }

    /// Opens a map.
    pub fn map_begin(&mut self) -> &mut Self {
        self.open(b"%(")
    }

    /// Closes a map.
    pub fn map_end(&mut self) -> &mut Self {
        self.close()
    }

    /// Opens a list.
    pub fn list_begin(&mut self) -> &mut Self {
        self.open(b"(")
    }

    /// Closes a list.
    pub fn list_end(&mut self) -> &mut Self {
        self.close()
    }

    /// A file's head. Exactly `size` bytes must follow before anything else is written.
    pub fn file_head(&mut self, partition: &str, guid: &Guid, size: u64) -> &mut Self {
        self.space();
        self.out.extend_from_slice(b"%{");
        put_string(self.out, partition.as_bytes(), self.literals);
        self.out.push(b' ');
        self.out.extend_from_slice(&guid.to_hex());
        self.out.push(b' ');
        put_num(self.out, size);
        self.out.extend_from_slice(b"}\r\n");
        self
    }

    /// Ends the line.
    pub fn end_line(&mut self) {
        self.out.extend_from_slice(b"\r\n");
        self.need_space = false;
    }

    /// How many bytes wait in the buffer, for callers that empty it by size.
    pub fn buffered(&self) -> usize {
        self.out.len()
    }

    fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.space();
        self.out.extend_from_slice(bytes);
        self
    }

    fn open(&mut self, bytes: &[u8]) -> &mut Self {
        self.raw(bytes);
        self.need_space = false;
        self
    }

    fn close(&mut self) -> &mut Self {
        self.out.push(b')');
        self.need_space = true;
        self
    }

    fn space(&mut self) {
        if self.need_space {
            self.out.push(b' ');
        }
        self.need_space = true;
    }
}

/// The choice of `prot_printastring`, and a literal for text that a C string can't hold.
pub(crate) fn put_string(out: &mut Vec<u8>, text: &[u8], literals: Literals) {
    if text.is_empty() {
        out.extend_from_slice(b"\"\"");
        return;
    }
    // The forms that all of its bytes allow.
    let forms = if text.len() < QUOTED_LIMIT {
        text.iter().fold(ATOM | QUOTED, |forms, byte| forms & FORMS[usize::from(*byte)])
    } else {
        0
    };
    if forms & ATOM != 0 && text != b"NIL" {
        out.extend_from_slice(text);
    } else if forms & QUOTED != 0 {
        out.push(b'"');
        out.extend_from_slice(text);
        out.push(b'"');
    } else {
        out.push(b'{');
        put_num(out, text.len() as u64);
        out.extend_from_slice(if literals == Literals::Client { b"+}\r\n" } else { b"}\r\n" });
        out.extend_from_slice(text);
    }
}

/// Decimal digits, without the formatting machinery.
pub(crate) fn put_num(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0u8; 20];
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        used += 1;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[20 - used..]);
}

/// The byte is allowed in an atom.
const ATOM: u8 = 1;
/// The byte is allowed in a quoted string.
const QUOTED: u8 = 2;
/// What each byte is allowed in.
const FORMS: [u8; 256] = {
    let mut forms = [0; 256];
    let mut byte = 0u8;
    while byte < 0x80 {
        let atom = !matches!(
            byte,
            0..=0x1e | 0x7f | b' ' | b'{' | b'(' | b')' | b'"' | b'%' | b'*' | b'\\'
        );
        let quoted = !matches!(byte, 0 | b'\r' | b'\n' | b'"' | b'%' | b'\\');
        forms[byte as usize] = if atom { ATOM } else { 0 } | if quoted { QUOTED } else { 0 };
        byte += 1;
    }
    forms
};

/// Whether a flag can be written as it is and be read back as one word.
fn is_flag(text: &[u8]) -> bool {
    !text.iter().any(|b| matches!(b, 0..=b' ' | b'(' | b')' | b'"' | 0x7f..))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: impl AsRef<[u8]>) -> String {
        let mut out = Vec::new();
        DlistWriter::new(&mut out).atom(text);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn strings_take_the_form_that_cyrus_would_choose() {
        assert_eq!(string(""), "\"\"");
        assert_eq!(string("user.anna"), "user.anna");
        assert_eq!(string("a]}b'&~"), "a]}b'&~");
        assert_eq!(string("\x1f"), "\x1f", "0x1f is an atom character");
        assert_eq!(string("NIL"), "\"NIL\"");
        assert_eq!(string("nil"), "nil");
        assert_eq!(string("two words"), "\"two words\"");
        assert_eq!(string("anna\tlrs\t"), "\"anna\tlrs\t\"");
        assert_eq!(string("a(b)*{c}"), "\"a(b)*{c}\"");
        assert_eq!(string("\x7f"), "\"\x7f\"");
        assert_eq!(string("50%"), "{3+}\r\n50%");
        assert_eq!(string("a\"b"), "{3+}\r\na\"b");
        assert_eq!(string("a\\b"), "{3+}\r\na\\b");
        assert_eq!(string("a\r\nb"), "{4+}\r\na\r\nb");
        assert_eq!(string("ü"), "{2+}\r\nü");
        assert_eq!(string("a\0b"), "{3+}\r\na\0b");
        assert_eq!(string("x".repeat(1023)), "x".repeat(1023));
        assert_eq!(string("x".repeat(1024)), format!("{{1024+}}\r\n{}", "x".repeat(1024)));
        assert_eq!(string(" ".repeat(1023)), format!("\"{}\"", " ".repeat(1023)));
        assert_eq!(string(" ".repeat(1024)), format!("{{1024+}}\r\n{}", " ".repeat(1024)));
    }

    #[test]
    fn numbers_hex_guids_dates() {
        let mut out = Vec::new();
        let mut writer = DlistWriter::new(&mut out);
        writer.num(0).num(9).num(10).num(u64::MAX).date(-1).date(1700000000);
        writer.hex64(0x1a2b).hex64(u64::MAX).guid(&Guid([0xab; 20])).nil().flag("\\Seen");
        let expected = format!(
            "0 9 10 {0} {0} 1700000000 0000000000001a2b ffffffffffffffff {1} NIL \\Seen",
            u64::MAX,
            "ab".repeat(20)
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn spaces_stand_between_things_only() {
        let mut out = Vec::new();
        let mut writer = DlistWriter::new(&mut out);
        writer.key("A").map_begin().key("B").list_begin().list_end();
        writer
            .key("C")
            .list_begin()
            .map_begin()
            .map_end()
            .map_begin()
            .map_end()
            .list_end()
            .map_end();
        writer.end_line();
        assert_eq!(out, b"A %(B () C (%() %()))\r\n");
    }

    #[test]
    fn a_drained_buffer_is_resumed() {
        let mut out = Vec::new();
        DlistWriter::new(&mut out).key("A").list_begin().num(1);
        let mut sent = std::mem::take(&mut out);
        DlistWriter::resume(&mut out).num(2).list_end();
        sent.append(&mut out);
        assert_eq!(sent, b"A (1 2)");
    }

    #[test]
    fn files_have_a_head_of_their_own() {
        let mut out = Vec::new();
        let mut writer = DlistWriter::new(&mut out);
        writer.key("MESSAGE").list_begin().file_head("default", &Guid::NULL, 3);
        out.extend_from_slice(b"abc");
        DlistWriter::resume(&mut out).file_head("two words", &Guid::NULL, 0).list_end();
        let zeros = "0".repeat(40);
        let expected =
            format!("MESSAGE (%{{default {zeros} 3}}\r\nabc %{{\"two words\" {zeros} 0}}\r\n)");
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
