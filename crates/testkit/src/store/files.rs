//! Where everything goes: folders, imapd.conf, message files, per-user files, the mailbox list.
//!
//! ```text
//!   imapd.conf   conf/mailboxes.db   conf/annotations.db   conf/user/uuid/a/b/ab…/{counters.db,sub.db}
//!   spool/uuid/a/b/ab…/{cyrus.header,cyrus.index,cyrus.cache,1.,2.,…}
//! ```
//! Every file except a message's is written beside its place and moved there, so that a reader sees either the old or the
//! new one. Source of the paths: `imap/mboxname.c` of cyrus-imapd 3.6.1.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use super::index::{self, crc32};
use super::model::{Mailbox, User};
use super::{Bodies, MasterStore, message, twoskip};
use crate::error::{Result, io};

/// Files of messages that repeat: the next ones are links to them.
#[derive(Debug, Default)]
pub(crate) struct Linked(HashMap<u64, PathBuf>);

impl MasterStore {
    /// The folders, and an imapd.conf if there is none yet.
    pub(crate) fn write_frame(&self) -> Result<()> {
        self.owner.give(&self.dir)?;
        for folder in [
            "conf",
            "conf/db",
            "conf/sync",
            "conf/socket",
            "conf/log",
            "conf/lock",
            "conf/proc",
            "conf/user",
            "conf/quota",
            "spool",
            "spool2",
            "sieve",
        ] {
            self.folder(&self.dir.join(folder))?;
        }
        if !self.imapd_conf().exists() {
            self.write_conf(&self.imapd_conf(), "")?;
        }
        self.replace(&self.dir.join("conf/annotations.db"), &twoskip::encode(&BTreeMap::new()))
    }

    pub(crate) fn write_conf(&self, path: &Path, more: &str) -> Result<()> {
        let dir = self.dir.display();
        let text = format!(
            "configdirectory: {dir}/conf\ndefaultpartition: default\npartition-default: {dir}/spool\n\
             mboxname_lockpath: {dir}/conf/lock\nproc_path: {dir}/conf/proc\nsievedir: {dir}/sieve\n\
             admins: {}\ncyrus_user: {}\nservername: store.example\nunixhierarchysep: yes\n\
             hashimapspool: yes\nconversations: no\n{more}",
            crate::cyrus::ADMIN,
            self.owner.name
        );
        self.replace(path, text.as_bytes())
    }

    fn folder(&self, path: &Path) -> Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        if let Some(above) = path.parent() {
            self.folder(above)?;
        }
        fs::create_dir(path).map_err(io("make", path))?;
        self.owner.give(path)
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let new = path.with_extension("NEW");
        fs::write(&new, bytes).map_err(io("write", &new))?;
        self.owner.give(&new)?;
        fs::rename(&new, path).map_err(io("replace", path))
    }

    /// The folder for this unique id, below `root`.
    fn place(&self, root: &str, uniqueid: &str) -> PathBuf {
        let mut letters = uniqueid.chars();
        let (first, second) =
            (letters.next().unwrap_or_default(), letters.next().unwrap_or_default());
        self.dir.join(format!("{root}/uuid/{first}/{second}/{uniqueid}"))
    }

    /// All of a mailbox; message files below this UID exist already.
    pub(crate) fn write_mailbox(
        &self,
        mailbox: &Mailbox,
        first_uid: u32,
        linked: &mut Linked,
    ) -> Result<()> {
        let dir = self.place("spool", &mailbox.uniqueid);
        self.folder(&dir)?;
        for one in mailbox.messages.iter().filter(|m| m.uid >= first_uid) {
            let path = dir.join(format!("{}.", one.uid));
            let known = linked.0.get(&one.number);
            // The number of links to a file is limited; then another file is started.
            if known.is_some_and(|known| fs::hard_link(known, &path).is_ok()) {
                continue;
            }
            let text = message::text(one.number, one.length).text;
            fs::write(&path, text).map_err(io("write", &path))?;
            self.owner.give(&path)?;
            if matches!(self.model.plan.bodies, Bodies::Repeated(_)) {
                linked.0.insert(one.number, path);
            }
        }
        let files = index::encode(mailbox);
        self.replace(&dir.join("cyrus.header"), &files.header)?;
        self.replace(&dir.join("cyrus.cache"), &files.cache)?;
        self.replace(&dir.join("cyrus.index"), &files.index)
    }

    /// Removes the files of a mailbox that was deleted.
    pub(crate) fn remove_mailbox(&self, mailbox: &Mailbox) -> Result<()> {
        let dir = self.place("spool", &mailbox.uniqueid);
        fs::remove_dir_all(&dir).map_err(io("remove", &dir))
    }

    /// Counters and subscriptions.
    pub(crate) fn write_user(&self, user: &User) -> Result<()> {
        let Some(inbox) = user.mailboxes.first() else { return Ok(()) };
        let dir = self.place("conf/user", &inbox.uniqueid);
        self.folder(&dir)?;
        self.replace(&dir.join("counters.db"), &counters(user))?;
        self.replace(&dir.join("sub.db"), subscriptions(user, &inbox.name).as_bytes())
    }

    /// mailboxes.db.
    pub(crate) fn write_list(&self) -> Result<()> {
        let mut entries = BTreeMap::new();
        for mailbox in self.model.users.iter().flat_map(|user| &user.mailboxes) {
            let name = mailbox.name.replace('.', "\x1f");
            let Mailbox { uniqueid, uidvalidity, createdmodseq, foldermodseq, owner, .. } = mailbox;
            let kind = if mailbox.deleted { "d" } else { "e" };
            let common = format!(
                "P default V {uidvalidity} C {createdmodseq} F {foldermodseq} M {} A %({owner} lrswipkxtecdan)",
                uidvalidity
            );
            let by_name = format!("%(T {kind} I {uniqueid} {common})");
            let by_id = format!("%(T {kind} N {name} {common} H ())");
            entries.insert(format!("N{name}").into_bytes(), by_name.into_bytes());
            entries.insert(format!("I{uniqueid}").into_bytes(), by_id.into_bytes());
        }
        self.replace(&self.dir.join("conf/mailboxes.db"), &twoskip::encode(&entries))
    }
}

/// A flat database, sorted: `VER` within separators is `2`; names start with an N, and begin at INBOX.
fn subscriptions(user: &User, inbox: &str) -> String {
    let mut keys: Vec<String> = user
        .subscriptions
        .iter()
        .filter_map(|name| name.strip_prefix(inbox))
        .map(|below| format!("NINBOX{}\t\n", below.replace('.', "\x1f")))
        .collect();
    keys.sort();
    format!("\x1fVER\x1f\t2\n{}", keys.concat())
}

/// A user's counters: highest modseqs and UIDVALIDITY (`imap/mboxname.c`, version 9).
fn counters(user: &User) -> Vec<u8> {
    let mut file = vec![0; 296 - 4];
    let folders = user.mailboxes.iter().map(|m| m.foldermodseq).max().unwrap_or(0);
    let validity = user.mailboxes.iter().map(|m| m.uidvalidity).max().unwrap_or(0);
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = file.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    put(4, &9u32.to_be_bytes());
    // Of everything, and of mail.
    put(8, &user.highestmodseq.to_be_bytes());
    put(16, &user.highestmodseq.to_be_bytes());
    put(48, &folders.to_be_bytes());
    put(288, &validity.to_be_bytes());
    let crc = crc32(&file);
    file.extend_from_slice(&crc.to_be_bytes());
    file
}
