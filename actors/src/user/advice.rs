//! What an admin can do about a user's failure. `tests/cyrus/advice.rs` tries each piece of advice.

use csync::{Code, CommandKind};
use cyrus_store::StoreError;
use cyrus_types::{MailboxName, NameRules, Owner};
use sync_plan::PlanError;

use crate::error::{MasterError, ReplicaError, UserError};
use crate::monitor::plain;
use crate::replica::command_error::CommandError;

/// How many bytes of an error are shown: the line must have room for the advice behind it.
const ERROR_BYTES: usize = plain::LINE_BYTES / 2;

/// The error in words and, behind a semicolon, what to do about it, if that is known.
pub(crate) fn in_words(e: &UserError, owner: &Owner, rules: &NameRules) -> String {
    let e_in_words = e.to_string();
    let said = plain::line_of(&e_in_words, ERROR_BYTES);
    match advice(e, owner, rules) {
        Some(advice) => format!("{said}; {}", plain::line(&advice)),
        None => said.into_owned(),
    }
}

fn advice(e: &UserError, owner: &Owner, rules: &NameRules) -> Option<String> {
    let reconstruct = |mailbox: &MailboxName| {
        let name = rules.external(&rules.parse(mailbox));
        format!("reconstruct {}", quoted(&name))
    };
    match e {
        // Errors of our own reading come first: until they are repaired, the replica's mailbox may be the only copy.
        UserError::Several { of } => {
            let unread = of.iter().find(|e| is_unread(e));
            unread.or(of.first()).and_then(|e| advice(e, owner, rules))
        }
        UserError::Plan(PlanError::NeedsInbox { .. } | PlanError::NameHeld { alive: true, .. }) => {
            None
        }
        // With the mailbox's name, so that the command touches no other.
        UserError::Plan(e) => {
            let whose =
                owner.userid().map_or(("-A", e.mailbox().as_str()), |userid| ("-u", userid));
            Some(format!(
                "if what only the replica has of this mailbox may go, `sync_client -O --overwrite {} {}` lets ours take its place",
                whose.0,
                quoted(whose.1)
            ))
        }
        UserError::TooManyRemovals { .. } => {
            Some("if so much may go, run again with --max-deletes and a higher number".into())
        }
        UserError::Master(MasterError::ScriptFiles { .. }) => Some(format!(
            "let Cyrus move them there: a login to its ManageSieve service (timsieved) as this user, or as an admin for {}, does it",
            quoted(owner.userid()?)
        )),
        UserError::Uncounted(_) => Some("`quota -f` there repairs it".into()),
        UserError::OnlyThere { .. } => Some("if it may go, delete it there".into()),
        UserError::Replica(ReplicaError::DeletedThere { uniqueid, .. }) => Some(format!(
            "if no mailbox there has that id any more, `cyr_dbtool MAILBOXES.DB twoskip delete I{uniqueid}` there, with the path of its mailboxes.db, lets it be made"
        )),
        UserError::Replica(ReplicaError::Refused {
            source: CommandError::Refused { command: CommandKind::Message, .. },
            ..
        }) => Some(
            "look into the replica's syslog: it could not keep a message, as when its disk is full"
                .into(),
        ),
        UserError::Replica(ReplicaError::Refused {
            source:
                CommandError::Refused {
                    command: CommandKind::Rename,
                    code: Some(Code::MailboxNotSupported),
                    ..
                },
            ..
        }) => Some(
            "set `allowusermoves: yes` in the replica's imapd.conf, so that it renames users"
                .into(),
        ),
        UserError::Master(MasterError::MessageFile { mailbox, missing: true, .. }) => {
            Some(format!(
                "put the file back from a backup, or let `{}` here drop the message, and run again",
                reconstruct(mailbox)
            ))
        }
        UserError::Master(MasterError::MessageFile { .. }) => {
            Some("put the file back from a backup".into())
        }
        UserError::Master(MasterError::Mailbox { mailbox, source }) if is_damaged(source) => {
            Some(format!("repair it here with `{}` and run again", reconstruct(mailbox)))
        }
        UserError::Master(MasterError::Unreadable { mailbox, source }) if is_damaged(source) => {
            Some(format!("repair it here with `{}` and run again", reconstruct(mailbox)))
        }
        _ => None,
    }
}

/// Whether something here can't be read, so that nothing there may be replaced by ours.
fn is_unread(e: &UserError) -> bool {
    use MasterError::{Mailbox, MessageFile, Store, Unread, Unreadable};
    let UserError::Master(e) = e else { return false };
    matches!(e, Mailbox { .. } | MessageFile { .. } | Store(_) | Unread { .. } | Unreadable { .. })
}

/// Whether these are a mailbox's own files, which reconstruct makes again.
fn is_damaged(e: &StoreError) -> bool {
    matches!(e, StoreError::DamagedMailbox { .. } | StoreError::DamagedRecord { .. })
}

/// A word, quoted for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    let bare = !word.is_empty() && word.chars().all(plain);
    let quoted = if bare { word.to_string() } else { format!("'{}'", word.replace('\'', "'\\''")) };
    // A name must not look like an option.
    if word.starts_with('-') { format!("-- {quoted}") } else { quoted }
}

#[cfg(test)]
mod tests {

    use std::path::PathBuf;

    use cyrus_types::{Uid, UniqueId};

    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_take_them_apart() {
        assert_eq!(quoted("anna@example.com"), "anna@example.com");
        assert_eq!(quoted("user/anna/Sent Items"), "'user/anna/Sent Items'");
        assert_eq!(quoted("a\"b$c`d\\e!"), "'a\"b$c`d\\e!'");
        assert_eq!(quoted("o'neil"), "'o'\\''neil'");
        assert_eq!(quoted("-x"), "-- -x");
    }

    #[test]
    fn a_users_failure_says_what_to_do() {
        let rules = NameRules::default();
        let held = PlanError::NameHeld {
            mailbox: MailboxName::new("user.anna.x"),
            uniqueid: UniqueId::new("i"),
            alive: false,
        };
        let held = UserError::Plan(held);
        let words = in_words(&held, &"anna".into(), &rules);
        assert!(words.contains("`sync_client -O --overwrite -u anna` lets"), "{words}");
        let words = in_words(&held, &Owner::Shared, &rules);
        assert!(words.contains("`sync_client -O --overwrite -A user.anna.x` lets"), "{words}");
    }

    #[test]
    fn nothing_is_given_up_there_while_something_here_can_not_be_read() {
        let held = PlanError::NeedsInbox { mailbox: MailboxName::new("user.anna.x") };
        let of = vec![
            PlanError::NameHeld {
                mailbox: MailboxName::new("user.anna.x"),
                uniqueid: UniqueId::new("i"),
                alive: false,
            }
            .into(),
            held.into(),
            MasterError::MessageFile {
                mailbox: MailboxName::new("user.anna.y"),
                uid: Uid(3),
                path: PathBuf::from("/spool/3."),
                missing: false,
                problem: "short".into(),
            }
            .into(),
        ];
        let words = in_words(&UserError::Several { of }, &"anna".into(), &NameRules::default());
        assert!(!words.contains("overwrite") && words.ends_with("from a backup"), "{words}");
    }
}
