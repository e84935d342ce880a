//! Message files of the master, and the check that they match their records.
//!
//! A file must exist, and have the size and the SHA-1 of its record. Small files are read once; large ones are read twice
//! (from the page cache) and never held in memory.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use cyrus_store::Mailbox;
use cyrus_types::Guid;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use sha1::{Digest, Sha1};

use crate::error::MasterError;
use crate::master::source::{Checked, Message};

/// Files up to this size are read once, into memory.
const SMALL: u64 = 1024 * 1024;

/// The error for a message without a file.
const MISSING: &str = "the message file is missing";

/// Reads the message files of one mailbox.
#[derive(Default)]
pub(crate) struct MessageFiles {
    /// The folder of the last file: its messages are opened without a walk down to it each time.
    folder: Option<Folder>,
    /// The name of the current file.
    name: String,
}

impl MessageFiles {
    /// Opens a file and compares it with its record; a small one is read into `small`.
    ///
    /// # Errors
    /// [`MasterError::MessageFile`]
    pub(crate) fn check(
        &mut self,
        mailbox: &Mailbox,
        message: &Message,
        small: &mut Vec<u8>,
    ) -> Result<Checked, MasterError> {
        let opened = self.open(mailbox, message);
        let checked = opened.and_then(|file| check(file, message, small));
        checked.map_err(|problem| MasterError::MessageFile {
            mailbox: mailbox.name().clone(),
            uid: message.uid,
            path: path(mailbox, message),
            missing: problem == MISSING,
            problem,
        })
    }

    /// Opens a message file within its folder, which stays open for the next one.
    fn open(&mut self, mailbox: &Mailbox, message: &Message) -> Result<File, String> {
        let unreadable = |e: Errno| match e {
            Errno::ENOENT => MISSING.to_string(),
            _ => format!("can't read the message file: {}", io::Error::from(e)),
        };
        let folder = match self.folder.take() {
            Some(open) if open.archived == message.archived => open,
            _ => {
                let path = mailbox.message_folder(message.archived);
                let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
                let fd = nix::fcntl::open(path, flags, Mode::empty()).map_err(unreadable)?;
                Folder { archived: message.archived, fd }
            }
        };
        let folder = self.folder.insert(folder);
        self.name.clear();
        // Writing to a String never fails.
        let _ = write!(self.name, "{}.", message.uid);
        // Opening a FIFO does not wait; it has no bytes, and so is not a message.
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let file = nix::fcntl::openat(&folder.fd, self.name.as_str(), flags, Mode::empty());
        file.map(File::from).map_err(unreadable)
    }
}

/// The file of a message.
pub(crate) fn path(mailbox: &Mailbox, message: &Message) -> PathBuf {
    mailbox.message_folder(message.archived).join(format!("{}.", message.uid))
}

/// A folder of message files.
struct Folder {
    archived: bool,
    fd: OwnedFd,
}

/// The error, in words, of a file that does not match its record.
fn check(mut file: File, message: &Message, small: &mut Vec<u8>) -> Result<Checked, String> {
    if message.size <= SMALL {
        let read = read_small(&mut file, message.size as usize, small);
        let content = read.map_err(|e| e.to_string())?;
        same_size(content.len() as u64, &file, message)?;
        same_guid(Sha1::digest(content).into(), message)?;
        return Ok(Checked::Small(content.len()));
    }
    let size = file.metadata().map_err(|e| e.to_string())?.len();
    same_size(size, &file, message)?;
    let mut hash = Sha1::new();
    io::copy(&mut file, &mut HashWriter(&mut hash)).map_err(|e| e.to_string())?;
    same_guid(hash.finalize().into(), message)?;
    file.seek(SeekFrom::Start(0)).map_err(|e| e.to_string())?;
    Ok(Checked::Large(Box::new(file)))
}

/// A file that should have `size` bytes: we ask for one more, so that a single read shows where it ends.
fn read_small<'a>(file: &mut File, size: usize, into: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
    if into.len() < size + 1 {
        into.resize(size + 1, 0);
    }
    let content = into.get_mut(..=size).unwrap_or_default();
    let mut read = 0;
    while read < size {
        match file.read(content.get_mut(read..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(content.get(..read).unwrap_or_default())
}

fn same_size(read: u64, file: &File, message: &Message) -> Result<(), String> {
    if read == message.size {
        return Ok(());
    }
    let size = file.metadata().map_err(|e| e.to_string())?.len();
    Err(format!("the file has {size} bytes, the index says {}", message.size))
}

fn same_guid(found: [u8; 20], message: &Message) -> Result<(), String> {
    if found == message.guid.0 {
        return Ok(());
    }
    Err(format!(
        "the file's SHA-1 is {}, the index says {}: the message is damaged",
        Guid(found),
        message.guid
    ))
}

struct HashWriter<'a>(&'a mut Sha1);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
