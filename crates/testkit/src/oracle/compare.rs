//! Compares everything both sides report about some users.
//!
//! `GET USER` for the list, then `GET FULLMAILBOX` of each mailbox; both parsed, so that order and quoting do not matter.
//! These are not differences (cyrus-imapd 3.6.1): records that are expunged on both sides, or expunged on one and missing
//! on the other; the order of user flags and of annotations; the modseq of a quota root; the order of mailboxes; a stale
//! QUOTAROOT. The last: a mailbox that is renamed out of its own quota root to below a shorter one keeps the old root's
//! name in its header (`mailbox.c:mailbox_changequotaroot` takes a longer name for a root further down). The protocol shows
//! that name but never sets it, so a replica that made the mailbox again has the right one.

use std::collections::{BTreeMap, BTreeSet};

use super::difference::{Difference, Report};
use super::dlist::{Item, Value};
use super::server::PrivateServer;
use crate::cyrus::Cyrus;
use crate::error::{Error, Result};

/// What else is not treated as a difference.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ignore {
    /// The partition (a replica may have others).
    pub partition: bool,
    /// Mailboxes below `DELETED`.
    pub deleted_mailboxes: bool,
    /// Users that neither side has (otherwise they count: with a misspelt name there would be nothing to compare).
    pub absent_users: bool,
}

/// Compares everything both sides report about `users`.
///
/// # Errors
/// When a server does not answer; never because of a difference.
pub fn compare<S: AsRef<str> + Sync>(
    master: &Cyrus,
    replica: &Cyrus,
    users: &[S],
) -> Result<Report> {
    compare_with(master, replica, users, Ignore::default())
}

/// As [`compare`], ignoring more.
///
/// # Errors
/// As [`compare`].
pub fn compare_with<S: AsRef<str> + Sync>(
    master: &Cyrus,
    replica: &Cyrus,
    users: &[S],
    ignore: Ignore,
) -> Result<Report> {
    let mut ours = PrivateServer::start(master)?;
    let mut theirs = PrivateServer::start(replica)?;
    compare_servers(&mut ours, &mut theirs, users, ignore)
}

/// As [`compare_with`], between two running servers.
///
/// # Errors
/// As [`compare`].
pub fn compare_servers<S: AsRef<str> + Sync>(
    ours: &mut PrivateServer,
    theirs: &mut PrivateServer,
    users: &[S],
    ignore: Ignore,
) -> Result<Report> {
    // Both sides are asked at the same time.
    let asked = |server: &mut PrivateServer| -> Result<Vec<Facts>> {
        users.iter().map(|user| user_facts(server, user.as_ref(), ignore)).collect()
    };
    let (here, there) = std::thread::scope(|scope| {
        let other = scope.spawn(|| asked(theirs));
        let here = asked(ours);
        (here, other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let mut report = Report::default();
    for ((user, mut here), mut there) in users.iter().zip(here?).zip(there?) {
        let roots: BTreeSet<String> = here.quota_roots.union(&there.quota_roots).cloned().collect();
        quota_facts(ours, &roots, &mut here)?;
        quota_facts(theirs, &roots, &mut there)?;
        if here.values.is_empty() && there.values.is_empty() && !ignore.absent_users {
            report.0.push(Difference {
                user: user.as_ref().to_owned(),
                mailbox: None,
                uid: None,
                key: "USER".to_owned(),
                master: None,
                replica: None,
            });
        }
        diff(user.as_ref(), &here, &there, &mut report.0);
    }
    Ok(report)
}

/// Where a fact belongs: (mailbox or quota root, UID, key).
type Place = (Option<String>, Option<u32>, String);

/// Everything one side reports about a user: the facts that must be equal, and the messages known to be expunged.
#[derive(Debug, Default)]
struct Facts {
    values: BTreeMap<Place, String>,
    expunged: BTreeSet<(String, u32)>,
    quota_roots: BTreeSet<String>,
}

fn user_facts(server: &mut PrivateServer, user: &str, ignore: Ignore) -> Result<Facts> {
    let mut facts = Facts::default();
    let items = match server.items("USER", user) {
        Ok(items) => items,
        // No such user: no facts.
        Err(Error::Csync { answer, .. })
            if answer.contains("NONEXISTENT") || answer.contains("INVALID_USER") =>
        {
            Vec::new()
        }
        Err(err) => return Err(err),
    };
    let mut mailboxes = Vec::new();
    for item in &items {
        match item.name.as_str() {
            "MAILBOX" => {
                let Some(name) = item.value.text("MBOXNAME") else {
                    return Err(Error::Oracle {
                        what: item.value.to_string(),
                        why: "no MBOXNAME".to_owned(),
                    });
                };
                if !(ignore.deleted_mailboxes && name.contains("DELETED.")) {
                    header_facts(&name, "", &item.value, ignore, &mut facts);
                    mailboxes.push(name);
                }
            }
            "QUOTA" => facts.quota_roots.extend(item.value.text("ROOT")),
            "LSUB" => {
                for name in item.value.items() {
                    facts
                        .values
                        .insert((None, None, format!("LSUB {name}")), "subscribed".to_owned());
                }
            }
            other => {
                // SEEN has a UNIQUEID, SIEVE a FILENAME.
                let id = item
                    .value
                    .text("UNIQUEID")
                    .or_else(|| item.value.text("FILENAME"))
                    .unwrap_or_default();
                for (key, value) in item.value.pairs() {
                    facts
                        .values
                        .insert((None, None, format!("{other} {id} {key}")), value.to_string());
                }
            }
        }
    }
    server.for_each("FULLMAILBOX", &mailboxes, |name, answer| {
        full_facts(name, answer, ignore, &mut facts)
    })?;
    Ok(facts)
}

fn full_facts(
    name: &str,
    answer: Result<Vec<Item>>,
    ignore: Ignore,
    facts: &mut Facts,
) -> Result<()> {
    match answer {
        Ok(items) => {
            for item in &items {
                header_facts(name, "FULL ", &item.value, ignore, facts);
                for record in item.value.get("RECORD").map(Value::items).unwrap_or_default() {
                    record_facts(name, record, facts)?;
                }
            }
            Ok(())
        }
        // Intermediate mailboxes are listed but can't be opened: the listed line is all there is.
        Err(Error::Csync { answer, .. }) if answer.contains("NONEXISTENT") => {
            facts.values.insert((Some(name.to_owned()), None, "FULLMAILBOX".to_owned()), answer);
            Ok(())
        }
        Err(err) => Err(err),
    }
}

/// Asks for quota roots by name: `GET USER` lists only those that some mailbox's header names, and headers may be stale.
fn quota_facts(
    server: &mut PrivateServer,
    roots: &BTreeSet<String>,
    facts: &mut Facts,
) -> Result<()> {
    for root in roots {
        let items = match server.items("QUOTA", root) {
            Ok(items) => items,
            // No such root.
            Err(Error::Csync { .. }) => continue,
            Err(err) => return Err(err),
        };
        for (key, value) in
            items.iter().flat_map(|item| item.value.pairs()).filter(|(key, _)| key != "MODSEQ")
        {
            facts
                .values
                .insert((Some(root.clone()), None, format!("QUOTA {key}")), value.to_string());
        }
    }
    Ok(())
}

fn header_facts(name: &str, prefix: &str, map: &Value, ignore: Ignore, facts: &mut Facts) {
    for (key, value) in map.pairs() {
        match key.as_str() {
            "RECORD" => {}
            "PARTITION" if ignore.partition => {}
            "ANNOTATIONS" => {
                for annotation in value.items() {
                    annotation_facts(
                        name,
                        None,
                        &format!("{prefix}ANNOTATIONS"),
                        annotation,
                        facts,
                    );
                }
            }
            _ => {
                facts.values.insert(
                    (Some(name.to_owned()), None, format!("{prefix}{key}")),
                    value.to_string(),
                );
            }
        }
    }
}

fn annotation_facts(name: &str, uid: Option<u32>, what: &str, map: &Value, facts: &mut Facts) {
    let text = |key| map.text(key).unwrap_or_default();
    let key = format!("{what} {} of {:?}", text("ENTRY"), text("USERID"));
    let place = (Some(name.to_owned()), uid, key);
    let value: Vec<String> = map
        .pairs()
        .iter()
        .filter(|(key, _)| !matches!(key.as_str(), "ENTRY" | "USERID" | "MBOXNAME" | "UNIQUEID"))
        .map(|(key, value)| format!("{key} {value}"))
        .collect();
    facts.values.insert(place, value.join(" "));
}

fn record_facts(name: &str, record: &Value, facts: &mut Facts) -> Result<()> {
    let Some(uid) = record.number("UID").and_then(|uid| u32::try_from(uid).ok()) else {
        return Err(Error::Oracle {
            what: name.to_owned(),
            why: format!("record without UID: {record}"),
        });
    };
    let mut flags: Vec<String> = record
        .get("FLAGS")
        .map(Value::items)
        .unwrap_or_default()
        .iter()
        .map(ToString::to_string)
        .collect();
    flags.sort();
    if flags.iter().any(|flag| flag.eq_ignore_ascii_case("\\Expunged")) {
        facts.expunged.insert((name.to_owned(), uid));
        return Ok(());
    }
    let mailbox = Some(name.to_owned());
    for (key, value) in record.pairs() {
        match key.as_str() {
            "FLAGS" => {
                facts
                    .values
                    .insert((mailbox.clone(), Some(uid), "FLAGS".to_owned()), flags.join(" "));
            }
            "ANNOTATIONS" => {
                for annotation in value.items() {
                    annotation_facts(name, Some(uid), "ANNOTATIONS", annotation, facts);
                }
            }
            _ => {
                facts.values.insert((mailbox.clone(), Some(uid), key.clone()), value.to_string());
            }
        }
    }
    Ok(())
}

/// Lists the places where the two sides differ; a mailbox or message that one side lacks is one difference.
fn diff(user: &str, here: &Facts, there: &Facts, found: &mut Vec<Difference>) {
    let mailboxes = |facts: &Facts| -> BTreeSet<String> {
        facts
            .values
            .keys()
            .filter(|(_, uid, key)| uid.is_none() && key == "MBOXNAME")
            .filter_map(|(name, _, _)| name.clone())
            .collect()
    };
    let records = |facts: &Facts| -> BTreeSet<(String, u32)> {
        facts.values.keys().filter_map(|(name, uid, _)| Some((name.clone()?, (*uid)?))).collect()
    };
    let (our_mailboxes, their_mailboxes) = (mailboxes(here), mailboxes(there));
    let (our_records, their_records) = (records(here), records(there));
    let lone_mailboxes: BTreeSet<&String> =
        our_mailboxes.symmetric_difference(&their_mailboxes).collect();
    let lone_records: BTreeSet<&(String, u32)> =
        our_records.symmetric_difference(&their_records).collect();
    for name in &lone_mailboxes {
        let side = |has: bool| has.then(|| "has it".to_owned());
        found.push(Difference {
            user: user.to_owned(),
            mailbox: Some((*name).clone()),
            uid: None,
            key: "MAILBOX".to_owned(),
            master: side(our_mailboxes.contains(*name)),
            replica: side(their_mailboxes.contains(*name)),
        });
    }
    for (name, uid) in lone_records.iter().filter(|(name, _)| !lone_mailboxes.contains(name)) {
        let place = (name.clone(), *uid);
        let side = |facts: &Facts, records: &BTreeSet<(String, u32)>| {
            let expunged = facts.expunged.contains(&place).then(|| "expunged".to_owned());
            if records.contains(&place) { Some("has it".to_owned()) } else { expunged }
        };
        found.push(Difference {
            user: user.to_owned(),
            mailbox: Some(name.clone()),
            uid: Some(*uid),
            key: "RECORD".to_owned(),
            master: side(here, &our_records),
            replica: side(there, &their_records),
        });
    }
    let places: BTreeSet<&Place> = here.values.keys().chain(there.values.keys()).collect();
    for place in places {
        let (name, uid, key) = place;
        let lone = name.as_ref().is_some_and(|name| {
            lone_mailboxes.contains(name)
                || uid.is_some_and(|uid| lone_records.contains(&(name.clone(), uid)))
        });
        let (master, replica) = (here.values.get(place), there.values.get(place));
        let stale = key.ends_with("QUOTAROOT")
            && name.as_ref().is_some_and(|name| {
                [master, replica].into_iter().flatten().any(|root| !is_root_of(root, name))
            });
        if !lone && !stale && master != replica {
            found.push(Difference {
                user: user.to_owned(),
                mailbox: name.clone(),
                uid: *uid,
                key: key.clone(),
                master: master.cloned(),
                replica: replica.cloned(),
            });
        }
    }
}

/// Whether a quota root is above a mailbox, or is the mailbox itself.
fn is_root_of(root: &str, mailbox: &str) -> bool {
    // Values are kept as they print: quoted if they have a space.
    let root = root.trim_matches('"');
    mailbox.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(lines: &[&str]) -> Facts {
        let mut facts = Facts::default();
        for line in lines {
            let item = Item::parse(line.as_bytes()).unwrap();
            header_facts("user.a.b", "", &item.value, Ignore::default(), &mut facts);
            for record in item.value.get("RECORD").map(Value::items).unwrap_or_default() {
                record_facts("user.a.b", record, &mut facts).unwrap();
            }
        }
        facts
    }

    fn differences(master: &str, replica: &str) -> String {
        let mut found = Vec::new();
        diff("a", &facts(&[master]), &facts(&[replica]), &mut found);
        found.iter().map(|difference| format!("{difference}\n")).collect()
    }

    #[test]
    fn what_is_no_difference() {
        let one = "* MAILBOX %(MBOXNAME user.a.b QUOTAROOT user.a.c RECORD (%(UID 1 FLAGS (x \\Seen y) SIZE 1) \
                   %(UID 2 FLAGS (\\Expunged) SIZE 7) %(UID 3 FLAGS (\\Deleted \\Expunged))))";
        let two = "* MAILBOX %(QUOTAROOT user.a MBOXNAME user.a.b RECORD (%(UID 1 SIZE 1 FLAGS (y \\Seen x)) \
                   %(UID 2 FLAGS (\\Expunged) SIZE 9)))";
        assert_eq!(differences(one, two), "");
    }

    #[test]
    fn what_is_a_difference() {
        let one = "* MAILBOX %(MBOXNAME user.a.b LAST_UID 3 QUOTAROOT user.a RECORD (%(UID 1 FLAGS (x) SIZE 1) %(UID 2 FLAGS ())))";
        let two = "* MAILBOX %(MBOXNAME user.a.b LAST_UID 4 QUOTAROOT user.a.b RECORD (%(UID 1 FLAGS (y) SIZE 1) \
                   %(UID 2 FLAGS (\\Expunged)) %(UID 5 FLAGS ())))";
        let expected = "a user.a.b uid 2 RECORD: master has it replica expunged\n\
                        a user.a.b uid 5 RECORD: master (nothing) replica has it\n\
                        a user.a.b LAST_UID: master 3 replica 4\n\
                        a user.a.b QUOTAROOT: master user.a replica user.a.b\n\
                        a user.a.b uid 1 FLAGS: master x replica y\n";
        assert_eq!(differences(one, two), expected);
    }
}
