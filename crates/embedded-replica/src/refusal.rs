//! The NO answers of a replica: the codes and texts of cyrus-imapd 3.6.1.

/// A refusal: what follows `NO `.
pub(crate) type Refusal = &'static str;

pub(crate) const NONEXISTENT: Refusal = "IMAP_MAILBOX_NONEXISTENT No Such Mailbox";
pub(crate) const MOVED: Refusal = "IMAP_MAILBOX_MOVED Mailbox exists with another name or uniqueid";
pub(crate) const CHECKSUM: Refusal = "IMAP_SYNC_CHECKSUM Checksum Failure";
pub(crate) const CHANGED: Refusal = "IMAP_SYNC_CHANGED Changed since last sync";
pub(crate) const BAD_PARAMETERS: Refusal = "IMAP_PROTOCOL_BAD_PARAMETERS";
pub(crate) const PROTOCOL: Refusal = "IMAP_PROTOCOL_ERROR Protocol error";
pub(crate) const OTHER: Refusal = "Unknown error";
