//! The spans that log lines carry: user, mailbox, connection, channel.
//!
//! ```text
//!   channel ── user ── mailbox ── (a command, logged with its connection by who reads the answer)
//!      └────── connection
//! ```
//! A span does not travel with a message between actors or to a thread: the code that starts work for a user enters one,
//! and passes it on to threads and to a connection's queue. Only the lines of -l have no span: they are exactly the C
//! client's lines, and name their object themselves.

use cyrus_types::{MailboxName, Owner};
use tracing::field::Empty;
use tracing::{Span, info_span};

/// The target of lines that syslog gets at level notice, which [`tracing`] lacks; they are logged at level info.
pub const NOTICE: &str = "notice";

/// Everything on one channel; a channel without a name adds nothing.
pub(crate) fn channel(name: Option<&str>) -> Span {
    with_channel(info_span!("channel", channel = Empty), name)
}

/// Everything for one user.
pub(crate) fn user(owner: &Owner, channel: Option<&str>) -> Span {
    with_channel(info_span!("user", user = owner.name(), channel = Empty), channel)
}

/// Work on one of the user's mailboxes.
pub(crate) fn mailbox(name: &MailboxName) -> Span {
    info_span!("mailbox", mailbox = name.as_str())
}

/// Events of a connection.
pub(crate) fn connection(number: u64, channel: Option<&str>) -> Span {
    with_channel(info_span!("connection", connection = number, channel = Empty), channel)
}

fn with_channel(span: Span, channel: Option<&str>) -> Span {
    if let Some(channel) = channel {
        span.record("channel", channel);
    }
    span
}
