//! Messages: their text, and what `cyrus.cache` records about it.
//!
//! ```text
//!   a cache record: ten times  length u32, bytes, zeros up to a multiple of 4
//!   ENVELOPE  BODYSTRUCTURE  BODY  SECTION  HEADERS  FROM  TO  CC  BCC  SUBJECT
//!   SECTION of a message of one part, for the message and then for the part:
//!     parts + 1 u32 | header at, its size | content at, its size | charset's length u16, encoding u16 [charset]
//!                   | SHA-1 of the content [20] | size decoded, lines | … | 0 u32
//! ```
//! Source: `imap/message.c` (`message_write_cache`, `message_write_section`) of cyrus-imapd 3.6.1. All messages are plain
//! text in one part, with the same Date, so this little is enough.

use sha1::{Digest, Sha1};

/// About how long a header is, in bytes.
pub(crate) const HEADER_BYTES: usize = 250;
/// The Date of every message, its time and its day: Unix seconds.
const DATE: &str = "Thu, 01 Feb 2024 10:00:00 +0000";
pub(crate) const GMTIME: u32 = 1_706_781_600;
pub(crate) const SENTDATE: u32 = 1_706_745_600;
/// The cache version that is written here.
pub(crate) const CACHE_VERSION: u32 = 11;

const WORDS: [&str; 16] = [
    "river", "meeting", "budget", "invoice", "holiday", "answer", "draft", "please", "tomorrow",
    "again", "about", "attached", "garden", "window", "letter", "summer",
];

/// A message's text and what its record contains.
pub(crate) struct Body {
    pub(crate) text: Vec<u8>,
    pub(crate) header_size: usize,
    pub(crate) lines: usize,
    pub(crate) guid: [u8; 20],
    pub(crate) size: u32,
}

fn subject(number: u64) -> String {
    format!("message {number}")
}

fn from(number: u64) -> (String, String) {
    (format!("Writer {}", number % 10), format!("w{}", number % 10))
}

fn message_id(number: u64) -> String {
    format!("<{number}@store.example>")
}

/// The text of message `number`, with about `length` bytes behind its header.
pub(crate) fn text(number: u64, length: usize) -> Body {
    let (name, local) = from(number);
    let mut text = format!(
        "From: {name} <{local}@example.org>\r\nTo: You <you@example.org>\r\nSubject: {}\r\nDate: {DATE}\r\n\
         Message-ID: {}\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\n",
        subject(number),
        message_id(number)
    )
    .into_bytes();
    let header_size = text.len();
    let mut lines = 0;
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while text.len() < header_size + length {
        for _ in 0..9 {
            // xorshift: fast, and good enough to keep deflate busy.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            text.extend_from_slice(WORDS[(state >> 32) as usize % WORDS.len()].as_bytes());
            text.push(b' ');
        }
        text.extend_from_slice(format!("{state:016x}\r\n").as_bytes());
        lines += 1;
    }
    Body { guid: [0; 20], size: text.len() as u32, text, header_size, lines }
}

/// As [`text`], with its SHA-1.
pub(crate) fn described(number: u64, length: usize) -> Body {
    let mut body = text(number, length);
    body.guid = Sha1::digest(&body.text).into();
    body
}

/// The cache record of message `number`.
pub(crate) fn cache_record(number: u64, body: &Body) -> Vec<u8> {
    let (name, local) = from(number);
    let content = body.text.get(body.header_size..).unwrap_or_default();
    let (size, lines) = (content.len(), body.lines);
    let sender = format!("((\"{name}\" NIL \"{local}\" \"example.org\"))");
    let envelope = format!(
        "(\"{DATE}\" \"{}\" {sender} {sender} {sender} ((\"You\" NIL \"you\" \"example.org\")) NIL NIL NIL \"{}\")",
        subject(number),
        message_id(number)
    );
    let structure =
        format!("(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"utf-8\") NIL NIL \"8BIT\" {size} {lines}");
    let headers = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n";
    let mut record = Vec::new();
    for field in [
        envelope.as_bytes(),
        format!("{structure} NIL NIL NIL NIL)").as_bytes(),
        format!("{structure})").as_bytes(),
        &section(body, content),
        headers.as_bytes(),
        format!("{name} <{local}@example.org>").as_bytes(),
        b"You <you@example.org>",
        b"",
        b"",
        format!("\"{}\"", subject(number)).as_bytes(),
    ] {
        record.extend_from_slice(&(field.len() as u32).to_be_bytes());
        record.extend_from_slice(field);
        record.resize(record.len().next_multiple_of(4), 0);
    }
    record
}

fn section(body: &Body, content: &[u8]) -> Vec<u8> {
    let guid: [u8; 20] = Sha1::digest(content).into();
    let header = body.header_size as u32;
    let mut section = Vec::new();
    let mut put = |words: &[u32]| {
        for word in words {
            section.extend_from_slice(&word.to_be_bytes());
        }
    };
    put(&[2]);
    let size = content.len() as u32;
    let lines = body.lines as u32;
    put(&[0, header, header, size, 0x0000_ffff]);
    section.extend_from_slice(&guid);
    let mut put = |words: &[u32]| {
        for word in words {
            section.extend_from_slice(&word.to_be_bytes());
        }
    };
    put(&[size, lines]);
    put(&[0, header, header, size, 0x0008_0000]);
    section.extend_from_slice(b"utf-8\0\0\0");
    section.extend_from_slice(&guid);
    for word in [size, lines, 0] {
        section.extend_from_slice(&word.to_be_bytes());
    }
    section
}
