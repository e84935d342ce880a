//! Which Cyrus the replica plays: what each version offers, knows, says and refuses, as far as a client can tell.
//!
//! ```text
//!                                  3.0   3.2   3.4   3.6   3.10  3.12  head
//!   banner: SASL, STARTTLS, COMPRESS yes yes   yes   yes   yes   yes   yes    COMPRESS never behind TLS
//!   banner: SIEVE-MAILBOX           -     -     -    yes   yes   yes   yes    X-SIEVE-MAILBOX of an imapd
//!   banner: REPLICATION-ARCHIVE     -     -     -     -    (a)   (a)   (a)    X-REPLICATION-ARCHIVE of an imapd
//!   banner: UNMAILBOX-ID            -     -     -     -     -     -    (b)
//!   APPLY CAPABILITIES, FORCE       NO    NO    NO   yes   yes   yes   yes    NO IMAP_PROTOCOL_ERROR Protocol error
//!   GET UNIQUEIDS                   NO   yes   yes   yes   yes   yes   yes    the same NO
//!   …of an id that is not there     NO   dies  dies   -     -     -     -     nothing is said of it
//!   APPLY LOCAL_MAILBOX, _RENAME, _UNMAILBOX, _UNUSER: known to all
//!   SINCE_MODSEQ, SINCE_CRC*        -    yes   yes   yes   yes   yes   yes    else IMAP_SYNC_CHANGED
//!   IMAP_MAILBOX_MOVED              (c)  yes   yes   yes   yes   yes   yes
//!   …for a mailbox without messages (c)  yes   yes   (d)   (d)   (d)   (d)
//!   CREATEDMODSEQ, FOLDERMODSEQ     -    yes   yes   yes   yes   yes   yes    ignored, and not said
//!   MODSEQ of annotations           -    yes   yes   yes   yes   yes   yes    a record's without it: NO IMAP_PROTOCOL_ERROR
//!   MODSEQ of quota roots           -    yes   yes   yes   yes   yes   yes
//!   quota MAILBOX, ANNOTATION-…     -     -     -     -    yes   yes   yes    said beside X-NUM-FOLDERS, X-ANNOTATION-…
//!   MAILBOX of an intermediate      NO   yes   yes   yes   yes   yes   yes    NO IMAP_PROTOCOL_BAD_PARAMETERS
//!   GET says intermediates          -     -    (f)   (g)   (g)   (g)   (g)
//!   RENAME of an intermediate       NO    NO   yes   yes   yes   yes   yes    NO IMAP_MAILBOX_NONEXISTENT
//!   GET USER of nobody says META   yes   yes   yes    -     -     -     -     seen state, subscriptions, scripts
//!   MAILBOX of #sieve               -     -     -    (e)   (e)   (e)   (e)
//!   META's SIEVE lines             (h)   (h)   (h)   (e)   (e)   (e)   (e)
//!   USERFLAGS, USERGROUPS           -     -     -     -     -    yes   yes    ignored, and not said
//!   JMAPID, VERSION, DELETEDMODSEQ  -     -     -     -     -     -    yes    ignored, and not said
//! ```
//! - (a) if [`archive`](crate::Options::archive) is on, imapd.conf's `archive_enabled`. An imapd offers it in any case, but
//!   does not switch it on if the option is off. Files that arrive after it are staged on the archive partition; the records
//!   do not mention it. 3.8 has it, too, and is otherwise like 3.6.
//! - (b) if [`unmailbox_id`](crate::Options::unmailbox_id) is on: it came to the development branch after 3.13.7. Only
//!   its authors' description is known: UNMAILBOX takes `%(MBOXNAME UNIQUEID UIDVALIDITY)` beside the bare name, and another
//!   mailbox of that name is refused with IMAP_MAILBOX_MOVED.
//! - (c) refused, but the code has no name there yet: `NO Unknown error`. An id that another name has is not refused.
//! - (d) it is replaced.
//! - (e) with SIEVE-MAILBOX switched on: the mailbox and no lines; else the lines and no mailbox
//!   (IMAP_PROTOCOL_BAD_PARAMETERS).
//! - (f) with MBOXTYPE `i` and ACL NIL; (g) with `ei` and `""`.
//! - (h) including compiled scripts, each with its date and GUID. From 3.6 on, and here always, only the active one is named,
//!   without date and GUID.
//!
//! EXPUNGE, ANNOTATION, SEEN, SUB, SIEVE, ACTIVATE_SIEVE and their opposites, RESERVE, MESSAGE, QUOTA and UNUSER are the
//! same in all versions. All answer a GET, APPLY or RESTORE of another name with `NO IMAP_PROTOCOL_ERROR Protocol error`,
//! and any other command with `BAD IMAP_PROTOCOL_ERROR Unrecognized command`.
//!
//! Source: `imap/sync_server.c`, `imap/sync_support.c` (`sync_apply`, `sync_get`, `sync_response`, `sync_apply_mailbox`,
//! `sync_prepare_dlists`, `sync_mailbox_byentry`, `decode_annotations`, `sync_encode_quota_limits`) of cyrus-imapd 3.0.18, 3.2.6,
//! 3.4.4, 3.6.1, 3.8.6, 3.10.1, 3.12.3 and the development branch of August 2026.

/// A version of Cyrus, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Version {
    /// 3.0.
    V3_0,
    /// 3.2.
    V3_2,
    /// 3.4.
    V3_4,
    /// 3.6.
    #[default]
    V3_6,
    /// 3.10.
    V3_10,
    /// 3.12.
    V3_12,
    /// The development branch.
    Head,
}

impl Version {
    /// All of them, oldest first.
    pub const ALL: [Version; 7] = [
        Version::V3_0,
        Version::V3_2,
        Version::V3_4,
        Version::V3_6,
        Version::V3_10,
        Version::V3_12,
        Version::Head,
    ];

    /// The version's number, as the banner has it.
    #[must_use]
    pub fn number(self) -> &'static str {
        match self {
            Version::V3_0 => "3.0.18",
            Version::V3_2 => "3.2.6",
            Version::V3_4 => "3.4.4",
            Version::V3_6 => "3.6.1",
            Version::V3_10 => "3.10.1",
            Version::V3_12 => "3.12.3",
            Version::Head => "3.13.7",
        }
    }

    /// SIEVE-MAILBOX, APPLY CAPABILITIES and APPLY FORCE.
    pub(crate) fn has_capabilities(self) -> bool {
        self >= Version::V3_6
    }

    /// REPLICATION-ARCHIVE.
    pub(crate) fn has_archive(self) -> bool {
        self >= Version::V3_10
    }

    /// SINCE_*, GET UNIQUEIDS, modseqs of folders, annotations and quota roots, and codes for their refusals.
    pub(crate) fn has_modseqs(self) -> bool {
        self >= Version::V3_2
    }

    /// Whether GET UNIQUEIDS of a missing id ends the process (`mboxlist.c:mboxlist_read` without a name).
    pub(crate) fn dies_of_unknown_ids(self) -> bool {
        matches!(self, Version::V3_2 | Version::V3_4)
    }

    /// Whether a mailbox that has never had messages is replaced by another of its name.
    pub(crate) fn replaces_empty(self) -> bool {
        self >= Version::V3_6
    }

    /// Whether names without a mailbox are reported and can be renamed.
    pub(crate) fn says_intermediates(self) -> bool {
        self >= Version::V3_4
    }

    /// Whether plain mail has a letter of its own, `e`, which is also reported for names without a mailbox.
    pub(crate) fn has_email_letter(self) -> bool {
        self >= Version::V3_6
    }

    /// Whether a user without mailboxes has seen state, subscriptions and scripts.
    pub(crate) fn says_meta_of_nobody(self) -> bool {
        self < Version::V3_6
    }

    /// MAILBOX and ANNOTATION-STORAGE as names of quota resources.
    pub(crate) fn has_new_quota_names(self) -> bool {
        self >= Version::V3_10
    }

    /// USERFLAGS and USERGROUPS.
    pub(crate) fn has_user_flags(self) -> bool {
        self >= Version::V3_12
    }

    /// JMAPID, VERSION and DELETEDMODSEQ.
    pub(crate) fn has_jmapid(self) -> bool {
        self >= Version::Head
    }
}
