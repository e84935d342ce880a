//! Changes to an existing store, as clients would make them, but without a server.

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::MasterStore;
use super::files::Linked;
use super::model::{EXPUNGED, FLAGGED, SEEN};
use crate::error::Result;

/// The changes made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change {
    /// Messages appended.
    pub appended: usize,
    /// Messages whose flags changed.
    pub flagged: usize,
    /// Messages expunged.
    pub expunged: usize,
    /// Mailboxes made.
    pub created: usize,
    /// Mailboxes deleted.
    pub deleted: usize,
    /// Subscriptions added or removed.
    pub subscriptions: usize,
}

impl MasterStore {
    /// Appends messages to a user's mailbox, both by number.
    ///
    /// # Errors
    /// A file can't be written.
    ///
    /// # Panics
    /// There is no such mailbox.
    pub fn append(&mut self, user: usize, mailbox: usize, count: usize) -> Result<()> {
        let mut owner = self.model.users[user].clone();
        let mut changed = owner.mailboxes[mailbox].clone();
        let first = changed.last_uid + 1;
        self.model.append(&mut owner, &mut changed, count);
        self.write_mailbox(&changed, first, &mut Linked::default())?;
        owner.mailboxes[mailbox] = changed;
        self.write_user(&owner)?;
        self.model.users[user] = owner;
        Ok(())
    }

    /// Makes `count` random changes: messages appended, flagged and expunged, mailboxes made and deleted,
    /// subscriptions changed.
    ///
    /// # Errors
    /// A file can't be written.
    pub fn change(&mut self, seed: u64, count: usize) -> Result<Change> {
        let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
        let mut done = Change::default();
        for number in 0..count {
            let user = rng.random_range(0..self.model.users.len().max(1));
            let live: Vec<usize> = (0..self.model.users[user].mailboxes.len())
                .filter(|m| !self.model.users[user].mailboxes[*m].deleted)
                .collect();
            let Some(&mailbox) = live.choose(&mut rng) else { continue };
            match rng.random_range(0..10) {
                0..4 => {
                    let messages = rng.random_range(1..4);
                    self.append(user, mailbox, messages)?;
                    done.appended += messages;
                }
                4..6 => done.flagged += self.mark(user, mailbox, FLAGGED | SEEN, &mut rng)?,
                6..8 => done.expunged += self.mark(user, mailbox, EXPUNGED, &mut rng)?,
                8 => {
                    let name =
                        format!("{}.new{number:04}", self.model.users[user].mailboxes[0].name);
                    self.create(user, name)?;
                    done.created += 1;
                }
                _ if mailbox > 0 => {
                    self.delete(user, mailbox)?;
                    done.deleted += 1;
                }
                _ => {
                    self.subscribe(user)?;
                    done.subscriptions += 1;
                }
            }
        }
        self.write_list()?;
        Ok(done)
    }

    /// Sets flags on one live message in three; returns how many.
    fn mark(
        &mut self,
        user: usize,
        mailbox: usize,
        flags: u32,
        rng: &mut impl RngExt,
    ) -> Result<usize> {
        let owner = &mut self.model.users[user];
        let changed = &mut owner.mailboxes[mailbox];
        let mut marked = 0;
        for one in changed.messages.iter_mut().filter(|m| m.flags & EXPUNGED == 0) {
            if rng.random_range(0..3) > 0 {
                continue;
            }
            owner.highestmodseq += 1;
            changed.highestmodseq = owner.highestmodseq;
            one.modseq = owner.highestmodseq;
            one.last_updated += 60;
            one.flags |= flags;
            marked += 1;
        }
        let (changed, owner) = (changed.clone(), owner.clone());
        self.write_mailbox(&changed, changed.last_uid + 1, &mut Linked::default())?;
        self.write_user(&owner)?;
        Ok(marked)
    }

    fn create(&mut self, user: usize, name: String) -> Result<()> {
        let mut owner = self.model.users[user].clone();
        let mut made = self.model.mailbox(&mut owner, name);
        self.model.append(&mut owner, &mut made, 2);
        self.write_mailbox(&made, 1, &mut Linked::default())?;
        owner.mailboxes.push(made);
        self.write_user(&owner)?;
        self.model.users[user] = owner;
        Ok(())
    }

    /// Deletes a mailbox at once; a tombstone stays in the list.
    fn delete(&mut self, user: usize, mailbox: usize) -> Result<()> {
        let owner = &mut self.model.users[user];
        owner.highestmodseq += 1;
        let gone = &mut owner.mailboxes[mailbox];
        gone.deleted = true;
        gone.foldermodseq = owner.highestmodseq;
        gone.messages.clear();
        let name = gone.name.clone();
        owner.subscriptions.retain(|s| *s != name);
        let (gone, owner) = (gone.clone(), owner.clone());
        self.remove_mailbox(&gone)?;
        self.write_user(&owner)
    }

    /// Subscribes to the INBOX, or unsubscribes from it.
    fn subscribe(&mut self, user: usize) -> Result<()> {
        let owner = &mut self.model.users[user];
        let inbox = owner.mailboxes[0].name.clone();
        match owner.subscriptions.iter().position(|s| *s == inbox) {
            Some(at) => drop(owner.subscriptions.remove(at)),
            None => owner.subscriptions.push(inbox),
        }
        let owner = owner.clone();
        self.write_user(&owner)
    }
}
