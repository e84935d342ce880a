//! The kind of a command: its name, and what its answer may look like.
//!
//! A command's kind is set where it is encoded (`command.rs`, `message.rs`, `mailbox.rs`). Code that sends it, matches its
//! answer or reports it uses the kind, and never compares names.
//!
//! Source: `imap/sync_server.c` (cmdloop, cmd_get, cmd_apply) of cyrus-imapd 3.6.1; the words after OK are the same from
//! 3.2 to 3.12.

use std::fmt;

use strum::VariantArray;

use crate::limits::Limits;

/// The kind of a command. The `LOCAL_` form of a command (-L) has the same kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, VariantArray)]
pub enum CommandKind {
    /// `GET USER`
    GetUser,
    /// `GET META`
    GetMeta,
    /// `GET QUOTA`
    GetQuota,
    /// `GET MAILBOXES`
    GetMailboxes,
    /// `GET UNIQUEIDS`
    GetUniqueIds,
    /// `GET FULLMAILBOX`
    GetFullMailbox,
    /// `GET ANNOTATION`
    GetAnnotation,
    /// `GET FETCH`
    GetFetch,
    /// `GET FETCH_SIEVE`
    GetFetchSieve,
    /// `APPLY CAPABILITIES`
    Capabilities,
    /// `APPLY FORCE`
    Force,
    /// `APPLY RESERVE`
    Reserve,
    /// `APPLY MESSAGE`
    Message,
    /// `APPLY MAILBOX`
    Mailbox,
    /// `APPLY RENAME`
    Rename,
    /// `APPLY UNMAILBOX`
    Unmailbox,
    /// `APPLY UNUSER`
    Unuser,
    /// `APPLY QUOTA`
    Quota,
    /// `APPLY UNQUOTA`
    Unquota,
    /// `APPLY SUB`
    Sub,
    /// `APPLY UNSUB`
    Unsub,
    /// `APPLY SEEN`
    Seen,
    /// `APPLY SIEVE`
    Sieve,
    /// `APPLY UNSIEVE`
    Unsieve,
    /// `APPLY ACTIVATE_SIEVE`
    ActivateSieve,
    /// `APPLY UNACTIVATE_SIEVE`
    UnactivateSieve,
    /// `APPLY ANNOTATION`
    Annotation,
    /// `APPLY UNANNOTATION`
    Unannotation,
    /// `APPLY EXPUNGE`
    Expunge,
    /// `RESTART`
    Restart,
    /// `NOOP`
    Noop,
    /// `COMPRESS`
    Compress,
    /// `EXIT`, which is called `LOGOUT` over IMAP.
    Exit,
}

impl CommandKind {
    /// All kinds, in their order.
    pub const ALL: &'static [CommandKind] = <CommandKind as VariantArray>::VARIANTS;

    /// The word for it in the C client's messages. GET and APPLY of the same thing share one.
    pub fn name(self) -> &'static str {
        match self {
            CommandKind::GetUser => "USER",
            CommandKind::GetMeta => "META",
            CommandKind::GetQuota | CommandKind::Quota => "QUOTA",
            CommandKind::GetMailboxes => "MAILBOXES",
            CommandKind::GetUniqueIds => "UNIQUEIDS",
            CommandKind::GetFullMailbox => "FULLMAILBOX",
            CommandKind::GetAnnotation | CommandKind::Annotation => "ANNOTATION",
            CommandKind::GetFetch => "FETCH",
            CommandKind::GetFetchSieve => "FETCH_SIEVE",
            CommandKind::Capabilities => "CAPABILITIES",
            CommandKind::Force => "FORCE",
            CommandKind::Reserve => "RESERVE",
            CommandKind::Message => "MESSAGE",
            CommandKind::Mailbox => "MAILBOX",
            CommandKind::Rename => "RENAME",
            CommandKind::Unmailbox => "UNMAILBOX",
            CommandKind::Unuser => "UNUSER",
            CommandKind::Unquota => "UNQUOTA",
            CommandKind::Sub => "SUB",
            CommandKind::Unsub => "UNSUB",
            CommandKind::Seen => "SEEN",
            CommandKind::Sieve => "SIEVE",
            CommandKind::Unsieve => "UNSIEVE",
            CommandKind::ActivateSieve => "ACTIVATE_SIEVE",
            CommandKind::UnactivateSieve => "UNACTIVATE_SIEVE",
            CommandKind::Unannotation => "UNANNOTATION",
            CommandKind::Expunge => "EXPUNGE",
            CommandKind::Restart => "RESTART",
            CommandKind::Noop => "NOOP",
            CommandKind::Compress => "COMPRESS",
            CommandKind::Exit => "EXIT",
        }
    }

    /// Whether it is a GET.
    pub fn is_get(self) -> bool {
        matches!(
            self,
            CommandKind::GetUser
                | CommandKind::GetMeta
                | CommandKind::GetQuota
                | CommandKind::GetMailboxes
                | CommandKind::GetUniqueIds
                | CommandKind::GetFullMailbox
                | CommandKind::GetAnnotation
                | CommandKind::GetFetch
                | CommandKind::GetFetchSieve
        )
    }

    /// Whether lines may come before the status of its answer.
    pub fn has_lines(self) -> bool {
        self.is_get() || matches!(self, CommandKind::Reserve | CommandKind::Capabilities)
    }

    /// Whether the lines of its answer are data of a user: mailboxes, quota roots, seen state, subscriptions, scripts.
    pub fn tells_of_user(self) -> bool {
        matches!(
            self,
            CommandKind::GetUser
                | CommandKind::GetMeta
                | CommandKind::GetMailboxes
                | CommandKind::GetUniqueIds
                | CommandKind::GetQuota
                | CommandKind::GetFullMailbox
        )
    }

    /// The first word of sync_server's OK text, if no other command's OK begins with it.
    pub fn ok_word(self) -> Option<&'static str> {
        match self {
            CommandKind::Noop => Some("Noop"),
            CommandKind::Restart => Some("Restart"),
            _ => None,
        }
    }

    /// Whether it leaves the replica's mailboxes and users as they are: it asks, or makes the replica forget what it was sent.
    pub fn changes_nothing(self) -> bool {
        self.is_get() || matches!(self, CommandKind::Noop | CommandKind::Restart)
    }

    /// The limits on a line of its answer.
    pub fn limits(self) -> Limits {
        match self {
            CommandKind::GetFullMailbox => Limits::WHOLE_MAILBOX,
            _ => Limits::ANSWERS,
        }
    }

    /// Whether its IMAP form begins with `SYNC`: all except those that IMAP itself has.
    pub(crate) fn is_replications_own(self) -> bool {
        !matches!(self, CommandKind::Noop | CommandKind::Compress | CommandKind::Exit)
    }
}

impl fmt::Display for CommandKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn all_are_listed_once_in_their_order() {
        let known: HashSet<&CommandKind> = CommandKind::ALL.iter().collect();
        assert_eq!(known.len(), CommandKind::ALL.len());
        for (place, kind) in CommandKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, place, "{kind}");
        }
        assert_eq!(CommandKind::Exit as usize + 1, CommandKind::ALL.len());
    }

    #[test]
    fn lines_come_only_before_answers_to_questions() {
        assert!(CommandKind::GetUser.has_lines() && CommandKind::Reserve.has_lines());
        assert!(!CommandKind::Mailbox.has_lines() && !CommandKind::Restart.has_lines());
        assert!(CommandKind::ALL.iter().all(|k| k.has_lines() || !k.tells_of_user()));
    }
}
