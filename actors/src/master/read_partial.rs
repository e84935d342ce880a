//! Reads some mailboxes' headers from disk: those that the log or an admin names, and related ones.
//!
//! ```text
//!   names --> entries here --> also asked for there: their former names, their parents
//!   what the replica has under these names, by unique id:
//!      here under another name   --> read it too, ask for that name, look again
//!      here, but another user's  --> the two users must be worked on together
//!      a tombstone here          --> to be deleted there
//!      expired below DELETED     --> to be renamed to there
//!      unknown here, or known    --> left alone
//!      by its unique id alone
//! ```
//! After `imap/sync_support.c:split_user_mailboxes` of cyrus-imapd 3.6.1, which adds former names, too.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use cyrus_store::{MboxEntry, MboxList, Store, StoreError};
use cyrus_types::{MailboxName, Owner, UniqueId};
use sync_plan::{Folder, Moved};

use crate::error::MasterError;
use crate::master::quota_roots;
use crate::master::read_user::{TreeReader, meta};
use crate::master::user_read::{Lookup, LookupRequest, Names, SomeRead, UserRead};

/// Reads the existing mailboxes, quota roots and so on.
pub(crate) fn read_some(
    store: &Store,
    wanted: &Names,
    sieve_mailbox: bool,
) -> Result<SomeRead, MasterError> {
    let list = store.mailboxes()?;
    let mut tree = TreeReader::new(store, &list, sieve_mailbox);
    let mut ask = BTreeSet::new();
    let mut seen = HashSet::new();
    let mut unproven = Vec::new();
    for name in &wanted.mailboxes {
        if wanted.removed.contains(name) && list.lookup(name)?.is_none() {
            unproven.push(name.clone());
        }
        take_in(store, &list, name, &mut tree, &mut ask, &mut seen)?;
    }
    if let Some(userid) = &wanted.meta
        && matches!(store.subscriptions(&list, userid), Ok(None))
    {
        // The replica's data may belong to another INBOX.
        let inbox = store.config().names().user_inbox(userid);
        take_in(store, &list, &inbox, &mut tree, &mut ask, &mut seen)?;
    }
    let mut read = tree.end_without_quotas();
    for name in &wanted.named {
        if list.lookup(name)?.is_none() {
            read.unknown.push(name.clone());
        }
    }
    for root in &wanted.quotas {
        quota_roots::any_root(store, &list, root, &mut read)?;
    }
    let has_inbox = |userid: &Arc<str>| -> Result<bool, StoreError> {
        let inbox = list.lookup(&store.config().names().user_inbox(userid))?;
        Ok(inbox.is_some_and(|e| !e.mbtype.is_deleted() && !e.mbtype.is_intermediate()))
    };
    let mut has_meta = false;
    if let Some(userid) = &wanted.meta {
        read.master.owner = Owner::User(userid.clone());
        has_meta = has_inbox(userid)?;
        if has_meta {
            meta(store, &list, userid, sieve_mailbox, &mut read);
        }
    }
    sort(store, &mut read);
    Ok(SomeRead { read: Arc::new(read), ask, unproven, has_meta })
}

/// Adds the mailbox of this name, and the intermediates above it: otherwise the replica would make real mailboxes of those.
fn take_in(
    store: &Store,
    list: &MboxList,
    name: &MailboxName,
    tree: &mut TreeReader<'_>,
    ask: &mut BTreeSet<MailboxName>,
    seen: &mut HashSet<MailboxName>,
) -> Result<(), StoreError> {
    ask.insert(name.clone());
    let Some(entry) = list.lookup(name)? else { return Ok(()) };
    if !entry.mbtype.is_deleted() {
        for above in name.above(store.config().names()) {
            let Some(parent) = list.lookup(&above)? else { continue };
            if parent.mbtype.is_intermediate() && seen.insert(above.clone()) {
                ask.insert(above);
                tree.add(parent)?;
            }
        }
    }
    add_with_history(entry, tree, ask, seen)
}

fn add_with_history(
    entry: MboxEntry,
    tree: &mut TreeReader<'_>,
    ask: &mut BTreeSet<MailboxName>,
    seen: &mut HashSet<MailboxName>,
) -> Result<(), StoreError> {
    if !seen.insert(entry.name.clone()) {
        return Ok(());
    }
    ask.insert(entry.name.clone());
    if !entry.mbtype.is_deleted() {
        ask.extend(entry.name_history.iter().map(|former| former.name.clone()));
    }
    tree.add(entry)
}

/// Looks up unmatched unique ids, and adds those of locked users' mailboxes. It also adds the parents of mailboxes that the
/// replica lacks: if it lacks the parent too, it would create one of its own.
pub(crate) fn read_more(
    store: &Store,
    before: &Arc<UserRead>,
    question: &LookupRequest<'_>,
) -> Result<Lookup, MasterError> {
    let LookupRequest { uniqueids, new, locked, sieve_mailbox } = *question;
    let list = store.mailboxes()?;
    let mut tree = TreeReader::new(store, &list, sieve_mailbox);
    let mut more = Lookup {
        read: before.clone(),
        tombstones: HashSet::new(),
        alive: HashSet::new(),
        moved: HashMap::new(),
        elsewhere: BTreeMap::new(),
        ask: BTreeSet::new(),
    };
    let mut seen = HashSet::new();
    for uniqueid in uniqueids {
        let Some(entry) = list.find_uniqueid(uniqueid)? else { continue };
        if entry.mbtype.is_deleted() {
            more.tombstones.insert(uniqueid.clone());
            continue;
        }
        let rules = store.config().names();
        let MboxEntry { name, uidvalidity, .. } = entry;
        // By name, so that it is the present one.
        let is_there = list.lookup(&name)?.is_some_and(|now| now.uniqueid == *uniqueid);
        if !is_there && !name.is_deleted(rules) {
            // No mailbox is known by this entry alone. (cyr_expire leaves such entries, but only below DELETED.)
            continue;
        }
        more.alive.insert(uniqueid.clone());
        let owner = name.owner(rules);
        let is_locked = locked.contains(&owner);
        if !is_locked {
            more.elsewhere.insert(uniqueid.clone(), owner);
        }
        if is_locked && is_there {
            if !before.is_broken(&name) {
                take_in(store, &list, &name, &mut tree, &mut more.ask, &mut seen)?;
            }
        } else if is_there || is_locked && name.is_deleted(rules) {
            more.moved.insert(uniqueid.clone(), Moved { name, uidvalidity });
        }
    }
    let known: HashSet<&MailboxName> = before.master.folders.iter().map(Folder::name).collect();
    for above in new.iter().flat_map(|name| name.above(store.config().names())) {
        if !known.contains(&above) && !before.is_broken(&above) {
            take_in(store, &list, &above, &mut tree, &mut more.ask, &mut seen)?;
        }
    }
    let found = tree.end_without_quotas();
    if !found.master.folders.is_empty() || !found.broken.is_empty() {
        let mut read = UserRead::clone(before);
        add_all(&mut read, found);
        sort(store, &mut read);
        more.read = Arc::new(read);
    }
    Ok(more)
}

fn add_all(read: &mut UserRead, found: UserRead) {
    let known: HashSet<UniqueId> =
        read.master.folders.iter().map(|folder| folder.uniqueid().clone()).collect();
    let new = found.master.folders.into_iter().filter(|f| !known.contains(f.uniqueid()));
    read.master.folders.extend(new);
    read.master.tombstone_names.extend(found.master.tombstone_names);
    let mut entries = (*read.entries).clone();
    entries.extend((*found.entries).clone());
    read.entries = Arc::new(entries);
    read.hosts.extend(found.hosts);
    read.broken.extend(found.broken);
    read.unread.extend(found.unread);
    read.master.incomplete |= found.master.incomplete;
}

/// Mailboxes in the list's order: parents before what is below them.
fn sort(store: &Store, read: &mut UserRead) {
    let rules = store.config().names();
    let key = |folder: &Folder| rules.db_key(&rules.parse(folder.name()));
    read.master.folders.sort_by_cached_key(key);
}
