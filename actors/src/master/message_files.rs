//! Message files of the master, and the check that they match their records.
//!
//! A file must exist, and have the size and the SHA-1 of its record. Small files are read once; large ones are read twice
//! (from the page cache) and never held in memory.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;

use cyrus_store::{IndexRecord, Mailbox};
use cyrus_types::{Guid, Uid};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use sha1::{Digest, Sha1};

use crate::error::MasterError;

/// Files up to this size are read once, into memory.
const SMALL: u64 = 1024 * 1024;

/// The error for a message without a file.
const MISSING: &str = "the message file is missing";

/// A message to be uploaded.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) uid: Uid,
    pub(crate) guid: Guid,
    /// Bytes, as the record says.
    pub(crate) size: u64,
    /// Whether its file is on the archive partition.
    pub(crate) archived: bool,
    /// Whether the message is expunged: then its file is not needed.
    pub(crate) expunged: bool,
}

impl From<&IndexRecord> for Message {
    fn from(record: &IndexRecord) -> Message {
        Message {
            uid: record.uid,
            guid: record.guid,
            size: record.size,
            archived: record.is_archived(),
            expunged: record.is_expunged(),
        }
    }
}

/// The files of one mailbox.
pub(crate) struct MessageFiles<'a> {
    mailbox: &'a Mailbox,
    /// The folder of the last file: its messages are opened without a walk down to it each time.
    folder: Option<Folder>,
    /// The name of the current file.
    name: String,
    /// The buffer for small files.
    pub(crate) small: Vec<u8>,
}

impl<'a> MessageFiles<'a> {
    pub(crate) fn new(mailbox: &'a Mailbox) -> MessageFiles<'a> {
        MessageFiles { mailbox, folder: None, name: String::new(), small: Vec::new() }
    }

    /// Opens a file and compares it with its record.
    ///
    /// # Errors
    /// [`MasterError::MessageFile`]
    pub(crate) fn check(&mut self, message: &Message) -> Result<Checked, MasterError> {
        let opened = self.open(message);
        let checked = opened.and_then(|file| check(file, message, &mut self.small));
        checked.map_err(|problem| self.bad(message, problem))
    }

    /// Opens a message file within its folder, which stays open for the next one.
    fn open(&mut self, message: &Message) -> Result<File, String> {
        let unreadable = |e: Errno| match e {
            Errno::ENOENT => MISSING.to_string(),
            _ => format!("can't read the message file: {}", io::Error::from(e)),
        };
        let folder = match self.folder.take() {
            Some(open) if open.archived == message.archived => open,
            _ => {
                let path = self.mailbox.message_folder(message.archived);
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

    pub(crate) fn bad(&self, message: &Message, problem: String) -> MasterError {
        let folder = self.mailbox.message_folder(message.archived);
        let missing = problem == MISSING;
        MasterError::MessageFile {
            mailbox: self.mailbox.name().clone(),
            uid: message.uid,
            path: folder.join(format!("{}.", message.uid)),
            missing,
            problem,
        }
    }
}

/// A folder of message files.
struct Folder {
    archived: bool,
    fd: OwnedFd,
}

/// A good file.
pub(crate) enum Checked {
    /// This many bytes, in memory.
    Small(usize),
    Large(File),
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
    Ok(Checked::Large(file))
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
