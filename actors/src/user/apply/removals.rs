//! How much of a user may be removed on the replica in one run: `--max-deletes`, and a separate bound for removals by
//! `--overwrite`.
//!
//! Removals are counted before anything of the user is changed: mailboxes that are removed or made again, messages that a
//! comparison found, and messages that were expunged here since the replica was last updated.

use std::collections::HashSet;

use sync_plan::{MailboxUpdate, Withheld};

use super::Apply;
use crate::error::UserError;
use crate::master::full_update::Found;
use crate::master::store_reader::CountExpunged;
use crate::user::plan::{Loss, Plan};

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
    fn add(&mut self, loss: Loss) {
        self.mailboxes += u64::from(loss.made_again);
        self.messages += loss.removed + loss.unproven;
        self.unproven += loss.unproven;
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

/// Whether live messages are removed because they were removed here: they may have moved. What --overwrite takes has not.
fn loses(loss: &Loss) -> bool {
    loss.removed > 0
}

impl Apply<'_> {
    /// Counts what the plan's updates remove, and takes out of it what must stay for now:
    /// - a mailbox that can't be read here;
    /// - and then, or if the replica refuses a mailbox: mailboxes to be deleted, and those that would lose messages. What
    ///   is missing in them may have moved into that one, and must not vanish on the replica before it has arrived there.
    ///
    /// All of these are named in the end.
    pub(super) async fn weigh_removals(&mut self, plan: &mut Plan) -> Result<(), UserError> {
        // A single mailbox can't lose anything to another.
        let several = plan.changes.updates.len() > 1 || !plan.changes.deletes.is_empty();
        if self.cautious || several || self.context.settings.sync.max_deletes.is_some() {
            self.count_losses(plan, true).await?;
        }
        let removes = !plan.changes.deletes.is_empty() || plan.losses.values().any(loses);
        if removes && !self.cautious {
            self.count_losses(plan, false).await?;
        }
        if self.cautious {
            self.withhold(plan);
        }
        Ok(())
    }

    /// Takes removals out of the plan.
    fn withhold(&mut self, plan: &mut Plan) {
        let updates = std::mem::take(&mut plan.changes.updates);
        for update in updates {
            match &update {
                MailboxUpdate::Send { name, uniqueid, .. } if loses(&plan.loss_of(&update)) => {
                    plan.losses.remove(uniqueid);
                    self.fulls.remove(uniqueid);
                    self.keep(UserError::MayHaveMoved { mailbox: name.clone() });
                }
                _ => plan.changes.updates.push(update),
            }
        }
        self.withhold_contested();
        let mailboxes = std::mem::take(&mut plan.changes.deletes);
        if !mailboxes.is_empty() {
            self.keep(UserError::Withheld(Withheld { mailboxes, ..Withheld::default() }));
        }
    }

    /// Counts what each mailbox would lose of those that the replica has (`there`) or has not. One that can't be read is
    /// taken out of the plan, and named. Mailboxes that were compared record by record were read then.
    async fn count_losses(&mut self, plan: &mut Plan, there: bool) -> Result<(), UserError> {
        let (mut uniqueids, mut asked) = (Vec::new(), Vec::new());
        for update in &plan.changes.updates {
            if let MailboxUpdate::Send { uniqueid, replica, .. } = update
                && replica.is_some() == there
                && !self.fulls.contains_key(uniqueid)
                && let Some(entry) = self.read.entries.get(uniqueid)
            {
                uniqueids.push(uniqueid.clone());
                asked.push((entry.clone(), replica.clone()));
            }
        }
        if asked.is_empty() {
            return Ok(());
        }
        let counted = self.context.reader.send(CountExpunged(asked)).await??;
        let mut unread = HashSet::new();
        for (uniqueid, count) in uniqueids.into_iter().zip(counted) {
            match count.map_err(UserError::from) {
                Ok(0) => {}
                Ok(removed) => {
                    plan.losses.insert(uniqueid, Loss { removed, ..Loss::default() });
                }
                Err(e) if e.is_of_mailbox() => {
                    self.keep(e);
                    self.cautious = true;
                    unread.insert(uniqueid);
                }
                Err(e) => return Err(e),
            }
        }
        plan.changes.updates.retain(|update| match update {
            MailboxUpdate::Send { uniqueid, .. } => !unread.contains(uniqueid),
            MailboxUpdate::Intermediate(_) => true,
        });
        Ok(())
    }

    /// Whether the plan may be carried out.
    ///
    /// # Errors
    /// [`UserError::TooManyRemovals`]
    pub(super) fn check_removals(&mut self, plan: &Plan) -> Result<(), UserError> {
        let mut removals = self.removals;
        removals.mailboxes += plan.changes.deletes.len() as u64;
        plan.losses.values().for_each(|loss| removals.add(*loss));
        removals.permitted(self.gone(), self.context.settings.sync.max_deletes)?;
        self.removals = removals;
        Ok(())
    }

    /// What was removed of this user so far.
    fn gone(&self) -> u64 {
        self.sent_before.removed + self.sent.removed
    }

    /// The same for a mailbox that turned out late to need a comparison. It is added to everything counted before.
    pub(super) fn check_more_removals(&mut self, found: &Found) -> Result<(), UserError> {
        let mut removals = self.removals;
        removals.add(Loss::from(found));
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
        removals.add(Loss::from(&found));
        assert!(removals.permitted(0, None).is_ok());
        assert!(removals.permitted(0, Some(1101)).is_ok());
        assert!(removals.permitted(1, Some(1101)).is_err());
        let e = removals.permitted(0, Some(1100)).unwrap_err().to_string();
        assert!(e.starts_with("1100 messages and 1 mailbox would be removed"), "{e}");
        removals.add(Loss { unproven: 1, ..Loss::default() });
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
