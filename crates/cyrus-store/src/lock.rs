//! Advisory locks that agree with Cyrus' own.
//!
//! Cyrus locks whole files with `fcntl`. Such locks belong to a process and vanish when *any* descriptor of the file is
//! closed, so a program with threads cannot use them. Open file description locks (`F_OFD_SETLK`) conflict with them
//! properly, in both directions, and live exactly as long as the [`FileLock`] that holds them.
//!
//! ```text
//! what                      lock file's name                 held by us
//! one user on one channel   *S*server^name*user^name         exclusive (one replicator at a time)
//! a user's mailboxes        *U*user^name                     shared
//! one mailbox               its unique id (or its name)      shared
//! its index                 cyrus.index itself               shared
//! ```
//!
//! Always taken in this order. Source: `lib/lock_fcntl.c`, `imap/mboxname.c` (mboxname_lock), `imap/user.c`
//! (user_namespacelock), `imap/sync_support.c` (_synclock_name) of cyrus-imapd 3.6.1.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cyrus_types::UniqueId;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::config::Config;
use crate::error::StoreError;
use crate::paths::{self, Place};
use crate::regular;

/// How often a file may be replaced while we lock it before we give up.
const MAX_REOPENS: u32 = 100;

/// What a lock prevents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Others may read, but not write.
    Shared,
    /// Others may do neither.
    Exclusive,
}

/// A lock on a file, released when dropped.
#[derive(Debug)]
pub struct FileLock {
    file: Arc<File>,
    path: PathBuf,
    /// Device and inode.
    id: (u64, u64),
    len: u64,
}

impl FileLock {
    /// Takes a shared lock on a lock file (made if need be), waiting for it.
    ///
    /// # Errors
    /// The file cannot be made or locked.
    pub fn shared(path: &Path) -> Result<FileLock, StoreError> {
        FileLock::on_lock_file(path, Mode::Shared, true)
    }

    /// Takes an exclusive lock on a lock file (made if need be), waiting for it.
    ///
    /// # Errors
    /// The file cannot be made or locked.
    pub fn exclusive(path: &Path) -> Result<FileLock, StoreError> {
        FileLock::on_lock_file(path, Mode::Exclusive, true)
    }

    /// As [`FileLock::shared`], but `None` instead of waiting.
    ///
    /// # Errors
    /// The file cannot be made or locked.
    pub fn try_shared(path: &Path) -> Result<Option<FileLock>, StoreError> {
        none_if_locked(FileLock::on_lock_file(path, Mode::Shared, false))
    }

    /// As [`FileLock::exclusive`], but `None` instead of waiting.
    ///
    /// # Errors
    /// The file cannot be made or locked.
    pub fn try_exclusive(path: &Path) -> Result<Option<FileLock>, StoreError> {
        none_if_locked(FileLock::on_lock_file(path, Mode::Exclusive, false))
    }

    /// Locks a file that must exist, such as an index or a database, and makes sure that it is still the file at that path
    /// once the lock is ours (Cyrus replaces such files by renaming). The file is open for reading only.
    ///
    /// # Errors
    /// [`StoreError::MissingFile`] if there is no such file; [`StoreError::Locked`] if `wait` is false and somebody holds
    /// it; [`StoreError::Io`] otherwise.
    pub fn on_existing(path: &Path, mode: Mode, wait: bool) -> Result<FileLock, StoreError> {
        // An exclusive fcntl lock asks for a writable descriptor even though nothing is written.
        let writable = mode == Mode::Exclusive;
        for _ in 0..MAX_REOPENS {
            let file = regular::open_with(OpenOptions::new().read(true).write(writable), path, 0)?;
            lock(&file, path, mode, wait)?;
            if let Some(locked) = FileLock::if_still(Arc::new(file), path)? {
                return Ok(locked);
            }
        }
        Err(StoreError::damaged(path, "it is being replaced again and again"))
    }

    /// As [`FileLock::on_existing`], shared and waiting, of a file that is open already and that nothing else uses; `None`
    /// if it is no longer the one at that path.
    ///
    /// # Errors
    /// [`StoreError::MissingFile`] if there is no such file; [`StoreError::Io`].
    pub(crate) fn again(file: Arc<File>, path: &Path) -> Result<Option<FileLock>, StoreError> {
        lock(&file, path, Mode::Shared, true)?;
        FileLock::if_still(file, path)
    }

    /// The lock, if the locked file is the one at that path.
    fn if_still(file: Arc<File>, path: &Path) -> Result<Option<FileLock>, StoreError> {
        let ours = file.metadata().map_err(|error| StoreError::io("stat", path, error))?;
        let current = fs::metadata(path).map_err(|error| StoreError::io("stat", path, error))?;
        let id = (ours.dev(), ours.ino());
        let same = id == (current.dev(), current.ino());
        Ok(same.then(|| FileLock { file, path: path.to_path_buf(), id, len: ours.len() }))
    }

    /// Releases the lock and keeps the file open, for [`FileLock::again`]; `None` if that fails.
    pub(crate) fn give_up(&self) -> Option<Arc<File>> {
        let unlocked = fcntl(&*self.file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_UNLCK)));
        unlocked.is_ok().then(|| self.file.clone())
    }

    fn on_lock_file(path: &Path, mode: Mode, wait: bool) -> Result<FileLock, StoreError> {
        let file = match open_lock_file(path) {
            Err(StoreError::MissingFile { .. }) => {
                if let Some(folder) = path.parent() {
                    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(folder);
                    made.map_err(|error| StoreError::io("create folder for", path, error))?;
                }
                open_lock_file(path)
            }
            opened => opened,
        };
        let file = file?;
        lock(&file, path, mode, wait)?;
        Ok(FileLock { file: Arc::new(file), path: path.to_path_buf(), id: (0, 0), len: 0 })
    }

    /// The locked file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The file's size in bytes when it was locked, which others do not change while it is. Zero for a lock file.
    pub fn file_len(&self) -> u64 {
        self.len
    }

    /// Device and inode of a file that existed when it was locked.
    pub(crate) fn id(&self) -> (u64, u64) {
        self.id
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Takes the lock that keeps two replicators from working on one user for one server (`None`: for the users' list).
/// With `nonblock`, `None` is returned if somebody else has it.
///
/// # Errors
/// The lock file cannot be made or locked.
pub fn sync_lock(
    conf: &Config,
    server: &str,
    user: Option<&str>,
    nonblock: bool,
) -> Result<Option<FileLock>, StoreError> {
    let path = sync_lock_file(conf, server, user);
    if nonblock { FileLock::try_exclusive(&path) } else { FileLock::exclusive(&path).map(Some) }
}

/// The file of [`sync_lock`].
#[must_use]
pub fn sync_lock_file(conf: &Config, server: &str, user: Option<&str>) -> PathBuf {
    paths::server_lock_path(conf, &sync_lock_name(server, user))
}

/// Takes the shared lock on a user's mailboxes (`None`: on what belongs to no user), waiting for it.
///
/// # Errors
/// The lock file cannot be made or locked.
pub fn user_lock(conf: &Config, user: Option<&str>) -> Result<FileLock, StoreError> {
    FileLock::shared(&paths::lock_path(conf, &user_lock_name(user)))
}

/// Takes the shared lock on a mailbox. It is named after the mailbox's unique id, or its internal name if it has legacy
/// dirs.
///
/// # Errors
/// The lock file cannot be made or locked.
pub fn mailbox_lock(conf: &Config, place: Place<'_>) -> Result<FileLock, StoreError> {
    let name = place.unique_id.map_or(place.name.as_str(), UniqueId::as_str);
    FileLock::shared(&paths::lock_path(conf, name))
}

/// `*S*server*user`, with carets for dots (`imap/sync_support.c:_synclock_name`). Slashes in a user id would be folders.
fn sync_lock_name(server: &str, user: Option<&str>) -> String {
    format!(
        "*S*{}*{}",
        server.replace('.', "^"),
        user.unwrap_or_default().replace('.', "^").replace('/', "_")
    )
}

/// `*U*user`, with carets for dots.
fn user_lock_name(user: Option<&str>) -> String {
    format!("*U*{}", user.unwrap_or_default().replace('.', "^"))
}

/// Made with the rights that the umask leaves (option `umask`): any process that may open a lock file may hold it for ever.
fn open_lock_file(path: &Path) -> Result<File, StoreError> {
    // Never emptied here: its holder may have written its process id into it (sync_log/claim.rs).
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o666);
    regular::open_own(&mut options, path)
}

fn none_if_locked(result: Result<FileLock, StoreError>) -> Result<Option<FileLock>, StoreError> {
    match result {
        Ok(lock) => Ok(Some(lock)),
        Err(StoreError::Locked { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn whole_file(kind: i32) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

fn lock(file: &File, path: &Path, mode: Mode, wait: bool) -> Result<(), StoreError> {
    let kind = match mode {
        Mode::Shared => libc::F_RDLCK,
        Mode::Exclusive => libc::F_WRLCK,
    };
    let request = whole_file(kind);
    loop {
        let argument =
            if wait { FcntlArg::F_OFD_SETLKW(&request) } else { FcntlArg::F_OFD_SETLK(&request) };
        match fcntl(file, argument) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN | Errno::EACCES) if !wait => {
                return Err(StoreError::Locked { path: path.to_path_buf() });
            }
            Err(errno) => return Err(StoreError::io("lock", path, errno.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_escape_dots() {
        assert_eq!(
            sync_lock_name("imap.example.com", Some("a.b@e.com")),
            "*S*imap^example^com*a^b@e^com"
        );
        assert_eq!(sync_lock_name("r", None), "*S*r*");
        assert_eq!(user_lock_name(Some("a.b")), "*U*a^b");
    }

    #[test]
    fn sync_locks_exclude_each_other_and_folders_are_made() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("configdirectory: {}\nhashimapspool: yes\n", dir.path().display());
        let conf = Config::parse(&text, "/t").unwrap();
        let held = sync_lock(&conf, "r.e", Some("anna"), true).unwrap().unwrap();
        assert_eq!(held.path(), dir.path().join("lock/q/*S*r^e*anna.lock"));
        assert!(sync_lock(&conf, "r.e", Some("anna"), true).unwrap().is_none());
        assert!(sync_lock(&conf, "r.e", Some("bert"), true).unwrap().is_some());
        drop(held);
        assert!(sync_lock(&conf, "r.e", Some("anna"), true).unwrap().is_some());
    }

    #[test]
    fn readers_share_and_keep_writers_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b.lock");
        let one = FileLock::shared(&path).unwrap();
        let two = FileLock::try_shared(&path).unwrap();
        assert!(two.is_some());
        assert!(FileLock::try_exclusive(&path).unwrap().is_none());
        drop((one, two));
        assert!(FileLock::try_exclusive(&path).unwrap().is_some());
    }

    #[test]
    fn a_replaced_file_is_locked_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        assert!(matches!(
            FileLock::on_existing(&path, Mode::Shared, true),
            Err(StoreError::MissingFile { .. })
        ));
        fs::write(&path, "old").unwrap();
        let writer = FileLock::on_existing(&path, Mode::Exclusive, true).unwrap();
        assert!(matches!(
            FileLock::on_existing(&path, Mode::Shared, false),
            Err(StoreError::Locked { .. })
        ));
        let waiting = std::thread::spawn({
            let path = path.clone();
            move || {
                FileLock::on_existing(&path, Mode::Shared, true)
                    .unwrap()
                    .file()
                    .metadata()
                    .unwrap()
                    .len()
            }
        });
        std::thread::sleep(std::time::Duration::from_millis(50));
        fs::write(dir.path().join("new"), "longer").unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        drop(writer);
        assert_eq!(waiting.join().unwrap(), 6);
    }
}
