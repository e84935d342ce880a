//! Looks at both sides of a user at once, and plans.
//!
//! ```text
//!   Scope::Whole, Gone   GET USER u                          beside reading all of the user
//!   (shared mailboxes)   GET MAILBOXES, GET UNIQUEIDS        of all that are here
//!   Scope::Some          GET MAILBOXES, GET META, GET QUOTA  of what is named (look_partial.rs)
//!        '--> mailboxes that only the replica has, by unique id: a tombstone? another name? another user's? --> plan
//! ```

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use cyrus_types::{MailboxName, NameRules, Owner, UniqueId};
use sync_plan::{Folder, Options, Tombstones, plan_user, unmatched_folders};

use crate::error::UserError;
use crate::master::store_reader::{ReadMore, ReadUser};
use crate::master::user_read::Inbox;
use crate::master::user_read::Names;
use crate::master::user_read::UserRead;
use crate::replica::answer::Theirs;
use crate::replica::command_error::CommandError;
use crate::replica::lease::Lease;
use crate::user::context::UserContext;
use crate::user::look_partial::some_sides;
use crate::user::plan::Plan;
use crate::user::questions::{Sides, once_each, take_all};
use crate::user::scripts;

/// How often the replica's answers may lead to more names to look at. Each time needs another link in a chain of renames.
const ROUNDS: usize = 8;

/// What to look at.
#[derive(Debug, Clone)]
pub(crate) enum Scope {
    /// Everything of a user that exists.
    Whole,
    /// What is left of a removed user.
    Gone,
    /// What the log or an admin names.
    Some(Arc<Names>),
}

/// A look to be done.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) owner: &'a Owner,
    pub(crate) scope: &'a Scope,
    /// Users whose sync locks are held: only their mailboxes may be touched.
    pub(crate) locked: &'a Arc<BTreeSet<Owner>>,
    /// Not the first look: do not use the cache, and look for our mailboxes under any name.
    pub(crate) again: bool,
    /// Quota roots that an earlier look of this work found there: once no mailbox names them, the replica does not tell of
    /// them by itself.
    pub(crate) roots: &'a BTreeSet<Arc<str>>,
}

/// Both sides of a user.
pub(crate) struct Look {
    pub(crate) read: Arc<UserRead>,
    pub(crate) replica: Theirs,
    pub(crate) plan: Plan,
    /// Other users here whose mailboxes the replica has under names that were looked at, and those under whose names it has
    /// mailboxes of this one.
    pub(crate) elsewhere: BTreeSet<Owner>,
    /// Mailboxes that were added because the replica has them under names that were looked at.
    pub(crate) taken_in: BTreeSet<MailboxName>,
    /// Mailboxes below DELETED that the replica has, and that have expired here.
    pub(crate) expired: HashSet<MailboxName>,
}

/// Asks both sides and plans. `None` if the user does not exist or, with [`Scope::Gone`], if it does.
pub(crate) async fn look(
    context: &UserContext,
    view: View<'_>,
    lease: &Lease,
) -> Result<Option<Look>, UserError> {
    let sieve_mailbox = lease.client.features().sieve_mailbox;
    let read_user = |inbox| ReadUser { owner: view.owner.clone(), sieve_mailbox, inbox };
    let sides = match (view.scope, view.owner) {
        (Scope::Some(names), _) => some_sides(context, names, view.again, lease).await?,
        (Scope::Whole, Owner::Shared) => {
            shared_sides(context, read_user(Inbox::There), lease).await?
        }
        (Scope::Whole, Owner::User(userid)) => {
            scripts::may_ask(context, userid, sieve_mailbox).await?;
            user_sides(context, userid, read_user(Inbox::There), view.roots, lease).await?
        }
        (Scope::Gone, Owner::User(userid)) => {
            user_sides(context, userid, read_user(Inbox::Gone), view.roots, lease).await?
        }
        (Scope::Gone, Owner::Shared) => None,
    };
    let Some((mut read, mut replica)) = sides else { return Ok(None) };
    if matches!(view.scope, Scope::Gone) {
        leave_what_is_no_mailbox(&read, &mut replica);
    }
    if view.again {
        ask_for_the_missing(&read, &mut replica, lease).await?;
    }
    let mut tombstones = Tombstones::default();
    let (mut ids_looked_up, mut names_looked_up) = (HashSet::new(), HashSet::new());
    let mut elsewhere = BTreeMap::new();
    let mut taken_in: BTreeSet<MailboxName> = BTreeSet::new();
    for _ in 0..ROUNDS {
        let mut unmatched: Vec<UniqueId> =
            unmatched_folders(&read.master, &replica).iter().map(|r| r.uniqueid.clone()).collect();
        unmatched.retain(|id| ids_looked_up.insert(id.clone()));
        let mut new = if is_some(view.scope) { lacking(&read, &replica) } else { Vec::new() };
        new.retain(|name| names_looked_up.insert(name.clone()));
        if unmatched.is_empty() && new.is_empty() {
            break;
        }
        let question = ReadMore {
            read: read.clone(),
            uniqueids: unmatched,
            new,
            locked: view.locked.clone(),
            sieve_mailbox,
        };
        let asking = context.reader.send(question);
        let more = asking.await??;
        tombstones.uniqueids.extend(more.tombstones);
        tombstones.alive.extend(more.alive);
        tombstones.moved.extend(more.moved);
        elsewhere.extend(more.elsewhere);
        read = more.read;
        if more.ask.is_empty() {
            break;
        }
        taken_in.extend(more.ask.iter().cloned());
        take_all(lease.client.get_mailboxes(&more.ask).await?, &mut replica).await?;
        once_each(&mut replica);
    }
    let options = Options {
        one_way: context.settings.sync.one_way,
        partition: context.settings.sync.partition.clone(),
        sieve_mailbox,
        without_intermediates: !lease.client.features().intermediates,
        all_asked: matches!(view.scope, Scope::Whole),
    };
    let changes = plan_user(&read.master, &replica, &tombstones, &options);
    let (broken, unread) = (read.broken.clone(), read.unread.clone());
    let plan = Plan { changes, broken, unread, ..Plan::default() };
    let mut elsewhere: BTreeSet<Owner> = elsewhere.into_values().collect();
    elsewhere.extend(former_owners(&read, &replica, &view, &context.rules));
    let expired = expired(&replica, &tombstones);
    Ok(Some(Look { read, replica, plan, elsewhere, taken_in, expired }))
}

/// Of a user without an INBOX only mailboxes are looked at: other data of that user stays on the replica, as with the C
/// client, until UNUSER removes it.
fn leave_what_is_no_mailbox(read: &UserRead, replica: &mut Theirs) {
    replica.subscriptions.clear();
    replica.seen.clear();
    replica.sieve.clear();
    replica.quotas.retain(|quota| read.master.quotas.iter().any(|ours| ours.root == quota.root));
}

/// Users under whose names the replica still has some of our mailboxes, and whose locks are not held.
fn former_owners(
    read: &UserRead,
    replica: &Theirs,
    view: &View<'_>,
    rules: &NameRules,
) -> BTreeSet<Owner> {
    let ours: HashSet<&UniqueId> = read.master.folders.iter().map(Folder::uniqueid).collect();
    let theirs = replica.mailboxes.iter().filter(|m| ours.contains(&m.uniqueid));
    theirs.map(|m| m.name.owner(rules)).filter(|owner| !view.locked.contains(owner)).collect()
}

/// The replica's mailboxes whose entries here are left of the same names, without a mailbox.
fn expired(replica: &Theirs, tombstones: &Tombstones) -> HashSet<MailboxName> {
    let mut names = HashSet::new();
    for theirs in &replica.mailboxes {
        let last = tombstones.moved.get(&theirs.uniqueid);
        if last.is_some_and(|last| last.name == theirs.name) {
            names.insert(theirs.name.clone());
        }
    }
    names
}

fn is_some(scope: &Scope) -> bool {
    matches!(scope, Scope::Some(_))
}

/// Names of our mailboxes that the replica lacks.
fn lacking(read: &UserRead, replica: &Theirs) -> Vec<MailboxName> {
    let there: HashSet<&UniqueId> = replica.mailboxes.iter().map(|r| &r.uniqueid).collect();
    let folders = read.master.folders.iter().filter(|folder| !there.contains(folder.uniqueid()));
    folders.map(|folder| folder.name().clone()).collect()
}

/// One question returns everything the replica has of a user, so both sides are read at the same time.
async fn user_sides(
    context: &UserContext,
    userid: &Arc<str>,
    read_user: ReadUser,
    roots: &BTreeSet<Arc<str>>,
    lease: &Lease,
) -> Result<Option<Sides>, UserError> {
    let asked = vec![lease.client.get_user(userid, &context.rules).await?];
    let reading = context.reader.send(read_user);
    let mut replica = Theirs::default();
    let (theirs, ours) = futures_util::future::join(take_all(asked, &mut replica), reading).await;
    let ours = ours??;
    if let Some(read) = &ours {
        context.budget.expect(read.master.folders.len());
    }
    theirs?;
    let Some(read) = ours else { return Ok(None) };
    if replica.mailboxes.is_empty() {
        lease.client.prove_in_step().await?;
    }
    ask_for_former_names(&read, lease, &mut replica).await?;
    if !replica.mailboxes.is_empty() {
        ask_for_quotas(&read, roots, lease, &mut replica).await?;
    }
    Ok(Some((read, replica)))
}

/// Mailboxes that the replica lacks under the user's name may be there under a former name, such as one of another user:
/// they are then renamed instead of being sent again (`imap/sync_support.c:sync_do_mailboxes` of cyrus-imapd 3.6.1). Other
/// mailboxes found under these names do not concern this user.
async fn ask_for_former_names(
    read: &UserRead,
    lease: &Lease,
    replica: &mut Theirs,
) -> Result<(), CommandError> {
    if read.former.is_empty() {
        return Ok(());
    }
    let there: HashSet<&UniqueId> = replica.mailboxes.iter().map(|r| &r.uniqueid).collect();
    let ids = read.master.folders.iter().map(Folder::uniqueid);
    let missing: HashSet<&UniqueId> = ids.filter(|id| !there.contains(id)).collect();
    let names: BTreeSet<&MailboxName> =
        missing.iter().filter_map(|id| read.former.get(*id)).flatten().collect();
    let mut found = Theirs::default();
    take_all(lease.client.get_mailboxes(names).await?, &mut found).await?;
    found.mailboxes.retain(|r| missing.contains(&r.uniqueid));
    replica.mailboxes.extend(std::mem::take(&mut found.mailboxes));
    once_each(replica);
    Ok(())
}

/// GET USER reports only quota roots that the replica's mailboxes name. A mailbox that was renamed may name a root that no
/// longer applies to it, and then each side names others; one that was just renamed names none.
async fn ask_for_quotas(
    read: &UserRead,
    found_before: &BTreeSet<Arc<str>>,
    lease: &Lease,
    replica: &mut Theirs,
) -> Result<(), CommandError> {
    let ours = read.master.quotas.iter().map(|quota| quota.root.as_str());
    let roots: BTreeSet<&str> = ours.chain(found_before.iter().map(|root| &**root)).collect();
    let mut asked = Vec::new();
    for root in roots {
        if !replica.quotas.iter().any(|theirs| theirs.root == root) {
            asked.push(lease.client.get_quota(root).await?);
        }
    }
    take_all(asked, replica).await
}

/// The replica is asked for our shared mailboxes by name (including tombstones), by unique id (they may have another name
/// there), and for their quota roots.
async fn shared_sides(
    context: &UserContext,
    read_user: ReadUser,
    lease: &Lease,
) -> Result<Option<Sides>, UserError> {
    let reading = context.reader.send(read_user).await;
    let Some(read) = reading?? else {
        return Ok(None);
    };
    let master = &read.master;
    context.budget.expect(master.folders.len());
    let live = master.folders.iter().map(Folder::name);
    let names = live.chain(&master.tombstone_names);
    let ids: Vec<&UniqueId> = master.folders.iter().map(Folder::uniqueid).collect();
    let mut asked = lease.client.get_mailboxes(names).await?;
    asked.extend(lease.client.get_unique_ids(&ids).await?);
    let mut replica = Theirs::default();
    take_all(asked, &mut replica).await?;
    if replica.mailboxes.is_empty() {
        lease.client.prove_in_step().await?;
    }
    if !lease.client.features().unique_ids {
        ask_for_former_names(&read, lease, &mut replica).await?;
    }
    ask_for_quotas(&read, &BTreeSet::new(), lease, &mut replica).await?;
    once_each(&mut replica);
    Ok(Some((read, replica)))
}

/// Our mailboxes that the replica seems to lack may be there under names that nobody would guess.
async fn ask_for_the_missing(
    read: &UserRead,
    replica: &mut Theirs,
    lease: &Lease,
) -> Result<(), CommandError> {
    let there: HashSet<&UniqueId> = replica.mailboxes.iter().map(|r| &r.uniqueid).collect();
    let ids = read.master.folders.iter().map(Folder::uniqueid);
    let missing: Vec<&UniqueId> = ids.filter(|id| !there.contains(id)).collect();
    take_all(lease.client.get_unique_ids(&missing).await?, replica).await?;
    once_each(replica);
    Ok(())
}
