//! Opens files that must be plain files.
//!
//! A mail store's folders may contain anything: a FIFO would make its reader wait for ever, a link to /dev/zero would never
//! end. So opening a file never waits, only plain files are read, and no more of them than is sensible. Files that
//! replication itself makes are never opened through a symbolic link.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::libc;

use crate::error::StoreError;

/// Opens a plain file for reading.
///
/// # Errors
/// [`StoreError::MissingFile`], [`StoreError::NotAFile`], or the system's error.
pub(crate) fn open(path: &Path) -> Result<File, StoreError> {
    open_with(OpenOptions::new().read(true), path, 0)
}

/// Opens a plain file with these `options`, never through a symbolic link: for files of replication itself.
///
/// # Errors
/// As [`open`]; a link is [`StoreError::NotAFile`].
pub(crate) fn open_own(options: &mut OpenOptions, path: &Path) -> Result<File, StoreError> {
    open_with(options, path, libc::O_NOFOLLOW)
}

/// Opens a plain file with these `options`.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_with(
    options: &mut OpenOptions,
    path: &Path,
    flags: i32,
) -> Result<File, StoreError> {
    let opened = options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | flags).open(path);
    let file = opened.map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) if flags & libc::O_NOFOLLOW != 0 => {
            StoreError::not_a_file(path, "a symbolic link")
        }
        // A FIFO without a reader, a socket.
        Some(libc::ENXIO) => StoreError::not_a_file(path, "a FIFO, socket or device"),
        Some(libc::EISDIR) => StoreError::not_a_file(path, "a folder"),
        _ => StoreError::io("open", path, error),
    })?;
    let facts = file.metadata().map_err(|error| StoreError::io("stat", path, error))?;
    if facts.is_file() { Ok(file) } else { Err(StoreError::not_a_file(path, kind_of(&facts))) }
}

/// Reads a plain file of `most` bytes at most.
///
/// # Errors
/// As [`open`]; [`StoreError::Damaged`] if it is longer.
pub(crate) fn read(path: &Path, most: u64) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    read_into(path, most, &mut bytes)?;
    Ok(bytes)
}

/// As [`read`], appending to the buffer.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_into(path: &Path, most: u64, bytes: &mut Vec<u8>) -> Result<(), StoreError> {
    let before = bytes.len();
    let read: io::Result<usize> = open(path)?.take(most + 1).read_to_end(bytes);
    read.map_err(|error| StoreError::io("read", path, error))?;
    if (bytes.len() - before) as u64 > most {
        return Err(StoreError::damaged(path, format!("it has more than {most} bytes")));
    }
    Ok(())
}

fn kind_of(facts: &Metadata) -> &'static str {
    let kind = facts.file_type();
    if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::sys::stat::Mode;

    use super::*;

    #[test]
    fn only_plain_files_are_opened_and_nothing_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("plain"), "12345").unwrap();
        symlink(at("plain"), at("link")).unwrap();
        symlink("/dev/zero", at("zero")).unwrap();
        std::fs::create_dir(at("folder")).unwrap();
        nix::unistd::mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
        let words = |result: Result<Vec<u8>, StoreError>| result.unwrap_err().to_string();
        assert_eq!(read(&at("plain"), 5).unwrap(), b"12345");
        assert_eq!(read(&at("link"), 5).unwrap(), b"12345");
        assert!(words(read(&at("plain"), 4)).contains("more than 4 bytes"));
        assert!(words(read(&at("fifo"), 4)).contains("a FIFO"));
        assert!(words(read(&at("zero"), 4)).contains("a device"));
        assert!(words(read(&at("folder"), 4)).contains("a folder"));
        assert!(matches!(read(&at("none"), 4), Err(StoreError::MissingFile { .. })));
        let mut options = OpenOptions::new();
        options.write(true);
        assert!(
            open_own(&mut options, &at("link"))
                .unwrap_err()
                .to_string()
                .contains("a symbolic link")
        );
        assert!(open_own(&mut options, &at("fifo")).unwrap_err().to_string().contains("FIFO"));
        open_own(&mut options, &at("plain")).unwrap();
    }
}
