//! Reading a user's headers off the disk.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use cyrus_store::{ErrorClass, MboxEntry, MboxList, Store, StoreError, UserModseqs};
use sync_plan::{
    Folder, Intermediate, MasterMailbox, MasterQuota, MasterSeen, MasterSieve, MasterUser,
};

use crate::error::UserError;
use crate::report::is_shared;
use crate::wire;

/// A user as read off the disk.
#[derive(Debug, Default)]
pub(crate) struct UserRead {
    pub(crate) master: MasterUser,
    /// The mailboxes' entries by unique id, to open them again.
    pub(crate) entries: Arc<HashMap<String, MboxEntry>>,
    /// Mailboxes that can't be read: name and why.
    pub(crate) broken: Vec<(String, Arc<StoreError>)>,
}

impl UserRead {
    /// The first unreadable mailbox as the user's error.
    pub(crate) fn first_broken(&self) -> Option<UserError> {
        let (mailbox, e) = self.broken.first()?;
        Some(UserError::Unreadable {
            mailbox: mailbox.clone(),
            source: e.clone(),
            more: self.broken.len() - 1,
        })
    }

    /// Whether this mailbox is one of those.
    pub(crate) fn is_broken(&self, name: &str) -> bool {
        self.broken.iter().any(|(n, _)| n == name)
    }

    /// The highest UIDs that were given out, by unique id.
    pub(crate) fn last_uids(&self) -> HashMap<&str, u32> {
        let mailboxes = self.master.folders.iter().filter_map(|folder| match folder {
            Folder::Mailbox(m) => Some((m.uniqueid.as_str(), m.last_uid)),
            Folder::Intermediate(_) => None,
        });
        mailboxes.collect()
    }

    /// A mailbox's unique id.
    pub(crate) fn uniqueid_of(&self, name: &str) -> Option<&str> {
        self.master.folders.iter().find(|f| f.name() == name).map(Folder::uniqueid)
    }
}

/// All that the master holds of a user or, under the empty user id, of its shared mailboxes (those
/// whose names begin with `prefix`).
pub(crate) fn read(
    store: &Store,
    userid: &str,
    sieve_mailbox: bool,
    prefix: Option<&str>,
) -> Result<Option<UserRead>, UserError> {
    if is_shared(userid) {
        read_shared(store, prefix).map(Some)
    } else {
        read_user(store, userid, sieve_mailbox)
    }
}

fn read_shared(store: &Store, prefix: Option<&str>) -> Result<UserRead, UserError> {
    let list = store.mailboxes()?;
    let tree = list.shared_tree(prefix)?;
    read_tree(store, &list, tree, None, false)
}

/// All that the master holds of a user, without records. None: there is no INBOX.
fn read_user(
    store: &Store,
    userid: &str,
    sieve_mailbox: bool,
) -> Result<Option<UserRead>, UserError> {
    let list = store.mailboxes()?;
    let tree = list.user_tree(userid)?;
    let inbox = store.config().names().user_inbox(userid);
    let is_inbox =
        |e: &MboxEntry| e.name == inbox && !e.mbtype.is_deleted() && !e.mbtype.is_intermediate();
    if !tree.iter().any(is_inbox) {
        return Ok(None);
    }
    let mut read = read_tree(store, &list, tree, Some(userid), sieve_mailbox)?;
    read.master.userid = userid.to_string();
    read.master.subscriptions = store.subscriptions(&list, userid)?;
    read.master.seen = seen(store, &list, userid)?;
    if !sieve_mailbox {
        read.master.sieve = sieve(store, &list, userid)?;
    }
    Ok(Some(read))
}

/// The headers and quota roots of these mailboxes.
fn read_tree(
    store: &Store,
    list: &MboxList,
    tree: Vec<MboxEntry>,
    userid: Option<&str>,
    sieve_mailbox: bool,
) -> Result<UserRead, UserError> {
    let modseqs = store.user_modseqs(list, userid)?;
    let mut master = MasterUser::default();
    let mut broken = Vec::new();
    let mut entries = HashMap::new();
    let mut quotaroots = BTreeSet::new();
    for entry in tree {
        if entry.mbtype.is_deleted() {
            master.tombstone_names.push(entry.name);
        } else if entry.mbtype.is_intermediate() {
            master.folders.push(Folder::Intermediate(intermediate(&entry)));
        } else if entry.mbtype.is_reserved() || (entry.mbtype.is_sieve() && !sieve_mailbox) {
            // Not a mailbox yet, or one that goes script by script.
        } else {
            match read_header(store, list, &modseqs, &entry) {
                Ok(Some(mailbox)) => {
                    quotaroots.extend(mailbox.quotaroot.clone());
                    master.folders.push(Folder::Mailbox(Box::new(mailbox)));
                    entries.insert(entry.uniqueid.clone(), entry);
                }
                Ok(None) => {}
                Err(e) => broken.push((entry.name, Arc::new(e))),
            }
        }
    }
    for root in quotaroots {
        master.quotas.extend(quota(store, &root)?);
    }
    Ok(UserRead { master, entries: Arc::new(entries), broken })
}

/// A mailbox's header; none when it was deleted or replaced since its entry was read.
fn read_header(
    store: &Store,
    list: &MboxList,
    modseqs: &UserModseqs,
    entry: &MboxEntry,
) -> Result<Option<MasterMailbox>, StoreError> {
    let reading = store
        .open_mailbox(entry)
        .and_then(|m| modseqs.of(entry).and_then(|modseqs| wire::header(&m, modseqs)));
    match reading {
        Ok(header) => Ok(Some(header)),
        Err(e) if is_stale(list, entry, &e)? => Ok(None),
        Err(e) => Err(e),
    }
}

/// Whether an error is only that the mailbox is no longer what its entry said.
pub(crate) fn is_stale(
    list: &MboxList,
    entry: &MboxEntry,
    e: &StoreError,
) -> Result<bool, StoreError> {
    if !matches!(e.class(), ErrorClass::Missing | ErrorClass::Damaged) {
        return Ok(false);
    }
    let now = list.lookup(&entry.name)?;
    Ok(!now.is_some_and(|n| n.uniqueid == entry.uniqueid && !n.mbtype.is_deleted()))
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

fn quota(store: &Store, root: &str) -> Result<Option<MasterQuota>, StoreError> {
    Ok(store.quota(root)?.map(|q| MasterQuota {
        limits: q
            .sync_limits()
            .into_iter()
            .map(|(name, limit)| (name.to_string(), limit))
            .collect(),
        modseq: q.modseq,
        root: q.root,
    }))
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
            guid: s.guid.to_string(),
            active: s.active,
            content: s.content,
        })
        .collect())
}

/// Which of these unique ids have a tombstone.
pub(crate) fn tombstones(
    store: &Store,
    uniqueids: Vec<String>,
) -> Result<HashSet<String>, UserError> {
    let list = store.mailboxes()?;
    let mut found = HashSet::new();
    for id in uniqueids {
        if list.find_uniqueid(&id)?.is_some_and(|e| e.mbtype.is_deleted()) {
            found.insert(id);
        }
    }
    Ok(found)
}
