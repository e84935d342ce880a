//! A Cyrus store on disk as a source.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use cyrus_store::sync_log::skip_file;
use cyrus_store::{Annotation, MboxEntry, Store, StoreError, sync_lock};
use cyrus_types::{MailboxName, NameRules, Owner};

use crate::error::MasterError;
use crate::master::source::{LockOutcome, MailboxSource, Source, UserLock};
use crate::master::stale::is_stale;
use crate::master::store_mailbox::StoreMailbox;
use crate::master::user_read::{Inbox, Lookup, LookupRequest, Names, SomeRead, UserRead};
use crate::master::{read_partial, read_user};

impl Source for Store {
    fn rules(&self) -> &NameRules {
        self.config().names()
    }

    fn sieve_folder(&self) -> &str {
        self.config().get("sieve_folder").unwrap_or("#sieve")
    }

    fn listed_in(&self) -> String {
        cyrus_store::paths::mailboxes_db(self.config()).display().to_string()
    }

    fn users(&self, prefix: Option<&str>, visit: &mut dyn FnMut(&str)) -> Result<bool, StoreError> {
        let list = self.mailboxes()?;
        list.for_each_user(prefix, |user| {
            visit(user);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(!list.shared_tree(prefix)?.is_empty())
    }

    fn is_listed(&self, name: &MailboxName) -> Result<bool, StoreError> {
        Ok(self.mailboxes()?.lookup(name)?.is_some())
    }

    /// What is used of the quota root at the user's INBOX.
    fn bytes_of(&self, userid: &str) -> u64 {
        let root = self.rules().user_inbox(userid);
        match self.quota(root.as_str()) {
            Ok(Some(quota)) => quota.used.first().map_or(0, |bytes| bytes.max(&0).unsigned_abs()),
            Ok(None) | Err(_) => 0,
        }
    }

    fn read_user(
        &self,
        owner: &Owner,
        sieve_mailbox: bool,
        prefix: Option<&str>,
        inbox: Inbox,
    ) -> Result<Option<UserRead>, MasterError> {
        read_user::read(self, owner, sieve_mailbox, prefix, inbox)
    }

    fn read_some(&self, wanted: &Names, sieve_mailbox: bool) -> Result<SomeRead, MasterError> {
        read_partial::read_some(self, wanted, sieve_mailbox)
    }

    fn read_more(
        &self,
        before: &Arc<UserRead>,
        request: &LookupRequest<'_>,
    ) -> Result<Lookup, MasterError> {
        read_partial::read_more(self, before, request)
    }

    fn open(&self, entry: &MboxEntry) -> Result<Option<Box<dyn MailboxSource>>, MasterError> {
        let list = self.mailboxes()?;
        let mailbox = match self.open_mailbox(entry) {
            Ok(mailbox) => mailbox,
            Err(e) if is_stale(&list, entry, &e)? => return Ok(None),
            Err(e) => return Err(MasterError::of_mailbox(&entry.name, e)),
        };
        // Asked for while it is open, so that it can't be renamed any more.
        let is_same = |now: &MboxEntry| {
            now.uniqueid == entry.uniqueid
                && now.partition == entry.partition
                && !now.mbtype.is_deleted()
        };
        let is_still = *mailbox.uniqueid() == entry.uniqueid
            && list.lookup(&entry.name)?.is_some_and(|now| is_same(&now));
        if !is_still {
            return Ok(None);
        }
        Ok(Some(Box::new(StoreMailbox::new(self.clone(), mailbox))))
    }

    fn scripts_only_in_folder(&self, userid: &str) -> Result<Option<PathBuf>, StoreError> {
        Store::scripts_only_in_folder(self, &self.mailboxes()?, userid)
    }

    fn server_annotations(&self) -> Result<Vec<Annotation>, StoreError> {
        Store::server_annotations(self)
    }

    fn lock(
        &self,
        owner: &Owner,
        server: &str,
        channel: Option<&str>,
    ) -> Result<LockOutcome, StoreError> {
        let config = self.config();
        if skip_file(config, channel, owner.userid()).exists() {
            return Ok(LockOutcome::Skip);
        }
        // Shared mailboxes have no user, and Cyrus' name for their lock contains none either.
        let taken = sync_lock(config, server, owner.userid(), true)?;
        Ok(taken.map_or(LockOutcome::Busy, |file| LockOutcome::Lock(UserLock::new(file))))
    }
}
