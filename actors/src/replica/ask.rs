//! A question or change for the replica, without its bytes: who asks, what the answer may contain, where it goes.
//!
//! csync's answers have no tags: the first answer belongs to the first command, and so on. After one extra or missing
//! answer, all that follow would go to the wrong commands. So each answer is checked as far as possible, and one that can't
//! belong to its command ends the connection.

use std::collections::HashSet;
use std::sync::Arc;

use csync::{CommandKind, Item, Value};
use cyrus_types::{MailboxName, NameRules};
use tokio::sync::oneshot;
use tracing::Span;

use crate::replica::answer::Answer;
use crate::replica::command_error::CommandError;

/// Where a command's answer goes.
pub(crate) type Reply = oneshot::Sender<Result<Answer, CommandError>>;

/// The other end of [`Reply`].
pub(crate) type Pending = oneshot::Receiver<Result<Answer, CommandError>>;

/// Who asks: one lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Asker {
    pub(crate) number: u64,
    /// Others ask on the same connection.
    pub(crate) beside_others: bool,
}

/// A command for the replica, except its bytes.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) kind: CommandKind,
    pub(crate) asker: Asker,
    pub(crate) about: About,
    pub(crate) reply: Reply,
    /// The span for lines about its answer.
    pub(crate) span: Span,
}

/// What an answer may contain.
#[derive(Debug, Clone, Default)]
pub(crate) enum About {
    /// Any lines.
    #[default]
    Anything,
    /// This user's mailboxes.
    User { userid: Arc<str>, rules: Arc<NameRules> },
    /// Mailboxes of these names.
    Names(HashSet<MailboxName>),
    /// Mailboxes of these unique ids, in text as the line has them.
    Ids(HashSet<String>),
    /// This quota root.
    Root(String),
}

impl About {
    /// What in this line can't belong to the answer, in words.
    pub(crate) fn foreign(&self, line: &Item) -> Option<String> {
        let text = |key| line.value.get(key).and_then(|value: &Value| value.str().ok());
        match line.name.as_str() {
            "MAILBOX" => {
                // A line without a name is reported as invalid later.
                let (name, id) = (MailboxName::new(text("MBOXNAME")?), text("UNIQUEID")?);
                let belongs = match self {
                    About::Anything => true,
                    About::User { userid, rules } => is_owner(rules, userid, &name),
                    About::Names(names) => names.contains(&name),
                    About::Ids(ids) => ids.contains(id),
                    About::Root(_) => false,
                };
                (!belongs).then(|| format!("mailbox {name}"))
            }
            "QUOTA" => match self {
                About::Root(root) if text("ROOT")? != root => {
                    text("ROOT").map(|root| format!("quota root {root}"))
                }
                _ => None,
            },
            _ => None,
        }
    }
}

/// Whether the mailbox belongs to that user, live or deleted.
fn is_owner(rules: &NameRules, userid: &str, mailbox: &MailboxName) -> bool {
    let owner = mailbox.userid(rules);
    // Spelt as a mailbox's owner; the caller may have spelt the user differently.
    owner.is_some() && owner == rules.user_inbox(userid).userid(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, entries: &[(&str, &str)]) -> Item {
        let entries = entries.iter().map(|(key, value)| ((*key).to_string(), Value::atom(*value)));
        Item { name: name.into(), value: Value::Map(entries.collect()) }
    }

    #[test]
    fn what_is_another_s_is_told() {
        let mailbox = |name| line("MAILBOX", &[("MBOXNAME", name), ("UNIQUEID", "u1")]);
        let rules = Arc::new(NameRules::default());
        let anna = About::User { userid: "anna".into(), rules };
        for own in ["user.anna", "user.anna.Sent", "DELETED.user.anna.Sent.65A0B1C2"] {
            assert_eq!(anna.foreign(&mailbox(own)), None, "{own}");
        }
        for other in ["user.annabel", "user.bert.anna", "shared", "DELETED.user.bert.65A0B1C2"] {
            assert_eq!(anna.foreign(&mailbox(other)), Some(format!("mailbox {other}")));
        }
        let one = |name: &str| HashSet::from([MailboxName::new(name)]);
        assert_eq!(About::Names(one("shared")).foreign(&mailbox("shared")), None);
        assert!(About::Names(one("shared.x")).foreign(&mailbox("shared")).is_some());
        assert_eq!(About::Ids(HashSet::from(["u1".to_string()])).foreign(&mailbox("any")), None);
        assert!(About::Ids(HashSet::from(["u2".to_string()])).foreign(&mailbox("any")).is_some());
        let quota = line("QUOTA", &[("ROOT", "user.anna")]);
        assert_eq!(About::Root("user.anna".into()).foreign(&quota), None);
        assert!(About::Root("user.bert".into()).foreign(&quota).is_some());
        assert_eq!(anna.foreign(&quota), None);
        assert_eq!(About::Anything.foreign(&mailbox("shared")), None);
    }
}
