//! A user's subscriptions.
//!
//! ```text
//! key US VER US          "2": this layout (3.5 and later)
//! key N<name>            name in database form; a leading INBOX stands for the user's own INBOX
//! key <internal name>    before 3.5
//! ```
//!
//! The values are empty. A flat database by default. Source: `imap/mboxlist.c` (mboxlist_sublist, mboxlist_opensubs) of
//! cyrus-imapd 3.6.1.

use std::ops::ControlFlow;
use std::path::PathBuf;

use cyrus_types::MailboxName;

use crate::config::Config;
use crate::db::Database;
use crate::error::StoreError;
use crate::mboxlist::MboxList;
use crate::paths::{self, UserFile};

/// If it is there, names start with a letter and their parts are split by 0x1f.
const VERSION_KEY: &[u8] = b"\x1fVER\x1f";

/// The internal names of the mailboxes a user is subscribed to, in the database's order. `None` without a database: the
/// user never subscribed, or the file was lost.
///
/// # Errors
/// The database is damaged or a name is not UTF-8.
pub fn subscriptions(
    conf: &Config,
    list: &MboxList,
    userid: &str,
) -> Result<Option<Vec<MailboxName>>, StoreError> {
    let path = path(conf, list, userid)?;
    let db = match Database::open(&path) {
        Ok(db) => db,
        Err(StoreError::MissingFile { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let rules = conf.names();
    let inbox = rules.db_key(&rules.parse_userid(userid));
    let prefixed = db.fetch(VERSION_KEY)?.is_some();
    let prefix: &[u8] = if prefixed { b"N" } else { b"" };
    let mut names = Vec::new();
    db.foreach(prefix, |key, _| {
        let text = std::str::from_utf8(key).map_err(|_| StoreError::not_utf8(&path, key))?;
        if !prefixed {
            names.push(MailboxName::new(text));
            return Ok(ControlFlow::Continue(()));
        }
        let name = text.get(1..).unwrap_or_default();
        let full = match name.strip_prefix("INBOX") {
            Some(below) => format!("{inbox}{below}"),
            None => name.to_string(),
        };
        names.push(rules.internal(&rules.parse_db(&full)));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(Some(names))
}

/// The path of the file with the subscriptions.
///
/// # Errors
/// The list of mailboxes is damaged.
pub(crate) fn path(conf: &Config, list: &MboxList, userid: &str) -> Result<PathBuf, StoreError> {
    paths::user_file(conf, userid, list.inbox_id(userid)?.as_ref(), UserFile::Subscriptions)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::mboxlist::tests::small_store;

    #[test]
    fn both_layouts() {
        let (dir, conf, list) = small_store();
        let folder = dir.path().join("user/uuid/f/0/f0c1");
        assert_eq!(subscriptions(&conf, &list, "anna").unwrap(), None);
        fs::create_dir_all(&folder).unwrap();
        let text = b"\x1fVER\x1f\t2\nNINBOX\t\nNINBOX\x1fA.b\t\nNshared\x1fx\t\n";
        fs::write(folder.join("sub.db"), text).unwrap();
        assert_eq!(
            subscriptions(&conf, &list, "anna").unwrap().unwrap(),
            ["user.anna", "user.anna.A^b", "shared.x"]
        );
        fs::write(folder.join("sub.db"), b"user.anna\t\nuser.anna.Sent\t\n").unwrap();
        let old = subscriptions(&conf, &list, "anna").unwrap().unwrap();
        assert_eq!(old, ["user.anna", "user.anna.Sent"]);
        fs::write(folder.join("sub.db"), b"").unwrap();
        assert_eq!(subscriptions(&conf, &list, "anna").unwrap(), Some(Vec::new()));
        fs::write(folder.join("sub.db"), b"user.\xfe\t\n").unwrap();
        assert!(subscriptions(&conf, &list, "anna").is_err());
    }
}
