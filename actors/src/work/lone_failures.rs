//! Failures of a user of the log that concern single objects: a mailbox, a quota root, the data outside mailboxes.

use std::collections::BTreeSet;
use std::sync::Arc;

use cyrus_types::{LogEntry, NameRules};
use sync_plan::{Kept, Uncounted, Withheld};

use crate::error::{MasterError, ReplicaError, UserError};
use crate::replica::command_error::CommandError;
use crate::user::advice;
use crate::work::aside::Failure;
use crate::work::job::WorkJob;

/// The failures, as entries of the log, if they are only single mailboxes, or entries that must wait for these. If
/// everything else of the work is done they rest alone, and nothing is promoted, because a look at all of the user
/// would not help. Refusals by the replica are tried with all of the user first.
pub(crate) fn as_entries<L>(
    job: &WorkJob<L>,
    e: &UserError,
    meta_of: &BTreeSet<Arc<str>>,
    rules: &NameRules,
) -> Option<Vec<Failure>> {
    if job.work.users.iter().any(|(_, tasks)| tasks.unuser) {
        // UNUSER waits for them, and with it the user.
        return None;
    }
    let all_whole = job.work.users.iter().all(|(_, tasks)| tasks.whole);
    let key = &job.owner;
    let meta = || meta_of.iter().map(|userid| LogEntry::Meta(userid.to_string()));
    let mut failures = Vec::new();
    for e in e.each() {
        let entries = match e {
            UserError::Plan(_)
            | UserError::Master(
                MasterError::Unreadable { .. }
                | MasterError::Mailbox { .. }
                | MasterError::MessageFile { .. },
            )
            | UserError::Replica(
                ReplicaError::DeletedThere { .. } | ReplicaError::ElsewhereThere { .. },
            ) => vec![mailbox_entry(e)?],
            UserError::Replica(ReplicaError::Refused {
                source: CommandError::Refused { .. },
                ..
            }) if all_whole => {
                vec![mailbox_entry(e)?]
            }
            UserError::Kept(Kept::QuotaRoot { root, .. }) => {
                vec![LogEntry::Quota(root.clone())]
            }
            UserError::Uncounted(Uncounted { root, .. }) => vec![LogEntry::Quota(root.clone())],
            UserError::Kept(Kept::Subscriptions { .. }) => meta().collect(),
            UserError::Withheld(Withheld { mailboxes, quotas, meta: meta_too }) => {
                let mailboxes = mailboxes.iter().cloned().map(LogEntry::Mailbox);
                let quotas = quotas.iter().cloned().map(LogEntry::Quota);
                let meta = meta().filter(|_| *meta_too > 0);
                mailboxes.chain(quotas).chain(meta).collect()
            }
            _ => return None,
        };
        for entry in entries {
            let owner = match &entry {
                LogEntry::Mailbox(name) => name.owner(rules),
                LogEntry::Quota(root) => rules.parse_internal(root).owner(),
                LogEntry::Meta(userid) => userid.as_str().into(),
                _ => key.clone(),
            };
            let reason = advice::in_words(e, key, rules);
            failures.push(Failure { owner, entry, reason });
        }
    }
    Some(failures)
}

fn mailbox_entry(e: &UserError) -> Option<LogEntry> {
    Some(LogEntry::Mailbox(e.mailbox()?.clone()))
}
