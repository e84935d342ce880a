//! The peer's version of Cyrus, from its banner.
//!
//! ```text
//!   host Cyrus sync server 3.6.1-Debian-3.6.1-4+deb12u3          3.6
//!   host Cyrus IMAP 3.12.4-Debian-3.12.4-1 server ready           3.12
//!   host Cyrus IMAP server ready       serverinfo: min            unknown
//!   server ready                       serverinfo: off            unknown
//! ```
//! Source: `imap/sync_server.c:dobanner`, `imap/imapd.c:service_main` of cyrus-imapd 3.6.1.

/// The version of a Cyrus, such as 3.6. Later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CyrusVersion {
    /// The number before the first dot.
    pub major: u32,
    /// The number after it.
    pub minor: u32,
}

impl CyrusVersion {
    /// A version by its numbers.
    pub const fn new(major: u32, minor: u32) -> CyrusVersion {
        CyrusVersion { major, minor }
    }

    /// The version in a server's banner; `None` if it has none.
    pub fn of(software: &str) -> Option<CyrusVersion> {
        let (_, rest) = software.split_once("Cyrus ")?;
        let rest = rest.strip_prefix("sync server ").or_else(|| rest.strip_prefix("IMAP "))?;
        let word = rest.split_ascii_whitespace().next()?;
        let mut numbers = word.trim_start_matches('v').split(['.', '-', '_']);
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next()?.parse().ok()?;
        Some(CyrusVersion { major, minor })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_say_what_they_are() {
        for (software, version) in [
            ("host Cyrus sync server 3.6.1-Debian-3.6.1-4+deb12u3", Some((3, 6))),
            ("host Cyrus sync server 3.0.18", Some((3, 0))),
            ("host Cyrus sync server 3.13.0-alpha0-1234-gabcdef", Some((3, 13))),
            ("host Cyrus IMAP 3.12.4-Debian-3.12.4-1 server ready", Some((3, 12))),
            ("host Cyrus IMAP v2.4.17 server ready", Some((2, 4))),
            ("host Cyrus IMAP server ready", None),
            ("server ready", None),
            ("host Cyrus sync server", None),
            ("host Cyrus sync server 99999999999.1", None),
        ] {
            let expected = version.map(|(major, minor)| CyrusVersion::new(major, minor));
            assert_eq!(CyrusVersion::of(software), expected, "{software}");
        }
        assert!(CyrusVersion::new(3, 10) > CyrusVersion::new(3, 6));
    }
}
