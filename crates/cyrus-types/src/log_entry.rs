//! One line of the sync log, as a value.
//!
//! Source: `imap/sync_log.c` (sync_quote_name, sync_log_base) of cyrus-imapd 3.6.1.

use std::fmt;

use crate::mailbox_name::MailboxName;

/// The meaning of one line.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LogEntry {
    /// Everything of this user.
    User(String),
    /// This user was removed.
    Unuser(String),
    /// This user's subscriptions, seen state and scripts.
    Meta(String),
    /// This mailbox; also for APPEND.
    Mailbox(MailboxName),
    /// Messages were copied or moved from the first mailbox to the second.
    DoubleMailbox(MailboxName, MailboxName),
    /// A mailbox with the first name now has the second.
    Rename(MailboxName, MailboxName),
    /// This mailbox was deleted.
    Unmailbox(MailboxName),
    /// The limits of this quota root.
    Quota(String),
    /// The annotations of this mailbox; of the server if there is none.
    Annotation(Option<MailboxName>),
    /// A user's seen state of a mailbox.
    Seen(String, MailboxName),
    /// A user's subscription to a mailbox, added or removed.
    Sub(String, MailboxName),
}

impl LogEntry {
    /// The line's verb and names.
    fn parts(&self) -> (&'static str, &str, Option<&str>) {
        match self {
            LogEntry::User(user) => ("USER", user, None),
            LogEntry::Unuser(user) => ("UNUSER", user, None),
            LogEntry::Meta(user) => ("META", user, None),
            LogEntry::Mailbox(name) => ("MAILBOX", name.as_str(), None),
            LogEntry::DoubleMailbox(from, to) => {
                ("DOUBLEMAILBOX", from.as_str(), Some(to.as_str()))
            }
            LogEntry::Rename(from, to) => ("RENAME", from.as_str(), Some(to.as_str())),
            LogEntry::Unmailbox(name) => ("UNMAILBOX", name.as_str(), None),
            LogEntry::Quota(root) => ("QUOTA", root, None),
            LogEntry::Annotation(name) => {
                ("ANNOTATION", name.as_ref().map_or("", MailboxName::as_str), None)
            }
            LogEntry::Seen(user, name) => ("SEEN", user, Some(name.as_str())),
            LogEntry::Sub(user, name) => ("SUB", user, Some(name.as_str())),
        }
    }
}

/// The line without its end, as Cyrus would write it.
impl fmt::Display for LogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, first, second) = self.parts();
        write!(f, "{verb} {}", Quoted(first))?;
        second.map_or(Ok(()), |second| write!(f, " {}", Quoted(second)))
    }
}

/// A name as `sync_quote_name` writes it; one with line breaks, which that refuses, as a literal.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No mailbox of Cyrus has such a name, but the log may have been written by other software.
        if self.0.contains(['\r', '\n']) {
            return write!(f, "{{{}+}}\r\n{}", self.0.len(), self.0);
        }
        let special = |c: char| matches!(c, '\\' | '"' | '{' | '}' | ' ' | '\t' | '(' | ')');
        if !self.0.is_empty() && !self.0.contains(special) {
            return f.write_str(self.0);
        }
        f.write_str("\"")?;
        for c in self.0.chars() {
            if matches!(c, '\\' | '"' | '{' | '}') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        f.write_str("\"")
    }
}
