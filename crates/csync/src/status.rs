//! The line that ends an answer, and the codes that Cyrus puts into it.
//!
//! ```text
//!  csync:  OK success            NO IMAP_MAILBOX_MOVED Mailbox exists with …   BYE shutting down
//!  IMAP:   S12 OK success        S12 NO IMAP_… …          S12 BAD …            * BYE …
//! ```
//! Source: `imap/sync_support.c:sync_response` and `sync_parse_response` of cyrus-imapd 3.6.1.
//! Unlike that client we also accept a code with no text after it: the server sends `NO IMAP_PROTOCOL_BAD_PARAMETERS` like
//! that.

use std::fmt;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusKind {
    /// It was done.
    Ok,
    /// It was refused or failed.
    No,
    /// The peer did not understand it.
    Bad,
    /// The peer ends the connection; no command in flight will be answered.
    Bye,
}

/// The end of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The command's tag, over IMAP; `None` in the csync form and for an untagged BYE.
    pub tag: Option<String>,
    /// How the command ended.
    pub kind: StatusKind,
    /// The code, if the text begins with one.
    pub code: Option<Code>,
    /// Everything after OK, NO, BAD or BYE, including the code, in the peer's words.
    pub text: String,
}

impl Status {
    /// Did the command succeed?
    pub fn is_ok(&self) -> bool {
        self.kind == StatusKind::Ok
    }

    /// Reads `OK text`, `NO text`, `BAD text` or `BYE text`; `None` if `line` is something else.
    pub(crate) fn decode(tag: Option<&[u8]>, line: &[u8]) -> Option<Status> {
        let (word, text) = split_word(line);
        let kind = match word {
            b"OK" => StatusKind::Ok,
            b"NO" => StatusKind::No,
            b"BAD" => StatusKind::Bad,
            b"BYE" => StatusKind::Bye,
            _ => return None,
        };
        let text = String::from_utf8_lossy(text).into_owned();
        let code =
            if matches!(kind, StatusKind::No | StatusKind::Bad) { Code::of(&text) } else { None };
        let tag = tag.map(|tag| String::from_utf8_lossy(tag).into_owned());
        Some(Status { tag, kind, code, text })
    }
}

/// Everything up to the first space, and everything after it.
pub(crate) fn split_word(line: &[u8]) -> (&[u8], &[u8]) {
    match line.iter().position(|b| *b == b' ') {
        Some(space) => (&line[..space], &line[space + 1..]),
        None => (line, &[]),
    }
}

/// Why a command was refused. Displayed as the word on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Code {
    /// `IMAP_INVALID_USER`
    InvalidUser,
    /// `IMAP_MAILBOX_NONEXISTENT`
    MailboxNonexistent,
    /// `IMAP_MAILBOX_LOCKED`
    MailboxLocked,
    /// `IMAP_MAILBOX_MOVED`: it exists with another name or unique id.
    MailboxMoved,
    /// `IMAP_MAILBOX_NOTSUPPORTED`
    MailboxNotSupported,
    /// `IMAP_SYNC_CHECKSUM`: after the change the CRCs would differ.
    SyncChecksum,
    /// `IMAP_SYNC_CHANGED`: the replica is no longer at SINCE_MODSEQ and SINCE_CRC.
    SyncChanged,
    /// `IMAP_SYNC_BADSIEVE`
    SyncBadSieve,
    /// `IMAP_PROTOCOL_ERROR`
    ProtocolError,
    /// `IMAP_PROTOCOL_BAD_PARAMETERS`
    ProtocolBadParameters,
    /// Another `IMAP_…` word, from a newer peer.
    Other(String),
}

impl Code {
    /// The code that a text begins with.
    pub fn of(text: &str) -> Option<Code> {
        let word = text.split(' ').next().unwrap_or_default();
        Some(match word {
            "IMAP_INVALID_USER" => Code::InvalidUser,
            "IMAP_MAILBOX_NONEXISTENT" => Code::MailboxNonexistent,
            "IMAP_MAILBOX_LOCKED" => Code::MailboxLocked,
            "IMAP_MAILBOX_MOVED" => Code::MailboxMoved,
            "IMAP_MAILBOX_NOTSUPPORTED" => Code::MailboxNotSupported,
            "IMAP_SYNC_CHECKSUM" => Code::SyncChecksum,
            "IMAP_SYNC_CHANGED" => Code::SyncChanged,
            "IMAP_SYNC_BADSIEVE" => Code::SyncBadSieve,
            "IMAP_PROTOCOL_ERROR" => Code::ProtocolError,
            "IMAP_PROTOCOL_BAD_PARAMETERS" => Code::ProtocolBadParameters,
            _ if word.starts_with("IMAP_") => Code::Other(word.to_owned()),
            _ => return None,
        })
    }

    /// The word on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Code::InvalidUser => "IMAP_INVALID_USER",
            Code::MailboxNonexistent => "IMAP_MAILBOX_NONEXISTENT",
            Code::MailboxLocked => "IMAP_MAILBOX_LOCKED",
            Code::MailboxMoved => "IMAP_MAILBOX_MOVED",
            Code::MailboxNotSupported => "IMAP_MAILBOX_NOTSUPPORTED",
            Code::SyncChecksum => "IMAP_SYNC_CHECKSUM",
            Code::SyncChanged => "IMAP_SYNC_CHANGED",
            Code::SyncBadSieve => "IMAP_SYNC_BADSIEVE",
            Code::ProtocolError => "IMAP_PROTOCOL_ERROR",
            Code::ProtocolBadParameters => "IMAP_PROTOCOL_BAD_PARAMETERS",
            Code::Other(word) => word,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_s_own_lines() {
        let lines: [(&[u8], StatusKind, Option<Code>, &str); 9] = [
            (b"OK success", StatusKind::Ok, None, "success"),
            (b"OK", StatusKind::Ok, None, ""),
            (b"OK IMAP_INVALID_USER", StatusKind::Ok, None, "IMAP_INVALID_USER"),
            (
                b"NO IMAP_MAILBOX_NONEXISTENT No Such Mailbox",
                StatusKind::No,
                Some(Code::MailboxNonexistent),
                "IMAP_MAILBOX_NONEXISTENT No Such Mailbox",
            ),
            (
                b"NO IMAP_PROTOCOL_BAD_PARAMETERS",
                StatusKind::No,
                Some(Code::ProtocolBadParameters),
                "IMAP_PROTOCOL_BAD_PARAMETERS",
            ),
            (
                b"NO IMAP_PERMISSION_DENIED x",
                StatusKind::No,
                Some(Code::Other("IMAP_PERMISSION_DENIED".into())),
                "IMAP_PERMISSION_DENIED x",
            ),
            (b"NO Unknown error", StatusKind::No, None, "Unknown error"),
            (
                b"BAD IMAP_PROTOCOL_ERROR Failed to parse APPLY line",
                StatusKind::Bad,
                Some(Code::ProtocolError),
                "IMAP_PROTOCOL_ERROR Failed to parse APPLY line",
            ),
            (b"BYE shutting down", StatusKind::Bye, None, "shutting down"),
        ];
        for (line, kind, code, text) in lines {
            let status = Status::decode(None, line).unwrap();
            assert_eq!((status.kind, status.code, status.text.as_str()), (kind, code, text));
        }
        assert_eq!(Status::decode(None, b"OKAY then"), None);
        assert_eq!(Status::decode(None, b""), None);
    }

    #[test]
    fn every_code_reads_back() {
        let words = "IMAP_INVALID_USER IMAP_MAILBOX_NONEXISTENT IMAP_MAILBOX_LOCKED IMAP_MAILBOX_MOVED \
                     IMAP_MAILBOX_NOTSUPPORTED IMAP_SYNC_CHECKSUM IMAP_SYNC_CHANGED IMAP_SYNC_BADSIEVE \
                     IMAP_PROTOCOL_ERROR IMAP_PROTOCOL_BAD_PARAMETERS";
        for word in words.split_whitespace() {
            let code = Code::of(&format!("{word} in words")).unwrap();
            assert_eq!(code.to_string(), word);
            assert!(!matches!(code, Code::Other(_)));
        }
        assert_eq!(Code::of("Permission denied"), None);
        assert_eq!(Code::of(""), None);
    }
}
