//! Merging, linking and returning, entry by entry.

use std::time::Duration;

use super::*;

fn backlog(entries: &[LogEntry]) -> Backlog {
    let mut backlog = Backlog::new(NameRules::default());
    let now = Instant::now();
    entries.iter().for_each(|entry| backlog.add(entry, now));
    backlog
}

fn user(name: &str) -> LogEntry {
    LogEntry::User(name.into())
}

fn mailbox(name: &str) -> LogEntry {
    LogEntry::Mailbox(MailboxName::new(name))
}

fn rename(from: &str, to: &str) -> LogEntry {
    LogEntry::Rename(MailboxName::new(from), MailboxName::new(to))
}

fn said(backlog: &Backlog) -> Vec<String> {
    let mut said: Vec<String> = backlog.entries().map(|entry| entry.to_string()).collect();
    said.sort();
    said
}

fn names(work: &WorkUnit) -> Vec<&str> {
    work.users.iter().map(|(owner, _)| owner.userid().unwrap_or("nobody")).collect()
}

#[test]
fn what_says_less_is_swallowed() {
    let seen = LogEntry::Seen("anna".into(), MailboxName::new("user.bert"));
    let all = [
        mailbox("user.anna.x"),
        seen.clone(),
        LogEntry::Sub("anna".into(), MailboxName::new("user.anna")),
        LogEntry::Quota("user.anna".into()),
    ];
    assert_eq!(said(&backlog(&all)), ["MAILBOX user.anna.x", "META anna", "QUOTA user.anna"]);
    for order in [[user("anna"), mailbox("user.anna")], [mailbox("user.anna"), user("anna")]] {
        let mut entries = all.to_vec();
        entries.extend(order);
        entries.push(seen.clone());
        assert_eq!(said(&backlog(&entries)), ["USER anna"]);
    }
    let unuser = LogEntry::Unuser("anna".into());
    assert_eq!(said(&backlog(&[seen, unuser, mailbox("user.anna")])), ["UNUSER anna"]);
    let twice = [
        mailbox("shared.x"),
        mailbox("shared.x"),
        LogEntry::Unmailbox(MailboxName::new("shared.y")),
    ];
    assert_eq!(
        said(&backlog(&twice)),
        ["MAILBOX shared.x", "MAILBOX shared.y", "UNMAILBOX shared.y"]
    );
}

#[test]
fn a_user_is_worked_on_once_at_a_time_and_others_go_on() {
    let mut b = backlog(&[mailbox("user.anna.x"), mailbox("user.bert")]);
    let anna = b.take_next().unwrap();
    b.add(&mailbox("user.anna.y"), Instant::now());
    assert_eq!((names(&anna), names(&b.take_next().unwrap())), (vec!["anna"], vec!["bert"]));
    assert_eq!(b.take_next(), None);
    assert_eq!(said(&b), ["MAILBOX user.anna.x", "MAILBOX user.anna.y", "MAILBOX user.bert"]);
    b.done(&"anna".into());
    assert_eq!(
        b.take_next().unwrap().users[0].1.mailboxes,
        HashSet::from([MailboxName::new("user.anna.y")])
    );
    b.done(&"anna".into());
    b.done(&"bert".into());
    assert!(b.is_empty() && b.users() == 0);
}

#[test]
fn a_rename_between_users_is_one_work() {
    let mut b = backlog(&[
        mailbox("user.carl"),
        rename("user.carl.old", "user.anna.new"),
        rename("user.anna.a", "user.bert.a"),
        mailbox("user.dora"),
    ]);
    let work = b.take_next().unwrap();
    assert_eq!(names(&work), ["anna", "bert", "carl"]);
    let anna = &work.users[0].1.mailboxes;
    assert_eq!(
        anna,
        &HashSet::from([MailboxName::new("user.anna.new"), MailboxName::new("user.anna.a")])
    );
    // New tasks of any of them wait for all.
    b.add(&mailbox("user.bert.b"), Instant::now());
    assert_eq!(names(&b.take_next().unwrap()), ["dora"]);
    assert_eq!(b.take_next(), None);
    b.done(&work.key());
    assert_eq!(names(&b.take_next().unwrap()), ["bert"]);
}

#[test]
fn who_waits_for_a_busy_one_of_several_goes_on_with_it() {
    let mut b = backlog(&[mailbox("user.anna")]);
    b.take_next().unwrap();
    b.add(&rename("user.bert.x", "user.anna.x"), Instant::now());
    assert_eq!(b.take_next(), None);
    b.add(&mailbox("user.carl"), Instant::now());
    assert_eq!(names(&b.take_next().unwrap()), ["carl"]);
    b.done(&"anna".into());
    assert_eq!(names(&b.take_next().unwrap()), ["anna", "bert"]);
    assert_eq!(b.take_next(), None);
}

#[test]
fn what_failed_rests_and_comes_again() {
    let mut b = backlog(&[mailbox("user.anna"), LogEntry::Meta("anna".into())]);
    b.take_next().unwrap();
    let work = b.put_back(&"anna".into(), false).unwrap();
    assert_eq!(b.take_next(), None);
    assert_eq!(said(&b), ["MAILBOX user.anna", "META anna"]);
    b.wake(&work);
    assert_eq!(b.take_next().unwrap(), work.into());
    let work = b.put_back(&"anna".into(), true).unwrap();
    b.wake(&work);
    assert!(b.take_next().unwrap().users[0].1.whole);
    assert_eq!(said(&b), ["USER anna"]);
}

#[test]
fn who_is_split_goes_alone_until_linked_again() {
    let mut b = backlog(&[rename("user.anna.x", "user.bert.x"), mailbox("user.carl")]);
    assert_eq!(names(&b.take_next().unwrap()), ["anna", "bert"]);
    b.split(&"anna".into());
    let alone: Vec<Arc<WorkUnit>> = std::iter::from_fn(|| b.take_next()).collect();
    let mut users: Vec<Vec<&str>> = alone.iter().map(|work| names(work)).collect();
    users.sort();
    assert_eq!(users, [["anna"], ["bert"], ["carl"]]);
    let work = b.put_back(&"bert".into(), false).unwrap();
    b.wake(&work);
    b.link(&"anna".into(), &"bert".into());
    assert_eq!(b.take_next(), None, "anna is busy");
    b.done(&"anna".into());
    let both = b.take_next().unwrap();
    assert_eq!(names(&both), ["anna", "bert"]);
}

#[test]
fn nobody_waits_for_who_is_stuck() {
    let mut b = backlog(&[mailbox("user.anna"), mailbox("user.carl")]);
    let anna = b.take_next().unwrap();
    b.add(&rename("user.anna.x", "user.bert.x"), Instant::now());
    assert_eq!(names(&b.take_next().unwrap()), ["carl"]);
    assert_eq!(b.take_next(), None);
    b.waits(&"anna".into());
    assert_eq!(names(&b.take_next().unwrap()), ["bert"]);
    b.done(&"bert".into());
    b.go_on(&"anna".into());
    b.put_back(&anna.key(), false).unwrap();
    b.add(&rename("user.anna.y", "user.dora.y"), Instant::now());
    assert_eq!(names(&b.take_next().unwrap()), ["dora"]);
    b.done(&"dora".into());
    b.wake(&anna);
    // A linked user is locked with her, even if it has no tasks of its own.
    assert_eq!(names(&b.take_next().unwrap()), ["anna", "bert", "dora"]);
}

#[test]
fn copies_do_not_link_everybody() {
    let to = |n| {
        LogEntry::DoubleMailbox(
            MailboxName::new("user.anna"),
            MailboxName::new(format!("user.u{n}")),
        )
    };
    let mut b = backlog(&(0..100).map(to).collect::<Vec<_>>());
    assert_eq!(b.take_next().unwrap().users.len(), LINKED + 1);
    let mut others = 0;
    while let Some(work) = b.take_next() {
        others += work.users.len();
    }
    assert_eq!(others, 100 - LINKED);
}

#[test]
fn what_is_laid_aside_rests_alone_and_stays_in_the_log() {
    let now = Instant::now();
    let mut backlog = Backlog::new(NameRules::default());
    let bad = LogEntry::Mailbox(MailboxName::new("user.anna.bad"));
    backlog.add(&bad, now);
    backlog.add(&LogEntry::Mailbox(MailboxName::new("user.anna")), now);
    let work = backlog.take_next().unwrap();
    backlog.lay_aside(&"anna".into(), bad.clone(), Some(now));
    backlog.done(&work.key());
    assert_eq!((backlog.is_empty(), backlog.users(), backlog.oldest()), (false, 1, Some(now)));
    assert_eq!(backlog.entries().collect::<Vec<_>>(), std::slice::from_ref(&bad));
    // Other entries of the user go on; new ones for the same mailbox wait with it.
    let later = now + Duration::from_secs(1);
    backlog.add(&bad, later);
    assert!(backlog.take_next().is_none());
    backlog.add(&LogEntry::Mailbox(MailboxName::new("user.anna.good")), later);
    let work = backlog.take_next().unwrap();
    assert_eq!(work.users[0].1.mailboxes.len(), 1);
    backlog.done(&work.key());
    backlog.take_up(&bad);
    assert_eq!((backlog.users(), backlog.oldest()), (1, Some(now)));
    let work = backlog.take_next().unwrap();
    backlog.done(&work.key());
    assert!(backlog.is_empty());
    // A deletion or a rename may solve the problem.
    backlog.lay_aside(&"anna".into(), bad.clone(), Some(now));
    backlog.add(&LogEntry::Unmailbox(MailboxName::new("user.anna.bad")), later);
    assert!(backlog.take_next().is_some());
    backlog.forget_aside(&bad);
    assert!(!backlog.entries().any(|entry| entry == LogEntry::Quota(String::new())));
}

#[test]
fn what_the_log_calls_removed_is_remembered_so() {
    let removed = LogEntry::Unmailbox(MailboxName::new("user.anna.x"));
    let mut backlog = backlog(&[removed.clone(), mailbox("user.anna.x"), mailbox("user.anna.y")]);
    let mut left: Vec<LogEntry> = backlog.entries().collect();
    left.sort();
    assert_eq!(left, [mailbox("user.anna.x"), mailbox("user.anna.y"), removed]);
    backlog.add(&user("anna"), Instant::now());
    assert_eq!(backlog.entries().collect::<Vec<_>>(), [user("anna")]);
}

#[test]
fn a_companion_lends_its_lock_and_keeps_its_tasks() {
    let now = Instant::now();
    let whole = || Tasks { whole: true, ..Tasks::default() };
    let mut backlog = backlog(&[]);
    let (anna, bert) = (Owner::from("anna"), Owner::from("bert"));
    backlog.give(&bert, whole(), now);
    backlog.give(&anna, whole(), now);
    let work = backlog.take_next().unwrap();
    assert_eq!(names(&work), ["bert"]);
    let back = backlog.put_back(&work.key(), false).unwrap();
    backlog.accompany(&bert, &anna);
    // Bert needs anna's lock, and she is worked on.
    let hers = backlog.take_next().unwrap();
    backlog.wake(&back);
    assert_eq!(names(&hers), ["anna"]);
    assert!(backlog.take_next().is_none());
    backlog.done(&anna);
    let both = backlog.take_next().unwrap();
    assert_eq!((names(&both), both.key()), (vec!["anna", "bert"], bert.clone()));
    assert_eq!(both.owners().collect::<Vec<_>>(), [&bert]);
    // Hers wait for the lock that he holds, but not for the end of his rest.
    backlog.give(&anna, whole(), now);
    assert!(backlog.take_next().is_none());
    let back = backlog.put_back(&bert, false).unwrap();
    assert_eq!(names(&back), ["bert"]);
    assert_eq!(names(&backlog.take_next().unwrap()), ["anna"]);
    backlog.wake(&back);
    assert!(backlog.take_next().is_none(), "he needs her lock again");
    backlog.done(&anna);
    assert_eq!(names(&backlog.take_next().unwrap()), ["anna", "bert"]);
    backlog.done(&bert);
    assert!(backlog.is_empty() && backlog.take_next().is_none());
}
