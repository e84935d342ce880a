//! `APPLY MESSAGE`: message files, streamed.
//!
//! ```text
//!  APPLY MESSAGE (%{default GUID 5} CRLF 5 bytes %{default GUID 9} CRLF 9 bytes)CRLF
//!  '------------- file() ---------------'       '------- file() ------'       'end()'
//! ```
//! Source: `imap/dlist.c:printfile` and `imap/sync_support.c:upload_messages` of cyrus-imapd 3.6.1.

use cyrus_types::Guid;

use crate::write::DlistWriter;

/// An open `APPLY MESSAGE` command. It has no buffer: you may empty yours between two calls.
#[derive(Debug)]
#[must_use = "the command must be ended"]
pub struct MessageCommand {
    first: bool,
}

impl MessageCommand {
    /// Writes the command's beginning. At least one file must follow.
    pub fn begin(out: &mut Vec<u8>) -> MessageCommand {
        out.extend_from_slice(b"APPLY ");
        DlistWriter::new(out).key("MESSAGE").list_begin();
        MessageCommand { first: true }
    }

    /// Writes one file's head. Exactly `size` bytes must follow it.
    pub fn file(&mut self, out: &mut Vec<u8>, partition: &str, guid: &Guid, size: u64) {
        let mut writer = if self.first { DlistWriter::new(out) } else { DlistWriter::resume(out) };
        self.first = false;
        writer.file_head(partition, guid, size);
    }

    /// Closes the command.
    pub fn end(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b")\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_follow_each_other() {
        let mut out = Vec::new();
        let mut command = MessageCommand::begin(&mut out);
        for body in [b"one", b"two"] {
            command.file(&mut out, "default", &Guid::NULL, 3);
            out.extend_from_slice(body);
        }
        command.end(&mut out);
        let null = "0".repeat(40);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            format!(
                "APPLY MESSAGE (%{{default {null} 3}}\r\none %{{default {null} 3}}\r\ntwo)\r\n"
            )
        );
    }
}
