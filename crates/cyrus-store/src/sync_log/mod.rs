//! The sync log: a line for every change on the master.
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

/// The file that excludes this user from replication on this channel (3.12: `sync_support.c:sync_skipuser`). The shared
/// mailboxes, without a user id, have one too.
#[must_use]
pub fn skip_file(conf: &Config, channel: Option<&str>, userid: Option<&str>) -> PathBuf {
    let userid = userid.unwrap_or_default();
    channel_dir(conf, channel).join(format!("skipuser-{userid}"))
}
