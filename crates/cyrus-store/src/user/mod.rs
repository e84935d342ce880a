//! A user's data: one place to ask, so that callers need not know which file holds what.

pub mod conversations;
pub mod counters;
pub mod quota;
pub mod seen;
pub mod sieve;
pub mod subs;

use std::path::PathBuf;
use std::sync::Arc;

use cyrus_types::{MailboxName, ModSeq};

use crate::config::Config;
use crate::error::StoreError;
use crate::mboxlist::{MboxEntry, MboxList};
use crate::store::Store;
use crate::user::conversations::Conversations;
use crate::user::quota::{QuotaDb, QuotaRoot};
use crate::user::seen::SeenEntry;
use crate::user::sieve::SieveScript;

/// Modseqs that are kept beside a mailbox's own files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Modseqs {
    /// Of the mailbox's conversations; `None` if it is not part of them.
    pub xconv: Option<ModSeq>,
    /// Of the user's reverse ACLs; 0 is none.
    pub racl: ModSeq,
}

/// A user's conversations and counters, opened once for all mailboxes.
#[derive(Debug)]
pub struct UserModseqs {
    conf: Arc<Config>,
    conversations: Option<Conversations>,
    racl: ModSeq,
}

impl UserModseqs {
    /// The modseqs of one of the user's mailboxes. Ask while the mailbox is open.
    ///
    /// # Errors
    /// The conversations database can't be read.
    pub fn of(&self, entry: &MboxEntry) -> Result<Modseqs, StoreError> {
        let xconv = match &self.conversations {
            Some(db) if conversations::has_conversations(&self.conf, entry) => {
                Some(db.xconvmodseq(entry)?)
            }
            _ => None,
        };
        Ok(Modseqs { xconv, racl: self.racl })
    }
}

impl Store {
    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.conf
    }

    /// The list of mailboxes. It is read once and kept while nobody changes the file.
    ///
    /// # Errors
    /// mailboxes.db is missing or damaged.
    pub fn mailboxes(&self) -> Result<MboxList, StoreError> {
        MboxList::kept(&self.conf, &self.list)
    }

    /// A user's subscriptions; `None` if there is no database of them.
    ///
    /// # Errors
    /// The database is damaged.
    pub fn subscriptions(
        &self,
        list: &MboxList,
        userid: &str,
    ) -> Result<Option<Vec<MailboxName>>, StoreError> {
        subs::subscriptions(&self.conf, list, userid)
    }

    /// Where they are or would be.
    ///
    /// # Errors
    /// The list of mailboxes is damaged.
    pub fn subscriptions_path(&self, list: &MboxList, userid: &str) -> Result<PathBuf, StoreError> {
        subs::path(&self.conf, list, userid)
    }

    /// A user's seen state.
    ///
    /// # Errors
    /// The database is damaged.
    pub fn seen(&self, list: &MboxList, userid: &str) -> Result<Vec<SeenEntry>, StoreError> {
        seen::seen(&self.conf, list, userid)
    }

    /// A user's Sieve scripts.
    ///
    /// # Errors
    /// The folder or a script can't be read.
    pub fn sieve_scripts(
        &self,
        list: &MboxList,
        userid: &str,
    ) -> Result<Vec<SieveScript>, StoreError> {
        sieve::scripts(self, list, userid)
    }

    /// The Sieve folder of a user whose scripts are only in files and not in a `#sieve` mailbox.
    ///
    /// # Errors
    /// The list of mailboxes is damaged, or the folder can't be listed.
    pub fn scripts_only_in_folder(
        &self,
        list: &MboxList,
        userid: &str,
    ) -> Result<Option<PathBuf>, StoreError> {
        sieve::only_in_folder(&self.conf, list, userid)
    }

    /// A quota root; `None` if it does not exist.
    ///
    /// # Errors
    /// The database is damaged.
    pub fn quota(&self, root: &str) -> Result<Option<QuotaRoot>, StoreError> {
        QuotaDb::open(&self.conf)?.quota(root)
    }

    /// Where a quota root is or would be.
    #[must_use]
    pub fn quota_path(&self, root: &str) -> PathBuf {
        quota::place(&self.conf, root)
    }

    /// Opens what is needed for the modseqs of this user's mailboxes; `None` means no user, for shared mailboxes.
    ///
    /// # Errors
    /// The conversations database is damaged.
    pub fn user_modseqs(
        &self,
        list: &MboxList,
        userid: Option<&str>,
    ) -> Result<UserModseqs, StoreError> {
        let conf = self.conf.clone();
        let Some(userid) = userid else {
            return Ok(UserModseqs { conf, conversations: None, racl: ModSeq::ZERO });
        };
        let conversations = if conf.conversations() {
            Some(Conversations::open(&conf, list, userid)?)
        } else {
            None
        };
        let racl = counters::raclmodseq(&conf, list, userid)?;
        Ok(UserModseqs { conf, conversations, racl })
    }
}
