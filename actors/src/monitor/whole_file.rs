//! A file that appears whole or not at all.
//!
//! It is written into a file without a name in the same folder, so that nothing is left of a run that is killed. At the
//! end that is copied to a temporary name and renamed.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct WholeFile {
    path: PathBuf,
    folder: PathBuf,
    so_far: BufWriter<File>,
}

impl WholeFile {
    /// Begins a file that will have this name. What has the name now stays until [`WholeFile::finish`].
    ///
    /// # Errors
    /// It can't be written there, or the name is a folder's.
    pub(crate) fn begin(path: &Path) -> io::Result<WholeFile> {
        if path.is_dir() || path.file_name().is_none() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        // What a link leads to is replaced, not the link.
        let path = &match path.symlink_metadata() {
            Ok(now) if now.is_symlink() => path.canonicalize()?,
            _ => path.to_path_buf(),
        };
        if path.exists() && !path.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = parent.unwrap_or(Path::new(".")).to_path_buf();
        let so_far = BufWriter::new(tempfile::tempfile_in(&folder)?);
        Ok(WholeFile { path: path.to_path_buf(), folder, so_far })
    }

    /// The name that it will have.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes are in memory yet.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.so_far.buffer().len()
    }

    /// Gives it its name, in place of an older file. Its permissions are what `umask` leaves of 0666.
    ///
    /// # Errors
    /// The disk is full, or the folder's permissions changed; then the older file is as it was.
    pub(crate) fn finish(self) -> io::Result<()> {
        let mut written = self.so_far.into_inner().map_err(io::IntoInnerError::into_error)?;
        written.rewind()?;
        let mut named = tempfile::Builder::new()
            .prefix(".sync_client-")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(&self.folder)?;
        io::copy(&mut written, named.as_file_mut())?;
        named.as_file().sync_all()?;
        named.persist(&self.path).map_err(|e| e.error)?;
        Ok(())
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.so_far.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.so_far.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report");
        let files = || std::fs::read_dir(dir.path()).unwrap().count();
        std::fs::write(&path, "old").unwrap();
        let mut file = WholeFile::begin(&path).unwrap();
        file.write_all(b"half").unwrap();
        file.flush().unwrap();
        assert_eq!((std::fs::read_to_string(&path).unwrap().as_str(), files()), ("old", 1));
        drop(file);
        assert_eq!(files(), 1);
        let mut file = WholeFile::begin(&path).unwrap();
        file.write_all(b"new").unwrap();
        file.finish().unwrap();
        assert_eq!((std::fs::read_to_string(&path).unwrap().as_str(), files()), ("new", 1));
        assert!(WholeFile::begin(dir.path()).is_err());
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let mut file = WholeFile::begin(&link).unwrap();
        file.write_all(b"newer").unwrap();
        file.finish().unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "newer");
        assert!(WholeFile::begin(Path::new("/dev/null")).is_err());
        assert!(WholeFile::begin(&dir.path().join("nowhere/report")).is_err());
    }
}
