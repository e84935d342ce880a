//! The sync log: a line for everything that changed on the master.
//!
//! ```text
//! VERB SP name [SP name] [CR] LF
//!
//! USER u            all of a user             MAILBOX m        a mailbox (APPEND m: the same)
//! UNUSER u          a user was removed        DOUBLEMAILBOX a b  messages went from one to another
//! META u (SIEVE u)  what is not mailboxes     RENAME a b       a mailbox has another name
//! SEEN u m          seen state                UNMAILBOX m      a mailbox was deleted
//! SUB u m, UNSUB u m  a subscription          QUOTA r, ANNOTATION m
//! ```
//! Names are internal; a name is an atom, `"quoted \" with backslashes"`, or a literal `{5}CRLF…`. The file is
//! `configdirectory/sync/log`, or `sync/CHANNEL/log`, and `log-run` beside it is what a replicator has taken over.
//! Source: `imap/sync_log.c`, `imap/sync_log.h`, `imap/sync_support.c` (sync_do_reader) of cyrus-imapd 3.6.1.

mod claim;
mod file;
mod logging;
mod parse;

use std::fmt;
use std::path::PathBuf;

use crate::config::Config;

pub use claim::{Claim, Claimed, Rival};
pub use file::{LogFile, RunFile};
pub use logging::Logging;
pub use parse::{Line, Lines};

/// The folder of a channel's log, or of the log of no channel.
fn channel_dir(conf: &Config, channel: Option<&str>) -> PathBuf {
    let sync = conf.config_dir().join("sync");
    channel.map_or(sync.clone(), |channel| sync.join(channel))
}

/// The file whose being there means that this user is not to be replicated on this channel (3.12:
/// `sync_support.c:sync_skipuser`). The shared mailboxes, without a user id, have one too.
#[must_use]
pub fn skip_file(conf: &Config, channel: Option<&str>, userid: &str) -> PathBuf {
    channel_dir(conf, channel).join(format!("skipuser-{userid}"))
}

/// One line's meaning.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Entry {
    /// All of this user.
    User(String),
    /// This user was removed.
    Unuser(String),
    /// This user's subscriptions, seen state and scripts.
    Meta(String),
    /// This mailbox; of APPEND too.
    Mailbox(String),
    /// Messages went from the first mailbox to the second.
    DoubleMailbox(String, String),
    /// A mailbox of the first name has the second one now.
    Rename(String, String),
    /// This mailbox was deleted.
    Unmailbox(String),
    /// The limits of this quota root.
    Quota(String),
    /// The annotations of this mailbox; of the server if empty.
    Annotation(String),
    /// A user's seen state of a mailbox.
    Seen(String, String),
    /// A user's subscription to a mailbox, made or ended.
    Sub(String, String),
}

impl Entry {
    /// The line's verb and names.
    fn parts(&self) -> (&'static str, &str, Option<&str>) {
        match self {
            Entry::User(user) => ("USER", user, None),
            Entry::Unuser(user) => ("UNUSER", user, None),
            Entry::Meta(user) => ("META", user, None),
            Entry::Mailbox(name) => ("MAILBOX", name, None),
            Entry::DoubleMailbox(from, to) => ("DOUBLEMAILBOX", from, Some(to)),
            Entry::Rename(from, to) => ("RENAME", from, Some(to)),
            Entry::Unmailbox(name) => ("UNMAILBOX", name, None),
            Entry::Quota(root) => ("QUOTA", root, None),
            Entry::Annotation(name) => ("ANNOTATION", name, None),
            Entry::Seen(user, name) => ("SEEN", user, Some(name)),
            Entry::Sub(user, name) => ("SUB", user, Some(name)),
        }
    }
}

/// The line without its end, as Cyrus would write it.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, first, second) = self.parts();
        write!(f, "{verb} {}", Quoted(first))?;
        second.map_or(Ok(()), |second| write!(f, " {}", Quoted(second)))
    }
}

/// A name as `sync_quote_name` writes it.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
