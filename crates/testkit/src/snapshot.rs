//! Contents and times of every file below a folder, to prove that a store was not touched.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha1::{Digest, Sha1};

use crate::error::{Result, io};

/// What is recorded of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    /// The SHA-1 of its contents; of a symbolic link, the SHA-1 of its target.
    pub hash: [u8; 20],
    /// Its size in bytes.
    pub size: u64,
    /// The time of its last modification: seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// Its mode bits.
    pub mode: u32,
    /// Its inode number: a file that was replaced by an equal one has another number.
    pub inode: u64,
}

/// Every file below a folder, by its path below it.
pub type Tree = BTreeMap<PathBuf, FileFacts>;

/// Reads every file below `root`, except those that merely reading a store may touch: lock files (folders named `lock`,
/// names that end in `.lock`), sockets and the process table (`socket`, `proc`). Take it while no server writes.
///
/// # Errors
/// When a file cannot be read.
pub fn tree(root: &Path) -> Result<Tree> {
    let mut found = Tree::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(io("list", &folder))? {
            let path = entry.map_err(io("list", &folder))?.path();
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            if matches!(name.as_str(), "lock" | "socket" | "proc") || name.ends_with(".lock") {
                continue;
            }
            let meta = path.symlink_metadata().map_err(io("look at", &path))?;
            if meta.is_dir() {
                folders.push(path);
                continue;
            }
            let contents = if meta.is_symlink() {
                std::fs::read_link(&path)
                    .map_err(io("read", &path))?
                    .into_os_string()
                    .into_encoded_bytes()
            } else if meta.is_file() {
                std::fs::read(&path).map_err(io("read", &path))?
            } else {
                continue;
            };
            let facts = FileFacts {
                hash: Sha1::digest(&contents).into(),
                size: meta.len(),
                mtime: (meta.mtime(), meta.mtime_nsec()),
                mode: meta.mode(),
                inode: meta.ino(),
            };
            found.insert(path.strip_prefix(root).unwrap_or(&path).to_path_buf(), facts);
        }
    }
    Ok(found)
}

/// The differences between two snapshots, one line per file; empty if there are none.
#[must_use]
pub fn changes(before: &Tree, after: &Tree) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, old) in before {
        match after.get(path) {
            None => lines.push(format!("{} is gone", path.display())),
            Some(new) if new.hash != old.hash => {
                lines.push(format!(
                    "{} has other contents ({} bytes, were {})",
                    path.display(),
                    new.size,
                    old.size
                ));
            }
            Some(new) if new != old => {
                lines.push(format!("{} was touched: {new:?}, was {old:?}", path.display()))
            }
            Some(_) => {}
        }
    }
    for path in after.keys().filter(|path| !before.contains_key(*path)) {
        lines.push(format!("{} is new", path.display()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_change_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(path("sub/lock")).unwrap();
        for name in ["sub/a", "sub/b", "sub/c", "sub/lock/x"] {
            std::fs::write(path(name), name).unwrap();
        }
        let before = tree(dir.path()).unwrap();
        assert_eq!(before.len(), 3);
        assert!(changes(&before, &tree(dir.path()).unwrap()).is_empty());
        std::fs::write(path("sub/lock/y"), "locks do not count").unwrap();
        std::fs::write(path("sub/a"), "other").unwrap();
        std::fs::remove_file(path("sub/b")).unwrap();
        std::fs::File::open(path("sub/c"))
            .unwrap()
            .set_modified(std::time::SystemTime::UNIX_EPOCH)
            .unwrap();
        std::fs::write(path("sub/d"), "new").unwrap();
        let found = changes(&before, &tree(dir.path()).unwrap()).join("\n");
        for words in
            ["sub/a has other contents", "sub/b is gone", "sub/c was touched", "sub/d is new"]
        {
            assert!(found.contains(words), "{words} missing in:\n{found}");
        }
        assert_eq!(found.lines().count(), 4);
    }
}
