//! How long a connection waits, and for what.

use std::time::Duration;

use bytes::Bytes;
use csync::CommandKind;
use tokio::time::Instant;

use super::testing::{Given, lost, open};
use crate::replica::ask::About;
use crate::replica::frames::FrameSender;
use crate::replica::testing::given::{TIMEOUT, in_paused_time};

/// How late a connection may notice something.
const LATE: Duration = Duration::from_secs(1);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn is_about(time: Duration, wanted: Duration) -> bool {
    wanted <= time && time <= wanted + LATE
}

#[test]
fn silence_while_an_answer_is_due_ends_the_connection() {
    in_paused_time(async {
        let (line, peer) = open("C: NOOP\nend\n-- 5m\nclose");
        let (client, since) = (line.worker(), Instant::now());
        let (reason, behind) = lost(client.noop().await);
        assert_eq!((reason.as_str(), behind), ("no answer in 20 seconds", false));
        assert!(is_about(since.elapsed(), TIMEOUT), "{:?}", since.elapsed());
        // The replica may still carry out what was sent, until the peer ends.
        let end = client.end().clone();
        assert!(end.is_fading());
        drop(client);
        line.ended().await;
        end.gone().await;
        assert!(is_about(since.elapsed(), TIMEOUT + seconds(5 * 60)), "{:?}", since.elapsed());
        assert!(!end.is_fading());
        peer.heard().await;
    });
}

#[test]
fn silence_is_no_fault_while_nothing_is_due() {
    in_paused_time(async {
        let (line, peer) = open("quiet 1h\nC: NOOP\n-- 19s\nS: OK Noop completed");
        let client = line.worker();
        tokio::time::sleep(seconds(60 * 60)).await;
        client.noop().await.unwrap();
        drop((client, line));
        peer.heard().await;
    });
}

#[test]
fn an_answer_that_is_slow_but_steady_is_waited_for() {
    in_paused_time(async {
        let row = format!("S: * SIEVE %(FILENAME {} LAST_UPDATE 1)\n-- 2s\n", "x".repeat(64_000));
        let (line, peer) = open(&format!("C: GET META anna\n{}S: OK success", row.repeat(60)));
        let (client, since) = (line.asker(1), Instant::now());
        client.get_meta("anna").await.unwrap().answer().await.unwrap();
        assert!(is_about(since.elapsed(), seconds(2 * 60)), "{:?}", since.elapsed());
        drop((client, line));
        peer.heard().await;
    });
}

#[test]
fn an_answer_that_only_drips_is_not_waited_for() {
    in_paused_time(async {
        let drip = "S- x\n-- 5s\n".repeat(20);
        let (line, peer) = open(&format!("C: GET META anna\nS- * SIEVE %(FILENAME \n{drip}"));
        let (client, since) = (line.asker(1), Instant::now());
        let (reason, _) = lost(client.get_meta("anna").await.unwrap().answer().await);
        assert_eq!(reason, "no answer in 20 seconds");
        assert!(is_about(since.elapsed(), TIMEOUT), "{:?}", since.elapsed());
        drop((client, line));
        peer.heard().await;
    });
}

#[test]
fn who_asks_behind_a_slow_answer_is_sent_elsewhere_and_the_rest_stays_in_order() {
    in_paused_time(async {
        let (line, peer) = open(
            "C: GET QUOTA user.anna
             C: GET QUOTA user.bert
             -- 15s
             S: * QUOTA %(ROOT user.anna STORAGE 1 MODSEQ 7)
             S: OK success
             S: * QUOTA %(ROOT user.bert STORAGE 2 MODSEQ 7)
             S: OK success
             C: GET QUOTA user.carl
             S: * QUOTA %(ROOT user.carl STORAGE 3 MODSEQ 7)
             S: OK success",
        );
        let since = Instant::now();
        let anna = line.asker(1).get_quota("user.anna").await.unwrap();
        let bert = line.asker(2).get_quota("user.bert").await.unwrap();
        let (reason, behind) = lost(bert.answer().await);
        assert_eq!((reason.as_str(), behind), ("another user's answer is slow in coming", true));
        assert!(is_about(since.elapsed(), super::reader::PATIENCE), "{:?}", since.elapsed());
        assert_eq!(anna.answer().await.unwrap().user.quotas[0].root, "user.anna");
        let carl = line.asker(3).get_quota("user.carl").await.unwrap();
        assert_eq!(carl.answer().await.unwrap().user.quotas[0].root, "user.carl");
        drop(line);
        peer.heard().await;
    });
}

/// A command of this many bytes.
async fn send_large(frames: &FrameSender, bytes: usize) -> (String, bool) {
    let bytes = Bytes::from(vec![b'x'; bytes]);
    lost(frames.command(CommandKind::Sieve, bytes, About::Anything).await.unwrap().done().await)
}

#[test]
fn a_peer_that_takes_nothing_is_given_up() {
    in_paused_time(async {
        let (line, peer) = Given { room: 1024, ..Given::default() }.open("-- 10m");
        let (frames, since) = (line.frames.clone(), Instant::now());
        let (reason, behind) = send_large(&frames, 100_000).await;
        let wanted = "the replica took nothing for 20 seconds";
        assert_eq!((reason.as_str(), behind), (wanted, false));
        assert!(is_about(since.elapsed(), TIMEOUT), "{:?}", since.elapsed());
        drop(frames);
        line.ended().await;
        peer.heard().await;
    });
}

#[test]
fn a_peer_that_takes_no_farewell_is_left_soon() {
    in_paused_time(async {
        let (line, peer) = Given { room: 2, ..Given::default() }.open("-- 10m");
        let since = Instant::now();
        assert_eq!(line.ended().await.reason, "closed by us");
        assert!(is_about(since.elapsed(), seconds(2)), "{:?}", since.elapsed());
        peer.heard().await;
    });
}

#[test]
fn who_talks_without_being_asked_is_not_listened_to_for_ever() {
    in_paused_time(async {
        let talk = format!("S- {}\n-- 1s\n", "x".repeat(1000)).repeat(100);
        let (line, peer) = open(&format!("S- * \n{talk}"));
        let since = Instant::now();
        let frames = line.frames.clone();
        let closed = line.ended().await;
        assert_eq!(closed.reason, "the replica talks without being asked");
        assert!(is_about(since.elapsed(), seconds(65)), "{:?}", since.elapsed());
        drop(frames);
        peer.heard().await;
    });
}
