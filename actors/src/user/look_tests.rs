//! Looks at both sides.

use std::time::Duration;

use embedded_replica::Fault;
use testkit::store::Plan;

use crate::error::{Class, Interrupt};
use crate::monitor::report::{Outcome, Sent};
use crate::replica::testing::given::in_real_time;
use crate::user::testing::Pair;

fn pair() -> Pair {
    Pair::of(&Plan { users: 2, mailboxes: 2, messages: 2, ..Plan::default() })
}

#[test]
fn a_user_who_is_equal_costs_one_question_and_no_connection_of_its_own() {
    in_real_time(async {
        let pair = pair();
        pair.sync(0).await;
        let (asked, all) = (pair.count("GET USER"), pair.replica.stats());
        let again = pair.sync(0).await;
        assert!(matches!(again.result, Ok(Outcome::Unchanged)), "{:?}", again.result);
        assert_eq!((again.mailboxes, again.sent), (2, Sent::default()));
        assert_eq!(pair.count("GET USER"), asked + 1);
        let sum = |stats: &embedded_replica::Stats| stats.commands.values().sum::<u64>();
        assert_eq!(sum(&pair.replica.stats()), sum(&all) + 1, "nothing else was said");
    });
}

#[test]
fn a_user_who_is_not_here_is_absent_and_nothing_is_changed_there() {
    in_real_time(async {
        let pair = pair();
        let absent = pair.sync_as("nobody").await.unwrap();
        assert!(matches!(absent.result, Ok(Outcome::Absent)), "{:?}", absent.result);
        let commands = pair.replica.stats().commands;
        assert!(
            commands
                .keys()
                .all(|name| !name.starts_with("APPLY ") || name.ends_with("CAPABILITIES"))
        );
    });
}

#[test]
fn a_connection_that_is_lost_while_the_answer_is_due_costs_a_try() {
    in_real_time(async {
        let pair = pair();
        pair.replica.faults().at("GET USER", 1, Fault::Drop);
        let lost = pair.sync(0).await;
        let Err(Interrupt::Failed(e)) = &lost.result else { panic!("{:?}", lost.result) };
        assert!(e.is_lost() && e.class() == Class::Transient, "{e}");
        assert!(matches!(pair.sync(0).await.result, Ok(Outcome::Done)));
    });
}

#[test]
fn who_asked_behind_the_answer_that_was_due_was_not_started() {
    in_real_time(async {
        let pair = pair();
        // Both have sent their questions before this ends.
        let bytes = b"* BYE shutting down\r\n".to_vec();
        pair.replica.faults().at(
            "GET USER",
            1,
            Fault::Drip { bytes, pause: Duration::from_millis(20) },
        );
        let (one, two) = tokio::join!(pair.sync(0), pair.sync(1));
        let lost =
            |r: &Result<Outcome, Interrupt>| matches!(r, Err(Interrupt::Failed(e)) if e.is_lost());
        let results = [one.result, two.result];
        assert_eq!(results.iter().filter(|r| lost(r)).count(), 1, "{results:?}");
        let not_started = results.iter().filter(|r| matches!(r, Err(Interrupt::NotStarted)));
        assert_eq!(not_started.count(), 1, "{results:?}");
        for user in 0..2 {
            assert!(matches!(pair.sync(user).await.result, Ok(Outcome::Done)));
        }
    });
}

#[test]
fn an_answer_about_another_user_ends_the_look_and_changes_nothing() {
    in_real_time(async {
        let pair = pair();
        let foreign = "* MAILBOX %(UNIQUEID u1 MBOXNAME user.user00001)\r\nOK success\r\n";
        pair.replica.faults().at("GET USER", 1, Fault::Answer(foreign.into()));
        let lost = pair.sync(0).await;
        let Err(Interrupt::Failed(e)) = &lost.result else { panic!("{:?}", lost.result) };
        assert!(e.is_lost() && e.to_string().contains("out of step"), "{e}");
        assert_eq!((pair.replica.stats().messages, lost.sent), (0, Sent::default()));
    });
}

#[test]
fn a_refusal_of_the_question_is_the_user_s_failure() {
    in_real_time(async {
        let pair = pair();
        let (code, text) = ("IMAP_MAILBOX_LOCKED".into(), "Mailbox is locked".into());
        pair.replica.faults().at("GET USER", 1, Fault::Refuse { code, text });
        let refused = pair.sync(0).await;
        let Err(Interrupt::Failed(e)) = &refused.result else { panic!("{:?}", refused.result) };
        assert!(e.class() == Class::Transient && !e.is_lost(), "{e}");
        assert!(e.to_string().contains("the replica refused USER"), "{e}");
        assert!(matches!(pair.sync(0).await.result, Ok(Outcome::Done)));
    });
}

#[test]
fn an_empty_answer_is_believed_only_once_it_is_proven_to_be_in_step() {
    in_real_time(async {
        let pair = pair();
        // One extra OK: as if an earlier command had been answered twice.
        let twice = Fault::Answer(b"OK success\r\nOK success\r\n".to_vec());
        pair.replica.faults().at("GET USER", 1, twice);
        let lost = pair.sync(0).await;
        let Err(Interrupt::Failed(e)) = &lost.result else { panic!("{:?}", lost.result) };
        assert!(e.is_lost(), "{e}");
        assert_eq!((pair.replica.stats().messages, lost.sent), (0, Sent::default()));
    });
}
