//! Annotations that index records hold themselves.

use std::fmt;

use crate::mailbox::record::IndexRecord;

/// Name prefix of the annotations that index records hold.
const NAMESPACE_THRID: &str = "/vendor/cmu/cyrus-imapd/thrid";
const NAMESPACE_SAVEDATE: &str = "/vendor/cmu/cyrus-imapd/savedate";
const NAMESPACE_CREATEDMODSEQ: &str = "/vendor/cmu/cyrus-imapd/createdmodseq";
const NAMESPACE_BASETHRID: &str = "/vendor/cmu/cyrus-imapd/basethrid";
const NAMESPACE_NSEC: &str = "/vendor/cmu/cyrus-imapd/internaldate.nsec";

/// An annotation that replication derives from the index record; its userid is empty and its modseq 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VirtualAnnotation {
    /// Name, such as `/vendor/cmu/cyrus-imapd/savedate`.
    pub entry: &'static str,
    /// The value; printed, it is in the form of the wire.
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

/// The annotations that `record` itself holds in an index of this version, in the order in which they are sent (after those
/// of the database). Entries without a value are omitted.
pub fn virtual_annotations(
    minor_version: u32,
    record: &IndexRecord,
) -> impl Iterator<Item = VirtualAnnotation> + use<> {
    let since = |version, value| if minor_version >= version { value } else { 0 };
    let thrid = (NAMESPACE_THRID, VirtualValue::Hex(since(13, record.cid)));
    let savedate =
        (NAMESPACE_SAVEDATE, VirtualValue::Number(since(15, record.savedate.unsigned_abs())));
    let created =
        (NAMESPACE_CREATEDMODSEQ, VirtualValue::Number(since(16, record.createdmodseq.0)));
    let basethrid = (NAMESPACE_BASETHRID, VirtualValue::Hex(since(20, record.basecid)));
    let nsec =
        (NAMESPACE_NSEC, VirtualValue::Number(since(20, u64::from(record.internaldate_nsec))));
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

#[cfg(test)]
mod tests {
    use cyrus_types::ModSeq;

    use super::*;

    #[test]
    fn virtual_ones_by_version() {
        let record = IndexRecord {
            cid: 0x1f,
            savedate: 9,
            createdmodseq: ModSeq(8),
            basecid: 7,
            internaldate_nsec: 6,
            ..Default::default()
        };
        let shown = |version| -> Vec<String> {
            let found = virtual_annotations(version, &record);
            found.map(|a| format!("{}={}", a.entry.rsplit('/').next().unwrap(), a.value)).collect()
        };
        assert_eq!(shown(12), Vec::<String>::new());
        assert_eq!(shown(14), ["thrid=000000000000001f"]);
        assert_eq!(shown(17), ["thrid=000000000000001f", "savedate=9", "createdmodseq=8"]);
        assert_eq!(shown(20).len(), 5);
        assert_eq!(shown(20)[0], "internaldate.nsec=6");
        assert!(virtual_annotations(20, &IndexRecord::default()).next().is_none());
    }
}
