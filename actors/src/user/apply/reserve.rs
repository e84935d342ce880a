//! RESERVE: which messages the replica has already, so that they need neither an upload nor a good file here.

use std::collections::HashSet;

use cyrus_types::{Guid, MailboxName, Uid, UniqueId};
use sync_plan::{MailboxUpdate, UserPlan};

use super::Apply;
use crate::error::UserError;
use crate::master::bad_files::Files;
use crate::master::reserve::{GUIDS, Holder, Reserve, Wanted};
use crate::master::store_reader::FindReserve;
use crate::replica::asked::Asked;
use crate::replica::command_error::CommandError;

impl Apply<'_> {
    /// Asks which of the new messages the replica has already, in folders where it may have them.
    pub(super) async fn reserve(&mut self, plan: &UserPlan) -> Result<(), UserError> {
        let last_uids = self.read.last_uids();
        let mut changed = HashSet::new();
        let mut updates = Vec::new();
        for update in &plan.updates {
            let MailboxUpdate::Send { uniqueid, replica, .. } = update else { continue };
            changed.insert(uniqueid);
            // For a mailbox that is to be made again, all its messages may be there.
            let again = self.fulls.get(uniqueid).is_some_and(|full| full.found.again);
            let there = replica.as_ref().filter(|_| !again).map_or(Uid::NONE, |r| r.last_uid);
            if last_uids.get(uniqueid).is_some_and(|here| *here > there) {
                updates.push((uniqueid.clone(), there));
            }
        }
        let holders: Vec<Holder> = self
            .replica
            .mailboxes
            .iter()
            .filter(|r| r.last_uid > Uid::NONE)
            .map(|r| Holder {
                changed: changed.contains(&r.uniqueid),
                uniqueid: r.uniqueid.clone(),
                name: r.name.clone(),
                last_uid: r.last_uid,
                highestmodseq: r.highestmodseq,
            })
            .collect();
        if updates.is_empty() || holders.is_empty() {
            return Ok(());
        }
        // A name without a mailbox is on no partition.
        for there in self.replica.mailboxes.iter().filter(|r| !r.partition.is_empty()) {
            self.context.partitions.seen(&there.partition);
        }
        let again = self.fulls.values().any(|full| full.found.again);
        self.ask_reserve(updates, holders, again).await
    }

    /// Asks for new messages of `updates`, as [`Wanted`] says, in the mailboxes of `holders`.
    pub(super) async fn ask_reserve(
        &mut self,
        updates: Vec<(UniqueId, Uid)>,
        holders: Vec<Holder>,
        at_any_size: bool,
    ) -> Result<(), UserError> {
        let asking = self.context.reader.send(FindReserve(Wanted {
            entries: self.read.entries.clone(),
            updates,
            holders,
            partition: self.context.settings.sync.partition.clone(),
            at_any_size,
        }));
        let reserves = asking.await??;
        // A replica dies when it looks for a place for a file on a partition that it lacks.
        let reserves = reserves.into_iter().filter(|r| self.context.partitions.has(&r.partition));
        let mut asked = Vec::new();
        for r in reserves {
            let in_flight = self.send_reserve(&r).await?;
            asked.push((r, in_flight));
        }
        for (r, in_flight) in asked {
            self.missing_there(&r, in_flight).await?;
        }
        Ok(())
    }

    async fn send_reserve(&self, r: &Reserve) -> Result<Asked<HashSet<Guid>>, CommandError> {
        self.lease.client.reserve(&r.partition, &r.folders, &r.guids).await
    }

    /// Asks for messages whose files are bad here: the replica may have them in any of the user's mailboxes.
    pub(super) async fn ask_for_lacking(
        &mut self,
        uniqueid: &UniqueId,
        files: &mut Files,
    ) -> Result<(), UserError> {
        let mut missing: HashSet<Guid> = files.lacking().collect();
        let guids: Vec<Guid> = missing.iter().copied().collect();
        let holders = self.replica.mailboxes.iter().filter(|r| r.last_uid > Uid::NONE);
        let folders: Vec<MailboxName> = holders.map(|r| r.name.clone()).collect();
        if let Some(partition) = self.partition_of(uniqueid)
            && self.context.partitions.has(&partition)
            && !folders.is_empty()
        {
            missing.clear();
            for guids in guids.chunks(GUIDS) {
                let (partition, folders) = (partition.clone(), folders.clone());
                let asked = Reserve { partition, folders, guids: guids.to_vec() };
                let in_flight = self.send_reserve(&asked).await?;
                missing.extend(self.missing_there(&asked, in_flight).await?);
            }
        }
        files.found_there(&missing);
        Ok(())
    }

    /// Which of these the replica lacks; the others are staged.
    async fn missing_there(
        &mut self,
        reserve: &Reserve,
        asked: Asked<HashSet<Guid>>,
    ) -> Result<HashSet<Guid>, CommandError> {
        let missing = asked.answer().await?;
        let found = reserve.guids.iter().filter(|guid| !missing.contains(guid)).copied();
        self.staged.add(&reserve.partition, found);
        Ok(missing)
    }
}
