//! The database formats that `imapd.conf` may name, and the meaning of a missing database.
//!
//! ```text
//! mboxlist_db   mailboxes.db     made by Cyrus' first start (ctl_cyrusdb -r)     missing: an error
//! annotation_db annotations.db   made by the first query for an annotation       missing: an error where there are mailboxes
//! quota_db      quotas.db        made with the first mailbox                     missing: an error where there are mailboxes
//!               quotalegacy      a file each root                                missing: no such root
//! subscription_db, seenstate_db, conversations_db      a file each user            missing: nothing is known
//! ```
//! Cyrus' own client creates missing databases, and then tells the replica that they are empty. Here a missing database is
//! never treated as empty if that would remove anything.
//!
//! Source: `lib/cyrusdb.c` (_myopen), `lib/imapoptions` and the callers of `cyrusdb_open` in `imap/` of cyrus-imapd 3.6.1.

use std::path::Path;

use crate::config::Config;
use crate::error::StoreError;
use crate::mboxlist::MboxList;
use crate::paths;

/// The options that name the formats of the databases that replication reads.
const OPTIONS: [&str; 6] = [
    "mboxlist_db",
    "quota_db",
    "annotation_db",
    "subscription_db",
    "seenstate_db",
    "conversations_db",
];

/// The formats that we read. The option applies to new files; an old file is read in the format that it has.
const READ: [&str; 3] = ["twoskip", "skiplist", "flat"];

/// Checks, before anything is read, that we can read the formats of the databases, and that the list of mailboxes exists.
///
/// # Errors
/// [`StoreError::Config`] or [`StoreError::MissingDatabase`], naming the option.
pub fn check(conf: &Config) -> Result<(), StoreError> {
    for option in OPTIONS {
        let Some(format) = conf.get(option) else { continue };
        let legacy = option == "quota_db" && format == "quotalegacy";
        if !legacy && !READ.contains(&format) {
            return Err(conf.bad(
                option,
                "a database format that this program reads: convert it with cvt_cyrusdb to twoskip, skiplist or flat, and say so here",
            ));
        }
    }
    must_be_there(&paths::mailboxes_db(conf), "mboxlist_db_path")?;
    // Only before 3.5 does the option change the order of keys. Other errors are reported where the list is read.
    let by_name = || MboxList::open(conf).is_ok_and(|list| !list.has_unique_ids());
    if conf.is_on("improved_mboxlist_sort") && by_name() {
        return Err(conf.bad(
            "improved_mboxlist_sort",
            "read together with a mailboxes.db of before 3.5: there it changes the order of mailboxes",
        ));
    }
    Ok(())
}

/// Refuses a global database that does not exist: Cyrus makes it when it starts, so `option` must name another place.
///
/// # Errors
/// [`StoreError::MissingDatabase`] if there is no such file.
fn must_be_there(path: &Path, option: &'static str) -> Result<(), StoreError> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(missing(path, option)),
        // Other errors are reported when it is read.
        _ => Ok(()),
    }
}

/// The error about a missing global database.
pub(crate) fn missing(path: &Path, option: &'static str) -> StoreError {
    StoreError::MissingDatabase { option, path: path.to_path_buf() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(lines: &str, made: bool) -> Result<(), String> {
        let dir = tempfile::tempdir().unwrap();
        if made {
            std::fs::write(dir.path().join("mailboxes.db"), "").unwrap();
        }
        let text = format!("configdirectory: {}\n{lines}", dir.path().display());
        check(&Config::parse(&text, "/t/imapd.conf").unwrap()).map_err(|e| e.to_string())
    }

    #[test]
    fn formats() {
        assert_eq!(checked("", true), Ok(()));
        for line in ["mboxlist_db: skiplist", "quota_db: quotalegacy", "subscription_db: flat"] {
            assert_eq!(checked(&format!("{line}\n"), true), Ok(()), "{line}");
        }
        for line in [
            "mboxlist_db: sql",
            "quota_db: zeroskip",
            "seenstate_db: quotalegacy",
            "annotation_db: twom",
        ] {
            let error = checked(&format!("{line}\n"), true).unwrap_err();
            let (option, format) = line.split_once(": ").unwrap();
            assert!(
                error.contains(&format!("line 2: option {option}: '{format}' is not ")),
                "{error}"
            );
        }
    }

    #[test]
    fn the_list_is_to_be_there() {
        let error = checked("", false).unwrap_err();
        assert!(
            error.starts_with("option mboxlist_db_path: ") && error.contains("does not exist"),
            "{error}"
        );
    }
}
