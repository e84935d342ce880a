//! With -O: our mailbox replaces another one that has its name on the replica.
//!
//! A server in force mode would replace that mailbox without a check when it is sent ours
//! (`imap/sync_support.c:sync_apply_mailbox` of cyrus-imapd 3.6.1, `opt_force`), including mail that exists nowhere else.
//! So we compare first: it is removed if each live message in it is also live in ours, or with --overwrite. Otherwise it
//! stays, and ours is left out.

use std::collections::HashSet;

use csync::ReplicaMailbox;
use cyrus_types::{Guid, UniqueId};
use sync_plan::{PlanError, UserPlan};
use tracing::info;

use super::{Apply, Full};
use crate::error::UserError;
use crate::master::store_reader::CountLacking;
use crate::monitor::report::Sent;
use crate::monitor::words;
use crate::replica::asked::Done;
use crate::replica::command_error::CommandError;

/// A mailbox of the replica that ours replaces.
pub(super) struct Loser {
    mailbox: Box<ReplicaMailbox>,
    /// The unique id of ours.
    ours: UniqueId,
    /// How many live messages are in it and not in ours.
    lost: u64,
}

impl Apply<'_> {
    /// Decides about each contested name: the replica's mailbox is removed, or ours fails. The removals are counted; they
    /// happen in [`Apply::take_contested`].
    pub(super) async fn settle_contests(&mut self, plan: &mut UserPlan) -> Result<(), UserError> {
        for contest in std::mem::take(&mut plan.contests) {
            let found = self.fetch_full(&contest.mailbox, &contest.theirs).await?;
            let Some(Full { mailbox, records, .. }) = found else {
                self.look_again = true;
                continue;
            };
            let live = records.records.iter().filter(|r| !r.expunged).map(|r| r.guid);
            let lost = match self.lacking(&contest.ours, live.collect()).await {
                Ok(Some(lost)) => lost,
                // Ours has gone meanwhile: perhaps nothing contests the name any more.
                Ok(None) => {
                    self.look_again = true;
                    continue;
                }
                // Ours can't be read: nothing is known of what it holds.
                Err(e) if e.is_of_mailbox() => {
                    self.cautious = true;
                    self.keep(e);
                    self.keep(contest.lost().into());
                    continue;
                }
                Err(e) => return Err(e),
            };
            if lost > 0 && !self.context.settings.sync.overwrite {
                self.keep(contest.lost().into());
                continue;
            }
            self.removals.count_contested(lost);
            self.losers.push(Loser { mailbox, ours: contest.ours, lost });
        }
        Ok(())
    }

    /// How many of these messages are not live in ours; `None` if ours is gone meanwhile. A name without a mailbox has none.
    async fn lacking(
        &self,
        ours: &UniqueId,
        guids: HashSet<Guid>,
    ) -> Result<Option<u64>, UserError> {
        let Some(entry) = self.read.entries.get(ours).cloned().filter(|_| !guids.is_empty()) else {
            return Ok(Some(guids.len() as u64));
        };
        let counting = self.context.reader.send(CountLacking { entry, guids });
        let lacking = counting.await??;
        Ok(lacking.map(|messages| messages as u64))
    }

    /// No mailbox is replaced for now: each is named.
    pub(super) fn withhold_contested(&mut self) {
        for Loser { mailbox, .. } in std::mem::take(&mut self.losers) {
            let (mailbox, uniqueid) = (mailbox.name.clone(), mailbox.uniqueid.clone());
            self.keep(PlanError::NameHeld { mailbox, uniqueid, alive: false }.into());
        }
    }

    /// Removes the replaced mailboxes on the replica, if they have not changed, children first. Ours are sent after the
    /// next look.
    pub(super) async fn take_contested(&mut self) -> Result<(), UserError> {
        let mut losers = std::mem::take(&mut self.losers);
        losers.sort_unstable_by(|a, b| b.mailbox.name.cmp(&a.mailbox.name));
        for Loser { mailbox, ours, lost } in losers {
            self.look_again = true;
            if !self.is_still(&mailbox).await? {
                continue;
            }
            let (name, theirs) = (&mailbox.name, &mailbox.uniqueid);
            info!(
                "SYNCNOTICE: mailbox uniqueid changed - replacing: mailbox=<{name}> origuniqueid=<{theirs}> newuniqueid=<{ours}>"
            );
            if lost > 0 {
                let lost = words::count(lost, "message");
                let line = || format!("OVERWRITE {name} ({lost} that only the replica had)");
                info!("SYNCNOTICE: {}", line());
                self.context.events.action(line).await;
            }
            match self.lease.client.unmailbox(name, Some(&mailbox)).await?.done().await {
                Ok(Done::NothingThere) => {}
                Ok(Done::Taken) => self.sent.add(Sent {
                    removed: 1 + lost,
                    overwritten: u64::from(lost > 0),
                    lost,
                    ..Sent::default()
                }),
                Err(e @ CommandError::Lost { .. }) => return Err(e.into()),
                Err(source) => self.keep(UserError::refused(name, source)),
            }
        }
        Ok(())
    }
}
