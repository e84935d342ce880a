//! The pair of checksums by which master and replica compare a mailbox.
//!
//! Source: `imap/mailbox.h` (`struct synccrcs`) and `imap/sync_support.c` (`is_unchanged`) of cyrus-imapd 3.6.1.

/// Checksums over a mailbox's live records. Zero means "not known" and matches any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SyncCrcs {
    /// Over the records themselves.
    pub basic: u32,
    /// Over the annotations of those records, real and virtual. The mailbox's own do not count.
    pub annot: u32,
}

impl SyncCrcs {
    /// Whether both pairs are equal as far as they are known.
    #[must_use]
    pub fn agree(self, other: SyncCrcs) -> bool {
        let same = |a: u32, b: u32| a == 0 || b == 0 || a == b;
        same(self.basic, other.basic) && same(self.annot, other.annot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_agrees() {
        let crcs = |basic, annot| SyncCrcs { basic, annot };
        assert!(crcs(1, 2).agree(crcs(1, 2)) && crcs(1, 2).agree(crcs(0, 2)));
        assert!(crcs(0, 0).agree(crcs(1, 2)) && crcs(1, 0).agree(crcs(1, 2)));
        assert!(!crcs(1, 2).agree(crcs(1, 3)) && !crcs(1, 2).agree(crcs(3, 2)));
    }
}
