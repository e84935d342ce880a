//! Reads log lines, whatever they contain: an invalid line is reported to the caller, never dropped silently.

use std::io::{self, BufRead, Read};

use cyrus_types::{LogEntry, MailboxName};

/// The longest line, in bytes: two names of 490 characters are far from it even in the longest form.
const LONGEST: u64 = 64 * 1024;

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// An entry.
    Entry(LogEntry),
    /// An invalid line.
    Unread {
        /// The line, without its end; if it is too long, its beginning.
        text: Vec<u8>,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// The lines of a log, one after the other.
#[derive(Debug)]
pub struct Lines<R> {
    input: R,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// Reads from here.
    pub fn new(input: R) -> Self {
        Lines { input, line: Vec::new() }
    }

    /// The next logical line with its end, including literals, in `line`. `None` at the end of the log.
    fn read(&mut self) -> io::Result<Option<Result<(), &'static str>>> {
        self.line.clear();
        loop {
            let room = LONGEST - self.line.len() as u64;
            let read = (&mut self.input).take(room).read_until(b'\n', &mut self.line)?;
            if read == 0 && self.line.is_empty() {
                return Ok(None);
            }
            // At the log's end the rest is complete, even if a literal was announced before.
            if read == 0 {
                return Ok(Some(Ok(())));
            }
            if self.line.last() != Some(&b'\n') {
                if self.line.len() as u64 >= LONGEST {
                    skip_line(&mut self.input)?;
                    return Ok(Some(Err("it is too long")));
                }
                // The last line is incomplete; it may still be an entry.
                return Ok(Some(Ok(())));
            }
            let Some(length) = literal_at_end(&self.line) else { return Ok(Some(Ok(()))) };
            let start = self.line.len();
            if (start as u64).saturating_add(length) >= LONGEST {
                return Ok(Some(Err("it has a literal that is too long")));
            }
            (&mut self.input).take(length).read_to_end(&mut self.line)?;
            if self.line.len() as u64 != start as u64 + length {
                return Ok(Some(Err("it ends within a literal")));
            }
        }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let read = match self.read() {
                Ok(None) => return None,
                Ok(Some(read)) => read,
                Err(e) => return Some(Err(e)),
            };
            match read.and_then(|()| parse(&self.line)) {
                Ok(None) => {}
                Ok(Some(entry)) => return Some(Ok(Line::Entry(entry))),
                Err(why) => {
                    let text = without_end(&self.line).to_vec();
                    return Some(Ok(Line::Unread { text, why }));
                }
            }
        }
    }
}

fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let some = input.fill_buf()?;
        if some.is_empty() {
            return Ok(());
        }
        match some.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                input.consume(end + 1);
                return Ok(());
            }
            None => {
                let all = some.len();
                input.consume(all);
            }
        }
    }
}

/// The length of the literal that follows a line's CRLF.
fn literal_at_end(line: &[u8]) -> Option<u64> {
    let line = line.strip_suffix(b"}\r\n")?;
    let line = line.strip_suffix(b"+").unwrap_or(line);
    let open = line.iter().rposition(|byte| *byte == b'{')?;
    // A brace within a quoted name is escaped.
    if open.checked_sub(1).and_then(|before| line.get(before)) != Some(&b' ') {
        return None;
    }
    std::str::from_utf8(line.get(open + 1..)?).ok()?.parse().ok()
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The entry of a logical line; `None` for a blank one.
fn parse(line: &[u8]) -> Result<Option<LogEntry>, &'static str> {
    if without_end(line).is_empty() {
        return Ok(None);
    }
    // A CR before the LF may be the last byte of a literal: only the bytes after the names are the line's end.
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let end = line.iter().position(|byte| *byte == b' ').ok_or("it has no name")?;
    let (verb, mut rest) = line.split_at(end);
    let first = take_name(&mut rest)?;
    let is_end = |rest: &[u8]| rest.is_empty() || rest == b"\r";
    let second = if is_end(rest) { None } else { Some(take_name(&mut rest)?) };
    if !is_end(rest) {
        return Err("it goes on after its names");
    }
    let verb = verb.to_ascii_uppercase();
    let nonempty = |name: String| if name.is_empty() { Err("its name is empty") } else { Ok(name) };
    let mailbox = |name: String| nonempty(name).map(MailboxName::new);
    let second_mailbox =
        |second: Option<String>| second.map(MailboxName::new).ok_or("it lacks its second name");
    Ok(Some(match verb.as_slice() {
        b"ANNOTATION" => LogEntry::Annotation(mailbox(first).ok()),
        b"USER" => LogEntry::User(nonempty(first)?),
        b"UNUSER" => LogEntry::Unuser(nonempty(first)?),
        b"META" | b"SIEVE" => LogEntry::Meta(nonempty(first)?),
        b"APPEND" | b"MAILBOX" | b"DOUBLEMAILBOX" => match second {
            None => LogEntry::Mailbox(mailbox(first)?),
            Some(second) => LogEntry::DoubleMailbox(mailbox(first)?, mailbox(second)?),
        },
        b"RENAME" => LogEntry::Rename(mailbox(first)?, second_mailbox(second)?),
        b"UNMAILBOX" => LogEntry::Unmailbox(mailbox(first)?),
        b"QUOTA" => LogEntry::Quota(nonempty(first)?),
        b"SEEN" => LogEntry::Seen(nonempty(first)?, second_mailbox(second)?),
        b"SUB" | b"UNSUB" => LogEntry::Sub(nonempty(first)?, second_mailbox(second)?),
        _ => return Err("its verb is unknown"),
    }))
}

/// Takes a space and a name off the front.
fn take_name(rest: &mut &[u8]) -> Result<String, &'static str> {
    let after = rest.strip_prefix(b" ").ok_or("something stands where a space should")?;
    let (name, left) = match after.first() {
        Some(b'"') => quoted(after.get(1..).unwrap_or_default())?,
        Some(b'{') => literal(after)?,
        Some(_) => {
            let ends = |b: &u8| matches!(b, b' ' | b'\t' | b'(' | b')' | b'"' | b'\r');
            let end = after.iter().position(ends);
            let (name, left) = after.split_at(end.unwrap_or(after.len()));
            (name.to_vec(), left)
        }
        None => return Err("it lacks a name"),
    };
    *rest = left;
    if name.contains(&0) {
        return Err("a name has a NUL");
    }
    String::from_utf8(name).map_err(|_| "a name is not UTF-8")
}

fn quoted(text: &[u8]) -> Result<(Vec<u8>, &[u8]), &'static str> {
    let mut name = Vec::new();
    let mut at = 0;
    loop {
        let byte = match *text.get(at).ok_or("a quoted name has no end")? {
            b'"' => return Ok((name, text.get(at + 1..).unwrap_or_default())),
            b'\\' => {
                at += 1;
                *text.get(at).ok_or("a quoted name has no end")?
            }
            byte => byte,
        };
        name.push(byte);
        at += 1;
    }
}

fn literal(text: &[u8]) -> Result<(Vec<u8>, &[u8]), &'static str> {
    let bad = "a literal makes no sense";
    let end = text.windows(3).position(|w| w == b"}\r\n").ok_or(bad)?;
    let length = literal_at_end(&[b" ", text.get(..end + 3).unwrap_or_default()].concat());
    let length = usize::try_from(length.ok_or(bad)?).map_err(|_| bad)?;
    let rest = text.get(end + 3..).unwrap_or_default();
    let name = rest.get(..length).ok_or(bad)?;
    Ok((name.to_vec(), rest.get(length..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(text: &[u8]) -> Vec<Line> {
        Lines::new(text).map(Result::unwrap).collect()
    }

    fn entry(text: &str) -> LogEntry {
        match lines(text.as_bytes()).as_slice() {
            [Line::Entry(entry)] => entry.clone(),
            other => panic!("{text:?}: {other:?}"),
        }
    }

    fn why(text: &[u8]) -> &'static str {
        match lines(text).as_slice() {
            [Line::Unread { why, .. }] => why,
            other => panic!("{:?}: {other:?}", String::from_utf8_lossy(text)),
        }
    }

    #[test]
    fn every_verb() {
        let (a, b) = (|| MailboxName::new("user.a"), || MailboxName::new("user.b"));
        assert_eq!(entry("USER anna\n"), LogEntry::User("anna".into()));
        assert_eq!(entry("unuser anna\n"), LogEntry::Unuser("anna".into()));
        assert_eq!(entry("META anna\n"), LogEntry::Meta("anna".into()));
        assert_eq!(entry("SIEVE anna\n"), LogEntry::Meta("anna".into()));
        assert_eq!(entry("APPEND user.a\n"), LogEntry::Mailbox(a()));
        assert_eq!(entry("MAILBOX user.a\r\n"), LogEntry::Mailbox(a()));
        assert_eq!(entry("DOUBLEMAILBOX user.a user.b\n"), LogEntry::DoubleMailbox(a(), b()));
        assert_eq!(entry("RENAME user.a user.b\n"), LogEntry::Rename(a(), b()));
        assert_eq!(entry("UNMAILBOX user.a\n"), LogEntry::Unmailbox(a()));
        assert_eq!(entry("QUOTA user.a\n"), LogEntry::Quota("user.a".into()));
        assert_eq!(entry("ANNOTATION user.a\n"), LogEntry::Annotation(Some(a())));
        assert_eq!(entry("ANNOTATION \"\"\n"), LogEntry::Annotation(None));
        assert_eq!(entry("SEEN anna user.b\n"), LogEntry::Seen("anna".into(), b()));
        assert_eq!(entry("SUB anna user.b\n"), LogEntry::Sub("anna".into(), b()));
        assert_eq!(entry("UNSUB anna user.b\n"), LogEntry::Sub("anna".into(), b()));
    }

    #[test]
    fn every_form_of_a_name() {
        let mailbox = |name: &str| LogEntry::Mailbox(MailboxName::new(name));
        assert_eq!(entry("MAILBOX \"user.a.two words\"\n"), mailbox("user.a.two words"));
        assert_eq!(entry("MAILBOX \"a\\\"b\\\\c\\{5\\}\"\r\n"), mailbox("a\"b\\c{5}"));
        assert_eq!(entry("MAILBOX {6}\r\nuser.a\n"), mailbox("user.a"));
        assert_eq!(entry("MAILBOX {8+}\r\nus\ner \"a\r\n"), mailbox("us\ner \"a"));
        let two = entry("RENAME {6}\r\nuser.a {6+}\r\nuser.b\n");
        assert_eq!(two, LogEntry::Rename(MailboxName::new("user.a"), MailboxName::new("user.b")));
        assert_eq!(entry("MAILBOX user.ü%*\n"), mailbox("user.ü%*"));
        assert_eq!(entry("USER anna"), LogEntry::User("anna".into()), "a torn last line");
    }

    #[test]
    fn what_is_no_entry_is_handed_on() {
        assert_eq!(lines(b"\n\r\n\n"), []);
        assert_eq!(why(b"GREET anna\n"), "its verb is unknown");
        assert_eq!(why(b"USER\n"), "it has no name");
        assert_eq!(why(b"USER \n"), "it lacks a name");
        assert_eq!(why(b"RENAME a\n"), "it lacks its second name");
        assert_eq!(why(b"USER a b c\n"), "it goes on after its names");
        assert_eq!(why(b"MAILBOX \"a\n"), "a quoted name has no end");
        assert_eq!(why(b"MAILBOX \xff\n"), "a name is not UTF-8");
        assert_eq!(why(b"MAILBOX {9}\r\nshort"), "it ends within a literal");
        assert_eq!(why(b"MAILBOX {99999999999}\r\n"), "it has a literal that is too long");
        let most = format!("MAILBOX {{{}}}\r\n", u64::MAX);
        assert_eq!(why(most.as_bytes()), "it has a literal that is too long");
        assert_eq!(why(b"MAILBOX {0}\r\n"), "a literal makes no sense", "the log ends there");
        let long = [b"USER ".as_slice(), &vec![b'x'; 100_000], b"\nUSER anna\n"].concat();
        let [Line::Unread { why, text }, Line::Entry(next)] = &lines(&long)[..] else { panic!() };
        assert_eq!((*why, text.len()), ("it is too long", LONGEST as usize));
        assert_eq!(next, &LogEntry::User("anna".into()));
    }

    #[test]
    fn line_breaks_in_names_are_written_as_literals() {
        let made = LogEntry::Rename(MailboxName::new("a\r\nb"), MailboxName::new("c\nMETA d"));
        assert_eq!(entry(&format!("{made}\n")), made);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(a in "[^\u{0}]{1,20}", b in "[^\u{0}]{1,20}") {
            for made in [
                LogEntry::User(a.clone()),
                LogEntry::Rename(MailboxName::new(a.as_str()), MailboxName::new(b.as_str())),
                LogEntry::Seen(a.clone(), MailboxName::new(b.as_str())),
            ] {
                prop_assert_eq!(entry(&format!("{made}\n")), made);
            }
        }

        #[test]
        fn nonsense_is_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for line in Lines::new(bytes.as_slice()) {
                line.unwrap();
            }
        }
    }
}
