//! Synthetic users as a source.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use actors::MasterError;
use actors::source::{LockOutcome, MailboxSource, Source, UserLock};
use actors::user_read::{Inbox, Lookup, LookupRequest, Names, SomeRead, UserRead};
use cyrus_store::{Annotation, MboxEntry, StoreError};
use cyrus_types::{MailboxName, NameRules, Owner, UniqueId};
use sync_plan::{Folder, MasterUser, Moved};

use crate::mailbox::Mailbox;
use crate::open::{OpenMailbox, head};
use crate::synthetic::{Synthetic, lock};
use crate::user::{User, number_of_id};

impl Synthetic {
    /// The user that owns the mailbox of this name, if there is one.
    fn owner_of(&self, name: &MailboxName) -> Option<Arc<User>> {
        self.user_named(&name.userid(&self.rules)?)
    }

    /// What was read of these mailboxes of these users.
    fn read<'a>(&self, mailboxes: impl Iterator<Item = (&'a User, &'a Mailbox)>) -> UserRead {
        let mut read = UserRead::default();
        let mut entries = HashMap::new();
        for (user, mailbox) in mailboxes {
            let uniqueid = &mailbox.entry.uniqueid;
            read.master.folders.push(Folder::Mailbox(Box::new(head(mailbox))));
            entries.insert(uniqueid.clone(), mailbox.entry.clone());
            if let Some(former) = user.former.get(uniqueid) {
                read.former.insert(uniqueid.clone(), former.clone());
            }
            if self.rules.parse(&mailbox.entry.name).is_inbox() {
                read.inbox_id = Some(uniqueid.clone());
            }
        }
        read.entries = Arc::new(entries);
        self.sort(&mut read.master);
        read
    }

    /// Mailboxes in the list's order: parents before what is below them.
    fn sort(&self, master: &mut MasterUser) {
        let key = |folder: &Folder| self.rules.db_key(&self.rules.parse(folder.name()));
        master.folders.sort_by_cached_key(key);
    }
}

fn meta(user: &User, read: &mut UserRead) {
    read.master.owner = Owner::User(user.userid.clone());
    read.master.subscriptions = user.subscriptions.iter().cloned().collect();
    read.master.seen = user.seen.clone();
}

/// Names that only tombstones have.
fn tombstone_names(user: &User) -> Vec<MailboxName> {
    let names: BTreeSet<&MailboxName> = user.tombstones.values().collect();
    names.into_iter().filter(|name| user.mailbox(name).is_none()).cloned().collect()
}

impl Source for Synthetic {
    fn rules(&self) -> &NameRules {
        &self.rules
    }

    fn listed_in(&self) -> String {
        "the plan".into()
    }

    fn users(&self, prefix: Option<&str>, visit: &mut dyn FnMut(&str)) -> Result<bool, StoreError> {
        let prefix = prefix.unwrap_or_default();
        for userid in self.userids() {
            let inbox = self.rules.user_inbox(&userid);
            if inbox.as_str().starts_with(prefix) {
                visit(&userid);
            }
        }
        Ok(false)
    }

    fn is_listed(&self, name: &MailboxName) -> Result<bool, StoreError> {
        let is_there = |user: Arc<User>| {
            user.mailbox(name).is_some() || user.tombstones.values().any(|gone| gone == name)
        };
        Ok(self.owner_of(name).is_some_and(is_there))
    }

    fn bytes_of(&self, _: &str) -> u64 {
        0
    }

    fn read_user(
        &self,
        owner: &Owner,
        _: bool,
        _: Option<&str>,
        inbox: Inbox,
    ) -> Result<Option<UserRead>, MasterError> {
        let Some(userid) = owner.userid() else { return Ok(Some(UserRead::default())) };
        let user = self.user_named(userid);
        Ok(match (user, inbox) {
            (Some(user), Inbox::There) => {
                let mut read = self.read(user.mailboxes.iter().map(|m| (&*user, &**m)));
                read.master.tombstone_names = tombstone_names(&user);
                meta(&user, &mut read);
                Some(read)
            }
            (None, Inbox::Gone) => {
                let mut read = UserRead::default();
                read.master.owner = owner.clone();
                Some(read)
            }
            (Some(_), Inbox::Gone) | (None, Inbox::There) => None,
        })
    }

    fn read_some(&self, wanted: &Names, _: bool) -> Result<SomeRead, MasterError> {
        let mut found = Vec::new();
        let mut ask = wanted.mailboxes.clone();
        let mut unproven = Vec::new();
        for name in &wanted.mailboxes {
            let Some(user) = self.owner_of(name) else { continue };
            if let Some(mailbox) = user.mailbox(name).cloned() {
                ask.extend(user.former.get(&mailbox.entry.uniqueid).into_iter().flatten().cloned());
                found.push((user, mailbox));
            } else if wanted.removed.contains(name) && !tombstone_names(&user).contains(name) {
                unproven.push(name.clone());
            }
        }
        let mut read = self.read(found.iter().map(|(user, mailbox)| (&**user, &**mailbox)));
        for name in &wanted.named {
            if !self.is_listed(name)? {
                read.unknown.push(name.clone());
            }
        }
        let user = wanted.meta.as_ref().and_then(|userid| self.user_named(userid));
        if let Some(user) = &user {
            meta(user, &mut read);
        }
        Ok(SomeRead { read: Arc::new(read), ask, unproven, has_meta: user.is_some() })
    }

    fn read_more(
        &self,
        before: &Arc<UserRead>,
        request: &LookupRequest<'_>,
    ) -> Result<Lookup, MasterError> {
        let mut more = Lookup {
            read: before.clone(),
            tombstones: HashSet::new(),
            alive: HashSet::new(),
            moved: HashMap::new(),
            elsewhere: BTreeMap::new(),
            ask: BTreeSet::new(),
        };
        let known: HashSet<&UniqueId> = before.entries.keys().collect();
        let mut found = Vec::new();
        for uniqueid in request.uniqueids {
            let number = number_of_id(uniqueid).filter(|number| *number < self.plan.users);
            let Some(user) = number.map(|number| self.user(number)) else { continue };
            if user.tombstones.contains_key(uniqueid) {
                more.tombstones.insert(uniqueid.clone());
            }
            let Some(mailbox) = user.with_id(uniqueid).cloned() else { continue };
            more.alive.insert(uniqueid.clone());
            let owner = Owner::User(user.userid.clone());
            let MboxEntry { name, uidvalidity, .. } = mailbox.entry.clone();
            if !request.locked.contains(&owner) {
                more.elsewhere.insert(uniqueid.clone(), owner);
                more.moved.insert(uniqueid.clone(), Moved { name, uidvalidity });
            } else if !known.contains(uniqueid) {
                more.ask.insert(name);
                more.ask.extend(user.former.get(uniqueid).into_iter().flatten().cloned());
                found.push((user, mailbox));
            }
        }
        if !found.is_empty() {
            let added = self.read(found.iter().map(|(user, mailbox)| (&**user, &**mailbox)));
            let mut read = UserRead::clone(before);
            read.master.folders.extend(added.master.folders);
            self.sort(&mut read.master);
            let mut entries = (*read.entries).clone();
            entries.extend((*added.entries).clone());
            read.entries = Arc::new(entries);
            read.former.extend(added.former);
            more.read = Arc::new(read);
        }
        Ok(more)
    }

    fn open(&self, entry: &MboxEntry) -> Result<Option<Box<dyn MailboxSource>>, MasterError> {
        let user = self.owner_of(&entry.name);
        let mailbox = user.as_ref().and_then(|user| user.mailbox(&entry.name));
        let same = mailbox.filter(|mailbox| mailbox.entry.uniqueid == entry.uniqueid);
        let open = |mailbox: &Arc<Mailbox>| -> Box<dyn MailboxSource> {
            Box::new(OpenMailbox { mailbox: mailbox.clone(), flags: self.flags.clone() })
        };
        Ok(same.map(open))
    }

    fn scripts_only_in_folder(&self, _: &str) -> Result<Option<PathBuf>, StoreError> {
        Ok(None)
    }

    fn server_annotations(&self) -> Result<Vec<Annotation>, StoreError> {
        Ok(Vec::new())
    }

    fn lock(&self, owner: &Owner, _: &str, _: Option<&str>) -> Result<LockOutcome, StoreError> {
        if !lock(&self.locked).insert(owner.clone()) {
            return Ok(LockOutcome::Busy);
        }
        let held = Held { owner: owner.clone(), locked: self.locked.clone() };
        Ok(LockOutcome::Lock(UserLock::new(held)))
    }
}

/// A held lock.
struct Held {
    owner: Owner,
    locked: Arc<Mutex<HashSet<Owner>>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        lock(&self.locked).remove(&self.owner);
    }
}
