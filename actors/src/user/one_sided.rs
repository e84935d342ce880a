//! What keeps a user from being equal although everything was done: mailboxes that only the replica has and that stay there,
//! and mailboxes that were named and that neither side has.

use std::collections::HashSet;

use cyrus_types::MailboxName;

use crate::error::{Class, Interrupt, UserError};
use crate::monitor::report::Outcome;
use crate::user::look::{Look, Scope};
use crate::user::user_work::UserWork;

impl UserWork {
    /// Notes what this look found. A named mailbox that was renamed meanwhile has its name on neither side any more: only
    /// the first look tells.
    pub(crate) fn note_one_sided(&mut self, scope: &Scope, seen: &Look, again: bool) {
        self.only_there = self.only_there(scope, seen);
        if !again {
            self.nowhere = nowhere(scope, seen);
        }
    }

    /// Mailboxes of the user that only the replica has, without proof that they were deleted here. Exceptions, unless they
    /// were named one by one: shared mailboxes may be another master's; the replica's own cyr_expire removes those below
    /// DELETED; a name without a mailbox holds nothing.
    fn only_there(&self, scope: &Scope, seen: &Look) -> Vec<MailboxName> {
        let orphans: HashSet<&MailboxName> = seen.plan.changes.orphans.iter().collect();
        if let Scope::Some(names) = scope {
            let only_there =
                |name: &&MailboxName| orphans.contains(name) || seen.expired.contains(*name);
            return names.named.iter().filter(only_there).cloned().collect();
        }
        if self.owner.is_shared() {
            return Vec::new();
        }
        let there = seen.replica.mailboxes.iter().filter(|r| !r.partition.is_empty());
        let lives = |name: &&MailboxName| !name.is_deleted(&self.context.rules);
        let names = there.map(|r| &r.name).filter(|name| orphans.contains(name));
        names.filter(lives).cloned().collect()
    }

    /// What [`UserWork::with_only_there`] adds, taken out: a work of several parts collects it from all of them.
    pub(crate) fn take_only_there(&mut self) -> Vec<UserError> {
        let nowhere = std::mem::take(&mut self.nowhere);
        let nowhere = nowhere.into_iter().map(|mailbox| UserError::Nowhere { mailbox });
        let mailboxes = std::mem::take(&mut self.only_there);
        let only_there = mailboxes.into_iter().map(|mailbox| UserError::OnlyThere { mailbox });
        nowhere.chain(only_there).collect()
    }

    /// A user is not equal if the replica has more, or if something that was named is on neither side.
    pub(crate) fn with_only_there(
        &mut self,
        result: Result<Outcome, Interrupt>,
    ) -> Result<Outcome, Interrupt> {
        let only_there = self.take_only_there();
        with_more(result, only_there)
    }
}

/// The result of a work, with failures that were found besides.
pub(crate) fn with_more(
    result: Result<Outcome, Interrupt>,
    more: Vec<UserError>,
) -> Result<Outcome, Interrupt> {
    match result {
        Ok(outcome @ (Outcome::Done | Outcome::Unchanged)) => {
            UserError::all_of(more).map_or(Ok(outcome), |e| Err(e.into()))
        }
        // A user that is tried again looks again.
        Err(Interrupt::Failed(e)) if e.class() == Class::Permanent => {
            let all = [e].into_iter().chain(more).collect();
            UserError::all_of(all).map_or(Ok(Outcome::Done), |e| Err(e.into()))
        }
        other => other,
    }
}

/// Mailboxes that were named, and that neither side has. A user's scripts need not exist.
fn nowhere(scope: &Scope, seen: &Look) -> Vec<MailboxName> {
    let Scope::Some(names) = scope else { return Vec::new() };
    if names.meta.is_some() {
        return Vec::new();
    }
    let there: HashSet<&MailboxName> = seen.replica.mailboxes.iter().map(|m| &m.name).collect();
    seen.read.unknown.iter().filter(|name| !there.contains(name)).cloned().collect()
}
