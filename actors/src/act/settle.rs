//! Mailboxes that a plain change did not settle: compared afresh, then record by record.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use csync::{Code, FullMailbox, ReplicaMailbox, ReplicaUser, command};
use cyrus_store::MboxEntry;
use sync_plan::{CopybackReason, Doubt, FullReplica, MailboxUpdate, PlanError, UserPlan};
use tracing::info;

use super::{Acting, Full, nonsense};
use crate::error::UserError;
use crate::frames::{CommandError, encode};
use crate::planner::{CheckFull, DoChecksumsDiffer};
use crate::sending::How;
use crate::staged::Staged;

impl Acting<'_> {
    /// Mailboxes the replica refused: its present state is asked for, our checksums are computed
    /// afresh and the change is sent once more without a condition.
    pub(super) async fn settle_doubtful(&mut self, staged: &mut Staged) -> Result<(), UserError> {
        let doubtful = std::mem::take(&mut self.doubtful);
        if doubtful.is_empty() {
            return Ok(());
        }
        let found = self.replica_mailboxes(&doubtful).await?;
        for name in &doubtful {
            let Some(uniqueid) = self.read.uniqueid_of(name).map(str::to_string) else {
                self.look_again = true;
                continue;
            };
            let replica = found.get(&uniqueid).cloned();
            self.send_mailbox(name, &uniqueid, replica, How::Afresh, staged).await?;
        }
        self.release().await?;
        self.drain(0).await?;
        self.full.append(&mut self.doubtful);
        Ok(())
    }

    /// The last resort: compare record by record, let the replica expunge what it must not keep,
    /// and send all records. What is refused then has something that only copyback can settle.
    pub(super) async fn settle_in_full(&mut self, staged: &mut Staged) -> Result<(), UserError> {
        for name in std::mem::take(&mut self.full) {
            let Some(uniqueid) = self.read.uniqueid_of(&name).map(str::to_string) else {
                self.look_again = true;
                continue;
            };
            let Some(Full { mailbox, records }) = self.fetch_full(&name, &uniqueid).await? else {
                self.look_again = true;
                continue;
            };
            if is_half_made(&records) {
                self.remake(&name).await?;
                continue;
            }
            let how = How::Full(records);
            self.send_mailbox(&name, &uniqueid, Some(mailbox), how, staged).await?;
        }
        self.release().await?;
        self.drain(0).await?;
        for mailbox in std::mem::take(&mut self.doubtful) {
            let reason = CopybackReason::Refused { code: Code::SyncChecksum.to_string() };
            self.keep(PlanError::Copyback { mailbox, reason }.into());
        }
        Ok(())
    }

    /// A sync_server that dies while it makes a mailbox leaves one behind that has our last UID and
    /// modseq, and not one record (3.6.1). Nothing can be appended to it any more, as its UIDs count
    /// as given out; and as it holds nothing, it can go, and is made again.
    async fn remake(&mut self, name: &str) -> Result<(), UserError> {
        info!(
            "SYNCNOTICE: mailbox was left half made on the replica, making it again: mailbox=<{name}>"
        );
        self.delete(&[name.to_string()]).await?;
        self.look_again = true;
        Ok(())
    }

    /// Compares those mailboxes whose headers can't tell, before anything is changed. One that needs copyback is taken
    /// out of the plan: it is left as it is on both sides, and named in the end.
    pub(super) async fn compare_in_full(&mut self, plan: &mut UserPlan) -> Result<(), UserError> {
        let mut out = HashSet::new();
        for update in &plan.updates {
            let MailboxUpdate::Send { name, uniqueid, doubt, replica } = update else { continue };
            let Some(entry) = self.read.entries.get(uniqueid).cloned() else { continue };
            let in_full = match (doubt, replica) {
                (Doubt::Full, _) => true,
                (Doubt::Checksum, Some(replica)) => {
                    let question =
                        DoChecksumsDiffer { entry: entry.clone(), replica: replica.clone() };
                    let asking = self.hands.reader.send(question);
                    asking.await.map_err(|e| UserError::Bug(e.to_string()))??
                }
                _ => false,
            };
            if !in_full {
                continue;
            }
            match self.compare_one_in_full(name, uniqueid, entry).await {
                Err(e @ (UserError::Plan(_) | UserError::Mailbox { .. })) => {
                    self.keep(e);
                    out.insert(uniqueid.clone());
                }
                compared => compared?,
            }
        }
        let stays = |update: &MailboxUpdate| match update {
            MailboxUpdate::Send { uniqueid, .. } => !out.contains(uniqueid),
            MailboxUpdate::Intermediate(_) => true,
        };
        plan.updates.retain(stays);
        Ok(())
    }

    async fn compare_one_in_full(
        &mut self,
        name: &str,
        uniqueid: &str,
        entry: MboxEntry,
    ) -> Result<(), UserError> {
        // Under its old name there, if it is to be renamed: then it is compared after that.
        let Some(full) = self.fetch_full(name, uniqueid).await? else { return Ok(()) };
        if is_half_made(&full.records) {
            // To be refused, and made again.
            return Ok(());
        }
        let check = CheckFull { entry, full: full.records.clone() };
        let checking = self.hands.reader.send(check);
        checking.await.map_err(|e| UserError::Bug(e.to_string()))??;
        self.fulls.insert(uniqueid.to_string(), full);
        Ok(())
    }

    /// A mailbox with all its records; none where the replica has no such mailbox of this id.
    async fn fetch_full(&mut self, name: &str, uniqueid: &str) -> Result<Option<Full>, UserError> {
        self.hands.events.action(|| format!("FULLMAILBOX {name}")).await;
        let bytes = encode(|out| command::get_fullmailbox(out, name));
        let items = match self.lease.send("FULLMAILBOX", bytes).await?.answer().await {
            Err(CommandError::Refused { code: Some(Code::MailboxNonexistent), .. }) => {
                return Ok(None);
            }
            answer => answer?,
        };
        let Some(item) = items.first() else { return Ok(None) };
        let full = FullMailbox::decode(item).map_err(|e| nonsense("FULLMAILBOX", &e))?;
        if full.mailbox.uniqueid != uniqueid {
            return Ok(None);
        }
        let records = Arc::new(FullReplica::from(&full));
        Ok(Some(Full { mailbox: Box::new(full.mailbox), records }))
    }

    async fn replica_mailboxes(
        &mut self,
        names: &[String],
    ) -> Result<HashMap<String, Box<ReplicaMailbox>>, UserError> {
        self.hands.events.action(|| format!("MAILBOXES {}", names.join(" "))).await;
        let bytes = encode(|out| command::get_mailboxes(out, names.iter().map(String::as_str)));
        let asked = self.lease.send("MAILBOXES", bytes).await?;
        let mut found = ReplicaUser::default();
        for item in asked.answer().await? {
            found.push(item).map_err(|e| nonsense("MAILBOXES", &e))?;
        }
        Ok(found.mailboxes.into_iter().map(|m| (m.uniqueid.clone(), Box::new(m))).collect())
    }
}

/// UIDs were given out, and there is not one record, not even an expunged one.
fn is_half_made(full: &FullReplica) -> bool {
    full.last_uid > 0 && full.records.is_empty()
}
