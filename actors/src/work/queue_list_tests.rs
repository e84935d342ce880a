//! The works of a list, with a clock of the tests' own.

use std::sync::Arc;

use cyrus_types::NameRules;
use sync_plan::backlog::Tasks;

use super::*;
use crate::settings::Jitter;
use crate::user::tasks::whole;
use crate::work::retry::TRIES;

fn queue(jobs: usize, users: &[&str], now: Instant) -> WorkQueue<()> {
    let bounds = Bounds {
        in_flight: jobs,
        first_pause: Duration::from_secs(1),
        longest_pause: Duration::from_secs(60),
        patience: Patience::ByClass,
        jitter: Jitter::Off,
    };
    let mut queue = WorkQueue::new(Backlog::new(NameRules::default()), bounds);
    users.iter().for_each(|user| queue.give(&whole((*user).into()), now));
    queue
}

fn started(queue: &mut WorkQueue<()>, now: Instant) -> WorkJob<()> {
    queue.start(now).expect("nothing to start")
}

fn is_over(queue: &mut WorkQueue<()>, now: Instant) -> bool {
    queue.start(now).is_none() && queue.is_at_rest() && queue.is_empty()
}

fn failure(class: Class) -> Reason<'static> {
    Reason { words: "no", class, links_fault: false }
}

#[test]
fn users_come_in_their_order_and_no_more_than_jobs_at_once() {
    let now = Instant::now();
    let mut queue = queue(2, &["c", "a", "b"], now);
    let first = started(&mut queue, now);
    let names = [first.owner.name().to_string(), started(&mut queue, now).owner.name().into()];
    assert_eq!(names, ["c", "a"]);
    assert!(queue.start(now).is_none() && !queue.is_at_rest() && queue.wakes_at().is_none());
    queue.done(&first, Vec::new(), now);
    assert_eq!(started(&mut queue, now).owner.name(), "b");
}

#[test]
fn only_some_users_are_held_before_their_turn() {
    let now = Instant::now();
    let users: Vec<String> = (0..READY + 1).map(|number| format!("user{number}")).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    let mut queue = queue(1, &users, now);
    assert!(!queue.wants_more());
    started(&mut queue, now);
    assert!(!queue.wants_more(), "64 have not started");
    queue.stop();
    assert!(!queue.wants_more());
}

#[test]
fn a_transient_failure_rests_longer_each_time_then_the_user_has_ended() {
    let mut now = Instant::now();
    let mut queue = queue(1, &["a"], now);
    for (tries, pause) in [(1, 1), (2, 2), (3, 4)] {
        let job = started(&mut queue, now);
        assert_eq!(job.tries, tries);
        let pause = Duration::from_secs(pause);
        let verdict = queue.failed(&job, failure(Class::Transient), false, now);
        assert_eq!(verdict, (Some(pause), false));
        assert!(queue.start(now).is_none() && queue.wakes_at() == Some(now + pause));
        now += pause;
    }
    let job = started(&mut queue, now);
    let verdict = queue.failed(&job, failure(Class::Transient), false, now);
    assert_eq!((verdict, job.tries), ((None, false), TRIES));
    assert!(is_over(&mut queue, now) && queue.troubles().is_empty());
}

#[test]
fn the_class_says_whether_another_try_may_help() {
    let now = Instant::now();
    for (class, tries) in [(Class::Unsure, 2), (Class::Permanent, 1)] {
        let mut queue = queue(1, &["a"], now);
        let mut job = started(&mut queue, now);
        while let (Some(pause), _) = queue.failed(&job, failure(class), false, now) {
            job = started(&mut queue, now + pause);
        }
        assert_eq!(job.tries, tries);
        assert!(is_over(&mut queue, now));
    }
}

#[test]
fn who_was_not_started_comes_again_with_what_was_sent_and_has_lost_no_try() {
    let now = Instant::now();
    let mut queue = queue(1, &["a"], now);
    let job = started(&mut queue, now);
    let sent = Sent { mailboxes: 1, ..Sent::default() };
    queue.note(&job, sent, Vec::new());
    queue.not_begun(&job);
    let job = started(&mut queue, now);
    assert_eq!((job.tries, job.sent), (1, sent));
    queue.done(&job, Vec::new(), now);
    assert!(is_over(&mut queue, now));
}

#[test]
fn a_locked_or_skipped_user_has_ended() {
    let now = Instant::now();
    let mut queue = queue(2, &["a", "b"], now);
    let (a, b) = (started(&mut queue, now), started(&mut queue, now));
    assert!(queue.deferred(&a, Kind::Locked, "locked", now));
    assert!(queue.waits_for_lock(&b));
    assert!(queue.waited_in_vain(&b, Kind::Skipped, "skipuser", now));
    assert!(is_over(&mut queue, now));
}

#[test]
fn a_linked_users_own_work_stays_apart_and_neither_holds_the_others_lock() {
    let now = Instant::now();
    let mut queue = queue(2, &["b", "a"], now);
    let (b, a) = (started(&mut queue, now), started(&mut queue, now));
    assert!(queue.linked(&b, &"b".into(), &"a".into(), now));
    // Anna's lock is ours: nobody is called locked for that.
    assert!(queue.start(now).is_none() && !queue.is_at_rest());
    queue.done(&a, Vec::new(), now);
    let b = started(&mut queue, now);
    let all: Vec<&str> = b.work.users.iter().map(|(owner, _)| owner.name()).collect();
    assert_eq!((all, b.owner.name(), b.work.owners().count()), (vec!["a", "b"], "b", 1));
    assert!(!queue.linked(&b, &"b".into(), &"a".into(), now), "that did not help");
    // While she rests, what is given for the other user goes on.
    queue.give(&whole("a".into()), now);
    let (pause, _) = queue.failed(&b, failure(Class::Transient), false, now);
    let a = started(&mut queue, now);
    assert_eq!((a.owner.name(), a.work.users.len()), ("a", 1));
    queue.done(&a, Vec::new(), now);
    let b = started(&mut queue, now + pause.unwrap());
    assert_eq!((b.tries, b.work.users.len()), (2, 2));
    queue.done(&b, Vec::new(), now);
    assert!(is_over(&mut queue, now));
}

#[test]
fn a_followed_name_is_looked_for_by_the_next_try() {
    let name = MailboxName::new;
    let now = Instant::now();
    let mut queue = queue(1, &[], now);
    let mut tasks = Tasks::default();
    tasks.mailboxes.insert(name("user.anna.old"));
    queue.give(&WorkUnit { users: vec![("anna".into(), tasks)] }, now);
    let job = started(&mut queue, now);
    queue.note(&job, Sent::default(), [name("user.anna.new")]);
    let (pause, _) = queue.failed(&job, failure(Class::Transient), false, now);
    let job = started(&mut queue, now + pause.unwrap());
    let both = [name("user.anna.old"), name("user.anna.new")].into();
    assert_eq!(job.work.users[0].1.mailboxes, both);
}

#[test]
fn after_a_stop_who_rests_has_failed_and_who_waits_is_not_reached() {
    let now = Instant::now();
    let mut queue = queue(4, &["a", "b", "c", "d"], now);
    let [a, b, c, d] = [(); 4].map(|()| started(&mut queue, now));
    queue.failed(&a, failure(Class::Transient), false, now);
    assert!(queue.waits_for_lock(&b));
    queue.stop();
    // What is in flight may end, but is not tried again.
    assert!(queue.start(now).is_none() && !queue.is_at_rest());
    assert_eq!(queue.failed(&c, failure(Class::Transient), false, now).0, None);
    queue.not_begun(&d);
    assert!(queue.start(now).is_none() && queue.is_at_rest());
    let locked =
        WorkJob { locks: vec![("b".into(), ())], ..WorkJob::new(Arc::clone(&b.work), now) };
    queue.got_lock(locked);
    assert!(queue.is_at_rest());
    let failed = queue.never_tried_again(now);
    let [user] = failed.as_slice() else { panic!("{failed:?}") };
    assert_eq!((user.owner.name(), user.tries), ("a", 1));
    assert_eq!(user.outcome, Outcome::Failed { reason: "no".into() });
}

#[test]
fn after_a_stop_whose_rest_was_over_but_whose_turn_had_not_come_has_failed_too() {
    let now = Instant::now();
    let mut queue = queue(2, &["a", "b", "c"], now);
    let (a, b) = (started(&mut queue, now), started(&mut queue, now));
    queue.note(&b, Sent { mailboxes: 1, ..Sent::default() }, Vec::new());
    queue.failed(&a, failure(Class::Transient), false, now);
    queue.failed(&b, failure(Class::Transient), false, now);
    let c = started(&mut queue, now);
    let later = now + Duration::from_secs(2);
    let again = started(&mut queue, later);
    queue.stop();
    queue.not_begun(&again);
    queue.done(&c, Vec::new(), later);
    assert!(queue.start(later).is_none() && queue.is_at_rest());
    let failed = queue.never_tried_again(later);
    let all: Vec<_> = failed.iter().map(|user| (user.owner.name(), user.sent.mailboxes)).collect();
    assert_eq!(all, [("a", 0), ("b", 1)]);
    assert!(queue.never_tried_again(later).is_empty());
}

#[test]
fn who_lost_a_connection_once_stays_alone_after_another_failure() {
    let now = Instant::now();
    let mut queue = queue(1, &["a"], now);
    let lost = Reason { links_fault: true, ..failure(Class::Transient) };
    for (why, alone) in [(lost, false), (failure(Class::Transient), true), (lost, true)] {
        let at = queue.wakes_at().unwrap_or(now);
        let job = started(&mut queue, at);
        assert_eq!(job.alone, alone);
        queue.failed(&job, why, false, at);
    }
}

#[test]
fn a_lent_lock_is_given_back_while_its_borrower_rests_or_waits() {
    let now = Instant::now();
    let mut queue = queue(3, &["b"], now);
    let b = started(&mut queue, now);
    assert!(queue.linked(&b, &"b".into(), &"a".into(), now));
    let b = started(&mut queue, now);
    queue.give(&whole("a".into()), now);
    assert!(queue.start(now).is_none(), "her lock is lent");
    assert!(queue.waits_for_lock(&b));
    let a = started(&mut queue, now);
    // He has his own lock now, but hers is in use: he does not keep it while he waits for her.
    queue.got_lock(WorkJob { locks: vec![("b".into(), ())], ..b });
    assert!(queue.start(now).is_none() && !queue.is_at_rest());
    // She rests, and does not need it.
    let (pause, _) = queue.failed(&a, failure(Class::Transient), false, now);
    let b = started(&mut queue, now);
    assert_eq!((b.owner.name(), b.work.users.len(), b.locks.len()), ("b", 2, 0));
    let later = now + pause.unwrap();
    assert!(queue.start(later).is_none(), "he has it now");
    queue.done(&b, Vec::new(), later);
    let a = started(&mut queue, later);
    assert_eq!((a.owner.name(), a.tries), ("a", 2));
    queue.done(&a, Vec::new(), later);
    assert!(is_over(&mut queue, later));
}
