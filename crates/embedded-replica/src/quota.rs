//! A quota root's limits, and their names on the wire.
//!
//! ```text
//!   LIMIT     what STORAGE is, said by all and always; 4294967295: none
//!   STORAGE   MESSAGE   X-ANNOTATION-STORAGE   X-NUM-FOLDERS      before 3.10
//!   STORAGE   MESSAGE   ANNOTATION-STORAGE     MAILBOX            from 3.10 on, the old name said behind each
//! ```
//! Source: `sync_encode_quota_limits`, `sync_decode_quota_limits` of `imap/sync_support.c`, `imap/quota_db.c` of cyrus-imapd 3.6.1
//! and 3.10.1.

use csync::DlistWriter;

use crate::version::Version;

/// Resources by their names from 3.10 on and before.
const NAMES: [(&str, &str); 4] = [
    ("STORAGE", "STORAGE"),
    ("MESSAGE", "MESSAGE"),
    ("ANNOTATION-STORAGE", "X-ANNOTATION-STORAGE"),
    ("MAILBOX", "X-NUM-FOLDERS"),
];

/// The value that means no limit.
const UNLIMITED: u64 = u32::MAX as u64;

/// A quota root's limits, in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Limits([Option<u64>; 4]);

impl Limits {
    /// Takes a key of QUOTA; a key that is not a limit, or that this version does not know, is ignored.
    pub(crate) fn set(&mut self, key: &str, limit: Option<u64>, version: Version) {
        let Some(limit) = limit else { return };
        for ((new, old), mine) in NAMES.iter().zip(&mut self.0) {
            let is_new = version.has_new_quota_names() && key == *new;
            if is_new || key == *old || (key == "LIMIT" && *new == "STORAGE" && mine.is_none()) {
                *mine = Some(limit).filter(|limit| *limit != UNLIMITED);
            }
        }
    }

    /// Writes them.
    pub(crate) fn put(&self, w: &mut DlistWriter<'_>, version: Version) {
        w.key("LIMIT").num(self.0[0].unwrap_or(UNLIMITED));
        for ((new, old), limit) in NAMES.iter().zip(self.0) {
            let Some(limit) = limit else { continue };
            if version.has_new_quota_names() {
                w.key(new).num(limit);
            }
            if !version.has_new_quota_names() || new != old {
                w.key(old).num(limit);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(limits: &Limits, version: Version) -> String {
        let mut out = Vec::new();
        let mut w = DlistWriter::new(&mut out);
        w.map_begin();
        limits.put(&mut w, version);
        w.map_end();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn names_go_with_the_version() {
        let mut limits = Limits::default();
        assert_eq!(said(&limits, Version::V3_6), "%(LIMIT 4294967295)");
        for (key, limit) in [("LIMIT", 7), ("STORAGE", 7), ("MAILBOX", 5), ("ROOT", 1)] {
            limits.set(key, Some(limit), Version::V3_6);
        }
        assert_eq!(said(&limits, Version::V3_6), "%(LIMIT 7 STORAGE 7)");
        limits.set("X-NUM-FOLDERS", Some(4), Version::V3_6);
        assert_eq!(said(&limits, Version::V3_2), "%(LIMIT 7 STORAGE 7 X-NUM-FOLDERS 4)");
        limits.set("MAILBOX", Some(5), Version::V3_10);
        let all = "%(LIMIT 7 STORAGE 7 MAILBOX 5 X-NUM-FOLDERS 5)";
        assert_eq!(said(&limits, Version::V3_12), all);
    }
}
