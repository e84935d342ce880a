//! Compares the files of every live message.

use std::path::{Path, PathBuf};

use super::difference::{Difference, Report};
use super::dlist::Value;
use super::server::PrivateServer;
use crate::cyrus::Cyrus;
use crate::error::{Error, Result, io};

/// Compares the bytes of every message that the master's users hold and that is not expunged with the replica's file of the
/// same UID, both read from the spools. Messages that only the replica has are found by [`super::compare`].
///
/// # Errors
/// When a server does not answer or a file cannot be read; a missing file is a difference.
pub fn compare_bytes<S: AsRef<str>>(
    master: &Cyrus,
    replica: &Cyrus,
    users: &[S],
) -> Result<Report> {
    let mut ours = PrivateServer::start(master)?;
    let mut theirs = PrivateServer::start(replica)?;
    let mut report = Report::default();
    for user in users {
        let user = user.as_ref();
        for (name, uids) in live_messages(&mut ours, user)? {
            let here = folder(&mut ours, master, &name)?;
            let there = folder(&mut theirs, replica, &name)?;
            for uid in uids {
                let file = format!("{uid}.");
                let mine = here.as_ref().map(|dir| read(&dir.join(&file))).transpose()?.flatten();
                let copy = there.as_ref().map(|dir| read(&dir.join(&file))).transpose()?.flatten();
                if mine != copy || mine.is_none() {
                    report.0.push(Difference {
                        user: user.to_owned(),
                        mailbox: Some(name.clone()),
                        uid: Some(uid),
                        key: "bytes".to_owned(),
                        master: mine.as_deref().map(describe),
                        replica: copy.as_deref().map(describe),
                    });
                }
            }
        }
    }
    Ok(report)
}

/// As [`compare_bytes`], but asks the replica for each message by `GET FETCH`.
///
/// # Errors
/// As [`compare_bytes`].
pub fn compare_fetched<S: AsRef<str>>(
    master: &Cyrus,
    theirs: &mut PrivateServer,
    users: &[S],
) -> Result<Report> {
    let mut ours = PrivateServer::start(master)?;
    let mut report = Report::default();
    for user in users {
        let user = user.as_ref();
        for (name, uids) in live_messages(&mut ours, user)? {
            let here = folder(&mut ours, master, &name)?;
            for uid in uids {
                let file = format!("{uid}.");
                let mine = here.as_ref().map(|dir| read(&dir.join(&file))).transpose()?.flatten();
                let copy = theirs.fetch_message(&name, "x", &"0".repeat(40), uid);
                if mine != copy || mine.is_none() {
                    report.0.push(Difference {
                        user: user.to_owned(),
                        mailbox: Some(name.clone()),
                        uid: Some(uid),
                        key: "bytes".to_owned(),
                        master: mine.as_deref().map(describe),
                        replica: copy.as_deref().map(describe),
                    });
                }
            }
        }
    }
    Ok(report)
}

/// The UIDs of each mailbox's live messages.
fn live_messages(server: &mut PrivateServer, user: &str) -> Result<Vec<(String, Vec<u32>)>> {
    let mut found = Vec::new();
    for item in server.items("USER", user)? {
        let Some(name) = item.value.text("MBOXNAME") else {
            continue;
        };
        let full = match server.items("FULLMAILBOX", &name) {
            Ok(full) => full,
            // An intermediate mailbox.
            Err(Error::Csync { answer, .. }) if answer.contains("NONEXISTENT") => continue,
            Err(err) => return Err(err),
        };
        let mut uids = Vec::new();
        for record in full
            .iter()
            .flat_map(|item| item.value.get("RECORD").map(Value::items).unwrap_or_default())
        {
            let flags = record.get("FLAGS").map(Value::items).unwrap_or_default();
            let expunged =
                flags.iter().any(|flag| flag.to_string().eq_ignore_ascii_case("\\Expunged"));
            if let (Some(uid), false) =
                (record.number("UID").and_then(|uid| u32::try_from(uid).ok()), expunged)
            {
                uids.push(uid);
            }
        }
        found.push((name, uids));
    }
    Ok(found)
}

/// A mailbox's folder: by unique id, or as Cyrus' `mbpath` reports it (folders by name, from before 3.6).
fn folder(server: &mut PrivateServer, cyrus: &Cyrus, name: &str) -> Result<Option<PathBuf>> {
    let line = format!("MAILBOXES ({{{}+}}\r\n{name})", name.len());
    let lines = server.get(&line)?;
    let Some(line) = lines.first() else {
        return Ok(None);
    };
    let item = super::dlist::Item::parse(line)?;
    let id = item.value.text("UNIQUEID").unwrap_or_default();
    let partition = cyrus.partition(&item.value.text("PARTITION").unwrap_or_default());
    let mut letters = id.chars();
    let (Some(first), Some(second)) = (letters.next(), letters.next()) else {
        return Ok(None);
    };
    let by_id = partition.join(format!("uuid/{first}/{second}/{id}"));
    if by_id.is_dir() {
        return Ok(Some(by_id));
    }
    let output = cyrus.tool("mbpath", &["-7", &cyrus.external(name)])?;
    Ok(Some(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())))
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(io("read", path)(err)),
    }
}

fn describe(bytes: &[u8]) -> String {
    format!("{} bytes", bytes.len())
}
