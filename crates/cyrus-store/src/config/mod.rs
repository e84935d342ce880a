//! `imapd.conf`: reading it as Cyrus does, and asking it questions.
//!
//! ```text
//! # a comment                     blank lines and lines that start with '#' are skipped
//! Option-Name: value with spaces  the name is lower-cased, the value trimmed; an empty value is an error
//! long: one \                     a backslash at the end joins the next line
//!   value
//! @include: /etc/other.conf       read in place; the same file twice is an error
//! partition-default: /var/spool   any unknown option is kept; an option given twice is an error
//! sync_client_sync_host: a.b      prefixed by the program's name: beats the plain option
//! ```
//!
//! Source: `lib/libconfig.c` and `lib/imapoptions` of cyrus-imapd 3.6.1 (the table of options is in `options.rs`).
//! Options and values of newer versions are accepted, so that one file can serve several versions: a number may have a
//! unit, and one-of-many values are checked only where this crate uses them.

mod file;
pub(crate) mod options;
pub(crate) mod reader;
pub(crate) mod values;

pub use file::{Config, VirtDomains};

#[cfg(test)]
mod tests;
