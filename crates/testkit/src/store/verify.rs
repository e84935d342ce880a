//! Compares a server's answers with a store's model: with what the store was written from, not with anything read back.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{EXPUNGED, Mailbox, Message, Model, User};
use crate::error::{Error, Result};
use crate::oracle::{Difference, Item, PrivateServer, Report, Value};

/// A record as both sides describe it: UID, modseq, size, GUID, expunged, labelled.
type Line = (u64, u64, u64, String, bool, bool);

impl Model {
    /// What a server (the store's own, or a replica) reports differently about these users: mailboxes, records and
    /// subscriptions, and what it has that is not in the model.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn differences(&self, server: &mut PrivateServer) -> Result<Report> {
        let mut report = Report::default();
        for user in &self.users {
            let items = server.items("USER", &user.userid)?;
            compare_user(user, &items, &mut report);
            for mailbox in user.mailboxes.iter().filter(|m| !m.deleted) {
                let full = match server.items("FULLMAILBOX", &mailbox.name) {
                    // There is no such mailbox, which was reported already.
                    Err(Error::Csync { .. }) => continue,
                    full => full?,
                };
                compare_records(&user.userid, mailbox, &full, &mut report);
            }
        }
        Ok(report)
    }

    /// The live messages that a server, asked for each by GET FETCH, lacks or has with other bytes.
    ///
    /// # Errors
    /// The connection breaks.
    pub fn differing_bytes(&self, server: &mut PrivateServer) -> Result<Report> {
        let mut report = Report::default();
        for user in &self.users {
            for mailbox in user.mailboxes.iter().filter(|m| !m.deleted) {
                for message in mailbox.messages.iter().filter(|m| !m.is_expunged()) {
                    let wanted = message.text();
                    let (name, id) = (&mailbox.name, &mailbox.uniqueid);
                    let found = server.fetch_message(name, id, &hex(message.guid), message.uid);
                    if found.as_deref() != Some(&wanted[..]) {
                        report.0.push(Difference {
                            uid: Some(message.uid),
                            ..differs(
                                &user.userid,
                                Some(&mailbox.name),
                                "bytes",
                                Some(format!("{} bytes", wanted.len())),
                                found.map(|found| format!("{} bytes", found.len())),
                            )
                        });
                    }
                }
            }
        }
        Ok(report)
    }
}

fn compare_user(user: &User, items: &[Item], report: &mut Report) {
    let mut said: BTreeMap<String, &Value> = BTreeMap::new();
    let mut subscribed = BTreeSet::new();
    for item in items {
        match item.name.as_str() {
            "MAILBOX" => {
                said.insert(item.value.text("MBOXNAME").unwrap_or_default(), &item.value);
            }
            "LSUB" => subscribed.extend(item.value.items().iter().map(ToString::to_string)),
            _ => {}
        }
    }
    for mailbox in user.mailboxes.iter().filter(|m| !m.deleted) {
        let Some(found) = said.remove(&mailbox.name) else {
            report.0.push(differs(
                &user.userid,
                Some(&mailbox.name),
                "MAILBOX",
                Some("there".into()),
                None,
            ));
            continue;
        };
        let wanted = [
            ("UNIQUEID", mailbox.uniqueid.clone()),
            ("LAST_UID", mailbox.last_uid.to_string()),
            ("HIGHESTMODSEQ", mailbox.highestmodseq.to_string()),
            ("UIDVALIDITY", mailbox.uidvalidity.to_string()),
        ];
        for (key, wanted) in wanted {
            let found = found.text(key);
            if found.as_deref() != Some(&wanted) {
                report.0.push(differs(&user.userid, Some(&mailbox.name), key, Some(wanted), found));
            }
        }
    }
    for name in said.into_keys() {
        report.0.push(differs(&user.userid, Some(&name), "MAILBOX", None, Some("there".into())));
    }
    let wanted: BTreeSet<String> = user.subscriptions.iter().cloned().collect();
    if wanted != subscribed {
        let words = |names: &BTreeSet<String>| Some(format!("{names:?}"));
        report.0.push(differs(&user.userid, None, "LSUB", words(&wanted), words(&subscribed)));
    }
}

fn compare_records(userid: &str, mailbox: &Mailbox, full: &[Item], report: &mut Report) {
    let records = full.first().and_then(|item| item.value.get("RECORD"));
    let mut said: BTreeMap<u64, Line> = BTreeMap::new();
    for record in records.map(Value::items).unwrap_or_default() {
        let number = |key: &str| record.number(key).unwrap_or_default();
        let flags = record.get("FLAGS").map(ToString::to_string).unwrap_or_default();
        let line = (
            number("UID"),
            number("MODSEQ"),
            number("SIZE"),
            record.text("GUID").unwrap_or_default(),
            flags.contains("Expunged"),
            flags.contains("$Label1"),
        );
        said.insert(line.0, line);
    }
    for message in &mailbox.messages {
        let (wanted, found) = (line_of(message), said.remove(&u64::from(message.uid)));
        if found.as_ref() != Some(&wanted) {
            let found = found.map(|line| format!("{line:?}"));
            report.0.push(Difference {
                uid: Some(message.uid),
                ..differs(userid, Some(&mailbox.name), "RECORD", Some(format!("{wanted:?}")), found)
            });
        }
    }
    for line in said.values() {
        let found = Some(format!("{line:?}"));
        report.0.push(differs(userid, Some(&mailbox.name), "RECORD", None, found));
    }
}

fn line_of(message: &Message) -> Line {
    (
        message.uid.into(),
        message.modseq,
        message.size.into(),
        hex(message.guid),
        message.flags & EXPUNGED != 0,
        message.labelled,
    )
}

fn hex(guid: [u8; 20]) -> String {
    guid.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn differs(
    user: &str,
    mailbox: Option<&str>,
    key: &str,
    master: Option<String>,
    replica: Option<String>,
) -> Difference {
    let (user, key) = (user.to_owned(), key.to_owned());
    Difference { user, mailbox: mailbox.map(str::to_owned), uid: None, key, master, replica }
}
