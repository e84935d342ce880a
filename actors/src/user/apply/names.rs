//! Names on the replica: removes and renames mailboxes.

use std::collections::HashMap;

use csync::ReplicaMailbox;
use cyrus_store::MboxEntry;
use cyrus_types::MailboxName;
use sync_plan::{MailboxUpdate, UserPlan};
use tracing::error;

use super::Apply;
use super::ahead::Object;
use crate::error::UserError;
use crate::master::user_read::Host;
use crate::replica::command_error::CommandError;

impl Apply<'_> {
    pub(super) async fn delete(&mut self, names: &[MailboxName]) -> Result<(), UserError> {
        let theirs = self.replica.mailboxes.iter().map(|r| (&r.name, r));
        let theirs: HashMap<&MailboxName, &ReplicaMailbox> = theirs.collect();
        for mailbox in names {
            self.unmailbox(mailbox, theirs.get(mailbox).copied()).await?;
        }
        Ok(())
    }

    /// Removes one: this one and no other of that name, if it is known and the replica supports that.
    pub(super) async fn unmailbox(
        &mut self,
        mailbox: &MailboxName,
        there: Option<&ReplicaMailbox>,
    ) -> Result<(), UserError> {
        let mut in_flight = self.lease.client.unmailbox(mailbox, there).await?;
        in_flight.brings.removed = 1;
        self.push(Object::Mailbox(mailbox.clone()), vec![in_flight], None).await
    }

    /// Returns whether anything was renamed.
    pub(super) async fn rename(&mut self, plan: &UserPlan) -> Result<bool, UserError> {
        let mut asked = Vec::new();
        for r in &plan.renames {
            let client = &self.lease.client;
            asked.push((r, client.rename(&r.from, &r.to, &r.partition, r.uidvalidity).await?));
        }
        // One that builds on a failed one finds its name taken or missing, and fails too.
        let mut failed = None;
        for (r, in_flight) in asked {
            if let Err(source) = in_flight.done().await {
                error!("do_folders(): failed to rename: {} -> {}", r.from, r.to);
                let lost = matches!(source, CommandError::Lost { .. });
                failed.get_or_insert((UserError::refused(&r.to, source), &r.partition, lost));
            }
        }
        if let Some((e, partition, lost)) = failed {
            if !lost {
                self.check_refused_partition(partition).await?;
            }
            return Err(e);
        }
        if !plan.renames.is_empty() {
            self.drain(0).await?;
        }
        Ok(!plan.renames.is_empty())
    }

    /// A replica (3.6.1) can't make a #sieve mailbox, not even one below DELETED, for a user of whom it never had an INBOX
    /// (`sync_support.c:sync_apply_mailbox` makes the user's script folder first). Then the deleted INBOX gets its old name
    /// back for as long as that takes.
    pub(super) fn host_of(&self, update: &MailboxUpdate) -> Option<Host> {
        let MailboxUpdate::Send { uniqueid, replica: None, .. } = update else { return None };
        let host = self.read.hosts.get(uniqueid)?;
        let there = self.replica.mailboxes.iter().any(|r| r.name == host.inbox);
        (!there).then(|| host.clone())
    }

    pub(super) async fn rename_host(
        &mut self,
        from: &MailboxName,
        to: &MailboxName,
        inbox: &MboxEntry,
    ) -> Result<(), UserError> {
        let partition = self.context.settings.sync.partition.as_ref().unwrap_or(&inbox.partition);
        let in_flight = self.lease.client.rename(from, to, partition, inbox.uidvalidity).await?;
        self.push(Object::Mailbox(from.clone()), vec![in_flight], None).await
    }
}
