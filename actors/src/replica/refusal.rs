//! What a NO of the replica means to the sender of the command.
//!
//! ```text
//!   GET …               MAILBOX_NONEXISTENT               nothing is there: an answer like any other
//!   UNMAILBOX, UNUSER   MAILBOX_NONEXISTENT               nothing is left to do
//!   MAILBOX             SYNC_CHECKSUM, SYNC_CHANGED       compare again, then send again
//!   MAILBOX             MAILBOX_NONEXISTENT, _MOVED       names changed there: look again
//!   all others                                            it was refused
//! ```
//! Source: `imap/sync_support.c` (sync_do_update_mailbox, sync_do_user_main, do_unuser) of cyrus-imapd 3.6.1.

use csync::{Code, CommandKind};

/// What a NO means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// There is nothing with that name.
    NothingThere,
    /// The mailbox is not in the state that the change builds on.
    CompareAfresh,
    /// The mailbox has another name there, or another mailbox has its name.
    LookAgain,
    /// The replica refuses it.
    Refused,
}

/// What a NO with this code means as the answer to this kind of command.
pub(crate) fn meaning(kind: CommandKind, code: Option<&Code>) -> Meaning {
    match (kind, code) {
        (CommandKind::Mailbox, Some(Code::SyncChecksum | Code::SyncChanged)) => {
            Meaning::CompareAfresh
        }
        (CommandKind::Mailbox, Some(Code::MailboxMoved | Code::MailboxNonexistent)) => {
            Meaning::LookAgain
        }
        (kind, Some(Code::MailboxNonexistent))
            if kind.is_get() || matches!(kind, CommandKind::Unmailbox | CommandKind::Unuser) =>
        {
            Meaning::NothingThere
        }
        _ => Meaning::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_means_what_its_command_makes_of_it() {
        let gone = Some(&Code::MailboxNonexistent);
        assert_eq!(meaning(CommandKind::GetUser, gone), Meaning::NothingThere);
        assert_eq!(meaning(CommandKind::Unmailbox, gone), Meaning::NothingThere);
        assert_eq!(meaning(CommandKind::Mailbox, gone), Meaning::LookAgain);
        assert_eq!(meaning(CommandKind::Rename, gone), Meaning::Refused);
        let checksum = Some(&Code::SyncChecksum);
        assert_eq!(meaning(CommandKind::Mailbox, checksum), Meaning::CompareAfresh);
        assert_eq!(meaning(CommandKind::Message, checksum), Meaning::Refused);
        assert_eq!(meaning(CommandKind::GetUser, None), Meaning::Refused);
    }
}
