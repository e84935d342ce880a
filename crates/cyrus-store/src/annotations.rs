//! Annotations of mailboxes and messages.
//!
//! Annotations of a mailbox are in one database for all (`annotations.db` below configdirectory, or `annotation_db_path`);
//! annotations of messages are in `cyrus.annotations` of their mailbox, which exists only where there are (or were) any.
//!
//! ```text
//! key    mailbox: uniqueid NUL entry NUL userid NUL        message: uid in decimal NUL entry NUL userid NUL
//!        userid: empty is shared; "[.OwNeR.]" is the mailbox's owner
//! value  length [4, big endian] zeros [4] | value | NUL | "text/plain" NUL | zeros [8] | modseq [8, big endian] | flags [1]
//!        flags: 1 is deleted (a tombstone); older versions end early: no flags, or no modseq either
//! ```
//!
//! The first eight bytes are a C `unsigned long` as a little-endian 64-bit machine writes it after swapping only 32 bits.
//!
//! Source: `make_key`, `split_key`, `make_entry`, `split_attribs`, `find_cb` in `imap/annotate.c` and `encode_annotations` in
//! `imap/sync_support.c` of cyrus-imapd 3.6.1.

use crate::record::IndexRecord;
use std::fmt;

/// Name prefix of the annotations that index records hold.
const NAMESPACE_THRID: &str = "/vendor/cmu/cyrus-imapd/thrid";
const NAMESPACE_SAVEDATE: &str = "/vendor/cmu/cyrus-imapd/savedate";
const NAMESPACE_CREATEDMODSEQ: &str = "/vendor/cmu/cyrus-imapd/createdmodseq";
const NAMESPACE_BASETHRID: &str = "/vendor/cmu/cyrus-imapd/basethrid";
const NAMESPACE_NSEC: &str = "/vendor/cmu/cyrus-imapd/internaldate.nsec";

/// An annotation of a mailbox or message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// Name, such as `/comment`.
    pub entry: String,
    /// Whose it is; empty is everybody's.
    pub userid: String,
    /// Modseq of the last change (0 for mailbox annotations).
    pub modseq: u64,
    /// The value, any bytes.
    pub value: Vec<u8>,
}

/// An annotation that replication derives from the index record; its userid is empty and its modseq 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VirtualAnnotation {
    /// Name, such as `/vendor/cmu/cyrus-imapd/savedate`.
    pub entry: &'static str,
    /// The value; printed, it is as it goes over the wire.
    pub value: VirtualValue,
}

/// The value of a [`VirtualAnnotation`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VirtualValue {
    /// A conversation id, printed as 16 hexadecimal digits.
    Hex(u64),
    /// A time or modseq, printed in decimal.
    Number(u64),
}

impl fmt::Display for VirtualValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hex(id) => write!(f, "{id:016x}"),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

/// The annotations that `record` itself holds in an index of this version, in the order in which they are sent (after
/// those of the database). Entries without a value are left out.
pub fn virtual_annotations(
    minor_version: u32,
    record: &IndexRecord,
) -> impl Iterator<Item = VirtualAnnotation> + use<> {
    let since = |version, value| if minor_version >= version { value } else { 0 };
    let thrid = (NAMESPACE_THRID, VirtualValue::Hex(since(13, record.cid)));
    let savedate = (
        NAMESPACE_SAVEDATE,
        VirtualValue::Number(since(15, record.savedate.unsigned_abs())),
    );
    let created = (
        NAMESPACE_CREATEDMODSEQ,
        VirtualValue::Number(since(16, record.createdmodseq)),
    );
    let basethrid = (
        NAMESPACE_BASETHRID,
        VirtualValue::Hex(since(20, record.basecid)),
    );
    let nsec = (
        NAMESPACE_NSEC,
        VirtualValue::Number(since(20, u64::from(record.internaldate_nsec))),
    );
    let in_order = if minor_version >= 20 {
        [nsec, basethrid, created, savedate, thrid]
    } else {
        [thrid, savedate, created, basethrid, nsec]
    };
    in_order
        .into_iter()
        .filter(|(_, value)| !matches!(value, VirtualValue::Hex(0) | VirtualValue::Number(0)))
        .map(|(entry, value)| VirtualAnnotation { entry, value })
}

/// Whether an index of this version holds the entry in its records, so that the database's copy does not count in CRCs
/// (`mailbox_is_virtannot`).
pub(crate) fn is_virtual(minor_version: u32, entry: &str) -> bool {
    match entry {
        NAMESPACE_THRID => minor_version >= 13,
        NAMESPACE_SAVEDATE => minor_version >= 15,
        NAMESPACE_CREATEDMODSEQ => minor_version >= 16,
        NAMESPACE_BASETHRID | NAMESPACE_NSEC => minor_version >= 20,
        _ => false,
    }
}
