//! Mailboxes that the replica refused after a plain change: compared again, then record by record.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use csync::ReplicaMailbox;
use cyrus_store::MboxEntry;
use cyrus_types::{MailboxName, Uid, UniqueId};
use sync_plan::{CopybackReason, Doubt, MailboxUpdate, PlanError};
use tracing::info;

use super::{Apply, Full};
use crate::error::UserError;
use crate::master::full_update::{Found, FullChecked};
use crate::master::plan_mailbox::SendMode;
use crate::master::reserve::Holder;
use crate::master::store_reader::{CheckFull, DoChecksumsDiffer};
use crate::replica::client::FullAnswer;
use crate::replica::staged::STAGED;
use crate::user::plan::{Loss, Plan};

impl Apply<'_> {
    /// For mailboxes the replica refused: asks for its present state, computes our checksums again, and sends the change
    /// once more without a condition.
    pub(super) async fn settle_doubtful(&mut self) -> Result<(), UserError> {
        let doubtful = self.take_doubtful();
        if doubtful.is_empty() {
            return Ok(());
        }
        let found = self.replica_mailboxes(&doubtful).await?;
        for name in &doubtful {
            let Some(uniqueid) = self.read.uniqueid_of(name).cloned() else {
                self.look_again = true;
                continue;
            };
            let replica = found.get(&uniqueid).cloned();
            self.send_mailbox(name, &uniqueid, replica, SendMode::Afresh).await?;
        }
        self.release().await?;
        self.drain(0).await?;
        let still = self.take_doubtful();
        self.full.extend(still);
        Ok(())
    }

    /// The names of the refused mailboxes.
    fn take_doubtful(&mut self) -> Vec<MailboxName> {
        std::mem::take(&mut self.doubtful).into_iter().map(|(mailbox, _)| mailbox).collect()
    }

    /// The last resort: compares record by record, makes the replica expunge what it must not keep, and sends all records.
    /// A mailbox that is refused after that has something that needs copyback.
    pub(super) async fn settle_in_full(&mut self) -> Result<(), UserError> {
        for name in std::mem::take(&mut self.full) {
            let Some(uniqueid) = self.read.uniqueid_of(&name).cloned() else {
                self.look_again = true;
                continue;
            };
            let Some(full) = self.fetch_full(&name, &uniqueid).await? else {
                self.look_again = true;
                continue;
            };
            if let Err(e) = self.settle_one_in_full(&name, &uniqueid, full).await {
                match e {
                    UserError::TooManyRemovals { .. } | UserError::MayHaveMoved { .. } => {
                        self.keep(e);
                    }
                    e if e.is_of_mailbox() => self.keep(e),
                    e => return Err(e),
                }
            }
        }
        self.release().await?;
        self.drain(0).await?;
        for (mailbox, code) in std::mem::take(&mut self.doubtful) {
            let reason = CopybackReason::Refused { code: code.to_string() };
            self.keep(PlanError::Copyback { mailbox, reason }.into());
        }
        Ok(())
    }

    async fn settle_one_in_full(
        &mut self,
        name: &MailboxName,
        uniqueid: &UniqueId,
        mut full: Full,
    ) -> Result<(), UserError> {
        let Some(entry) = self.read.entries.get(uniqueid).cloned() else { return Ok(()) };
        let FullChecked { found, bad, half_made, .. } = self.check_full(entry, &full).await?;
        if half_made {
            info!(
                "SYNCNOTICE: mailbox was left half made on the replica, making it again: mailbox=<{name}>"
            );
            return self.remake(&full.mailbox).await;
        }
        if found.removed > 0 && self.cautious {
            return Err(UserError::MayHaveMoved { mailbox: name.clone() });
        }
        full.found = found;
        self.keep_all(bad);
        if !self.fulls.contains_key(uniqueid) {
            self.check_more_removals(&full.found)?;
        }
        if full.found.again && full.found.live as usize > STAGED {
            // The replica can't keep all its messages meanwhile. --overwrite allows it, or we would not be here.
            return self.remake(&full.mailbox).await;
        }
        let there = &full.mailbox;
        if full.found.again {
            self.context.partitions.seen(&there.partition);
            let holder = Holder {
                uniqueid: uniqueid.clone(),
                name: name.clone(),
                last_uid: there.last_uid,
                highestmodseq: there.highestmodseq,
                changed: true,
            };
            let updates = vec![(uniqueid.clone(), Uid::NONE)];
            self.ask_reserve(updates, vec![holder], true).await?;
        }
        self.send_mailbox(name, uniqueid, Some(full.mailbox.clone()), full.how()).await
    }

    async fn check_full(
        &mut self,
        entry: MboxEntry,
        full: &Full,
    ) -> Result<FullChecked, UserError> {
        let checking = self.context.reader.send(CheckFull { entry, full: full.records.clone() });
        checking.await?
    }

    /// A sync_server that dies while it makes a mailbox leaves one behind that has our last UID and modseq, but no record
    /// (3.6.1). Nothing can be appended to it any more, because its UIDs count as assigned. As it is empty, it may be
    /// removed, and the next look makes it again, if it has not changed.
    async fn remake(&mut self, old: &ReplicaMailbox) -> Result<(), UserError> {
        self.look_again = true;
        if self.is_still(old).await? {
            self.unmailbox(&old.name, Some(old)).await?;
        }
        Ok(())
    }

    /// Compares the mailboxes for which headers are not enough, before anything is changed. One that needs copyback is
    /// taken out of the plan: it is left as it is on both sides, and named in the end.
    pub(super) async fn compare_in_full(&mut self, all: &mut Plan) -> Result<(), UserError> {
        let Plan { changes: plan, losses, .. } = all;
        let mut out = HashSet::new();
        for update in &plan.updates {
            let MailboxUpdate::Send { name, uniqueid, doubt, replica } = update else { continue };
            let Some(entry) = self.read.entries.get(uniqueid).cloned() else { continue };
            let in_full = match (doubt, replica) {
                (Doubt::Full, _) => true,
                (Doubt::Checksum, Some(replica)) => {
                    let question =
                        DoChecksumsDiffer { entry: entry.clone(), replica: replica.clone() };
                    let asking = self.context.reader.send(question);
                    asking.await??
                }
                _ => false,
            };
            if !in_full {
                continue;
            }
            // Its header is the same: it is equal if the only differences are messages whose files are bad.
            let same = replica.as_deref().filter(|_| *doubt == Doubt::Checksum);
            match self.compare_one_in_full(name, uniqueid, entry, same).await {
                Ok(Came::Compared) => {}
                Ok(Came::MustGo) => {
                    self.full.push(name.clone());
                    out.insert(uniqueid.clone());
                }
                Ok(Came::Equal) => {
                    out.insert(uniqueid.clone());
                }
                Err(e) if e.is_of_mailbox() => {
                    self.cautious |= matches!(e, UserError::Master(_));
                    self.keep(e);
                    out.insert(uniqueid.clone());
                }
                Err(e) => return Err(e),
            }
        }
        let found = self.fulls.iter().map(|(id, full)| (id.clone(), Loss::from(&full.found)));
        losses.extend(found.filter(|(_, loss)| !loss.is_none()));
        let stays = |update: &MailboxUpdate| match update {
            MailboxUpdate::Send { uniqueid, .. } => !out.contains(uniqueid),
            MailboxUpdate::Intermediate(_) => true,
        };
        plan.updates.retain(stays);
        Ok(())
    }

    async fn compare_one_in_full(
        &mut self,
        name: &MailboxName,
        uniqueid: &UniqueId,
        entry: MboxEntry,
        same: Option<&ReplicaMailbox>,
    ) -> Result<Came, UserError> {
        // Under its old name there, if it is to be renamed: then it is compared after that.
        let Some(mut full) = self.fetch_full(name, uniqueid).await? else {
            return Ok(Came::Compared);
        };
        let FullChecked { found, bad, crcs, half_made } = self.check_full(entry, &full).await?;
        if half_made {
            return Ok(Came::MustGo);
        }
        let equal = !bad.is_empty() && same.is_some_and(|same| crcs.agree(same.crcs));
        self.keep_all(bad);
        if equal {
            return Ok(Came::Equal);
        }
        full.found = found;
        self.fulls.insert(uniqueid.clone(), full);
        // The replica can't keep all its messages meanwhile.
        let too_large = found.again && found.live as usize > STAGED;
        Ok(if too_large { Came::MustGo } else { Came::Compared })
    }

    /// A mailbox with all its records; `None` if the replica has no such mailbox with this id.
    pub(super) async fn fetch_full(
        &mut self,
        name: &MailboxName,
        uniqueid: &UniqueId,
    ) -> Result<Option<Full>, UserError> {
        let full = self.lease.client.get_full_mailbox(name).await?.answer().await?;
        let Some(FullAnswer { mailbox, records, held }) =
            full.filter(|full| full.mailbox.uniqueid == *uniqueid)
        else {
            return Ok(None);
        };
        let (mailbox, records) = (Box::new(mailbox), Arc::new(records));
        Ok(Some(Full { mailbox, records, found: Found::default(), _held: held }))
    }

    /// Whether a mailbox there is still in this state.
    pub(super) async fn is_still(&mut self, then: &ReplicaMailbox) -> Result<bool, UserError> {
        let found = self.replica_mailboxes(std::slice::from_ref(&then.name)).await?;
        Ok(found.get(&then.uniqueid).is_some_and(|now| {
            (now.last_uid, now.highestmodseq, now.crcs)
                == (then.last_uid, then.highestmodseq, then.crcs)
        }))
    }

    async fn replica_mailboxes(
        &mut self,
        names: &[MailboxName],
    ) -> Result<HashMap<UniqueId, Box<ReplicaMailbox>>, UserError> {
        let mut found = HashMap::new();
        for asked in self.lease.client.get_mailboxes(names).await? {
            let mailboxes = asked.answer().await?.user.mailboxes.into_iter();
            found.extend(mailboxes.map(|m| (m.uniqueid.clone(), Box::new(m))));
        }
        Ok(found)
    }
}

/// The result of comparing a mailbox before anything is changed.
enum Came {
    /// It is known what to do about it.
    Compared,
    /// The replica's mailbox must be removed before anything is sent.
    MustGo,
    /// Everything that can be sent is there.
    Equal,
}
