//! What belongs to a user but to no mailbox: small commands, each sent ahead.

use csync::command;
use sync_plan::{MasterSeen, QuotaChange, SieveChange, SubChange};

use super::Apply;
use crate::error::UserError;
use crate::replica::frames::encode;

impl Apply<'_> {
    /// Quota roots, subscriptions, Sieve scripts and seen state, in Cyrus' order.
    pub(super) async fn meta(
        &mut self,
        quotas: Vec<QuotaChange>,
        subs: Vec<SubChange>,
        sieve: Vec<SieveChange>,
        seen: Vec<MasterSeen>,
    ) -> Result<(), UserError> {
        let user = self.userid;
        for change in quotas {
            match change {
                QuotaChange::Set(q) => {
                    let limits = q.limits.iter().map(|(name, limit)| (name.as_str(), *limit));
                    let bytes = encode(|out| command::quota(out, &q.root, limits, q.modseq));
                    self.small("QUOTA", format!("QUOTA {}", q.root), bytes).await?;
                }
                QuotaChange::Remove(root) => {
                    let bytes = encode(|out| command::unquota(out, &root));
                    self.small("UNQUOTA", format!("UNQUOTA {root}"), bytes).await?;
                }
            }
        }
        for change in subs {
            let (name, add, mailbox) = match &change {
                SubChange::Add(m) => ("SUB", true, m),
                SubChange::Remove(m) => ("UNSUB", false, m),
            };
            let bytes = encode(|out| command::subscription(out, add, user, mailbox));
            self.small(name, format!("{name} {user} {mailbox}"), bytes).await?;
        }
        for change in sieve {
            match change {
                SieveChange::Upload(s) => {
                    let file = format!("{}.script", s.name);
                    let bytes = encode(|out| {
                        command::sieve(out, user, &file, s.last_update, &s.content);
                    });
                    self.small("SIEVE", format!("SIEVE {user} {file}"), bytes).await?;
                }
                SieveChange::Delete(file) => {
                    let bytes = encode(|out| command::unsieve(out, user, &file));
                    self.small("UNSIEVE", format!("UNSIEVE {user} {file}"), bytes).await?;
                }
                SieveChange::Activate(file) => {
                    let bytes = encode(|out| command::activate_sieve(out, user, &file));
                    let line = format!("ACTIVATE_SIEVE {user} {file}");
                    self.small("ACTIVATE_SIEVE", line, bytes).await?;
                }
                SieveChange::Deactivate => {
                    let bytes = encode(|out| command::unactivate_sieve(out, user));
                    let line = format!("UNACTIVATE_SIEVE {user}");
                    self.small("UNACTIVATE_SIEVE", line, bytes).await?;
                }
            }
        }
        for s in seen {
            let entry = command::Seen {
                userid: user,
                uniqueid: &s.uniqueid,
                lastread: s.lastread,
                lastuid: s.lastuid,
                lastchange: s.lastchange,
                seenuids: &s.seenuids,
            };
            let bytes = encode(|out| command::seen(out, &entry));
            self.small("SEEN", format!("SEEN {user} {}", s.uniqueid), bytes).await?;
        }
        Ok(())
    }

    async fn small(
        &mut self,
        name: &'static str,
        line: String,
        bytes: Vec<u8>,
    ) -> Result<(), UserError> {
        let label = line.clone();
        self.context.events.action(|| line).await;
        let in_flight = self.lease.send(name, bytes).await?;
        self.push(&label, vec![in_flight], None).await
    }
}
