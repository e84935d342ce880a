//! A user's plan, as data: what is to be changed on the replica, what that removes there, and what keeps the sides from
//! becoming equal, each with its reason.
//!
//! ```text
//!   look --> Plan { changes, broken, refused } --compared, weighed--> Plan { .., losses } --> limits --> apply
//!                                                                          '--> printed: one line for each finding
//! ```

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use cyrus_store::StoreError;
use cyrus_types::{MailboxName, UniqueId};
use sync_plan::{Doubt, MailboxUpdate, QuotaChange, SieveChange, SubChange, UserPlan};

use crate::error::{MasterError, UserError};
use crate::master::full_update::Found;
use crate::monitor::words;
use crate::replica::command_error::CommandError;

/// Everything that was found out about a user.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// What is to be changed, and what is left as it is.
    pub(crate) changes: UserPlan,
    /// Mailboxes that can't be read here, and why.
    pub(crate) broken: Vec<(MailboxName, Arc<StoreError>)>,
    /// Why something outside mailboxes can't be read here.
    pub(crate) unread: Vec<Arc<StoreError>>,
    /// Mailboxes that were taken out because the replica just refused them, and its words.
    pub(crate) refused: Vec<(MailboxName, CommandError)>,
    /// What updates remove on the replica, by unique id; those that remove nothing are not in it. Complete only after the
    /// plan was weighed.
    pub(crate) losses: HashMap<UniqueId, Loss>,
}

/// What sending a mailbox removes on the replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Loss {
    /// Messages that were removed here.
    pub(crate) removed: u64,
    /// Messages without proof that they were removed here (--overwrite).
    pub(crate) unproven: u64,
    /// Whether the mailbox itself is removed and made again, with something that only the replica has.
    pub(crate) made_again: bool,
}

impl From<&Found> for Loss {
    fn from(found: &Found) -> Loss {
        let made_again = found.again && found.overwritten;
        Loss { removed: found.removed, unproven: found.unproven, made_again }
    }
}

impl Loss {
    /// Whether nothing is removed.
    pub(crate) fn is_none(&self) -> bool {
        *self == Loss::default()
    }
}

impl Plan {
    /// Whether there is nothing to do: the sides are equal, except for what is named.
    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// What the update of this mailbox removes.
    pub(crate) fn loss_of(&self, update: &MailboxUpdate) -> Loss {
        match update {
            MailboxUpdate::Send { uniqueid, .. } => {
                self.losses.get(uniqueid).copied().unwrap_or_default()
            }
            MailboxUpdate::Intermediate(_) => Loss::default(),
        }
    }

    /// What keeps the sides from becoming equal, whatever is changed.
    pub(crate) fn failures(&self) -> Vec<UserError> {
        let plan = &self.changes;
        let broken = self.broken.iter().cloned();
        let broken = broken.map(|(mailbox, source)| MasterError::Unreadable { mailbox, source });
        let unread = self.unread.iter().cloned().map(|source| MasterError::Unread { source });
        let unreadable = broken.chain(unread).map(UserError::from);
        let left_out = plan.left_out.iter().cloned().map(UserError::from);
        let withheld =
            (!plan.withheld.is_empty()).then(|| UserError::Withheld(plan.withheld.clone()));
        let kept = plan.kept.iter().cloned().map(UserError::from);
        let uncounted = plan.uncounted.iter().cloned().map(UserError::from);
        let refused = self.refused.iter().cloned();
        let refused = refused.map(|(mailbox, source)| UserError::refused(&mailbox, source));
        let of_plan = left_out.chain(withheld).chain(kept).chain(uncounted);
        unreadable.chain(of_plan).chain(refused).collect()
    }
}

/// One line for each finding, in the order in which they are carried out; then what is not done, and why.
///
/// ```text
/// delete user.anna.old: it was deleted here
/// rename user.anna.a to user.anna.b
/// send user.anna.b: it changed; removes 3 messages
/// not done: mailbox user.anna.c needs copyback: …
/// ```
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = &self.changes;
        for name in &plan.deletes {
            writeln!(f, "delete {name}: it was deleted here, or never held anything")?;
        }
        for contest in &plan.contests {
            let (name, theirs) = (&contest.mailbox, &contest.theirs);
            writeln!(f, "replace {name}, which is {theirs} there, if nothing is lost by that")?;
        }
        for rename in &plan.renames {
            writeln!(f, "rename {} to {}", rename.from, rename.to)?;
        }
        for update in &plan.updates {
            writeln!(f, "send {}: {}{}", update.name(), why(update), self.loss_of(update))?;
        }
        for change in &plan.quotas {
            match change {
                QuotaChange::Set(quota) => writeln!(f, "set quota root {}", quota.root)?,
                QuotaChange::Remove(root) => writeln!(f, "remove quota root {root}")?,
            }
        }
        for change in &plan.subscriptions {
            match change {
                SubChange::Add(name) => writeln!(f, "subscribe to {name}")?,
                SubChange::Remove(name) => writeln!(f, "unsubscribe from {name}")?,
            }
        }
        for change in &plan.sieve {
            match change {
                SieveChange::Upload(script) => writeln!(f, "send script {}", script.name)?,
                SieveChange::Delete(file) => writeln!(f, "delete script {file}")?,
                SieveChange::Activate(file) => writeln!(f, "activate script {file}")?,
                SieveChange::Deactivate => writeln!(f, "activate no script")?,
            }
        }
        for seen in &plan.seen {
            writeln!(f, "send seen state of {}", seen.uniqueid)?;
        }
        for name in &plan.orphans {
            writeln!(
                f,
                "leave {name}: only the replica has it, and nothing shows that it was deleted here"
            )?;
        }
        self.failures().iter().try_for_each(|e| writeln!(f, "not done: {e}"))
    }
}

/// What is known of the difference.
fn why(update: &MailboxUpdate) -> &'static str {
    match update {
        MailboxUpdate::Intermediate(_) => "a name without a mailbox",
        MailboxUpdate::Send { replica: None, .. } => "the replica lacks it",
        MailboxUpdate::Send { doubt: Doubt::None, .. } => "it changed",
        MailboxUpdate::Send { doubt: Doubt::Checksum, .. } => "only its checksums differ",
        MailboxUpdate::Send { doubt: Doubt::Full, .. } => "it is compared record by record",
    }
}

/// `; removes 3 messages, 2 messages that only the replica has, and it is made again`; nothing if nothing is removed.
impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.removed > 0 {
            write!(f, "; removes {}", words::count(self.removed, "message"))?;
        }
        if self.unproven > 0 {
            let messages = words::count(self.unproven, "message");
            write!(f, "; removes {messages} that only the replica has")?;
        }
        if self.made_again {
            write!(f, "; it is removed there, and made again")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
