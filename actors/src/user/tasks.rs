//! The tasks of a work, in parts that are looked at and carried out one after the other.
//!
//! Mailboxes of users that are worked on together are one part, so that a mailbox that moved from one to the other is seen
//! as a rename; this part comes before those about one user alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use cyrus_types::{MailboxName, NameRules, Owner};
use sync_plan::backlog::{Tasks, WorkUnit};

use crate::master::user_read::Names;

/// Who gives the works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feeder {
    /// An admin, by the command line or a file: what was named is to be equal in the end, or is named as a failure.
    List,
    /// The log: it names what may have changed, and what comes later comes with a later entry.
    Log,
}

/// The work of replicating everything of a user, or all shared mailboxes.
pub(crate) fn whole(owner: Owner) -> Arc<WorkUnit> {
    let mut tasks = Tasks::default();
    tasks.whole = true;
    Arc::new(WorkUnit { users: vec![(owner, tasks)] })
}

/// One part of a user's work.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    /// Everything of the user.
    Whole,
    /// What the log named.
    Some(Arc<Names>),
    /// The user was removed.
    Unuser,
    /// The annotations of the server.
    Server,
}

/// The same parts for a replica that does not accept mailboxes of scripts (named `folder`): an entry about one is a change
/// of its owner's scripts.
pub(crate) fn scripts_as_meta(
    rules: &NameRules,
    folder: &str,
    parts: Vec<(Owner, Part)>,
) -> Vec<(Owner, Part)> {
    let mut owners: BTreeSet<Arc<str>> = BTreeSet::new();
    for (_, part) in &parts {
        if let Part::Some(names) = part {
            let scripts = |name: &MailboxName| owner_of_scripts(rules, folder, name);
            owners.extend(names.mailboxes.iter().filter_map(scripts));
        }
    }
    let meta = owners.into_iter().map(|owner| {
        let names = Names { meta: Some(owner.clone()), ..Names::default() };
        (Owner::User(owner), Part::Some(Arc::new(names)))
    });
    parts.into_iter().chain(meta).collect()
}

/// The same parts for a replica that accepts mailboxes of scripts (named `folder`): an admin who names a user's data outside
/// mailboxes (-s) means the scripts, too, wherever they are kept.
pub(crate) fn scripts_with_meta(
    rules: &NameRules,
    folder: &str,
    mut parts: Vec<(Owner, Part)>,
) -> Vec<(Owner, Part)> {
    for (_, part) in &mut parts {
        if let Part::Some(names) = part
            && let Some(userid) = names.meta.clone()
        {
            let mut name = rules.parse_userid(&userid);
            name.boxes.push(folder.to_string());
            let (name, names) = (rules.internal(&name), Arc::make_mut(names));
            names.mailboxes.insert(name.clone());
            names.named.insert(name);
        }
    }
    parts
}

/// The owner of the scripts in this mailbox.
fn owner_of_scripts(rules: &NameRules, folder: &str, name: &MailboxName) -> Option<Arc<str>> {
    let parsed = rules.parse(name);
    let is_sieve = parsed.deleted == 0 && parsed.boxes == [folder];
    parsed.userid().filter(|_| is_sieve).map(|owner| owner.as_str().into())
}

/// The parts of a work, each with its user.
pub(crate) fn parts(reported: &Owner, work: &WorkUnit, feeder: Feeder) -> Vec<(Owner, Part)> {
    let mut parts = Vec::new();
    let by_list = feeder == Feeder::List;
    let mut named = Names { by_list, ..Names::default() };
    for (_, tasks) in &work.users {
        named.mailboxes.extend(tasks.mailboxes.iter().cloned());
        named.removed.extend(tasks.removed.iter().cloned());
        named.quotas.extend(tasks.quotas.iter().cloned());
    }
    if by_list {
        named.named = named.mailboxes.clone();
    }
    let alone = work.users.len() == 1;
    if let (true, Some((Owner::User(userid), tasks))) = (alone, work.users.first()) {
        named.meta = tasks.meta.then(|| userid.clone());
    }
    if !named.mailboxes.is_empty() || !named.quotas.is_empty() || named.meta.is_some() {
        parts.push((reported.clone(), Part::Some(Arc::new(named))));
    }
    // Removed users come first: the new name of a renamed user must not lose anything by UNUSER.
    let gone = work.users.iter().filter(|(_, tasks)| tasks.unuser);
    parts.extend(gone.map(|(owner, _)| (owner.clone(), Part::Unuser)));
    for (owner, tasks) in &work.users {
        if tasks.server {
            parts.push((owner.clone(), Part::Server));
        }
        if tasks.unuser {
            // Above.
        } else if tasks.whole {
            parts.push((owner.clone(), Part::Whole));
        } else if let Owner::User(userid) = owner
            && tasks.meta
            && !alone
        {
            let meta = Names { meta: Some(userid.clone()), by_list, ..Names::default() };
            parts.push((owner.clone(), Part::Some(Arc::new(meta))));
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use cyrus_types::LogEntry;
    use sync_plan::backlog::Backlog;

    use super::*;

    fn said(entries: &[LogEntry]) -> Vec<String> {
        let mut backlog = Backlog::new(NameRules::default());
        entries.iter().for_each(|entry| backlog.add(entry, Instant::now()));
        let work = backlog.take_next().unwrap();
        let words = |(owner, part): (Owner, Part)| match part {
            Part::Some(n) => {
                format!("{owner}: {:?} {:?} {:?}", n.mailboxes, n.quotas, n.meta)
            }
            part => format!("{owner}: {part:?}"),
        };
        parts(&work.key(), &work, Feeder::Log).into_iter().map(words).collect()
    }

    #[test]
    fn one_user_is_looked_at_in_one_go() {
        let entries = [
            LogEntry::Mailbox(MailboxName::new("user.anna.b")),
            LogEntry::Unmailbox(MailboxName::new("user.anna.a")),
            LogEntry::Seen("anna".into(), MailboxName::new("shared")),
            LogEntry::Quota("user.anna".into()),
        ];
        let wanted = r#"anna: {"user.anna.a", "user.anna.b"} {"user.anna"} Some("anna")"#;
        assert_eq!(said(&entries), [wanted]);
        assert_eq!(said(&[LogEntry::Unuser("anna".into())]), ["anna: Unuser"]);
    }

    #[test]
    fn scripts_go_with_what_is_no_mailbox_where_they_must() {
        let names = ["user.anna.#sieve", "user.anna.x.#sieve", "DELETED.user.bert.#sieve.5F", "x"];
        let mailboxes = names.into_iter().map(MailboxName::new).collect();
        let part = Part::Some(Arc::new(Names { mailboxes, ..Names::default() }));
        let rules = NameRules::default();
        let parts = scripts_as_meta(
            &rules,
            "#sieve",
            vec![("anna".into(), part), ("carl".into(), Part::Whole)],
        );
        assert_eq!(parts.len(), 3);
        let Some((owner, Part::Some(names))) = parts.last() else { panic!("{parts:?}") };
        assert_eq!((owner.name(), names.meta.as_deref()), ("anna", Some("anna")));
    }

    #[test]
    fn what_an_admin_names_is_to_be_equal_in_the_end() {
        let mut tasks = Tasks::default();
        tasks.mailboxes.insert(MailboxName::new("user.anna.a"));
        let work = |tasks| WorkUnit { users: vec![("anna".into(), tasks)] };
        let of = |work: &WorkUnit, feeder| match parts(&work.key(), work, feeder).remove(0) {
            (_, Part::Some(names)) => names,
            part => panic!("{part:?}"),
        };
        let mailboxes = work(tasks);
        let names = of(&mailboxes, Feeder::List);
        assert!(names.by_list && names.named == names.mailboxes && names.named.len() == 1);
        let names = of(&mailboxes, Feeder::Log);
        assert!(!names.by_list && names.named.is_empty());
        let mut tasks = Tasks::default();
        tasks.meta = true;
        let work = work(tasks);
        let parts = parts(&work.key(), &work, Feeder::List);
        let parts = scripts_with_meta(&NameRules::default(), "#sieve", parts);
        let Some((_, Part::Some(names))) = parts.first() else { panic!("{parts:?}") };
        let scripts = MailboxName::new("user.anna.#sieve");
        assert!(names.mailboxes.contains(&scripts) && names.named.contains(&scripts));
    }

    #[test]
    fn what_went_from_one_user_to_another_comes_before_what_is_one_users() {
        let entries = [
            LogEntry::User("bert".into()),
            LogEntry::Meta("anna".into()),
            LogEntry::Rename(MailboxName::new("user.anna.a"), MailboxName::new("user.bert.a")),
        ];
        let wanted =
            [r#"anna: {"user.anna.a"} {} None"#, r#"anna: {} {} Some("anna")"#, "bert: Whole"];
        assert_eq!(said(&entries), wanted);
        assert_eq!(said(&[LogEntry::Annotation(None)]), ["shared mailboxes: Server"]);
        let entries = [
            LogEntry::Rename(MailboxName::new("user.zoe"), MailboxName::new("user.anna")),
            LogEntry::Unuser("zoe".into()),
            LogEntry::User("anna".into()),
        ];
        assert_eq!(said(&entries), ["zoe: Unuser", "anna: Whole"]);
    }
}
