//! Reads a user's headers from disk.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use cyrus_store::{MboxEntry, MboxList, Store, StoreError, UserModseqs};
use cyrus_types::{MailboxName, NameRules, Owner, UniqueId};
use sync_plan::{
    Folder, Intermediate, MasterMailbox, MasterSeen, MasterSieve, MasterUser, Missing,
};

use crate::error::MasterError;
use crate::master::quota_roots;
use crate::master::stale::is_stale;
use crate::master::store_mailbox::header;
use crate::master::user_read::{Host, Inbox, UserRead};

/// Everything the master holds of a user, or all shared mailboxes whose names begin with `prefix`. `None`: the user has no
/// INBOX although `inbox` asks for one, or has one although it asks for none.
pub(crate) fn read(
    store: &Store,
    owner: &Owner,
    sieve_mailbox: bool,
    prefix: Option<&str>,
    inbox: Inbox,
) -> Result<Option<UserRead>, MasterError> {
    let list = store.mailboxes()?;
    let Owner::User(userid) = owner else {
        let mut tree = TreeReader::new(store, &list, false);
        for entry in list.shared_tree(prefix)? {
            tree.add(entry)?;
        }
        return Ok(Some(tree.end()));
    };
    let entries = list.user_tree(userid)?;
    let name = store.config().names().user_inbox(userid);
    let is_inbox =
        |e: &MboxEntry| e.name == name && !e.mbtype.is_deleted() && !e.mbtype.is_intermediate();
    let has_inbox = entries.iter().any(is_inbox);
    if has_inbox != (inbox == Inbox::There) {
        return Ok(None);
    }
    let mut tree = TreeReader::new(store, &list, sieve_mailbox);
    for entry in entries {
        tree.add(entry)?;
    }
    let mut read = tree.end();
    read.master.owner = owner.clone();
    read.master.unread_inbox = read.is_broken(&name).then(|| name.clone());
    if !has_inbox {
        read.renamed_to = renamed_to(store, &list, &name)?;
    }
    if has_inbox {
        meta(store, &list, userid, sieve_mailbox, &mut read);
    }
    Ok(Some(read))
}

/// The user that now owns an INBOX whose old name has a tombstone.
fn renamed_to(
    store: &Store,
    list: &MboxList,
    inbox: &MailboxName,
) -> Result<Option<Arc<str>>, StoreError> {
    let Some(tombstone) = list.lookup(inbox)?.filter(|entry| !entry.uniqueid.is_empty()) else {
        return Ok(None);
    };
    let Some(now) = list.find_uniqueid(&tombstone.uniqueid)? else { return Ok(None) };
    let parsed = store.config().names().parse(&now.name);
    let is_another = parsed.is_inbox() && parsed.deleted == 0 && now.name != *inbox;
    let owner = parsed.userid().filter(|_| is_another && !now.mbtype.is_deleted());
    Ok(owner.map(|owner| owner.as_str().into()))
}

/// The user's data outside mailboxes and quota roots. What can't be read stays as it is on the replica; Cyrus' client also
/// sends the mailboxes first, and then fails.
pub(crate) fn meta(
    store: &Store,
    list: &MboxList,
    userid: &str,
    sieve_mailbox: bool,
    read: &mut UserRead,
) {
    if let Err(e) = subscriptions(store, list, userid, &mut read.master) {
        read.cannot_read(e);
    }
    match seen(store, list, userid) {
        Ok(seen) => read.master.seen = seen,
        Err(e) => read.cannot_read(e),
    }
    if !sieve_mailbox {
        match sieve(store, list, userid) {
            Ok(sieve) => read.master.sieve = sieve,
            Err(e) => read.cannot_read(e),
        }
    }
}

fn subscriptions(
    store: &Store,
    list: &MboxList,
    userid: &str,
    master: &mut MasterUser,
) -> Result<(), StoreError> {
    match store.subscriptions(list, userid)? {
        Some(subscriptions) => master.subscriptions = subscriptions,
        None => {
            let path = store.subscriptions_path(list, userid)?.display().to_string();
            let inbox = store.config().names().user_inbox(userid);
            master.missing.push(Missing::Subscriptions { path, inbox });
        }
    }
    Ok(())
}

/// Reads mailboxes' headers, of any owner.
pub(crate) struct TreeReader<'a> {
    store: &'a Store,
    list: &'a MboxList,
    sieve_mailbox: bool,
    modseqs: HashMap<Option<String>, UserModseqs>,
    master: MasterUser,
    entries: HashMap<UniqueId, MboxEntry>,
    former: HashMap<UniqueId, Vec<MailboxName>>,
    broken: Vec<(MailboxName, Arc<StoreError>)>,
}

impl<'a> TreeReader<'a> {
    pub(crate) fn new(store: &'a Store, list: &'a MboxList, sieve_mailbox: bool) -> Self {
        TreeReader {
            store,
            list,
            sieve_mailbox,
            modseqs: HashMap::new(),
            master: MasterUser::default(),
            entries: HashMap::new(),
            former: HashMap::new(),
            broken: Vec::new(),
        }
    }

    /// Adds an entry: a mailbox, an intermediate or a tombstone.
    pub(crate) fn add(&mut self, entry: MboxEntry) -> Result<(), StoreError> {
        if entry.mbtype.is_deleted() {
            self.master.tombstone_names.push(entry.name);
        } else if entry.mbtype.is_intermediate() {
            self.master.folders.push(Folder::Intermediate(intermediate(&entry)));
        } else if entry.mbtype.is_reserved() || (entry.mbtype.is_sieve() && !self.sieve_mailbox) {
            // Not a mailbox yet, or one that is sent script by script.
        } else if let Some(twin) = self.twin_of(&entry)? {
            self.master.incomplete = true;
            let (mailbox, uniqueid) = (entry.name.clone(), entry.uniqueid);
            let e = StoreError::SharedId { mailbox, other: twin, uniqueid };
            self.broken.push((entry.name, Arc::new(e)));
        } else {
            let owner = entry.name.userid(self.store.config().names());
            let modseqs = match self.modseqs.entry(owner) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => {
                    let modseqs = self.store.user_modseqs(self.list, place.key().as_deref())?;
                    place.insert(modseqs)
                }
            };
            match read_header(self.store, self.list, modseqs, &entry) {
                Ok(Some(mailbox)) => {
                    self.master.folders.push(Folder::Mailbox(Box::new(mailbox)));
                    self.entries.insert(entry.uniqueid.clone(), entry);
                }
                // It may exist here under another name.
                Ok(None) => self.master.incomplete = true,
                // This error does not concern one mailbox; all of them would be wrong.
                Err(e @ StoreError::MissingDatabase { .. }) => return Err(e),
                Err(e) => {
                    self.master.incomplete = true;
                    self.broken.push((entry.name, Arc::new(e)));
                }
            }
        }
        Ok(())
    }

    /// Another mailbox that has the same unique id as this one, as after folders were copied. The list's own entry for the
    /// id says which one owns it. Everything on the wire goes by unique id, so only one of the two can be replicated. That
    /// entry also has the former names.
    fn twin_of(&mut self, entry: &MboxEntry) -> Result<Option<MailboxName>, StoreError> {
        if entry.uniqueid.is_empty() {
            return Ok(None);
        }
        let known = self.entries.get(&entry.uniqueid).filter(|known| known.name != entry.name);
        // A list that is not also sorted by unique id would have to be searched for each mailbox.
        if !self.list.has_unique_ids() {
            return Ok(known.map(|known| known.name.clone()));
        }
        let Some(by_id) = self.list.find_uniqueid(&entry.uniqueid)? else {
            return Ok(known.map(|known| known.name.clone()));
        };
        if by_id.name == entry.name {
            if !by_id.name_history.is_empty() {
                let names = by_id.name_history.into_iter().map(|former| former.name).collect();
                self.former.insert(entry.uniqueid.clone(), names);
            }
            return Ok(None);
        }
        // It may only have been renamed since the list was read.
        let live = |name: &MailboxName| -> Result<bool, StoreError> {
            let now = self.list.lookup(name)?;
            Ok(now.is_some_and(|now| now.uniqueid == entry.uniqueid && !now.mbtype.is_deleted()))
        };
        Ok((live(&by_id.name)? && live(&entry.name)?).then_some(by_id.name))
    }

    /// Everything that was read, with the quota roots that the mailboxes name.
    fn end(self) -> UserRead {
        let store = self.store;
        let mut read = self.end_without_quotas();
        quota_roots::named_roots(store, &mut read);
        read
    }

    /// Everything that was read.
    pub(crate) fn end_without_quotas(self) -> UserRead {
        let rules = self.store.config().names();
        let is_inbox = |entry: &&MboxEntry| rules.parse(&entry.name).is_inbox();
        let inbox_id = self.entries.values().find(is_inbox).map(|entry| entry.uniqueid.clone());
        UserRead {
            hosts: hosts(rules, &self.entries),
            master: self.master,
            entries: Arc::new(self.entries),
            former: self.former,
            renamed_to: None,
            broken: self.broken,
            unread: Vec::new(),
            unknown: Vec::new(),
            inbox_id,
        }
    }
}

/// The former name of a #sieve mailbox below DELETED.
fn hosts(rules: &NameRules, entries: &HashMap<UniqueId, MboxEntry>) -> HashMap<UniqueId, Host> {
    let owner_of_deleted = |entry: &MboxEntry| {
        let name = rules.parse(&entry.name);
        name.userid().filter(|_| name.deleted > 0)
    };
    let mut inboxes: HashMap<String, &MboxEntry> = HashMap::new();
    for entry in entries.values().filter(|entry| rules.parse(&entry.name).boxes.is_empty()) {
        if let Some(owner) = owner_of_deleted(entry) {
            let newest = inboxes.entry(owner).or_insert(entry);
            if newest.name < entry.name {
                *newest = entry;
            }
        }
    }
    let mut hosts = HashMap::new();
    for entry in entries.values().filter(|entry| entry.mbtype.is_sieve()) {
        let Some(owner) = owner_of_deleted(entry) else { continue };
        if let Some(deleted) = inboxes.get(&owner) {
            let inbox = rules.user_inbox(&owner);
            let host = Host { inbox, deleted: MboxEntry::clone(deleted) };
            hosts.insert(entry.uniqueid.clone(), host);
        }
    }
    hosts
}

/// A mailbox's header; `None` if it was deleted or replaced since its entry was read.
fn read_header(
    store: &Store,
    list: &MboxList,
    modseqs: &UserModseqs,
    entry: &MboxEntry,
) -> Result<Option<MasterMailbox>, StoreError> {
    let reading = store
        .open_mailbox(entry)
        .and_then(|m| modseqs.of(entry).and_then(|modseqs| header(&m, modseqs)));
    match reading {
        Ok(header) => Ok(Some(header)),
        Err(e) if is_stale(list, entry, &e)? => Ok(None),
        Err(e) => Err(e),
    }
}

fn intermediate(entry: &MboxEntry) -> Intermediate {
    Intermediate {
        name: entry.name.clone(),
        uniqueid: entry.uniqueid.clone(),
        mboxtype: entry.mbtype.sync_str().unwrap_or_default(),
        createdmodseq: entry.createdmodseq,
        foldermodseq: entry.foldermodseq,
    }
}

fn seen(store: &Store, list: &MboxList, userid: &str) -> Result<Vec<MasterSeen>, StoreError> {
    let entries = store.seen(list, userid)?;
    Ok(entries
        .into_iter()
        .map(|s| MasterSeen {
            uniqueid: s.uniqueid,
            lastread: s.lastread,
            lastuid: s.lastuid,
            lastchange: s.lastchange,
            seenuids: s.seenuids,
        })
        .collect())
}

fn sieve(store: &Store, list: &MboxList, userid: &str) -> Result<Vec<MasterSieve>, StoreError> {
    let scripts = store.sieve_scripts(list, userid)?;
    Ok(scripts
        .into_iter()
        .map(|s| MasterSieve {
            name: s.name,
            last_update: s.last_update,
            guid: s.guid,
            active: s.active,
            content: s.content,
        })
        .collect())
}
