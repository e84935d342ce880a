//! Tests of what a run reports.

use super::*;

fn report(users: Vec<UserReport>) -> RunReport {
    let mut report = RunReport::default();
    users.into_iter().for_each(|user| report.add(user));
    report
}

fn user(owner: impl Into<Owner>, outcome: Outcome, messages: u64) -> UserReport {
    UserReport {
        owner: owner.into(),
        outcome,
        sent: Sent { mailboxes: 1, messages, bytes: messages * 2_000_000, ..Sent::default() },
        tries: 1,
        took: Duration::ZERO,
    }
}

#[test]
fn the_summary_counts_each_outcome_and_names_who_is_not_there() {
    let failed = Outcome::Failed { reason: "no index".into() };
    let mut report = report(vec![
        user("a", Outcome::Done, 2),
        user("b", Outcome::Unchanged, 0),
        user("c", failed, 0),
        user("d", Outcome::Absent, 0),
        user("e", Outcome::Locked, 0),
        user("f", Outcome::Skipped, 0),
        user(Owner::Shared, Outcome::Done, 1),
    ]);
    report.took = Duration::from_millis(1234);
    assert_eq!(
        report.to_string(),
        "6 users in 1s 234ms: 1 replicated, 1 already equal, 1 locked, 1 skipped, 1 without an INBOX, 1 failed, shared mailboxes replicated; sent 3 messages, 6.0 MB (4.9 MB/s)\nfailed: c: no index\nwithout an INBOX: d: left alone on the replica\nlocked: e: somebody else holds the sync lock\nskipped: f: there is a skipuser file"
    );
    report.by_name = true;
    let lines = report.to_string();
    assert!(lines.contains("\nno such user: \"d\" has no INBOX on this server\n"), "{lines}");
}

#[test]
fn zeroes_are_left_out() {
    let summary = |user| {
        let mut report = report(vec![user]);
        report.took = Duration::from_millis(20);
        report.to_string()
    };
    let mut equal = user("a", Outcome::Unchanged, 0);
    equal.sent.mailboxes = 0;
    assert_eq!(summary(equal), "1 user in 20ms: 1 already equal");
    assert_eq!(summary(user("a", Outcome::Done, 0)), "1 user in 20ms: 1 replicated");
    let mut done = user("a", Outcome::Done, 1);
    done.sent.bytes = 1;
    assert_eq!(summary(done), "1 user in 20ms: 1 replicated; sent 1 message, 1 byte (0.0 MB/s)");
}

// Shows that a user that needs no line of its own takes no memory.
#[test]
fn whoever_ended_well_is_only_counted() {
    let failed = Outcome::Failed { reason: "no index".into() };
    let mut all = vec![user(Owner::Shared, Outcome::Unchanged, 0), user("c", failed, 1)];
    for nr in 0..1000 {
        all.push(user(format!("a{nr}").as_str(), Outcome::Done, 1));
        all.push(user(format!("b{nr}").as_str(), Outcome::Unchanged, 0));
    }
    let report = report(all);
    let names: Vec<&str> = report.named.iter().map(UserReport::name).collect();
    assert_eq!(names, ["shared mailboxes", "c"]);
    assert_eq!((report.well.replicated, report.well.equal), (1000, 1000));
    assert_eq!((report.finished(), report.sent().messages, report.failed()), (2002, 1001, 1));
}

#[test]
fn what_was_overwritten_is_said() {
    let mut done = user("a", Outcome::Done, 0);
    (done.sent.overwritten, done.sent.lost) = (2, 1);
    let lines = report(vec![done, user("b", Outcome::Done, 0)]).to_string();
    assert!(lines.starts_with("2 users in 0s: 2 replicated\n"), "{lines}");
    assert!(
        lines.ends_with("\noverwritten: a: 2 mailboxes, 1 message that only the replica had"),
        "{lines}"
    );
}

#[test]
fn only_what_is_on_the_replica_is_well() {
    let well = |outcome, by_name| {
        let users = vec![user("a", Outcome::Done, 1), user("b", outcome, 0)];
        RunReport { by_name, ..report(users) }.all_well()
    };
    for by_name in [true, false] {
        assert!(well(Outcome::Unchanged, by_name));
        assert!(!well(Outcome::Locked, by_name));
        assert!(!well(Outcome::Failed { reason: String::new() }, by_name));
        assert_eq!(well(Outcome::Absent, by_name), !by_name);
        assert_eq!(well(Outcome::Skipped, by_name), !by_name);
    }
}

#[test]
fn an_interrupted_run_says_how_far_it_came() {
    let mut report = RunReport {
        not_reached: vec!["b".into(), Owner::Shared],
        stopped: Some(Stopped::Signal),
        ..report(vec![user("a", Outcome::Done, 1)])
    };
    assert_eq!(
        report.interruption().unwrap(),
        "interrupted: 1 of 3 users finished, 2 not reached; run the same command again to go on\nnot reached: b, shared mailboxes"
    );
    assert!(!report.all_well());
    report.not_reached = (0..23).map(|nr| format!("u{nr}").as_str().into()).collect();
    assert!(report.interruption().unwrap().ends_with(", u18, u19 and 3 more"));
    report.not_reached.clear();
    assert_eq!(report.interruption().unwrap(), "interrupted");
    report.broken_off = vec!["z".into()];
    assert_eq!(
        report.interruption().unwrap(),
        "interrupted: 1 of 2 users finished, 1 broken off; run the same command again to go on\nbroken off: z"
    );
    report.broken_off.clear();
    report.stopped = None;
    assert_eq!(report.interruption(), None);
}

#[test]
fn mailboxes_are_counted_beside_their_users_and_what_is_no_name_is_a_failure() {
    let mut report = RunReport { by_name: true, mailboxes: Some(3), ..RunReport::default() };
    report.add(UserReport {
        owner: "anna".into(),
        outcome: Outcome::Done,
        sent: Sent::default(),
        tries: 1,
        took: Duration::ZERO,
    });
    assert!(report.to_string().starts_with("3 mailboxes (1 user) in "), "{report}");
    assert!(report.all_well());
    report.no_names.push("a\x1bb".into());
    assert!(!report.all_well());
    let said = report.to_string();
    assert!(said.ends_with("\nfailed: \"a\\x1bb\" can't be the name of a mailbox"), "{said}");
    let nobodys = RunReport { mailboxes: Some(1), ..RunReport::default() };
    assert!(nobodys.to_string().starts_with("1 mailbox in "), "{nobodys}");
}
