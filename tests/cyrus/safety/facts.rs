//! A server's data of a user: live messages with their bytes, mailboxes by unique id, subscriptions, quota roots.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use sha1::{Digest, Sha1};
use testkit::oracle::{Item, PrivateServer, Value};
use testkit::{Cyrus, Error};

use super::world::friend_of;

/// A mailbox by its unique id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Mailbox {
    pub(super) name: String,
    /// The GUID of each message that is not expunged and has a file.
    pub(super) live: BTreeMap<u32, String>,
    /// Its LAST_UID is below one of its records: the next message kills imapd. Cyrus' own -O leaves such mailboxes now and
    /// then.
    pub(super) is_doomed: bool,
    /// Live messages whose file does not match the record.
    pub(super) without_file: Vec<u32>,
}

/// Everything of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) mailboxes: BTreeMap<String, Mailbox>,
    pub(super) subscriptions: BTreeSet<String>,
    /// The files of quota roots.
    pub(super) roots: BTreeSet<String>,
    /// Everything the server reports, sorted.
    pub(super) lines: Vec<String>,
}

impl Facts {
    /// Asks a server about a user and its friend.
    pub(super) fn of(cyrus: &Cyrus, user: &str) -> Facts {
        let mut server = PrivateServer::start(cyrus).unwrap();
        let mut facts = Facts { roots: quota_roots(&cyrus.config_dir(), user), ..Facts::default() };
        facts.add(cyrus, &mut server, user);
        facts.add(cyrus, &mut server, &friend_of(user));
        facts.lines.sort();
        facts
    }

    fn add(&mut self, cyrus: &Cyrus, server: &mut PrivateServer, user: &str) {
        let items = match server.items("USER", user) {
            Ok(items) => items,
            // A user without an INBOX, or one whose INBOX can't be opened.
            Err(Error::Csync { .. }) => Vec::new(),
            Err(other) => panic!("{other}"),
        };
        for item in items {
            self.lines.push(format!("{} {}", item.name, item.value));
            match item.name.as_str() {
                "MAILBOX" => {
                    let name = item.value.text("MBOXNAME").unwrap();
                    // If its header is lost, a mailbox may be reported without an id: its name stands for it.
                    let id = item.value.text("UNIQUEID").unwrap_or_else(|| name.clone());
                    // An intermediate has none.
                    let partition = item.value.text("PARTITION").unwrap_or_default();
                    let place = place_of(cyrus, &partition, &id);
                    let full = server.items("FULLMAILBOX", &name).unwrap_or_default();
                    let mailbox = self.mailboxes.entry(id).or_default();
                    mailbox.name = name;
                    read_records(&full, &place, mailbox);
                    self.lines.extend(full.iter().map(|item| item.value.to_string()));
                }
                "LSUB" => {
                    self.subscriptions.extend(item.value.items().iter().map(Value::to_string));
                }
                _ => {}
            }
        }
    }

    /// The bodies that are live anywhere.
    pub(super) fn bodies(&self) -> BTreeSet<&str> {
        self.mailboxes.values().flat_map(|m| m.live.values()).map(String::as_str).collect()
    }

    /// The mailbox of this internal name, and its unique id.
    pub(super) fn find(&self, name: &str) -> Option<(&String, &Mailbox)> {
        self.mailboxes.iter().find(|(_, mailbox)| mailbox.name == name)
    }

    /// The name that a mailbox of this unique id has.
    pub(super) fn name(&self, id: &str) -> &str {
        self.mailboxes.get(id).map_or("no mailbox", |mailbox| &mailbox.name)
    }
}

fn read_records(full: &[Item], place: &Path, mailbox: &mut Mailbox) {
    let records = full.iter().filter_map(|item| item.value.get("RECORD")).flat_map(Value::items);
    let last_uid = full.iter().find_map(|item| item.value.number("LAST_UID")).unwrap_or(0);
    for record in records {
        mailbox.is_doomed |= record.number("UID").is_some_and(|uid| uid > last_uid);
        let flags = record.get("FLAGS").map(Value::items).unwrap_or_default();
        if flags.iter().any(|flag| flag.to_string().eq_ignore_ascii_case("\\Expunged")) {
            continue;
        }
        let uid = u32::try_from(record.number("UID").unwrap()).unwrap();
        let guid = record.text("GUID").unwrap();
        match std::fs::read(place.join(format!("{uid}."))) {
            Ok(bytes) if hex(&Sha1::digest(&bytes)) == guid => {
                mailbox.live.insert(uid, guid);
            }
            _ => mailbox.without_file.push(uid),
        }
    }
}

/// Where a mailbox's files are.
pub(super) fn place_of(cyrus: &Cyrus, partition: &str, id: &str) -> PathBuf {
    cyrus.partition(partition).join("uuid").join(&id[..1]).join(&id[1..2]).join(id)
}

/// The quota roots of a user for which there is a file.
fn quota_roots(config: &Path, user: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let inbox = format!("user.{user}");
    let below = format!("{inbox}.");
    for letter in std::fs::read_dir(config.join("quota")).into_iter().flatten().flatten() {
        for file in std::fs::read_dir(letter.path()).into_iter().flatten().flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            if name == inbox || name.starts_with(&below) {
                found.insert(name);
            }
        }
    }
    found
}

/// Bytes as Cyrus writes them in GUIDs.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
