//! Looks at what the log or an admin names: some mailboxes, quota roots, and other data of a user.
//!
//! Everything is asked for at once. A mailbox in the cache need not be asked for, once this connection's replica is known
//! to be the one in the cache: the change is sent on condition that the replica is still in that state, and if the answer
//! is that it is not, the cache drops the user.

use std::collections::BTreeSet;
use std::sync::Arc;

use csync::ReplicaMailbox;
use cyrus_types::MailboxName;
use tracing::{info, warn};

use crate::error::UserError;
use crate::master::store_reader::ReadSome;
use crate::master::user_read::Names;
use crate::replica::answer::Theirs;
use crate::replica::lease::Lease;
use crate::replica::state_cache::{Belief, Cache, first_missing};
use crate::user::context::UserContext;
use crate::user::questions::{Sides, once_each, take_all};
use crate::user::scripts;

/// The C client's line, which log watchers look for: a mailbox would have to be removed there, but nothing here proves that
/// it was deleted.
pub(crate) const NO_TOMBSTONE: &str = "SYNCNOTICE: attempt to UNMAILBOX without a tombstone";

/// Both sides of what is named. `None` for a user named by an admin who has no INBOX.
pub(crate) async fn some_sides(
    context: &UserContext,
    names: &Arc<Names>,
    again: bool,
    lease: &Lease,
) -> Result<Option<Sides>, UserError> {
    let sieve_mailbox = lease.client.features().sieve_mailbox;
    if let Some(userid) = &names.meta {
        scripts::may_ask(context, userid, sieve_mailbox).await?;
    }
    let question = ReadSome { names: names.clone(), sieve_mailbox };
    let reading = context.reader.send(question).await;
    let some = reading??;
    if names.by_list && names.meta.is_some() && !some.has_meta {
        return Ok(None);
    }
    if !again {
        // As the C client does, which does not ask (`imap/sync_support.c:do_unmailbox` of cyrus-imapd 3.6.1).
        for name in &some.unproven {
            warn!("{NO_TOMBSTONE}: mailbox=<{name}>");
        }
    }
    let (known, ask) = from_cache(context, some.ask, again, lease).await?;
    let mut asked = lease.client.get_mailboxes(&ask).await?;
    if let Some(userid) = names.meta.as_ref().filter(|_| some.has_meta) {
        asked.push(lease.client.get_meta(userid).await?);
    }
    for root in &names.quotas {
        asked.push(lease.client.get_quota(root).await?);
    }
    let any_asked = !asked.is_empty();
    let mut replica = Theirs::knowing(known);
    take_all(asked, &mut replica).await?;
    if any_asked && replica.mailboxes.is_empty() {
        lease.client.prove_in_step().await?;
    }
    once_each(&mut replica);
    Ok(Some((some.read, replica)))
}

/// What the cache knows, and the names that still must be asked for.
async fn from_cache(
    context: &UserContext,
    ask: BTreeSet<MailboxName>,
    again: bool,
    lease: &Lease,
) -> Result<(Vec<ReplicaMailbox>, BTreeSet<MailboxName>), UserError> {
    let Some(cache) = context.cache.as_ref().filter(|_| !again) else {
        return Ok((Vec::new(), ask));
    };
    match cache.belief(lease.number) {
        Belief::Proven => {}
        Belief::Asking => return Ok((Vec::new(), ask)),
        Belief::Unknown => {
            let proven = prove(cache, lease).await;
            cache.proven(lease.number, proven.is_ok());
            proven?;
        }
    }
    Ok(cache.known(ask).await)
}

/// Checks whether the replica is the remembered one; forgets everything if not.
async fn prove(cache: &Cache, lease: &Lease) -> Result<(), UserError> {
    let sample = cache.sample().await;
    let mut said = Theirs::default();
    if !sample.is_empty() {
        let names: Vec<&MailboxName> = sample.iter().map(|m| &m.name).collect();
        take_all(vec![lease.client.get_sample(&names).await?], &mut said).await?;
    }
    if let Some(mailbox) = first_missing(&sample, &said.mailboxes) {
        info!(
            "the replica lacks what it had of mailbox {mailbox}: it seems to be another one, or set back, and is asked for everything"
        );
        cache.forget_all().await;
    }
    Ok(())
}
