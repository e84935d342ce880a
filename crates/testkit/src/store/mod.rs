//! A Cyrus master's store, written without Cyrus: for demos on machines that have no Cyrus, and for benchmarks that need
//! thousands of mailboxes in a second.
//!
//! ```text
//!   Plan (a seed and sizes) --> model.rs: users, mailboxes, messages
//!                                  |  files.rs    spool, cyrus.header, conf/user, imapd.conf
//!                                  |  index.rs    cyrus.index and cyrus.cache
//!                                  '  twoskip.rs  mailboxes.db
//!   change.rs alters the model and writes what changed again; verify.rs holds servers against it
//! ```
//! The files are those of cyrus-imapd 3.6.1 (index version 17), with `conversations: no`, so that no conversations.db is
//! needed. This is an independent implementation of the formats: it uses nothing of the program's own readers. Tests
//! compare it with Cyrus' tools and servers.
//!
//! It takes no locks, so nothing else may use the store while it writes.

mod change;
mod files;
mod index;
mod message;
mod model;
mod twoskip;
mod verify;

use std::path::{Path, PathBuf};

use groundwork::Folder;
use nix::unistd::{Gid, Uid, User as SystemUser};

use crate::error::{Result, io};
use crate::place;

pub use change::Change;
pub use model::{Mailbox, Message, Model, User};

/// How large messages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sizes {
    /// All of about this many bytes.
    Fixed(usize),
    /// Half of them below the first number of bytes, and few near the second.
    Spread {
        /// Half of the messages are smaller than this.
        median: usize,
        /// None is much larger than this.
        most: usize,
    },
}

/// Whether messages repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bodies {
    /// Every message is different.
    Distinct,
    /// There are this many different ones; equal ones share a file.
    Repeated(usize),
}

/// What store to write. The same plan gives the same store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The seed of everything random.
    pub seed: u64,
    /// How many users.
    pub users: usize,
    /// Mailboxes for each user, including the INBOX.
    pub mailboxes: usize,
    /// Messages for each mailbox.
    pub messages: usize,
    /// How large they are.
    pub sizes: Sizes,
    /// Whether they repeat.
    pub bodies: Bodies,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            seed: 1,
            users: 3,
            mailboxes: 4,
            messages: 25,
            sizes: Sizes::Fixed(2048),
            bodies: Bodies::Distinct,
        }
    }
}

/// The files' owner: the Cyrus user if we are root (or nobody if there is no such user), else ourselves.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub(crate) name: String,
    pub(crate) ids: Option<(Uid, Gid)>,
}

impl Owner {
    fn find() -> Owner {
        let named = |name: &str| SystemUser::from_name(name).ok().flatten();
        if !Uid::effective().is_root() {
            let me = SystemUser::from_uid(Uid::effective()).ok().flatten();
            return Owner { name: me.map_or_else(|| "cyrus".into(), |u| u.name), ids: None };
        }
        match named("cyrus").or_else(|| named("nobody")) {
            Some(user) => Owner { name: user.name, ids: Some((user.uid, user.gid)) },
            None => Owner { name: "root".into(), ids: None },
        }
    }

    /// Gives a file or folder to the owner.
    pub(crate) fn give(&self, path: &Path) -> Result<()> {
        match self.ids {
            Some((uid, gid)) => {
                std::os::unix::fs::chown(path, Some(uid.as_raw()), Some(gid.as_raw()))
                    .map_err(io("change the owner of", path))
            }
            None => Ok(()),
        }
    }
}

/// A store on disk and its contents. Dropping it deletes a temporary one.
#[derive(Debug)]
pub struct MasterStore {
    pub(crate) dir: PathBuf,
    pub(crate) owner: Owner,
    pub(crate) model: Model,
    _temporary: Option<Folder>,
}

impl MasterStore {
    /// Writes a store into a new folder in memory, or on disk if memory is short.
    ///
    /// # Errors
    /// A file can't be written.
    pub fn write(plan: &Plan) -> Result<MasterStore> {
        let base = place::in_memory();
        let dir = Folder::make(base, "cys").map_err(io("make a folder in", base))?;
        let mut store = MasterStore::write_in(plan, dir.path())?;
        store._temporary = Some(dir);
        Ok(store)
    }

    /// Writes a store into this folder, which must be empty, and leaves it there.
    ///
    /// # Errors
    /// A file can't be written.
    pub fn write_in(plan: &Plan, dir: &Path) -> Result<MasterStore> {
        let store = MasterStore {
            dir: dir.to_path_buf(),
            owner: Owner::find(),
            model: Model::new(plan),
            _temporary: None,
        };
        store.write_frame()?;
        let mut linked = files::Linked::default();
        for user in &store.model.users {
            for mailbox in &user.mailboxes {
                store.write_mailbox(mailbox, 1, &mut linked)?;
            }
            store.write_user(user)?;
        }
        store.write_list()?;
        Ok(store)
    }

    /// The imapd.conf, for `-C`.
    #[must_use]
    pub fn imapd_conf(&self) -> PathBuf {
        self.dir.join("imapd.conf")
    }

    /// What is in the store.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Another imapd.conf for this store, with this replica of this port of loopback and the admin's login; gives its path.
    ///
    /// # Errors
    /// It can't be written.
    pub fn conf_for(&self, replica: &str, port: u16) -> Result<PathBuf> {
        let path = self.dir.join(format!("{replica}.conf"));
        let more = format!(
            "sync_host: 127.0.0.1\nsync_port: {port}\nsync_authname: {}\nsync_password: {}\nsync_try_imap: no\n",
            crate::cyrus::ADMIN,
            crate::saslauthd::PASSWORD
        );
        self.write_conf(&path, &more)?;
        Ok(path)
    }

    /// Writes these lines into the sync log of no channel, as Cyrus' services do while they change the store.
    ///
    /// # Errors
    /// It can't be written.
    pub fn log(&self, lines: &str) -> Result<()> {
        let folder = self.dir.join("conf/sync");
        let path = folder.join("log");
        std::fs::create_dir_all(&folder).map_err(io("make", &folder))?;
        std::fs::write(&path, lines).map_err(io("write", &path))?;
        self.owner.give(&folder)?;
        self.owner.give(&path)
    }
}
