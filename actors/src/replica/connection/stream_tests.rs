//! Commands in pieces.

use std::time::Duration;

use bytes::Bytes;
use csync::CommandKind;

use super::testing::{lost, open};
use crate::replica::client::Client;
use crate::replica::command_error::CommandError;
use crate::replica::testing::given::in_paused_time;

/// Sends these pieces from a thread; after the last one closes the command, or drops it.
async fn send_pieces(
    client: &Client,
    pieces: &[&'static str],
    close: bool,
) -> Option<CommandError> {
    let (client, pieces) = (client.clone(), pieces.to_vec());
    let sending = tokio::task::spawn_blocking(move || {
        let mut stream = client.stream(CommandKind::Mailbox);
        let (last, first) = pieces.split_last().unwrap();
        for piece in first {
            assert!(stream.push(Bytes::from(*piece)).is_ok());
        }
        assert_eq!(stream.is_begun(), !first.is_empty());
        if close {
            return Some(stream.close(Bytes::from(*last)).unwrap());
        }
        stream.push(Bytes::from(*last)).unwrap();
        None
    });
    let pending = sending.await.unwrap()?;
    pending.done().await.err()
}

#[test]
fn the_pieces_of_a_command_arrive_as_one() {
    in_paused_time(async {
        let (line, peer) = open(
            "C: APPLY MAILBOX %(RECORD ())
             S: OK success
             C: APPLY MAILBOX %()
             S: OK success
             farewell",
        );
        let client = line.worker();
        let pieces = ["APPLY MAILBOX %(", "RECORD (", "))\r\n"];
        assert_eq!(send_pieces(&client, &pieces, true).await, None);
        assert_eq!(send_pieces(&client, &["APPLY MAILBOX %()\r\n"], true).await, None);
        drop(client);
        line.ended().await;
        peer.heard().await;
    });
}

#[test]
fn a_command_that_is_dropped_in_the_middle_ends_the_connection() {
    in_paused_time(async {
        let (line, peer) = open("");
        let client = line.worker();
        send_pieces(&client, &["APPLY MAILBOX %(", "RECORD ("], false).await;
        // Nothing of another command may follow: the replica would read it as the rest of the first.
        lost(client.noop().await);
        drop(client);
        assert_eq!(line.ended().await.reason, "MAILBOX was broken off in the middle");
        assert!(peer.heard_text().await.iter().all(|heard| !heard.contains("NOOP")));
    });
}

#[test]
fn no_farewell_follows_half_a_command() {
    in_paused_time(async {
        let (line, peer) = open("");
        let client = line.worker();
        send_pieces(&client, &["APPLY MAILBOX %("], false).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(client);
        assert_eq!(line.ended().await.reason, "MAILBOX was broken off in the middle");
        assert_eq!(peer.heard_text().await, ["APPLY MAILBOX %("]);
    });
}

#[test]
fn large_frames_and_small_ones_keep_their_order() {
    in_paused_time(async {
        let (line, peer) = open("");
        let (client, large) = (line.worker(), "y".repeat(100_000));
        let sent = format!("a{large}b{large}\r\n");
        let pieces: Vec<Bytes> =
            ["a", &large, "b", &large, "\r\n"].map(|p| Bytes::from(p.to_string())).to_vec();
        tokio::task::spawn_blocking(move || {
            let mut stream = client.stream(CommandKind::Mailbox);
            let (last, first) = pieces.split_last().unwrap();
            first.iter().for_each(|piece| stream.push(piece.clone()).unwrap());
            drop(stream.close(last.clone()).unwrap());
        })
        .await
        .unwrap();
        assert_eq!(line.ended().await.reason, "closed by us");
        assert_eq!(peer.heard_text().await, [format!("{sent}EXIT\r\n")]);
    });
}
