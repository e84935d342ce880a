//! Mailboxes whose messages the replica could not keep, for example because its disk is full.
//!
//! ```text
//!   look -- apply -- MESSAGE of b refused, the connection ends -- look again, without b -- apply -- b fails alone
//!                         '-- and of c on the same partition -- look again, without that partition
//! ```
//! Such a refusal ends the connection, and with it all of the user's work in flight. The rest of the user must not wait for
//! that mailbox: the user is looked at again, and sent without it.

use std::collections::{BTreeMap, HashMap};

use csync::CommandKind;
use cyrus_store::MboxEntry;
use cyrus_types::{MailboxName, UniqueId};
use sync_plan::{MailboxUpdate, UserPlan};

use crate::error::{ReplicaError, UserError};
use crate::replica::command_error::CommandError;

/// How many mailboxes of one partition are tried.
const EACH: usize = 2;
/// How many mailboxes in total, in one attempt at a user.
const MOST: usize = 8;

/// The refusals of one attempt at a user, by mailbox.
#[derive(Debug, Default)]
pub(crate) struct Refused(BTreeMap<MailboxName, CommandError>);

impl Refused {
    /// Records such a refusal. False if this is not one, or if there were so many that the attempt must end.
    pub(crate) fn note(&mut self, e: &UserError) -> bool {
        let UserError::Replica(ReplicaError::Refused { mailbox, source }) = e else { return false };
        let of_messages =
            matches!(source, CommandError::Refused { command: CommandKind::Message, .. });
        if !of_messages || self.0.len() >= MOST || self.0.contains_key(mailbox) {
            return false;
        }
        self.0.insert(mailbox.clone(), source.clone());
        true
    }

    /// Takes the mailboxes that would be refused again out of the plan, with the reason.
    pub(crate) fn leave_out(
        &self,
        plan: &mut UserPlan,
        entries: &HashMap<UniqueId, MboxEntry>,
        partition: Option<&str>,
    ) -> Vec<(MailboxName, CommandError)> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let partition_of = |uniqueid: &UniqueId| {
            partition.or_else(|| entries.get(uniqueid).map(|entry| entry.partition.as_str()))
        };
        // How often each partition refused, and its last answer.
        let mut full: BTreeMap<&str, (usize, &CommandError)> = BTreeMap::new();
        for entry in entries.values() {
            if let (Some(why), Some(partition)) =
                (self.0.get(&entry.name), partition_of(&entry.uniqueid))
            {
                let (times, last) = full.entry(partition).or_insert((0, why));
                (*times, *last) = (*times + 1, why);
            }
        }
        let mut left_out = Vec::new();
        plan.updates.retain(|update| {
            let MailboxUpdate::Send { name, uniqueid, .. } = update else { return true };
            let on = partition_of(uniqueid).and_then(|partition| full.get(partition));
            let on_full = on.filter(|(times, _)| *times >= EACH).map(|(_, why)| *why);
            let Some(why) = self.0.get(name).or(on_full) else { return true };
            left_out.push((name.clone(), why.clone()));
            false
        });
        left_out
    }
}

#[cfg(test)]
mod tests {
    use sync_plan::Doubt;

    use super::*;

    fn refusal(mailbox: &str, command: CommandKind) -> UserError {
        let source = CommandError::Refused { command, code: None, text: "no room".into() };
        UserError::refused(&MailboxName::new(mailbox), source)
    }

    fn plan(names: &[&str]) -> UserPlan {
        let send = |name: &&str| MailboxUpdate::Send {
            name: MailboxName::new(*name),
            uniqueid: UniqueId::new(*name),
            replica: None,
            doubt: Doubt::None,
        };
        UserPlan { updates: names.iter().map(send).collect(), ..UserPlan::default() }
    }

    fn entries(of: &[(&str, &str)]) -> HashMap<UniqueId, MboxEntry> {
        let entry = |(name, partition): &(&str, &str)| MboxEntry {
            name: MailboxName::new(*name),
            uniqueid: UniqueId::new(*name),
            partition: (*partition).into(),
            ..MboxEntry::default()
        };
        of.iter().map(entry).map(|entry| (entry.uniqueid.clone(), entry)).collect()
    }

    fn names(plan: &UserPlan) -> Vec<&str> {
        plan.updates.iter().map(|update| update.name().as_str()).collect()
    }

    #[test]
    fn one_mailbox_is_left_out_and_after_two_all_of_their_partition() {
        let here = entries(&[("a", "old"), ("b", "old"), ("c", "old"), ("d", "new")]);
        let mut refused = Refused::default();
        assert!(!refused.note(&refusal("a", CommandKind::Mailbox)), "its messages were taken");
        assert!(refused.note(&refusal("a", CommandKind::Message)));
        assert!(!refused.note(&refusal("a", CommandKind::Message)), "it was left out");
        let mut first = plan(&["a", "b", "c", "d"]);
        assert_eq!(refused.leave_out(&mut first, &here, None).len(), 1);
        assert_eq!(names(&first), ["b", "c", "d"]);
        assert!(refused.note(&refusal("b", CommandKind::Message)));
        let mut second = plan(&["a", "b", "c", "d"]);
        let left_out = refused.leave_out(&mut second, &here, None);
        assert_eq!(names(&second), ["d"]);
        assert_eq!(left_out[2].0, "c");
        // With -p all are on one partition.
        let mut all = plan(&["a", "b", "c", "d"]);
        assert_eq!(refused.leave_out(&mut all, &here, Some("one")).len(), 4);
    }

    #[test]
    fn an_attempt_has_an_end() {
        let mut refused = Refused::default();
        let noted =
            (0..20).filter(|nr| refused.note(&refusal(&nr.to_string(), CommandKind::Message)));
        assert_eq!(noted.count(), MOST);
    }
}
