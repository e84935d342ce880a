//! Names that another mailbox has on the replica, with -O: ours takes its place.
//!
//! A server in force mode would replace that mailbox unseen when it is sent ours (`imap/sync_support.c:sync_apply_mailbox` of
//! cyrus-imapd 3.6.1, `opt_force`), mail that is nowhere else included. So it is looked into first: it goes if each live message in it is
//! live in ours, too. Else it stays, and ours is left out.

use std::collections::HashSet;

use csync::{Code, FullMailbox, Guid, command};
use sync_plan::{Contest, UserPlan};
use tracing::info;

use super::{Acting, nonsense};
use crate::error::UserError;
use crate::frames::{CommandError, encode};
use crate::planner::CountLacking;

impl Acting<'_> {
    /// Decides about each contested name: the replica's mailbox is to be deleted, or ours has failed.
    pub(super) async fn settle_contests(&mut self, plan: &mut UserPlan) -> Result<(), UserError> {
        for contest in std::mem::take(&mut plan.contests) {
            match self.lost_with(&contest).await? {
                Some(0) => {
                    let Contest { mailbox, ours, theirs } = &contest;
                    info!(
                        "SYNCNOTICE: mailbox uniqueid changed - replacing: mailbox=<{mailbox}> origuniqueid=<{theirs}> newuniqueid=<{ours}>"
                    );
                    plan.deletes.push(contest.mailbox);
                    self.look_again = true;
                }
                Some(_) => self.keep(contest.lost().into()),
                None => self.look_again = true,
            }
        }
        // Children first.
        plan.deletes.sort_unstable_by(|a, b| b.cmp(a));
        Ok(())
    }

    /// How many live messages are in the replica's mailbox and not in ours; none if it is not there any more.
    async fn lost_with(&mut self, contest: &Contest) -> Result<Option<usize>, UserError> {
        let name = &contest.mailbox;
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
        if full.mailbox.uniqueid != contest.theirs {
            return Ok(None);
        }
        let is_live =
            |flags: &[String]| !flags.iter().any(|f| f.eq_ignore_ascii_case("\\Expunged"));
        let live = full.records.iter().filter(|r| is_live(&r.flags));
        let guids: HashSet<Guid> = live.map(|r| r.guid).collect();
        match self.read.entries.get(&contest.ours).cloned() {
            _ if guids.is_empty() => Ok(Some(0)),
            // A name without a mailbox.
            None => Ok(Some(guids.len())),
            Some(entry) => {
                let counting = self.hands.reader.send(CountLacking { entry, guids });
                Ok(Some(counting.await.map_err(|e| UserError::Bug(e.to_string()))??))
            }
        }
    }
}
