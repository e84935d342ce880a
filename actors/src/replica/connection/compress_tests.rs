//! COMPRESS in the middle of a connection.

use std::sync::atomic::Ordering;

use super::testing::{Line, lost, open};
use crate::replica::client::Client;
use crate::replica::testing::given::in_paused_time;
use crate::replica::testing::peer::Peer;

/// Asks for compression, with a NOOP right behind it.
async fn compress_and_go_on(line: &Line, client: &Client) {
    let (asked, alive) = tokio::join!(client.compress(), client.noop());
    asked.unwrap();
    alive.unwrap();
    assert!(!line.clear.compressible.load(Ordering::Relaxed), "once is enough");
}

async fn end(line: Line, client: Client, peer: Peer) {
    drop(client);
    assert_eq!(line.ended().await.reason, "closed by us");
    peer.heard().await;
}

#[test]
fn nothing_is_written_behind_it_before_a_yes_and_all_is_deflated_then() {
    in_paused_time(async {
        let (line, peer) = open(
            "C: COMPRESS DEFLATE
             quiet 15s
             S: OK DEFLATE active
             deflate
             C: NOOP
             S: OK Noop completed
             farewell",
        );
        let client = line.worker();
        compress_and_go_on(&line, &client).await;
        end(line, client, peer).await;
    });
}

#[test]
fn nothing_is_written_behind_it_before_a_no_and_all_stays_clear() {
    in_paused_time(async {
        let (line, peer) = open(
            "C: COMPRESS DEFLATE
             quiet 15s
             S: NO not here
             C: NOOP
             S: OK Noop completed
             farewell",
        );
        let client = line.worker();
        let compressing = client.clone();
        let (asked, alive) = tokio::join!(compressing.compress(), client.noop());
        asked.unwrap();
        alive.unwrap();
        assert!(!line.clear.compressible.load(Ordering::Relaxed), "no use in asking again");
        drop(compressing);
        end(line, client, peer).await;
    });
}

/// The OK and the deflated bytes behind it may arrive in one piece.
#[test]
fn what_comes_right_behind_the_yes_is_deflated_already() {
    in_paused_time(async {
        let (line, peer) = open(
            "C: COMPRESS DEFLATE
             S: OK DEFLATE active
             deflate
             S: * BYE shutting down",
        );
        let client = line.worker();
        client.compress().await.unwrap();
        assert_eq!(lost(client.noop().await).0, "the replica said BYE: shutting down");
        drop((client, line));
        peer.heard().await;
    });
}

#[test]
fn a_connection_that_ends_meanwhile_fails_what_waits_behind_it() {
    in_paused_time(async {
        let (line, peer) = open("C: COMPRESS DEFLATE\n-- 3s\nclose");
        let (client, other) = (line.worker(), line.asker(2));
        let (asked, behind) = tokio::join!(client.compress(), other.noop());
        let closed = || "the replica closed the connection".to_string();
        assert_eq!(lost(asked), (closed(), false));
        assert_eq!(lost(behind), (closed(), true));
        drop((client, other, line));
        peer.heard().await;
    });
}
