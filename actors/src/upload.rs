//! Message files to the replica: `APPLY MESSAGE (%{partition guid size} … )`.
//!
//! A file is looked at before it is announced: it must be there, have the size and the SHA-1 that
//! its record says. The replica would drop a whole batch for one bad file, and abort for one that
//! parses to another GUID. Small files are read once; large ones are read twice (from the page
//! cache) and never held in memory.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;

use bytes::Bytes;
use csync::{DlistWriter, Guid};
use cyrus_store::Mailbox;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use sha1::{Digest, Sha1};

use crate::error::UserError;
use crate::frames::{CommandError, FRAME_BYTES, Frame, FrameSender, InFlight};
use crate::report::Sent;

/// Messages in one command, as the C client's bound.
const MESSAGES: usize = 1024;
/// Bytes in one command after which the next message opens a new one, so that a failure costs
/// little.
const COMMAND_BYTES: u64 = 16 * 1024 * 1024;
/// Files up to this size are read once, into memory.
const SMALL: u64 = 1024 * 1024;

/// The problem of a message without a file.
const MISSING: &str = "the message file is missing";

/// The command's name.
const NAME: &str = "MESSAGE";

/// A message to be uploaded.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) uid: u32,
    pub(crate) guid: Guid,
    /// Bytes, as the record says.
    pub(crate) size: u64,
    /// Whether its file is on the archive partition.
    pub(crate) archived: bool,
}

/// Uploads one mailbox's messages.
pub(crate) struct Uploader<'a> {
    mailbox: &'a Mailbox,
    partition: &'a str,
    frames: &'a FrameSender,
    /// The folder of the last file: its messages are opened without walking down to it each time.
    folder: Option<Folder>,
    /// The name of the file that is read.
    name: String,
    /// Bytes gathered for the next frame.
    gathered: Vec<u8>,
    /// Where small files are read into.
    small: Vec<u8>,
    /// The open command.
    open: Option<Open>,
    pub(crate) in_flight: Vec<InFlight>,
}

impl<'a> Uploader<'a> {
    pub(crate) fn new(
        mailbox: &'a Mailbox,
        partition: &'a str,
        frames: &'a FrameSender,
    ) -> Uploader<'a> {
        Uploader {
            mailbox,
            partition,
            frames,
            folder: None,
            name: String::new(),
            gathered: Vec::new(),
            small: Vec::new(),
            open: None,
            in_flight: Vec::new(),
        }
    }

    /// Whether a command stands open: dropping the uploader now would break the connection.
    pub(crate) fn is_within_command(&self) -> bool {
        self.open.is_some_and(|open| open.begun)
    }

    /// Uploads a message. On a bad file the open command is closed in good order first.
    pub(crate) fn send(&mut self, message: &Message) -> Result<(), UserError> {
        let opened = self.open_file(message);
        let checked = match opened.and_then(|file| check(file, message, &mut self.small)) {
            Ok(checked) => checked,
            Err(problem) => {
                self.finish()?;
                return Err(self.bad_file(message, problem));
            }
        };
        let full = |open: Open| open.messages >= MESSAGES || open.bytes >= COMMAND_BYTES;
        if self.open.is_some_and(full) {
            self.finish()?;
        }
        self.announce(message);
        match checked {
            Checked::Small(length) => self.put(length)?,
            Checked::Large(file) => self.stream(file, message)?,
        }
        if let Some(open) = &mut self.open {
            open.messages += 1;
            open.bytes += message.size;
        }
        Ok(())
    }

    /// Closes the open command, if there is one.
    pub(crate) fn finish(&mut self) -> Result<(), CommandError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        self.gathered.extend_from_slice(b")\r\n");
        let bytes = std::mem::take(&mut self.gathered);
        if open.begun {
            self.frames.push_blocking(NAME, Frame::Close(bytes.into()))?;
        } else {
            self.in_flight.push(self.frames.command_blocking(NAME, bytes)?);
        }
        if let Some(command) = self.in_flight.last_mut() {
            command.brings =
                Sent { messages: open.messages as u64, bytes: open.bytes, ..Sent::default() };
        }
        Ok(())
    }

    fn announce(&mut self, message: &Message) {
        self.make_room();
        if self.open.is_none() {
            self.gathered.extend_from_slice(b"APPLY MESSAGE (");
            self.open = Some(Open::default());
        } else {
            self.gathered.push(b' ');
        }
        let mut writer = DlistWriter::new(&mut self.gathered);
        writer.file_head(self.partition, &message.guid, message.size);
    }

    /// Sends as many bytes of what was read as a small file, in frames no larger than others: so many of these may wait
    /// for the socket (`FRAMES_WAITING`), on so many connections, that each counts.
    fn put(&mut self, length: usize) -> Result<(), CommandError> {
        if length >= FRAME_BYTES {
            self.flush()?;
            let mut content = Bytes::from(std::mem::take(&mut self.small));
            content.truncate(length);
            while !content.is_empty() {
                let part = content.split_to(FRAME_BYTES.min(content.len()));
                self.frames.push_blocking(NAME, Frame::More(part))?;
            }
            return Ok(());
        }
        if self.gathered.len() + length > self.gathered.capacity() {
            self.flush()?;
            self.make_room();
        }
        self.gathered.extend_from_slice(self.small.get(..length).unwrap_or_default());
        if self.gathered.len() >= FRAME_BYTES { self.flush() } else { Ok(()) }
    }

    /// Room for a frame and the head of a message behind it.
    fn make_room(&mut self) {
        if self.gathered.capacity() < FRAME_BYTES {
            self.gathered.reserve(FRAME_BYTES + 4096);
        }
    }

    fn flush(&mut self) -> Result<(), CommandError> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.gathered).into();
        match &mut self.open {
            Some(open) if !open.begun => {
                open.begun = true;
                self.in_flight.push(self.frames.open_blocking(NAME, bytes)?);
                Ok(())
            }
            _ => self.frames.push_blocking(NAME, Frame::More(bytes)),
        }
    }

    /// A file that shrinks now has been announced already: the caller must give the connection up,
    /// which [`Uploader::is_within_command`] tells.
    fn stream(&mut self, mut file: File, message: &Message) -> Result<(), UserError> {
        self.flush()?;
        let mut left = message.size;
        while left > 0 {
            let want = left.min(FRAME_BYTES as u64) as usize;
            let mut chunk = vec![0; want];
            file.read_exact(&mut chunk).map_err(|e| {
                self.bad_file(message, format!("it changed while it was read: {e}"))
            })?;
            left -= want as u64;
            self.frames.push_blocking(NAME, Frame::More(chunk.into()))?;
        }
        Ok(())
    }

    /// Opens a message file within its folder, which stays open for the next one.
    fn open_file(&mut self, message: &Message) -> Result<File, String> {
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
        // A FIFO is not waited for; it has no bytes, and so is no message.
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let file = nix::fcntl::openat(&folder.fd, self.name.as_str(), flags, Mode::empty());
        file.map(File::from).map_err(unreadable)
    }

    fn bad_file(&self, message: &Message, problem: String) -> UserError {
        let folder = self.mailbox.message_folder(message.archived);
        let missing = problem == MISSING;
        UserError::MessageFile {
            mailbox: self.mailbox.name().to_string(),
            uid: message.uid,
            path: folder.join(format!("{}.", message.uid)),
            missing,
            problem,
        }
    }
}

/// A command that is being put together.
#[derive(Debug, Clone, Copy, Default)]
struct Open {
    messages: usize,
    bytes: u64,
    /// Whether a part of it is on its way.
    begun: bool,
}

/// A folder of message files.
struct Folder {
    archived: bool,
    fd: OwnedFd,
}

/// A file found good.
enum Checked {
    /// So many bytes, in memory.
    Small(usize),
    Large(File),
}

/// The problem, in words, of a file that is not what its record says.
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

/// A file that should have `size` bytes: it is asked for one more, so that a single read tells where it ends.
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
