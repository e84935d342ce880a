//! Finds out whether the replica has the partitions for this user's new mailboxes.
//!
//! ```text
//!   a mailbox of the user is there already -----------------------------------> it has it
//!   MAILBOX without records, for a mailbox that is to be made there --OK------> it has it
//!        '--NO without a code--> MESSAGE with an empty file --OK, NO----------> it has it
//!                                      '--the server dies of a failed assertion--> it does not
//! ```
//! The NO of 3.6.1 is "Unknown error", the same as for a full disk or a forbidden name. So the last step decides, by the
//! server's last words. It costs a replica that lacks the partition one server process, and others nothing. A connection
//! that ends in any other way says nothing about partitions.

use std::time::Instant;

use csync::{Code, Command, CommandKind, MessageCommand, ReplicaMailbox};
use cyrus_types::{Guid, MailboxName, UniqueId};
use sync_plan::{MailboxUpdate, UserPlan};
use tracing::Span;

use super::Apply;
use crate::error::{ReplicaError, UserError};
use crate::master::bad_files::Files;
use crate::master::mailbox_streamer::SendMailbox;
use crate::master::plan_mailbox::SendMode;
use crate::master::send_mailbox::MailboxSent;
use crate::replica::command_error::CommandError;
use crate::replica::staged::Staged;

/// The SHA-1 of an empty file.
const EMPTY: Guid = Guid([
    0xda, 0x39, 0xa3, 0xee, 0x5e, 0x6b, 0x4b, 0x0d, 0x32, 0x55, 0xbf, 0xef, 0x95, 0x60, 0x18, 0x90,
    0xaf, 0xd8, 0x07, 0x09,
]);

/// The assertion of which a server dies when it is sent a file for a partition that it lacks.
const LAST_WORDS: &str = "base != NULL";

/// The result of the check, if the partition was not found.
enum Probe {
    /// The replica lacks it.
    Missing,
    /// The answer says nothing about the partition.
    Unknown,
    Failed(UserError),
}

impl From<UserError> for Probe {
    fn from(e: UserError) -> Probe {
        Probe::Failed(e)
    }
}

impl Apply<'_> {
    /// Checks each partition for new mailboxes, unless it is known.
    ///
    /// # Errors
    /// [`ReplicaError::NoPartition`] if the replica lacks one.
    pub(super) async fn prove_partitions(&mut self, plan: &UserPlan) -> Result<(), UserError> {
        for update in &plan.updates {
            let MailboxUpdate::Send { uniqueid, replica: there, .. } = update else { continue };
            // A name without a mailbox has no partition.
            let is_new = |there: &ReplicaMailbox| there.partition.is_empty();
            if !there.as_deref().is_none_or(is_new) {
                continue;
            }
            let Some(partition) = self.partition_of(uniqueid) else { continue };
            if self.is_proven(&partition) || self.host_of(update).is_some() {
                // It exists, or the mailbox can't be made yet.
                continue;
            }
            let known = self.context.partitions.of(&partition);
            let inbox = self.new_inbox(plan).filter(|inbox| inbox != uniqueid);
            let probe = known
                .there
                .get_or_try_init(|| self.try_partition(uniqueid, inbox.as_ref(), &partition));
            match probe.await {
                Ok(()) | Err(Probe::Unknown) => {}
                Err(Probe::Missing) => return Err(self.no_partition(partition)),
                Err(Probe::Failed(e)) => return Err(e),
            }
        }
        Ok(())
    }

    /// Whether the replica is known to have this partition, from other users' work or a mailbox of this one.
    pub(super) fn is_proven(&self, partition: &str) -> bool {
        let partitions = &self.context.partitions;
        if !partitions.has(partition)
            && self.replica.mailboxes.iter().any(|there| there.partition == partition)
        {
            partitions.seen(partition);
        }
        partitions.has(partition)
    }

    /// The partition of a mailbox of ours on the replica.
    pub(super) fn partition_of(&self, uniqueid: &UniqueId) -> Option<String> {
        let entry = self.read.entries.get(uniqueid)?;
        let chosen = self.context.settings.sync.partition.as_ref();
        Some(chosen.unwrap_or(&entry.partition).clone())
    }

    /// A mailbox could not be made on this partition: an error if the reason is that the replica lacks it.
    pub(super) async fn check_refused_partition(
        &mut self,
        partition: &str,
    ) -> Result<(), UserError> {
        let known = self.context.partitions.of(partition);
        match known.there.get_or_try_init(|| self.takes_files(partition)).await {
            Ok(()) | Err(Probe::Unknown) => Ok(()),
            Err(Probe::Missing) => Err(self.no_partition(partition.to_string())),
            Err(Probe::Failed(e)) => Err(e),
        }
    }

    /// The error, or, if the server died because of the partition, that the partition of this mailbox is missing.
    pub(super) fn of_missing_partition(&self, mailbox: &MailboxName, e: UserError) -> UserError {
        let died = matches!(&e, UserError::Replica(ReplicaError::Command(CommandError::Lost { reason, .. })) if reason.contains(LAST_WORDS));
        let partition = || self.partition_of(self.read.uniqueid_of(mailbox)?);
        match partition().filter(|_| died) {
            Some(partition) => {
                self.context.partitions.of(&partition).set_missing(Instant::now());
                self.no_partition(partition)
            }
            None => e,
        }
    }

    fn no_partition(&self, partition: String) -> UserError {
        let by_option = self.context.settings.sync.partition.is_some();
        ReplicaError::NoPartition { partition, by_option }.into()
    }

    /// The user's INBOX, if it is to be made there.
    fn new_inbox(&self, plan: &UserPlan) -> Option<UniqueId> {
        let inbox = self.read.inbox_id.as_ref()?;
        let makes_it = |update: &MailboxUpdate| matches!(update, MailboxUpdate::Send { uniqueid, replica: None, .. } if uniqueid == inbox);
        plan.updates.iter().any(makes_it).then(|| inbox.clone())
    }

    async fn try_partition(
        &mut self,
        uniqueid: &UniqueId,
        inbox: Option<&UniqueId>,
        partition: &str,
    ) -> Result<(), Probe> {
        let known = self.context.partitions.of(partition);
        if known.is_missing(Instant::now()) {
            return Err(Probe::Missing);
        }
        // A folder is refused while its INBOX does not exist.
        if let Some(inbox) = inbox
            && let Err(e) = self.make_empty(inbox).await
            && refusal_of(&e).is_none()
        {
            return Err(e.into());
        }
        match self.make_empty(uniqueid).await {
            Ok(()) => Ok(()),
            Err(e) => match refusal_of(&e) {
                Some(None) => self.takes_files(partition).await,
                // Busy, or elsewhere: the mailbox will get this answer again.
                Some(Some(_)) => Err(Probe::Unknown),
                None => Err(e.into()),
            },
        }
    }

    /// Makes the replica create an empty mailbox; its contents follow.
    async fn make_empty(&mut self, uniqueid: &UniqueId) -> Result<(), UserError> {
        let Some(entry) = self.read.entries.get(uniqueid).cloned() else { return Ok(()) };
        let making = self.context.streamer.send(SendMailbox {
            entry,
            replica: None,
            how: SendMode::Make,
            next: None,
            client: self.lease.client.clone(),
            span: Span::current(),
            staged: Staged::default(),
            files: Files::default(),
        });
        let done = making.await.map_err(|e| {
            self.lease.spoil();
            UserError::Internal(e.to_string())
        })?;
        if done.broken_off {
            self.lease.spoil();
        }
        let MailboxSent::Ready(ready) = done.result? else { return Ok(()) };
        self.send_records(&MailboxName::default(), ready.records).await?.done().await?;
        Ok(())
    }

    /// Sends an empty file; the server of a replica without this partition dies of it.
    async fn takes_files(&mut self, partition: &str) -> Result<(), Probe> {
        let mut bytes = Vec::new();
        let mut message = MessageCommand::begin(&mut bytes);
        message.file(&mut bytes, partition, &EMPTY, 0);
        message.end(&mut bytes);
        let command = Command { kind: CommandKind::Message, bytes };
        let failed = |e: CommandError| Probe::Failed(e.into());
        let asked = self.lease.client.send(command).await.map_err(failed)?;
        match asked.done().await {
            Ok(_) | Err(CommandError::Refused { .. }) => Ok(()),
            Err(CommandError::Lost { reason, .. }) if reason.contains(LAST_WORDS) => {
                self.lease.spoil();
                self.context.partitions.of(partition).set_missing(Instant::now());
                Err(Probe::Missing)
            }
            Err(e) => Err(failed(e)),
        }
    }
}

/// The code of a refusal, if it has one; `None` if it is not a refusal.
fn refusal_of(e: &UserError) -> Option<Option<&Code>> {
    match e {
        UserError::Replica(ReplicaError::Command(CommandError::Refused { code, .. })) => {
            Some(code.as_ref())
        }
        _ => None,
    }
}
