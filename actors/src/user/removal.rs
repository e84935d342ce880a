//! A removed user: first what is left of it here is removed there, then UNUSER.
//!
//! UNUSER removes the replica's live mailboxes of that user at once and for good. Those that were renamed here, below
//! DELETED or to another user, must have their new names before: so the whole tree is looked at. If a user of that name
//! exists (again), it is replicated, and nothing is removed. If the replica has a mailbox with mail that nothing here shows
//! to be deleted, UNUSER is not sent: the user fails, naming it.
//!
//! A renamed user keeps the unique id of the INBOX, by which the replica finds the file of subscriptions: UNUSER of the old
//! name empties the new one's. So the subscriptions are replicated once more afterwards. UNUSER also removes quota roots of
//! the old name.
//!
//! Source: `imap/sync_support.c` (do_unuser, sync_apply_unuser) of cyrus-imapd 3.6.1.

use std::collections::HashSet;
use std::sync::Arc;

use csync::ReplicaMailbox;
use cyrus_types::{MailboxName, NameParts, Owner, Uid, UniqueId};
use sync_plan::Folder;

use crate::error::{Interrupt, UserError};
use crate::master::store_reader::ReadUser;
use crate::master::user_read::Inbox;
use crate::monitor::report::Outcome;
use crate::replica::acquire::acquire_exclusive;
use crate::replica::lease::Lease;
use crate::user::look::Scope;
use crate::user::user_work::UserWork;

/// Names that quota roots of a removed user may have whose name is used again: UNUSER, which would remove them, is not sent,
/// and the replica tells only of roots that one of its mailboxes names. So they are asked for by the names of the mailboxes
/// that are gone. A root that stays there would count the next mailbox of its name.
async fn roots_of_before(work: &UserWork) -> Result<Vec<Arc<str>>, UserError> {
    let (owner, rules) = (work.owner.clone(), &work.context.rules);
    let question = ReadUser { owner, sieve_mailbox: true, inbox: Inbox::There };
    let Some(read) = work.context.reader.send(question).await?? else { return Ok(Vec::new()) };
    let folders = read.master.folders.iter().map(Folder::name);
    let deleted = folders.filter(|name| name.is_deleted(rules));
    let gone = deleted.chain(&read.master.tombstone_names);
    let former = gone.map(|name| rules.internal(&NameParts { deleted: 0, ..rules.parse(name) }));
    Ok(former.map(|name| name.as_str().into()).collect())
}

pub(crate) async fn run(work: &mut UserWork, lease: Lease) -> Result<Outcome, Interrupt> {
    let Owner::User(userid) = work.owner.clone() else { return Ok(Outcome::Absent) };
    let Some(seen) = work.look(&Scope::Gone, &lease, false).await? else {
        work.roots_of_before.extend(roots_of_before(work).await?);
        return work.run(&Scope::Whole, lease).await;
    };
    drop(lease);
    let rules = work.context.rules.clone();
    let owned = |name: &MailboxName| {
        let name = rules.parse(name);
        name.deleted == 0 && name.userid().as_deref() == Some(&*userid)
    };
    let lives = |folder: &Folder| owned(folder.name());
    let here: HashSet<&UniqueId> = seen.read.master.folders.iter().map(Folder::uniqueid).collect();
    let goes = |m: &&ReplicaMailbox| owned(&m.name) && !here.contains(&m.uniqueid);
    let mailboxes = seen.replica.mailboxes.iter().filter(goes).count() as u64;
    if let Some(most) = work.context.settings.sync.max_deletes.filter(|most| mailboxes > *most) {
        let e = UserError::TooManyRemovals { mailboxes, messages: 0, most, by_option: true };
        return Err(e.into());
    }
    let orphans: HashSet<&MailboxName> = seen.plan.changes.orphans.iter().collect();
    let holds =
        |m: &&ReplicaMailbox| m.last_uid > Uid::NONE && orphans.contains(&m.name) && owned(&m.name);
    let kept: Vec<MailboxName> =
        seen.replica.mailboxes.iter().filter(holds).map(|m| m.name.clone()).collect();
    let some_live = seen.read.master.folders.iter().any(lives);
    let renamed_to = seen.read.renamed_to.clone();
    if let Some(other) = renamed_to.clone().map(Owner::User)
        && !work.holds_lock_of(&other)
    {
        return Err(Interrupt::Linked { owner: work.owner.clone(), other });
    }
    let outcome = work.after_look(&Scope::Gone, seen).await?;
    if some_live {
        // Without an INBOX, but not removed.
        return Ok(outcome);
    }
    let only_there = kept.into_iter().map(|mailbox| UserError::OnlyThere { mailbox });
    if let Some(e) = UserError::all_of(only_there.collect()) {
        return Err(e.into());
    }
    if let Some(cache) = &work.context.cache {
        cache.forget_user(&work.owner).await;
    }
    // To itself: who asks beside others is told to ask elsewhere while what he sent may still be carried out.
    let lease = acquire_exclusive(&work.context.pool).await?;
    // All of this took time.
    let owner = work.owner.clone();
    let still = ReadUser { owner, sieve_mailbox: true, inbox: Inbox::Gone };
    let still = work.context.reader.send(still).await;
    if still??.is_none() {
        return Err(Interrupt::CameOrWent);
    }
    let asked = lease.client.unuser(&userid).await?;
    work.meta_of.extend(renamed_to);
    if let Err(e) = asked.done().await {
        work.note_fading(&lease);
        return Err(e.into());
    }
    Ok(Outcome::Done)
}
