//! Whose line it is: the spans that log lines carry.
//!
//! ```text
//!   channel ── user ── mailbox ── (a command, logged with its connection by who reads the answer)
//!      └────── connection
//! ```
//! A span does not travel with a message between actors or to a thread: whoever begins something for a user enters one, and
//! what goes to a thread or into a connection's queue takes it along. Only the lines of -l have none: they are the C client's own,
//! to the letter, and name what they are about.

use tracing::field::Empty;
use tracing::{Span, info_span};

use crate::monitor::report::name_of;

/// The target of lines that syslog has at level notice, which [`tracing`] lacks; they are told at level info.
pub const NOTICE: &str = "notice";

/// All that is done on one channel; nothing is said of the channel that has no name.
pub(crate) fn channel(name: Option<&str>) -> Span {
    with_channel(info_span!("channel", channel = Empty), name)
}

/// All that is done for one user.
pub(crate) fn user(userid: &str, channel: Option<&str>) -> Span {
    with_channel(info_span!("user", user = name_of(userid), channel = Empty), channel)
}

/// What is done for one of the user's mailboxes.
pub(crate) fn mailbox(name: &str) -> Span {
    info_span!("mailbox", mailbox = name)
}

/// What happens to a connection.
pub(crate) fn connection(number: u64, channel: Option<&str>) -> Span {
    with_channel(info_span!("connection", connection = number, channel = Empty), channel)
}

fn with_channel(span: Span, channel: Option<&str>) -> Span {
    if let Some(channel) = channel {
        span.record("channel", channel);
    }
    span
}
