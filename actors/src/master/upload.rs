//! Uploads message files to the replica: `APPLY MESSAGE (%{partition guid size} … )`.
//!
//! A file is checked before it is announced ([`MailboxSource::message`]): the replica would drop a whole command for one bad
//! file, and abort for one that has another GUID.

use std::io::Read;

use bytes::Bytes;
use csync::{CommandKind, MessageCommand};

use crate::error::{MasterError, UserError};
use crate::master::source::{Checked, MailboxSource, Message};
use crate::monitor::report::Sent;
use crate::replica::asked::PendingCommand;
use crate::replica::client::Client;
use crate::replica::command_error::CommandError;
use crate::replica::command_stream::CommandStream;
use crate::replica::frames::FRAME_BYTES;

/// Messages in one command, the same bound as the C client's.
const MESSAGES: usize = 1024;
/// After this many bytes in one command the next message starts a new one, so that a failure costs little.
const COMMAND_BYTES: u64 = 16 * 1024 * 1024;

/// Uploads one mailbox's messages.
pub(crate) struct Uploader<'a> {
    partition: &'a str,
    client: &'a Client,
    mailbox: &'a mut dyn MailboxSource,
    /// The buffer for small messages.
    small: Vec<u8>,
    /// Bytes collected for the next frame.
    gathered: Vec<u8>,
    /// The open command.
    open: Option<Open<'a>>,
    pub(crate) in_flight: Vec<PendingCommand>,
}

impl<'a> Uploader<'a> {
    pub(crate) fn new(
        mailbox: &'a mut dyn MailboxSource,
        partition: &'a str,
        client: &'a Client,
    ) -> Uploader<'a> {
        Uploader {
            partition,
            client,
            mailbox,
            small: Vec::new(),
            gathered: Vec::new(),
            open: None,
            in_flight: Vec::new(),
        }
    }

    /// Whether all that was sent are whole commands. Otherwise the replica waits for the rest of one, so the connection can't
    /// be used after the uploader is dropped.
    pub(crate) fn is_good(&self) -> bool {
        !self.open.as_ref().is_some_and(|open| open.stream.is_begun())
    }

    /// Uploads a message. If its file is bad, the open command is closed properly first.
    pub(crate) fn send(&mut self, message: &Message) -> Result<(), UserError> {
        let checked = match self.mailbox.message(message, &mut self.small) {
            Ok(checked) => checked,
            Err(bad) => {
                self.finish()?;
                return Err(bad.into());
            }
        };
        let full = |open: &Open<'_>| open.messages >= MESSAGES || open.bytes >= COMMAND_BYTES;
        if self.open.as_ref().is_some_and(full) {
            self.finish()?;
        }
        self.announce(message);
        match checked {
            Checked::Small(length) => self.put(length)?,
            Checked::Large(content) => self.stream(content, message)?,
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
        open.command.end(&mut self.gathered);
        let mut sent = open.stream.close(std::mem::take(&mut self.gathered).into())?;
        sent.brings = Sent { messages: open.messages as u64, bytes: open.bytes, ..Sent::default() };
        self.in_flight.push(sent);
        Ok(())
    }

    fn announce(&mut self, message: &Message) {
        self.make_room();
        let open = self.open.get_or_insert_with(|| Open {
            command: MessageCommand::begin(&mut self.gathered),
            stream: self.client.stream(CommandKind::Message),
            messages: 0,
            bytes: 0,
        });
        open.command.file(&mut self.gathered, self.partition, &message.guid, message.size);
    }

    /// Sends the bytes of a small file, in frames no larger than others: up to `FRAMES_WAITING` of these wait for the
    /// socket of each connection, so their size matters.
    fn put(&mut self, length: usize) -> Result<(), CommandError> {
        if length >= FRAME_BYTES {
            self.flush()?;
            let mut content = Bytes::from(std::mem::take(&mut self.small));
            content.truncate(length);
            while !content.is_empty() {
                let part = content.split_to(FRAME_BYTES.min(content.len()));
                self.push(part)?;
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
        self.push(bytes)
    }

    /// Sends a piece of the open command.
    fn push(&mut self, bytes: Bytes) -> Result<(), CommandError> {
        match &mut self.open {
            Some(open) => open.stream.push(bytes),
            None => Ok(()),
        }
    }

    /// A file that shrinks now has been announced already: the caller must give the connection up, which
    /// [`Uploader::is_good`] shows.
    fn stream(&mut self, mut content: Box<dyn Read>, message: &Message) -> Result<(), UserError> {
        self.flush()?;
        let mut left = message.size;
        while left > 0 {
            let want = left.min(FRAME_BYTES as u64) as usize;
            let mut chunk = vec![0; want];
            content.read_exact(&mut chunk).map_err(|e| MasterError::MessageFile {
                mailbox: self.mailbox.entry().name.clone(),
                uid: message.uid,
                path: self.mailbox.message_path(message),
                missing: false,
                problem: format!("it changed while it was read: {e}"),
            })?;
            left -= want as u64;
            self.push(chunk.into())?;
        }
        Ok(())
    }
}

/// A command under construction.
struct Open<'a> {
    command: MessageCommand,
    stream: CommandStream<'a>,
    messages: usize,
    bytes: u64,
}
