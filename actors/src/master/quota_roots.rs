//! Quota roots of the master, and those that only its mailboxes' headers still name.

use std::collections::BTreeMap;

use cyrus_store::{MboxList, Store, StoreError};
use cyrus_types::MailboxName;
use sync_plan::{Folder, MasterQuota, Missing};

use crate::master::stale::is_stale;
use crate::master::user_read::UserRead;

/// Reads the quota roots that the mailboxes name. One that can't be found is reported as missing, not as removed; one that
/// can't be read does not affect the others.
pub(crate) fn named_roots(store: &Store, read: &mut UserRead) {
    let mut roots = BTreeMap::new();
    for folder in &read.master.folders {
        if let Folder::Mailbox(mailbox) = folder
            && let Some(root) = &mailbox.quotaroot
        {
            roots.entry(root.clone()).or_insert_with(|| mailbox.name.clone());
        }
    }
    for (root, mailbox) in roots {
        match quota(store, &root) {
            Ok(Some(quota)) => read.master.quotas.push(quota),
            Ok(None) => read.master.missing.push(missing(store, root, mailbox)),
            Err(e) => read.cannot_read(e),
        }
    }
}

/// Reads one quota root.
pub(crate) fn any_root(
    store: &Store,
    list: &MboxList,
    root: &str,
    read: &mut UserRead,
) -> Result<(), StoreError> {
    match quota(store, root) {
        Ok(Some(quota)) => read.master.quotas.push(quota),
        Ok(None) => {
            let named = named_by(store, list, root)?;
            read.master.missing.extend(named.map(|by| missing(store, root.to_string(), by)));
        }
        Err(e) => read.cannot_read(e),
    }
    Ok(())
}

/// The first mailbox that names this root; an unreadable mailbox may name it.
fn named_by(store: &Store, list: &MboxList, root: &str) -> Result<Option<MailboxName>, StoreError> {
    let below = format!("{root}.");
    let entries = match store.config().names().parse_internal(root).userid() {
        Some(userid) => list.user_tree(&userid)?,
        None => list.shared_tree(Some(root))?,
    };
    for entry in entries.iter().filter(|e| e.name == *root || e.name.as_str().starts_with(&below)) {
        if entry.mbtype.is_deleted() || entry.mbtype.is_intermediate() || entry.mbtype.is_reserved()
        {
            continue;
        }
        match store.open_mailbox(entry) {
            Ok(mailbox) if mailbox.header.quotaroot.as_deref() != Some(root) => {}
            Err(e) if is_stale(list, entry, &e)? => {}
            Ok(_) | Err(_) => return Ok(Some(entry.name.clone())),
        }
    }
    Ok(None)
}

fn missing(store: &Store, root: String, mailbox: MailboxName) -> Missing {
    let path = store.quota_path(&root).display().to_string();
    Missing::QuotaRoot { root, mailbox, path }
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
