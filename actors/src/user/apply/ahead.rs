//! Commands that were sent ahead of their answers, and what they are about.

use std::fmt;

use csync::ReplicaMailbox;
use cyrus_types::MailboxName;

use crate::replica::asked::PendingCommand;

/// Commands about one thing, sent.
pub(super) struct Ahead {
    pub(super) about: Object,
    pub(super) commands: Vec<PendingCommand>,
    /// The replica's state of the mailbox after its last command, if known.
    pub(super) state: Option<Box<ReplicaMailbox>>,
}

/// What a command is about.
pub(super) enum Object {
    /// This mailbox.
    Mailbox(MailboxName),
    /// Something else of the user, in words.
    Other(String),
}

impl Object {
    pub(super) fn mailbox(&self) -> Option<&MailboxName> {
        match self {
            Object::Mailbox(name) => Some(name),
            Object::Other(_) => None,
        }
    }
}

/// As an error names it.
impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Object::Mailbox(name) => name.fmt(f),
            Object::Other(what) => f.write_str(what),
        }
    }
}
