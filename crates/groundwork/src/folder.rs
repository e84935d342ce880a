//! A temporary folder that is always removed, whoever writes into it and however its process ends.

use std::fs::DirBuilder;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{ErrorKind, Result};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::guard;

/// How long the removal is tried while another process still writes into it.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(10);

/// A folder for this process alone. Dropping it removes it with everything in it; if the process is killed, its guard
/// (`guard.rs`) does.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes one below `base`, whose name begins with `prefix`. Only we (and root) may enter.
    ///
    /// # Errors
    /// When it can't be made or guarded.
    pub fn make(base: &Path, prefix: &str) -> Result<Folder> {
        // So many digits that the name is unique: the guard learns it before the folder is made.
        let number = RandomState::new().build_hasher().finish() & 0xffff_ffff_ffff;
        let path = base.join(format!("{prefix}{number:012x}"));
        guard::watch(&path)?;
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Folder { path })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it now.
    ///
    /// # Errors
    /// When part of it still exists after ten seconds.
    pub fn remove(&self) -> Result<()> {
        let end = Instant::now() + REMOVAL_TIMEOUT;
        loop {
            match std::fs::remove_dir_all(&self.path) {
                Err(err) if err.kind() == ErrorKind::NotFound && !self.path.exists() => {
                    return Ok(());
                }
                // Another process wrote into it meanwhile.
                Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
                outcome => return outcome,
            }
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = self.remove();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_while_somebody_writes_into_it() {
        let folder = Folder::make(&std::env::temp_dir(), "folder-test").unwrap();
        let path = folder.path().to_path_buf();
        let writer = std::thread::spawn(move || {
            let end = Instant::now() + Duration::from_millis(200);
            for nr in 0.. {
                let _ = std::fs::create_dir_all(path.join(format!("a/{nr}")));
                let _ = std::fs::write(path.join(format!("a/{nr}/b")), "x");
                if Instant::now() > end {
                    return;
                }
            }
        });
        std::thread::sleep(Duration::from_millis(50));
        folder.remove().unwrap();
        writer.join().unwrap();
        folder.remove().unwrap();
        assert!(!folder.path().exists());
    }
}
