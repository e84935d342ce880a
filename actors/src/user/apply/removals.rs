//! How much of a user may be removed on the replica in one run: `--max-deletes`, and a separate bound for removals by
//! `--overwrite`.
//!
//! Removals are counted before anything of the user is changed: mailboxes that are removed or made again, messages that a
//! comparison found, and messages that were expunged here since the replica was last updated.

use sync_plan::{MailboxUpdate, UserPlan};

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
    /// Counts the removals of the plan. A mailbox of which they can't be counted is left out, and named.
    ///
    /// # Errors
    /// [`UserError::TooManyRemovals`]
    pub(super) async fn check_removals(&mut self, plan: &mut UserPlan) -> Result<(), UserError> {
        let mut removals = self.removals;
        removals.mailboxes += plan.deletes.len() as u64;
        for full in self.fulls.values() {
            removals.add(&full.found);
        }
        if self.context.settings.sync.max_deletes.is_some() {
            for update in std::mem::take(&mut plan.updates) {
                match self.count_expunged(&update).await {
                    Ok(messages) => {
                        removals.messages += messages;
                        plan.updates.push(update);
                    }
                    Err(e) if e.is_of_mailbox() => self.keep(e),
                    Err(e) => return Err(e),
                }
            }
        }
        removals.permitted(self.gone(), self.context.settings.sync.max_deletes)?;
        self.removals = removals;
        Ok(())
    }

    /// While a mailbox of the user can't be read here, or is refused by the replica, messages may have moved into it: a
    /// mailbox that would lose messages there is left out, and named.
    pub(super) async fn keep_what_may_have_moved(
        &mut self,
        plan: &mut UserPlan,
    ) -> Result<(), UserError> {
        if !self.cautious {
            return Ok(());
        }
        let mut staying = Vec::new();
        for update in std::mem::take(&mut plan.updates) {
            match self.would_remove(&update).await {
                Ok(false) => staying.push(update),
                Ok(true) => {
                    self.keep(UserError::MayHaveMoved { mailbox: update.name().clone() });
                }
                Err(e) if e.is_of_mailbox() => self.keep(e),
                Err(e) => return Err(e),
            }
        }
        plan.updates = staying;
        Ok(())
    }

    /// Whether this removes live messages there.
    async fn would_remove(&self, update: &MailboxUpdate) -> Result<bool, UserError> {
        if let MailboxUpdate::Send { uniqueid, .. } = update
            && let Some(full) = self.fulls.get(uniqueid)
        {
            return Ok(full.found.removed > 0);
        }
        Ok(self.count_expunged(update).await? > 0)
    }

    /// How many messages of the replica's mailbox this expunges, unless all of it was compared.
    async fn count_expunged(&self, update: &MailboxUpdate) -> Result<u64, UserError> {
        let MailboxUpdate::Send { uniqueid, replica: Some(replica), .. } = update else {
            return Ok(0);
        };
        if self.fulls.contains_key(uniqueid) {
            return Ok(0);
        }
        let Some(entry) = self.read.entries.get(uniqueid).cloned() else { return Ok(0) };
        let counting = self.context.reader.send(CountExpunged { entry, replica: replica.clone() });
        Ok(counting.await??)
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
