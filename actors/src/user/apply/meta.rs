//! The user's data outside mailboxes: small commands, each sent ahead.

use csync::Seen;
use sync_plan::{MasterQuota, MasterSeen, QuotaChange, SieveChange, SubChange};

use super::Apply;
use super::ahead::Object;
use crate::error::UserError;
use crate::replica::asked::PendingCommand;

impl Apply<'_> {
    /// Quota roots, subscriptions, Sieve scripts and seen state, in Cyrus' order.
    pub(super) async fn meta(
        &mut self,
        quotas: Vec<QuotaChange>,
        subs: Vec<SubChange>,
        sieve: Vec<SieveChange>,
        seen: Vec<MasterSeen>,
    ) -> Result<(), UserError> {
        for change in quotas {
            let sent = match &change {
                QuotaChange::Set(q) => {
                    self.lease.client.quota(&q.root, &q.limits, q.modseq).await?
                }
                QuotaChange::Remove(root) => self.lease.client.unquota(root).await?,
            };
            let (QuotaChange::Set(MasterQuota { root, .. }) | QuotaChange::Remove(root)) = &change;
            self.small(sent, root).await?;
        }
        // The shared mailboxes have no more.
        let Some(user) = self.owner.userid() else { return Ok(()) };
        for change in subs {
            let (subscribed, mailbox) = match &change {
                SubChange::Add(mailbox) => (true, mailbox),
                SubChange::Remove(mailbox) => (false, mailbox),
            };
            let sent = self.lease.client.subscription(subscribed, user, mailbox).await?;
            self.small(sent, &format!("{user} {mailbox}")).await?;
        }
        for change in sieve {
            let client = &self.lease.client;
            let (sent, what) = match change {
                SieveChange::Upload(s) => {
                    let file = format!("{}.script", s.name);
                    let sent = client.sieve(user, &file, s.last_update, &s.content).await?;
                    (sent, format!("{user} {file}"))
                }
                SieveChange::Delete(file) => {
                    (client.unsieve(user, &file).await?, format!("{user} {file}"))
                }
                SieveChange::Activate(file) => {
                    let sent = client.activate_sieve(user, Some(&file)).await?;
                    (sent, format!("{user} {file}"))
                }
                SieveChange::Deactivate => {
                    (client.activate_sieve(user, None).await?, user.to_string())
                }
            };
            self.small(sent, &what).await?;
        }
        for s in seen {
            let entry = Seen {
                userid: user,
                uniqueid: &s.uniqueid,
                lastread: s.lastread,
                lastuid: s.lastuid,
                lastchange: s.lastchange,
                seenuids: &s.seenuids,
            };
            let sent = self.lease.client.seen(&entry).await?;
            self.small(sent, &format!("{user} {}", s.uniqueid)).await?;
        }
        Ok(())
    }

    /// Awaits a small command's answer together with the others. `what` is its object, in words, for a refusal.
    async fn small(&mut self, sent: PendingCommand, what: &str) -> Result<(), UserError> {
        let what = format!("{} {what}", sent.kind);
        self.push(Object::Other(what), vec![sent], None).await
    }
}
