//! What is sent to the replica and in which order, and what happens when it refuses something or the connection is lost.

use cyrus_types::MailboxName;
use embedded_replica::Fault;
use testkit::store::{Bodies, Plan, Sizes};

use crate::error::{Interrupt, UserError};
use crate::monitor::report::{Outcome, Sent};
use crate::replica::testing::given::in_real_time;
use crate::user::testing::Pair;
use crate::user::user_work::Synced;

/// Mailboxes of the user, and messages in each.
const MAILBOXES: u64 = 4;
const MESSAGES: u64 = 3;

fn pair() -> Pair {
    let (mailboxes, messages) = (MAILBOXES as usize, MESSAGES as usize);
    Pair::of(&Plan { users: 1, mailboxes, messages, ..Plan::default() })
}

fn no(code: &str) -> Fault {
    Fault::Refuse { code: code.into(), text: "as the test wants it".into() }
}

/// The failure of an attempt.
fn failure(synced: &Synced) -> &UserError {
    match &synced.result {
        Err(Interrupt::Failed(e)) => e,
        other => panic!("no failure: {other:?}"),
    }
}

fn is_done(synced: &Synced) -> bool {
    matches!(synced.result, Ok(Outcome::Done))
}

fn counts(sent: Sent) -> (u64, u64) {
    (sent.mailboxes, sent.messages)
}

/// Both sides are equal: the next attempt finds nothing to do.
async fn assert_equal(pair: &Pair) {
    let again = pair.sync(0).await;
    assert!(matches!(again.result, Ok(Outcome::Unchanged)), "{:?}", again.result);
    assert_eq!(again.sent, Sent::default());
}

#[test]
fn messages_are_taken_before_their_mailbox_is_sent_and_parents_come_before_children() {
    in_real_time(async {
        let mut pair = pair();
        let synced = pair.sync(0).await;
        assert!(is_done(&synced));
        assert_eq!(counts(synced.sent), (MAILBOXES, MAILBOXES * MESSAGES));
        let traffic = pair.traffic();
        let mut last = 0;
        for mailbox in &pair.master.disk.model().users[0].mailboxes {
            let name = format!("MBOXNAME {} ", mailbox.name);
            let applied = traffic.rfind(&name).expect("it was sent");
            let guid: String =
                mailbox.messages[0].guid.iter().map(|b| format!("{b:02x}")).collect();
            let uploaded = traffic.find(&guid).expect("its messages were sent");
            // Between the two the replica has said OK to the upload.
            let between = &traffic[uploaded..applied];
            assert!(between.contains("<OK "), "{name}");
            assert!(last < applied, "{name}");
            last = applied;
        }
        assert_equal(&pair).await;
    });
}

#[test]
fn what_is_refused_for_a_checksum_is_compared_afresh_and_sent_again() {
    for code in ["IMAP_SYNC_CHECKSUM", "IMAP_SYNC_CHANGED"] {
        in_real_time(async {
            let pair = pair();
            pair.replica.faults().at("APPLY MAILBOX", 3, no(code));
            let synced = pair.sync(0).await;
            assert!(is_done(&synced), "{code}: {:?}", synced.result);
            assert_eq!(counts(synced.sent), (MAILBOXES, MAILBOXES * MESSAGES));
            assert_eq!((pair.count("GET MAILBOXES"), pair.count("GET FULLMAILBOX")), (1, 0));
            assert_equal(&pair).await;
        });
    }
}

#[test]
fn what_is_refused_again_is_compared_record_by_record_and_then_needs_copyback() {
    in_real_time(async {
        let pair = pair();
        assert!(is_done(&pair.sync(0).await));
        let mut pair = pair;
        pair.master.disk.append(0, 1, 2).unwrap();
        for nth in 1..=3 {
            pair.replica.faults().at("APPLY MAILBOX", nth, no("IMAP_SYNC_CHECKSUM"));
        }
        let synced = pair.sync(0).await;
        assert_eq!(pair.count("GET FULLMAILBOX"), 1);
        let e = failure(&synced);
        let name = &pair.master.disk.model().users[0].mailboxes[1].name;
        let name = &MailboxName::new(name.as_str());
        let words = e.to_string();
        assert!(e.mailbox() == Some(name) && words.contains("IMAP_SYNC_CHECKSUM"), "{words}");
        assert!(synced.all_else_done);
        assert_eq!(counts(synced.sent), (0, 0));
    });
}

#[test]
fn names_that_changed_there_are_looked_at_again() {
    for code in ["IMAP_MAILBOX_MOVED", "IMAP_MAILBOX_NONEXISTENT"] {
        in_real_time(async {
            let pair = pair();
            pair.replica.faults().at("APPLY MAILBOX", 2, no(code));
            let synced = pair.sync(0).await;
            assert!(is_done(&synced), "{code}: {:?}", synced.result);
            assert!(pair.count("GET USER") >= 2, "{code}");
            assert_eq!(synced.sent.mailboxes, MAILBOXES);
            assert_equal(&pair).await;
        });
    }
}

#[test]
fn a_mailbox_that_is_refused_costs_itself_alone() {
    in_real_time(async {
        let pair = pair();
        assert!(is_done(&pair.sync(0).await));
        let mut pair = pair;
        for mailbox in 0..MAILBOXES as usize {
            pair.master.disk.append(0, mailbox, 1).unwrap();
        }
        pair.replica.faults().at("APPLY MAILBOX", 2, no("IMAP_MAILBOX_LOCKED"));
        let synced = pair.sync(0).await;
        let name = &pair.master.disk.model().users[0].mailboxes[1].name;
        let name = &MailboxName::new(name.as_str());
        assert_eq!(failure(&synced).mailbox(), Some(name));
        assert!(synced.all_else_done);
        assert_eq!(counts(synced.sent), (MAILBOXES - 1, MAILBOXES - 1));
        assert!(is_done(&pair.sync(0).await));
        assert_equal(&pair).await;
    });
}

#[test]
fn messages_that_are_refused_cost_a_connection_and_their_mailbox_alone() {
    in_real_time(async {
        let pair = pair();
        pair.replica.faults().at("APPLY MESSAGE", 2, no("IMAP_IOERROR"));
        let synced = pair.sync(0).await;
        let name = &pair.master.disk.model().users[0].mailboxes[1].name;
        let name = &MailboxName::new(name.as_str());
        let e = failure(&synced);
        assert!(e.mailbox() == Some(name) && e.to_string().contains("IMAP_IOERROR"), "{e}");
        // The others go over another connection; the first one may have lost an answer.
        assert!(synced.all_else_done);
        assert_eq!(pair.replica.stats().connections, 2);
        assert!((MAILBOXES - 2..MAILBOXES).contains(&synced.sent.mailboxes), "{:?}", synced.sent);
        assert!(is_done(&pair.sync(0).await));
        assert_equal(&pair).await;
    });
}

/// What counts as sent when the connection ends at the third of four mailboxes.
fn sent_when(fault: Fault) {
    in_real_time(async {
        let pair = pair();
        // The one that asks for a new partition has no records, and comes before.
        pair.replica.faults().at("APPLY MAILBOX", 4, fault);
        let lost = pair.sync(0).await;
        assert!(failure(&lost).is_lost(), "{:?}", lost.result);
        assert!(!lost.all_else_done);
        let (mailboxes, messages) = counts(lost.sent);
        assert!((1..MAILBOXES).contains(&mailboxes), "{mailboxes}");
        assert_eq!(messages, mailboxes * MESSAGES, "messages count with their mailbox");
        let then = pair.sync(0).await;
        assert!(is_done(&then));
        assert!(then.sent.mailboxes >= MAILBOXES - mailboxes - 1);
        assert_equal(&pair).await;
    });
}

#[test]
fn what_was_taken_before_a_connection_is_lost_counts_and_nothing_else() {
    sent_when(Fault::Drop);
}

#[test]
fn what_was_carried_out_and_not_answered_does_not_count() {
    sent_when(Fault::DropAfter);
}

/// RESTART goes right behind the last change where little was uploaded, else once all is answered.
#[test]
fn a_lost_restart_is_a_lost_try_though_all_was_sent() {
    for bytes in [2_000, 120_000] {
        in_real_time(async {
            let (mailboxes, messages) = (MAILBOXES as usize, MESSAGES as usize);
            let sizes = Sizes::Fixed(bytes);
            let plan = Plan { users: 1, mailboxes, messages, sizes, ..Plan::default() };
            let pair = Pair::of(&plan);
            pair.replica.faults().at("RESTART", 1, Fault::Drop);
            let lost = pair.sync(0).await;
            assert!(failure(&lost).is_lost(), "{bytes}: {:?}", lost.result);
            assert_eq!(counts(lost.sent), (MAILBOXES, MAILBOXES * MESSAGES));
            assert_equal(&pair).await;
        });
    }
}

/// All messages are equal, and so large that RESERVE asks for them.
fn pair_of_copies() -> Pair {
    let plan = Plan { users: 1, mailboxes: 2, messages: 1, ..Plan::default() };
    Pair::of(&Plan { bodies: Bodies::Repeated(1), sizes: Sizes::Fixed(200_000), ..plan })
}

#[test]
fn what_the_replica_has_in_another_mailbox_is_not_uploaded_again() {
    in_real_time(async {
        let mut pair = pair_of_copies();
        assert!(is_done(&pair.sync(0).await));
        let uploaded = pair.replica.stats().messages;
        pair.master.disk.append(0, 1, 3).unwrap();
        let synced = pair.sync(0).await;
        assert!(is_done(&synced));
        assert_eq!(counts(synced.sent), (1, 0));
        assert!(pair.count("APPLY RESERVE") >= 1);
        assert_eq!(pair.replica.stats().messages, uploaded);
        assert_equal(&pair).await;
    });
}

#[test]
fn an_answer_to_reserve_that_makes_no_sense_ends_the_try_without_harm() {
    in_real_time(async {
        let mut pair = pair_of_copies();
        assert!(is_done(&pair.sync(0).await));
        pair.master.disk.append(0, 1, 3).unwrap();
        let nonsense = Fault::Answer(b"* MISSING (no-guid)\r\nOK success\r\n".to_vec());
        pair.replica.faults().at("APPLY RESERVE", 1, nonsense);
        let synced = pair.sync(0).await;
        let words = failure(&synced).to_string();
        assert!(words.contains("answer to RESERVE makes no sense"), "{words}");
        assert_eq!(counts(synced.sent), (0, 0));
        assert!(is_done(&pair.sync(0).await));
        assert_equal(&pair).await;
    });
}
