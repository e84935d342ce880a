//! Which work comes next, with a clock of the tests' own.

use cyrus_types::{MailboxName, NameRules};

use super::*;
use crate::settings::Jitter;

const BOUNDS: Bounds = Bounds {
    in_flight: 2,
    first_pause: Duration::from_secs(1),
    longest_pause: Duration::from_secs(60),
    patience: Patience::Endless,
    jitter: Jitter::Off,
};

fn queue(bounds: Bounds, mailboxes: &[&str], now: Instant) -> WorkQueue<()> {
    let mut queue = WorkQueue::new(Backlog::new(NameRules::default()), bounds);
    let entries: Vec<LogEntry> =
        mailboxes.iter().map(|name| LogEntry::Mailbox(MailboxName::new(*name))).collect();
    queue.add(&entries, now);
    queue
}

fn why(words: &str) -> Reason<'_> {
    Reason { words, class: Class::Permanent, links_fault: false }
}

fn started(queue: &mut WorkQueue<()>, now: Instant) -> WorkJob<()> {
    queue.start(now).expect("nothing to start")
}

#[test]
fn no_more_is_in_flight_than_may_be() {
    let now = Instant::now();
    let mut r = queue(BOUNDS, &["user.a", "user.b", "user.c"], now);
    let a = started(&mut r, now);
    started(&mut r, now);
    assert!(r.start(now).is_none() && !r.is_at_rest());
    r.done(&a, Vec::new(), now);
    assert_eq!(started(&mut r, now).work.key().name(), "c");
    assert!(r.is_unsaved());
    let left: Vec<String> = r.take_unsaved().iter().map(ToString::to_string).collect();
    assert_eq!((left.len(), r.is_unsaved()), (2, false));
    assert!(!left.contains(&"MAILBOX user.a".to_string()));
}

#[test]
fn who_fails_rests_longer_each_time_and_others_go_on() {
    let mut now = Instant::now();
    let mut r = queue(BOUNDS, &["user.a"], now);
    for (pause, quarantined) in [(1, false), (2, false), (4, false), (8, true), (16, false)] {
        let job = started(&mut r, now);
        let verdict = r.failed(&job, why("no index"), false, now);
        assert_eq!(verdict, (Some(Duration::from_secs(pause)), quarantined));
        r.add(
            &[LogEntry::Mailbox(MailboxName::new("user.a.new")), LogEntry::User("b".into())],
            now,
        );
        let b = started(&mut r, now);
        assert_eq!(b.work.key().name(), "b");
        r.done(&b, Vec::new(), now);
        assert!(r.start(now).is_none());
        now = r.wakes_at().unwrap();
    }
    assert!(r.troubles()[&"a".into()].is_quarantined());
    let job = started(&mut r, now);
    assert_eq!(job.work.users[0].1.mailboxes.len(), 2);
    assert_eq!(r.done(&job, Vec::new(), now).0, ["user a"]);
    assert!(r.is_empty() && r.troubles().is_empty());
}

#[test]
fn the_links_fault_is_forgiven_sooner_and_whole_users_are_promoted() {
    let mut now = Instant::now();
    let mut r = queue(BOUNDS, &["user.a"], now);
    for _ in 0..6 {
        let job = started(&mut r, now);
        r.failed(&job, Reason { links_fault: true, ..why("lost") }, false, now);
        now = r.wakes_at().unwrap();
    }
    let job = started(&mut r, now);
    assert!(!job.work.users[0].1.whole);
    let (pause, _) = r.failed(&job, why("refused"), true, now);
    assert_eq!(pause, Some(Duration::from_secs(60)));
    assert!(started(&mut r, now + Duration::from_secs(60)).work.users[0].1.whole);
}

#[test]
fn one_pass_leaves_who_fails_and_ends() {
    let mut now = Instant::now();
    let once = Bounds { patience: Patience::Pass, ..BOUNDS };
    let mut r = queue(once, &["user.a", "user.b"], now);
    let (a, b) = (started(&mut r, now), started(&mut r, now));
    assert!(r.deferred(&b, Kind::Skipped, "skipuser", now));
    let mut job = a;
    loop {
        let (pause, _) = r.failed(&job, why("no index"), false, now);
        let Some(pause) = pause else { break };
        now += pause;
        job = started(&mut r, now);
    }
    assert!(r.start(now).is_none() && r.is_at_rest() && !r.is_empty());
    assert_eq!(r.take_unsaved().len(), 2);
}

#[test]
fn a_locked_user_makes_room_and_goes_first_with_its_lock() {
    let now = Instant::now();
    let one = Bounds { in_flight: 1, ..BOUNDS };
    let mut r = queue(one, &["user.a", "user.b", "user.c"], now);
    let a = started(&mut r, now);
    assert!(r.waits_for_lock(&a));
    let b = started(&mut r, now);
    r.got_lock(WorkJob { locks: vec![("a".into(), ())], ..a });
    r.done(&b, Vec::new(), now);
    let a = started(&mut r, now);
    assert_eq!((a.work.key().name(), a.locks.len()), ("a", 1));
    r.done(&a, Vec::new(), now);
    let c = started(&mut r, now);
    assert!(r.deferred(&c, Kind::Locked, "locked", now));
    let at = r.wakes_at().unwrap();
    let c = started(&mut r, at);
    assert!(!r.deferred(&c, Kind::Locked, "locked", now), "it was said before");
}

#[test]
fn linked_users_come_together_at_once() {
    let now = Instant::now();
    let mut r = queue(BOUNDS, &["user.a"], now);
    let a = started(&mut r, now);
    r.linked(&a, &"a".into(), &"b".into(), now);
    let both = started(&mut r, now);
    assert_eq!(both.work.users.len(), 2);
    // Locked, so each is tried alone; if that does not work, together a moment later.
    r.split(&both, now);
    let a = started(&mut r, now);
    assert_eq!(a.work.users.len(), 1);
    let b = started(&mut r, now);
    r.done(&b, Vec::new(), now);
    r.linked(&a, &"a".into(), &"b".into(), now);
    assert!(r.start(now).is_none());
    let both = started(&mut r, now + LOCKED_PAUSE);
    assert_eq!(both.work.users.len(), 2);
    r.stop();
    assert!(r.start(now).is_none() && !r.is_at_rest());
    r.not_begun(&both);
    assert!(r.is_at_rest() && !r.is_empty());
}

#[test]
fn a_mailbox_that_fails_rests_by_itself() {
    let mut now = Instant::now();
    let mut r = queue(BOUNDS, &["user.a.bad", "user.a.good"], now);
    let bad = LogEntry::Mailbox(MailboxName::new("user.a.bad"));
    let failure =
        || Failure { owner: "a".into(), entry: bad.clone(), reason: "needs copyback".into() };
    for times in 1..=QUARANTINE {
        let job = started(&mut r, now);
        let (_, quarantined) = r.done(&job, vec![failure()], now);
        assert_eq!(quarantined.len(), usize::from(times == QUARANTINE));
        let left = r.take_unsaved();
        assert_eq!(left, std::slice::from_ref(&bad), "it stays in the log");
        assert!(!r.is_at_rest() && !r.is_empty());
        // The user's other mailboxes are done at once; new entries of the failing one wait.
        r.add(&[LogEntry::Mailbox(MailboxName::new("user.a.good")), bad.clone()], now);
        let job = started(&mut r, now);
        assert_eq!(job.work.users[0].1.mailboxes.len(), 1);
        r.done(&job, Vec::new(), now);
        assert!(r.start(now).is_none());
        now = r.wakes_at().unwrap();
    }
    assert!(r.troubles()[&"a".into()].is_quarantined());
    let job = started(&mut r, now);
    assert_eq!(r.done(&job, Vec::new(), now).0, ["MAILBOX user.a.bad"]);
    assert!(r.is_empty() && r.is_at_rest() && r.troubles().is_empty());
}

#[test]
fn who_needs_a_user_that_rests_looks_again_a_moment_later_and_then_they_meet() {
    let now = Instant::now();
    let mut r = queue(BOUNDS, &["user.b"], now);
    let b = started(&mut r, now);
    r.deferred(&b, Kind::Skipped, "skipuser", now);
    r.add(&[LogEntry::Mailbox(MailboxName::new("user.a"))], now);
    let mut at = now;
    while at < now + SKIP_PAUSE {
        let a = started(&mut r, at);
        assert_eq!(a.work.users.len(), 1);
        assert!(r.linked(&a, &"a".into(), &"b".into(), at));
        assert!(r.start(at).is_none(), "not at full speed");
        at += LOCKED_PAUSE;
    }
    assert_eq!(started(&mut r, at).work.users.len(), 2);
}

#[test]
fn one_pass_gives_up_who_needs_a_user_that_was_given_up() {
    let mut now = Instant::now();
    let mut r = queue(Bounds { patience: Patience::Pass, ..BOUNDS }, &["user.a", "user.b"], now);
    let (mut a, b) = (started(&mut r, now), started(&mut r, now));
    r.deferred(&b, Kind::Skipped, "skipuser", now);
    for _ in 1..QUARANTINE {
        assert!(!r.linked(&a, &"a".into(), &"b".into(), now));
        r.failed(&a, why("both must be replicated together"), false, now);
        now = r.wakes_at().unwrap();
        a = started(&mut r, now);
    }
    assert_eq!(r.failed(&a, why("both"), false, now), (None, true));
    assert!(r.start(now).is_none() && r.is_at_rest() && r.take_unsaved().len() == 2);
}

#[test]
fn what_was_sent_is_counted_once_whoever_the_work_is_reported_under() {
    let now = Instant::now();
    let mut r = queue(BOUNDS, &["user.b"], now);
    let b = started(&mut r, now);
    let sent = Sent { mailboxes: 1, ..Sent::default() };
    r.note(&b, sent, Vec::new());
    r.linked(&b, &"b".into(), &"a".into(), now);
    let both = started(&mut r, now);
    assert_eq!((both.owner.name(), both.sent), ("a", sent));
    r.done(&both, Vec::new(), now);
    r.add(&[LogEntry::Mailbox(MailboxName::new("user.b"))], now);
    assert_eq!(started(&mut r, now).sent, Sent::default());
}
