//! What the replica stores: names, mailboxes, users, quota roots.
//!
//! Locks are held for the work of one command at most, and always in this order: names, a mailbox; users and quota roots
//! alone. Two users' connections share a lock only while a name is looked up.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cyrus_types::{MailboxName, ModSeq, Uid, UniqueId};

use crate::mailbox::{Annot, Mailbox};
use crate::names::{is_within, owner, sort_key};
use crate::quota::Limits;

/// Takes a lock. If a thread panicked while it held the lock, the state is as it was then.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A name in the tree.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    Mailbox { name: MailboxName, uniqueid: UniqueId, mailbox: Arc<Mutex<Mailbox>> },
    Intermediate(Intermediate),
}

/// A name without a mailbox.
#[derive(Debug, Clone)]
pub(crate) struct Intermediate {
    pub(crate) name: MailboxName,
    pub(crate) uniqueid: UniqueId,
    pub(crate) mboxtype: String,
    pub(crate) createdmodseq: ModSeq,
    pub(crate) foldermodseq: ModSeq,
}

impl Entry {
    pub(crate) fn name(&self) -> &MailboxName {
        match self {
            Entry::Mailbox { name, .. } => name,
            Entry::Intermediate(i) => &i.name,
        }
    }

    pub(crate) fn uniqueid(&self) -> &UniqueId {
        match self {
            Entry::Mailbox { uniqueid, .. } => uniqueid,
            Entry::Intermediate(i) => &i.uniqueid,
        }
    }
}

/// The tree, in Cyrus' order.
#[derive(Debug, Default)]
pub(crate) struct Names {
    by_key: BTreeMap<String, Entry>,
    /// Names by unique id.
    by_id: HashMap<UniqueId, MailboxName>,
}

impl Names {
    pub(crate) fn get(&self, name: &MailboxName) -> Option<&Entry> {
        self.by_key.get(&sort_key(name.as_str()))
    }

    pub(crate) fn of_id(&self, uniqueid: &UniqueId) -> Option<&Entry> {
        self.get(self.by_id.get(uniqueid)?)
    }

    /// Inserts an entry, or replaces the one with its name.
    pub(crate) fn insert(&mut self, entry: Entry) {
        self.remove(entry.name());
        self.by_id.insert(entry.uniqueid().clone(), entry.name().clone());
        self.by_key.insert(sort_key(entry.name().as_str()), entry);
    }

    pub(crate) fn remove(&mut self, name: &MailboxName) -> Option<Entry> {
        let entry = self.by_key.remove(&sort_key(name.as_str()))?;
        if self.by_id.get(entry.uniqueid()).is_some_and(|n| n == name) {
            self.by_id.remove(entry.uniqueid());
        }
        Some(entry)
    }

    /// Everything of a user: the INBOX and what is below it, then deleted mailboxes.
    pub(crate) fn of_user(&self, userid: &str) -> Vec<Entry> {
        let of = |entry: &&Entry| owner(entry.name().as_str()).as_deref() == Some(userid);
        let (mut live, mut deleted) = (Vec::new(), Vec::new());
        let (local, domain) = match userid.split_once('@') {
            Some((local, domain)) => (local, format!("{domain}!")),
            None => (userid, String::new()),
        };
        let local = local.replace('.', "^");
        for (root, found) in [
            (format!("{domain}user.{local}"), &mut live),
            (format!("{domain}DELETED.user.{local}"), &mut deleted),
        ] {
            let from = sort_key(&root);
            let within = self.by_key.range(from..).map(|(_, entry)| entry);
            found.extend(
                within.take_while(|e| e.name().as_str().starts_with(&root)).filter(of).cloned(),
            );
        }
        live.append(&mut deleted);
        live
    }

    /// Removes intermediates above `name` that have nothing below them any more.
    pub(crate) fn prune(&mut self, name: &MailboxName) {
        let mut above = name.as_str();
        while let Some((parent, _)) = above.rsplit_once('.') {
            above = parent;
            let below = sort_key(&format!("{parent}."));
            let has_children = self
                .by_key
                .range(below.clone()..)
                .next()
                .is_some_and(|(key, _)| key.starts_with(&below));
            let parent = MailboxName::new(parent);
            match self.get(&parent) {
                Some(Entry::Intermediate(_)) if !has_children => drop(self.remove(&parent)),
                Some(Entry::Mailbox { .. }) => return,
                _ => {}
            }
        }
    }
}

/// What belongs to a user but to no mailbox.
#[derive(Debug, Default)]
pub(crate) struct User {
    /// By sort key.
    pub(crate) subscriptions: BTreeMap<String, MailboxName>,
    /// By unique id.
    pub(crate) seen: BTreeMap<UniqueId, Seen>,
    /// By file name, `NAME.script`.
    pub(crate) scripts: BTreeMap<String, Script>,
    /// The active script's name without its suffix.
    pub(crate) active: Option<String>,
    /// The groups it is in, with tabs between them.
    pub(crate) groups: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) lastread: i64,
    pub(crate) lastuid: Uid,
    pub(crate) lastchange: i64,
    pub(crate) seenuids: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) last_update: i64,
    pub(crate) content: Vec<u8>,
}

/// A quota root: its limits, and its modseq.
#[derive(Debug, Clone, Default)]
pub(crate) struct Quota {
    pub(crate) limits: Limits,
    pub(crate) modseq: ModSeq,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) names: Mutex<Names>,
    pub(crate) users: Mutex<HashMap<String, User>>,
    pub(crate) quotas: Mutex<BTreeMap<String, Quota>>,
    /// Annotations of the server itself.
    pub(crate) annotations: Mutex<Vec<Annot>>,
    /// FORCE is on: as in Cyrus it outlives the connection, and holds for the whole replica.
    force: AtomicBool,
}

impl State {
    pub(crate) fn mailbox(&self, name: &MailboxName) -> Option<Arc<Mutex<Mailbox>>> {
        match lock(&self.names).get(name)? {
            Entry::Mailbox { mailbox, .. } => Some(mailbox.clone()),
            Entry::Intermediate(_) => None,
        }
    }

    /// The deepest quota root that covers a mailbox.
    pub(crate) fn quotaroot(&self, name: &MailboxName) -> Option<String> {
        let quotas = lock(&self.quotas);
        let covering = quotas.keys().filter(|root| is_within(name, root));
        covering.max_by_key(|root| root.len()).cloned()
    }

    pub(crate) fn force(&self) -> bool {
        self.force.load(Ordering::SeqCst)
    }

    pub(crate) fn set_force(&self) {
        self.force.store(true, Ordering::SeqCst);
    }

    pub(crate) fn wipe(&self) {
        *lock(&self.names) = Names::default();
        lock(&self.users).clear();
        lock(&self.quotas).clear();
        lock(&self.annotations).clear();
        self.force.store(false, Ordering::SeqCst);
    }
}
