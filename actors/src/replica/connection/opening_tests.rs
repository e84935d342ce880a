//! Connections that take commands before the end of the handshake.

use std::time::Duration;

use super::testing::{Given, Line, lost};
use crate::replica::testing::given::in_paused_time;
use crate::replica::testing::peer::Peer;

const LONGEST: Duration = Duration::from_secs(30);

fn open(script: &str) -> (Line, Peer) {
    Given { early: Some(LONGEST), ..Given::default() }.open(script)
}

#[test]
fn what_was_asked_ahead_is_answered_behind_the_agreement() {
    in_paused_time(async {
        let (line, peer) = open(
            "C: GET QUOTA user.anna
             -- 25s
             S: * ENABLED (SIEVE-MAILBOX)
             S: OK success
             S: * QUOTA %(ROOT user.anna STORAGE 100 MODSEQ 7)
             S: OK success
             C: NOOP
             close",
        );
        let client = line.asker(1);
        let asked = client.get_quota("user.anna").await.unwrap();
        assert_eq!(asked.answer().await.unwrap().user.quotas[0].root, "user.anna");
        // From now on it is a connection like any other.
        assert!(!lost(client.noop().await).1);
        drop(client);
        assert!(!line.ended().await.unopened);
        peer.heard().await;
    });
}

/// The errors of all questions sent ahead on such a connection, and of a later one.
fn aborted_by(script: &str) -> String {
    in_paused_time(async {
        let (line, peer) =
            open(&format!("C: GET QUOTA user.anna\nC: GET QUOTA user.bert\n{script}"));
        let (first, second) = (line.asker(1), line.asker(2));
        let anna = first.get_quota("user.anna").await.unwrap();
        let bert = second.get_quota("user.bert").await.unwrap();
        let asked =
            [anna.answer().await.map(drop), bert.answer().await.map(drop), first.noop().await];
        drop((first, second));
        let closed = line.ended().await;
        assert!(closed.unopened);
        // All count as never asked.
        for e in asked {
            assert_eq!(lost(e), (closed.reason.clone(), true));
        }
        peer.heard().await;
        closed.reason
    })
}

#[test]
fn what_was_asked_ahead_of_a_refusal_counts_as_never_asked() {
    let reason = aborted_by("S: NO Permission denied");
    assert!(reason.contains("Permission denied") || reason.contains("admin"), "{reason}");
    let closed = aborted_by("close");
    assert_eq!(closed, "the replica closed the connection");
    let bye = aborted_by("S: * BYE shutting down");
    assert!(bye.contains("shutting down"), "{bye}");
}

#[test]
fn a_replica_that_enables_less_than_it_offered_was_asked_in_vain() {
    let reason = aborted_by("S: OK success");
    assert_eq!(reason, "it did not enable SIEVE-MAILBOX, which it offers");
}

#[test]
fn an_agreement_that_takes_too_long_is_none() {
    assert_eq!(aborted_by("-- 31s\nS: OK success"), "its opening took too long");
}
