//! How much of a user may be removed on the replica in one run: `--max-deletes`, and a separate bound for removals by
//! `--overwrite`.
//!
//! Removals are counted before anything of the user is changed: mailboxes that are removed or made again, messages that a
//! comparison found, and messages that were expunged here since the replica was last updated.

use std::collections::{HashMap, HashSet};

use cyrus_types::{MailboxName, UniqueId};
use sync_plan::{MailboxUpdate, UserPlan, Withheld};

use super::Apply;
use crate::error::UserError;
use crate::master::full_update::Found;
use crate::master::store_reader::CountExpunged;

/// How many messages of a user --overwrite removes without proof that they were removed here, if --max-deletes does not
/// say: enough for what a few days without the master leave behind, but not for a live mailbox.
const OVERWRITTEN: u64 = 100;

/// The removals of a run, planned or done.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Removals {
    mailboxes: u64,
    messages: u64,
    /// Those of the messages without proof that they were removed here.
    unproven: u64,
}

impl Removals {
    fn add(&mut self, found: &Found) {
        self.mailboxes += u64::from(found.again && found.overwritten);
        self.messages += found.removed + found.unproven;
        self.unproven += found.unproven;
    }

    /// A mailbox is removed to free its name, with this many messages without proof that they were removed here.
    pub(super) fn count_contested(&mut self, unproven: u64) {
        self.mailboxes += 1;
        self.messages += unproven;
        self.unproven += unproven;
    }

    /// Whether this much may be removed, of a user that has lost `gone` before.
    fn permitted(&self, gone: u64, max_deletes: Option<u64>) -> Result<(), UserError> {
        let Removals { mailboxes, messages, unproven } = *self;
        match max_deletes {
            Some(most) if gone + mailboxes + messages > most => {
                let messages = messages + gone;
                Err(UserError::TooManyRemovals { mailboxes, messages, most, by_option: true })
            }
            None if unproven > OVERWRITTEN => Err(UserError::TooManyRemovals {
                mailboxes: 0,
                messages: unproven,
                most: OVERWRITTEN,
                by_option: false,
            }),
            _ => Ok(()),
        }
    }
}

impl Apply<'_> {
    /// Counts what the plan removes, and takes out of it what must stay for now:
    /// - a mailbox that can't be read here;
    /// - and then, or if the replica refuses a mailbox: mailboxes to be deleted, and those that would lose messages. What
    ///   is missing in them may have moved into that one, and must not vanish on the replica before it has arrived there.
    ///
    /// All of these are named in the end.
    ///
    /// # Errors
    /// [`UserError::TooManyRemovals`]
    pub(super) async fn weigh_removals(&mut self, plan: &mut UserPlan) -> Result<(), UserError> {
        let max_deletes = self.context.settings.sync.max_deletes;
        let mut lost = HashMap::new();
        // A single mailbox can't lose anything to another.
        let several = plan.updates.len() > 1 || !plan.deletes.is_empty();
        if self.cautious || several || max_deletes.is_some() {
            lost = self.count_lost(plan, true).await?;
        }
        let loses = |apply: &Self, update: &MailboxUpdate| match update {
            MailboxUpdate::Intermediate(_) => false,
            MailboxUpdate::Send { uniqueid, .. } => match apply.fulls.get(uniqueid) {
                Some(full) => full.found.removed > 0,
                None => lost.contains_key(uniqueid),
            },
        };
        let removes = !plan.deletes.is_empty() || plan.updates.iter().any(|u| loses(self, u));
        if removes && !self.cautious {
            self.count_lost(plan, false).await?;
        }
        if self.cautious {
            let (gone, stay) =
                std::mem::take(&mut plan.updates).into_iter().partition(|u| loses(self, u));
            plan.updates = stay;
            self.withhold(gone, std::mem::take(&mut plan.deletes));
        }
        let mut removals = self.removals;
        removals.mailboxes += plan.deletes.len() as u64;
        self.fulls.values().for_each(|full| removals.add(&full.found));
        if max_deletes.is_some() {
            let sent = |update: &MailboxUpdate| match update {
                MailboxUpdate::Send { uniqueid, .. } => lost.get(uniqueid).copied(),
                MailboxUpdate::Intermediate(_) => None,
            };
            removals.messages += plan.updates.iter().filter_map(sent).sum::<u64>();
        }
        removals.permitted(self.gone(), max_deletes)?;
        self.removals = removals;
        Ok(())
    }

    /// These are left as they are on the replica, and named.
    fn withhold(&mut self, updates: Vec<MailboxUpdate>, deletes: Vec<MailboxName>) {
        for update in updates {
            if let MailboxUpdate::Send { name, uniqueid, .. } = update {
                self.fulls.remove(&uniqueid);
                self.keep(UserError::MayHaveMoved { mailbox: name });
            }
        }
        if !deletes.is_empty() {
            let withheld = Withheld { mailboxes: deletes, ..Withheld::default() };
            self.keep(UserError::Withheld(withheld));
        }
    }

    /// How many messages each mailbox would lose, if any, of those that the replica has (`there`) or has not. One that can't
    /// be read is taken out of the plan, and named. Mailboxes that were compared record by record were read then.
    async fn count_lost(
        &mut self,
        plan: &mut UserPlan,
        there: bool,
    ) -> Result<HashMap<UniqueId, u64>, UserError> {
        let (mut uniqueids, mut asked) = (Vec::new(), Vec::new());
        for update in &plan.updates {
            if let MailboxUpdate::Send { uniqueid, replica, .. } = update
                && replica.is_some() == there
                && !self.fulls.contains_key(uniqueid)
                && let Some(entry) = self.read.entries.get(uniqueid)
            {
                uniqueids.push(uniqueid.clone());
                asked.push((entry.clone(), replica.clone()));
            }
        }
        let mut lost = HashMap::new();
        if asked.is_empty() {
            return Ok(lost);
        }
        let counted = self.context.reader.send(CountExpunged(asked)).await??;
        let mut unread = HashSet::new();
        for (uniqueid, count) in uniqueids.into_iter().zip(counted) {
            match count.map_err(UserError::from) {
                Ok(0) => {}
                Ok(messages) => drop(lost.insert(uniqueid, messages)),
                Err(e) if e.is_of_mailbox() => {
                    self.keep(e);
                    self.cautious = true;
                    unread.insert(uniqueid);
                }
                Err(e) => return Err(e),
            }
        }
        plan.updates.retain(|update| match update {
            MailboxUpdate::Send { uniqueid, .. } => !unread.contains(uniqueid),
            MailboxUpdate::Intermediate(_) => true,
        });
        Ok(lost)
    }

    /// What was removed of this user so far.
    fn gone(&self) -> u64 {
        self.sent_before.removed + self.sent.removed
    }

    /// The same for a mailbox that turned out late to need a comparison. It is added to everything counted before.
    pub(super) fn check_more_removals(&mut self, found: &Found) -> Result<(), UserError> {
        let mut removals = self.removals;
        removals.add(found);
        let before = self.gone().saturating_sub(self.removals.mailboxes + self.removals.messages);
        removals.permitted(before, self.context.settings.sync.max_deletes)?;
        self.removals = removals;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_proven_is_bounded_by_the_option_alone() {
        let mut removals = Removals::default();
        let found = Found { again: true, overwritten: true, removed: 1000, unproven: 100, live: 9 };
        removals.add(&found);
        assert!(removals.permitted(0, None).is_ok());
        assert!(removals.permitted(0, Some(1101)).is_ok());
        assert!(removals.permitted(1, Some(1101)).is_err());
        let e = removals.permitted(0, Some(1100)).unwrap_err().to_string();
        assert!(e.starts_with("1100 messages and 1 mailbox would be removed"), "{e}");
        removals.add(&Found { unproven: 1, ..Found::default() });
        let e = removals.permitted(0, None).unwrap_err().to_string();
        assert!(e.starts_with("101 messages that only the replica has"), "{e}");
        assert!(e.contains("--overwrite takes 100 by itself"), "{e}");
        assert!(removals.permitted(0, Some(5000)).is_ok());
    }

    #[test]
    fn nothing_may_go_with_zero() {
        assert!(Removals::default().permitted(0, Some(0)).is_ok());
        let one = Removals { mailboxes: 1, ..Removals::default() };
        assert!(one.permitted(0, Some(0)).is_err());
    }
}
