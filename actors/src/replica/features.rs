//! What the replica's Cyrus can do, decided in one place. Callers ask before they send what an older version does not know.
//!
//! ```text
//!   feature                  Cyrus     without it
//!   SIEVE-MAILBOX            3.6       scripts go one by one, in META and SIEVE
//!   FORCE                    3.6       -O does not say it: mailboxes that are ahead there are refused, and fail
//!   GET UNIQUEIDS            3.6       mailboxes are asked for by name, and by former names. 3.2 and 3.4 know it,
//!                                      but their servers die of an id that they do not have
//!   names without a mailbox  3.4       they are not sent: 3.0 refuses them, 3.2 makes them by itself and never reports them
//!   USERFLAGS, USERGROUPS    3.12      they are not sent
//!   REPLICATION-ARCHIVE      3.8       -a: messages are staged on the spool partition
//!   UNMAILBOX-ID             HEAD      UNMAILBOX gives the name alone
//! ```
//! What the banner offers and APPLY CAPABILITIES switches on is certain; the rest is derived from the version in the
//! banner. An imapd may hide its version (`serverinfo`): then it is the lowest version with its capabilities.
//!
//! Sources: `imap/sync_support.c` and `imap/sync_server.c` of cyrus-imapd 3.0.18, 3.2.6, 3.4.4, 3.6.1, 3.8.6, 3.12.3.

use csync::{CyrusVersion, Framing, Session};
use tracing::{info, warn};

use crate::monitor::spans::NOTICE;
use crate::settings::Settings;

/// What the replica's Cyrus can do and what is switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Features {
    /// Which form of the protocol it speaks.
    pub(crate) framing: Framing,
    /// Sieve scripts go as a mailbox.
    pub(crate) sieve_mailbox: bool,
    /// FORCE was asked for (-O) and granted.
    pub(crate) force: bool,
    /// Mailboxes can be asked for by unique id, including ids that the replica does not have.
    pub(crate) unique_ids: bool,
    /// It reports names without a mailbox, and accepts them.
    pub(crate) intermediates: bool,
    /// It keeps the names of flags and the owner's groups.
    pub(crate) user_flags: bool,
    /// Messages are staged on the archive partition (-a).
    pub(crate) archive: bool,
    /// UNMAILBOX identifies the mailbox by its unique id and UIDVALIDITY.
    pub(crate) unmailbox_id: bool,
    /// Staging on the archive partition is offered.
    archive_offered: bool,
}

impl Features {
    /// The result of a handshake.
    pub(crate) fn of(session: &Session) -> Features {
        let capabilities = &session.capabilities;
        let told = session.version();
        let least = match (capabilities.replication_archive, capabilities.sieve_mailbox) {
            (true, _) => CyrusVersion::new(3, 8),
            (false, true) => CyrusVersion::new(3, 6),
            (false, false) => CyrusVersion::new(3, 0),
        };
        let version = told.unwrap_or(least);
        Features {
            framing: session.framing,
            sieve_mailbox: capabilities.sieve_mailbox_enabled,
            force: session.force_active,
            unique_ids: version >= CyrusVersion::new(3, 6),
            intermediates: version >= CyrusVersion::new(3, 4),
            // Versions that do not know them ignore them, so they are also sent to a replica of unknown version.
            user_flags: told.is_none_or(|version| version >= CyrusVersion::new(3, 12)),
            archive: capabilities.has_enabled("REPLICATION-ARCHIVE"),
            unmailbox_id: capabilities.has_enabled("UNMAILBOX-ID"),
            archive_offered: capabilities.replication_archive,
        }
    }

    /// The result of the request to stage on the archive partition (-a), in the C client's words
    /// (`imap/sync_support.c:sync_connect` of cyrus-imapd 3.12.3). The run goes on in any case.
    fn archive_line(&self) -> &'static str {
        match (self.archive, self.archive_offered) {
            (true, _) => "Destination supports replication to archive",
            (false, true) => "Replication to archive requested but destination didn't enable it",
            (false, false) => "Destination doesn't support replication to archive",
        }
    }

    /// Logs the result of options that not every replica knows; returns the line for the admin, if any. The C client ends
    /// if it can't have FORCE.
    pub(crate) fn tell(&self, settings: &Settings) -> Option<String> {
        if settings.sync.stage_to_archive {
            let line = self.archive_line();
            match self.archive {
                true => info!("{line}"),
                false => info!(target: NOTICE, "{line}"),
            }
        }
        if !settings.sync.one_way || self.force {
            return None;
        }
        let effect = match settings.sync.overwrite {
            true => "",
            false => ": what is ahead of ours there is refused, and its mailbox fails by name",
        };
        let server = &settings.replica.server;
        let line = format!("server {server}: its Cyrus does not know FORCE (-O){effect}");
        warn!("{line}");
        Some(line)
    }

    /// The text for what the handshake was expected to bring and did not.
    pub(crate) fn broken_promise(&self, got: &Features) -> Option<&'static str> {
        let broken = |expected: bool, got: bool| expected && !got;
        if broken(self.sieve_mailbox, got.sieve_mailbox) {
            Some("it did not enable SIEVE-MAILBOX, which it offers")
        } else if broken(self.unmailbox_id, got.unmailbox_id) {
            Some("it did not enable UNMAILBOX-ID, which it offers")
        } else if broken(self.force, got.force) {
            Some("it refused FORCE")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use csync::Capabilities;

    use super::*;

    fn session(software: &str, offered: &[&str], enabled: &[&str]) -> Session {
        let capabilities = Capabilities {
            sieve_mailbox: offered.contains(&"SIEVE-MAILBOX"),
            sieve_mailbox_enabled: enabled.contains(&"SIEVE-MAILBOX"),
            replication_archive: offered.contains(&"REPLICATION-ARCHIVE"),
            enabled: enabled.iter().map(|name| (*name).to_string()).collect(),
            software: software.into(),
            ..Capabilities::default()
        };
        Session { framing: Framing::Csync, capabilities, force_active: false }
    }

    const SIEVE: &[&str] = &["SIEVE-MAILBOX"];
    const BOTH: &[&str] = &["SIEVE-MAILBOX", "REPLICATION-ARCHIVE"];

    /// Ids, names without a mailbox, flags.
    fn by_version(session: &Session) -> [bool; 3] {
        let features = Features::of(session);
        [features.unique_ids, features.intermediates, features.user_flags]
    }

    #[test]
    fn features_go_with_the_version() {
        for (version, offered, expected) in [
            ("3.0.18", &[][..], [false, false, false]),
            ("3.2.6-Debian-3.2.6-2", &[], [false, false, false]),
            ("3.4.4", &[], [false, true, false]),
            ("3.6.1", SIEVE, [true, true, false]),
            ("3.10.1", BOTH, [true, true, false]),
            ("3.12.4", BOTH, [true, true, true]),
            ("3.13.7", BOTH, [true, true, true]),
        ] {
            let software = format!("host Cyrus sync server {version}");
            assert_eq!(by_version(&session(&software, offered, offered)), expected, "{version}");
        }
        // What an imapd does not report is derived from what it offers.
        let hidden = "host Cyrus IMAP server ready";
        assert_eq!(by_version(&session(hidden, &[], &[])), [false, false, true]);
        assert_eq!(by_version(&session(hidden, SIEVE, SIEVE)), [true, true, true]);
    }

    #[test]
    fn what_was_switched_on_counts() {
        let software = "host Cyrus sync server 3.12.4";
        let features = Features::of(&session(software, BOTH, SIEVE));
        assert!(features.sieve_mailbox && !features.archive && !features.unmailbox_id);
        let all = Features::of(&session(software, BOTH, &[BOTH, &["UNMAILBOX-ID"]].concat()));
        assert!(all.archive && all.unmailbox_id);
        assert_eq!(all.archive_line(), "Destination supports replication to archive");
        assert!(features.archive_line().ends_with("destination didn't enable it"));
        let old = Features::of(&session("host Cyrus sync server 3.6.1", SIEVE, SIEVE));
        assert_eq!(old.archive_line(), "Destination doesn't support replication to archive");
        assert!(features.broken_promise(&all).is_none());
        let words = all.broken_promise(&features);
        assert_eq!(words, Some("it did not enable UNMAILBOX-ID, which it offers"));
        let none = Features::of(&session(software, BOTH, &[]));
        assert!(features.broken_promise(&none).is_some_and(|words| words.contains("SIEVE")));
    }
}
