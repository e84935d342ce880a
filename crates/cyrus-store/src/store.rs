//! The entry point: a configuration, and mailboxes opened with it.

use std::sync::Arc;

use crate::config::Config;
use crate::db::kept::KeptDb;
use crate::error::StoreError;
use crate::mailbox::Mailbox;
use crate::mailbox::annotations::{self, Annotation};
use crate::mboxlist::MboxEntry;
use crate::paths;

/// A mail store. Cheap to clone and to share between threads; it keeps mailboxes.db and annotations.db in memory, see
/// [`KeptDb`].
#[derive(Debug, Clone)]
pub struct Store {
    /// The configuration that says where everything is.
    pub conf: Arc<Config>,
    pub(crate) list: Arc<KeptDb>,
    annotations: Arc<KeptDb>,
}

impl Store {
    /// A store according to `conf`. Nothing is read yet.
    #[must_use]
    pub fn open(conf: Arc<Config>) -> Self {
        let list = Arc::new(KeptDb::new(&paths::mailboxes_db(&conf)));
        let annotations = Arc::new(KeptDb::new(&paths::annotations_db(&conf)));
        Self { conf, list, annotations }
    }

    /// Opens a mailbox for reading; waits for its locks.
    ///
    /// The entry may be a little old: if the mailbox was deleted meanwhile it is missing; if it was renamed it keeps its
    /// files (except with legacy dirs, where it is missing too).
    ///
    /// # Errors
    /// Missing mailbox or files, damage, an unknown index version, locks that cannot be taken.
    pub fn open_mailbox(&self, entry: &MboxEntry) -> Result<Mailbox, StoreError> {
        Mailbox::open(&self.conf, &self.annotations, entry)
    }

    /// The annotations of the server itself.
    ///
    /// # Errors
    /// The database is damaged.
    pub fn server_annotations(&self) -> Result<Vec<Annotation>, StoreError> {
        annotations::of_server(&self.conf, &self.annotations)
    }

    /// How often all of mailboxes.db was read so far.
    #[must_use]
    pub fn list_passes(&self) -> u64 {
        self.list.passes()
    }
}
