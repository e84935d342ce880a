//! From bytes to answers: items, the status that ends them, and continuations.
//!
//! ```text
//!  * NAME value CRLF        Reply::Untagged  (values of one list before it: Reply::Part)
//!  OK text CRLF             Reply::Done      (csync)
//!  S12 OK text CRLF         Reply::Done      (IMAP)
//!  BYE text, * BYE text     Reply::Done      (either)
//!  * Fatal error: text      Reply::Done, a BYE (sync_server's last words)
//!  + text                   Reply::Continuation
//!  * OK text, * CAPABILITY … skipped
//! ```
//! Source: `imap/sync_support.c:sync_parse_response` and `imap/sync_server.c` of cyrus-imapd 3.6.1.
//! The lexer below checks the limits and cuts tokens; this module only builds values from them.

use bytes::{Buf, Bytes, BytesMut};
use cyrus_types::Guid;

use crate::lex::{Lexer, Token};
use crate::limits::{Limits, WireError};
use crate::status::{Status, split_word};
use crate::value::{Value, shorten};

/// Which form of the protocol a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Framing {
    /// The csync port (`sync_server`): no tags.
    Csync,
    /// csync within IMAP (`imapd`): tagged SYNCGET, SYNCAPPLY, SYNCRESTART.
    Imap,
}

/// One untagged line of an answer: `* NAME value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The name after the star.
    pub name: String,
    /// What follows it.
    pub value: Value,
}

/// What a connection receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A value of the list under [`Limits::part_key`]; its line follows later.
    Part(Value),
    /// A line of an answer.
    Untagged(Item),
    /// The end of an answer, or of the connection (BYE).
    Done(Status),
    /// The peer asks for more: the text after `+ `.
    Continuation(Vec<u8>),
}

/// Reads answers from a stream, whatever the sizes of its pieces.
///
/// Call [`decode`](Decoder::decode) until it returns `None`, and again when the buffer has grown. Unused bytes stay in the
/// buffer. After an error the connection can't be used any more.
#[derive(Debug)]
pub struct Decoder {
    framing: Framing,
    limits: Limits,
    state: State,
    lexer: Lexer,
    builder: Builder,
}

#[derive(Debug, Default)]
enum State {
    /// At a line's first byte.
    #[default]
    Start,
    /// After `* `: a name follows.
    Name,
    /// A dlist of this name.
    Value(String),
    /// A status or a continuation.
    Line,
    /// Text that ends the connection, after these words of ours.
    LastWords(&'static str),
    /// Text that is ignored.
    Skipped,
    Failed,
}

impl Decoder {
    /// A decoder at the beginning of a line.
    pub fn new(framing: Framing, limits: Limits) -> Decoder {
        Decoder {
            framing,
            limits,
            state: State::Start,
            lexer: Lexer::default(),
            builder: Builder::default(),
        }
    }

    /// Other limits, from the next byte on: raise them before a GET FULLMAILBOX or GET FETCH.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// How much memory the values of the current line take so far.
    pub fn memory_bytes(&self) -> usize {
        self.builder.memory
    }

    /// Which form of the protocol it reads.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// The next reply, or `None` when `src` does not hold all of it yet.
    ///
    /// # Errors
    /// When the peer breaks the protocol or a limit; every later call fails too.
    pub fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Reply>, WireError> {
        let reply = self.step(src);
        if reply.is_err() {
            self.state = State::Failed;
            self.builder = Builder::default();
        }
        reply
    }

    fn step(&mut self, src: &mut BytesMut) -> Result<Option<Reply>, WireError> {
        loop {
            match &mut self.state {
                State::Start => {
                    self.lexer.start_line();
                    self.state = match (src.first(), src.get(1)) {
                        (Some(b'*'), Some(b' ')) => {
                            src.advance(2);
                            State::Name
                        }
                        (None, _) | (Some(b'*'), None) => return Ok(None),
                        _ => State::Line,
                    };
                }
                State::Name => {
                    let (token, used) = self.lexer.next(src, &self.limits)?;
                    let name = match token {
                        Some(Token::Word(name)) => utf8(name)?,
                        Some(Token::Quoted(name)) => utf8(&name)?,
                        Some(_) => {
                            return Err(WireError::malformed("an answer without a name", src));
                        }
                        None => {
                            src.advance(used);
                            return Ok(None);
                        }
                    };
                    src.advance(used);
                    self.state = after_name(name);
                }
                State::Value(name) => {
                    let value = match self.builder.pull(&mut self.lexer, src, &self.limits)? {
                        None => return Ok(None),
                        Some(Pulled::Part(value)) => return Ok(Some(Reply::Part(value))),
                        Some(Pulled::Whole(value)) => value,
                    };
                    let name = std::mem::take(name);
                    self.state = State::Start;
                    return Ok(Some(Reply::Untagged(Item { name, value })));
                }
                State::LastWords(ours) => {
                    let Some((text, used)) = self.lexer.text(src, &self.limits)? else {
                        return Ok(None);
                    };
                    let line = [ours.as_bytes(), text.strip_prefix(b" ").unwrap_or(text)].concat();
                    src.advance(used);
                    self.state = State::Start;
                    return Ok(Status::decode(None, &line).map(Reply::Done));
                }
                State::Skipped => {
                    let Some((_, used)) = self.lexer.text(src, &self.limits)? else {
                        return Ok(None);
                    };
                    src.advance(used);
                    self.state = State::Start;
                }
                State::Line => {
                    let Some((line, used)) = self.lexer.text(src, &self.limits)? else {
                        return Ok(None);
                    };
                    let reply = decode_line(self.framing, line)?;
                    src.advance(used);
                    self.state = State::Start;
                    return Ok(Some(reply));
                }
                State::Failed => return Err(WireError::AlreadyFailed),
            }
        }
    }
}

/// Untagged lines that are plain text, by their first word; all others are dlists.
fn after_name(name: String) -> State {
    match name.as_str() {
        "BYE" => State::LastWords("BYE "),
        "Fatal" => State::LastWords("BYE Fatal "),
        "OK" | "NO" | "BAD" | "PREAUTH" | "CAPABILITY" | "FLAGS" => State::Skipped,
        // `* 5 EXISTS`: an imapd with a selected mailbox would send this.
        number if number.bytes().all(|b| b.is_ascii_digit()) => State::Skipped,
        _ => State::Value(name),
    }
}

fn decode_line(framing: Framing, line: &[u8]) -> Result<Reply, WireError> {
    if line == b"+" {
        return Ok(Reply::Continuation(Vec::new()));
    }
    if let Some(text) = line.strip_prefix(b"+ ") {
        return Ok(Reply::Continuation(text.to_vec()));
    }
    let (word, rest) = split_word(line);
    let status = match framing {
        Framing::Csync => Status::decode(None, line),
        Framing::Imap if word == b"BYE" => Status::decode(None, line),
        Framing::Imap => Status::decode(Some(word), rest),
    };
    status.map(Reply::Done).ok_or_else(|| WireError::UnexpectedLine { line: shorten(line) })
}

fn utf8(bytes: &[u8]) -> Result<String, WireError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(WireError::malformed("a name that is not UTF-8", bytes)),
    }
}

/// The memory of a value beside its bytes, including its place in a list or map and the allocator's overhead.
const VALUE_BYTES: usize = 2 * size_of::<Value>();

/// A value under construction.
#[derive(Debug, Default)]
struct Builder {
    open: Vec<Open>,
    items: usize,
    /// The memory of the value so far, in bytes.
    memory: usize,
    /// The same when the list whose values are handed out began.
    memory_before_parts: usize,
    root: Option<Value>,
}

/// The result of some tokens.
enum Pulled {
    /// A value that is handed out before its line is complete.
    Part(Value),
    /// A line's value.
    Whole(Value),
}

#[derive(Debug)]
enum Open {
    Map { entries: Vec<(String, Value)>, key: Option<String> },
    List(Vec<Value>),
    File { partition: Option<String>, guid: Option<Guid> },
}

impl Builder {
    /// Takes tokens until the line ends; then the value is complete.
    fn pull(
        &mut self,
        lexer: &mut Lexer,
        src: &mut BytesMut,
        limits: &Limits,
    ) -> Result<Option<Pulled>, WireError> {
        loop {
            let (token, used) = lexer.next(src, limits)?;
            let Some(token) = token else {
                src.advance(used);
                return Ok(None);
            };
            if self.root.is_some() && token != Token::Eol {
                return Err(WireError::malformed("something after the answer's value", src));
            }
            let part = match token {
                Token::Literal(range) => {
                    // Split off without copying: a file may be large.
                    let mut taken = src.split_to(used);
                    taken.advance(range.start);
                    match self.literal(taken.freeze(), limits)? {
                        Some(part) => return Ok(Some(Pulled::Part(part))),
                        None => continue,
                    }
                }
                Token::Word(word) => self.string(word, true, limits)?,
                Token::Quoted(text) => self.string(&text, false, limits)?,
                Token::Map => {
                    self.begin(Open::Map { entries: Vec::new(), key: None }, limits, src)?;
                    None
                }
                Token::List => {
                    self.begin(Open::List(Vec::new()), limits, src)?;
                    None
                }
                Token::FileHead => {
                    self.begin(Open::File { partition: None, guid: None }, limits, src)?;
                    None
                }
                Token::Close => self.end(src, limits)?,
                Token::Eol => {
                    let root = self.root.take();
                    let value =
                        root.ok_or_else(|| WireError::malformed("the line ended too soon", src))?;
                    src.advance(used);
                    *self = Builder::default();
                    return Ok(Some(Pulled::Whole(value)));
                }
            };
            src.advance(used);
            if let Some(part) = part {
                return Ok(Some(Pulled::Part(part)));
            }
        }
    }

    fn string(
        &mut self,
        text: &[u8],
        bare: bool,
        limits: &Limits,
    ) -> Result<Option<Value>, WireError> {
        self.use_memory(text.len(), limits)?;
        match self.open.last_mut() {
            Some(Open::Map { key: key @ None, .. }) => *key = Some(utf8(text)?),
            Some(Open::File { partition: partition @ None, .. }) => *partition = Some(utf8(text)?),
            Some(Open::File { guid: guid @ None, .. }) => {
                let read = Guid::from_hex(text)
                    .map_err(|_| WireError::malformed("not a file's guid", text))?;
                *guid = Some(read);
            }
            Some(Open::File { .. }) => return Err(WireError::malformed("not a file's size", text)),
            _ if bare && text == b"NIL" => return self.add(Value::Nil, limits),
            _ => return self.add(Value::Atom(text.to_vec()), limits),
        }
        Ok(None)
    }

    fn literal(&mut self, data: Bytes, limits: &Limits) -> Result<Option<Value>, WireError> {
        match self.open.last() {
            Some(Open::File { partition: Some(partition), guid: Some(guid) }) => {
                let file = Value::File { partition: partition.clone(), guid: *guid, data };
                self.open.pop();
                self.add(file, limits)
            }
            _ => self.string(&data, false, limits),
        }
    }

    fn begin(&mut self, new: Open, limits: &Limits, near: &[u8]) -> Result<(), WireError> {
        match self.open.last() {
            Some(Open::Map { key: None, .. }) => {
                return Err(WireError::malformed("a map's key must be a string", near));
            }
            Some(Open::File { .. }) => {
                return Err(WireError::malformed("a broken file head", near));
            }
            _ => {}
        }
        if self.open.len() >= limits.depth {
            return Err(WireError::TooDeep { limit: limits.depth });
        }
        self.open.push(new);
        if self.in_parts(limits) {
            self.memory_before_parts = self.memory;
        }
        Ok(())
    }

    fn end(&mut self, near: &[u8], limits: &Limits) -> Result<Option<Value>, WireError> {
        let value = match self.open.pop() {
            Some(Open::Map { entries, key: None }) => Value::Map(entries),
            Some(Open::Map { .. }) => {
                return Err(WireError::malformed("a key without a value", near));
            }
            Some(Open::List(values)) => Value::List(values),
            Some(Open::File { .. }) => {
                return Err(WireError::malformed("a broken file head", near));
            }
            None => return Err(WireError::malformed("a parenthesis too many", near)),
        };
        self.add(value, limits)
    }

    /// Adds a value, or returns it if it is to be handed out.
    fn add(&mut self, value: Value, limits: &Limits) -> Result<Option<Value>, WireError> {
        self.items += 1;
        if self.items > limits.items {
            return Err(WireError::TooManyItems { limit: limits.items });
        }
        self.use_memory(VALUE_BYTES, limits)?;
        if self.in_parts(limits) {
            self.memory = self.memory_before_parts;
            return Ok(Some(value));
        }
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some(Open::List(values)) => values.push(value),
            Some(Open::Map { entries, key }) => match key.take() {
                Some(key) => entries.push((key, value)),
                None => return Err(WireError::malformed("a map's key must be a string", &[])),
            },
            Some(Open::File { .. }) => return Err(WireError::malformed("a broken file head", &[])),
        }
        Ok(None)
    }

    /// Whether the innermost open value is the list whose values are handed out.
    fn in_parts(&self, limits: &Limits) -> bool {
        match self.open.as_slice() {
            [Open::Map { key: Some(key), .. }, Open::List(_)] => {
                limits.part_key == Some(key.as_str())
            }
            _ => false,
        }
    }

    fn use_memory(&mut self, bytes: usize, limits: &Limits) -> Result<(), WireError> {
        self.memory = self.memory.saturating_add(bytes);
        if self.memory > limits.memory_bytes {
            return Err(WireError::TooMuchMemory { limit: limits.memory_bytes });
        }
        Ok(())
    }
}
