//! Which answer belongs to which command, and answers that belong to none and end the connection.

use std::sync::Arc;

use bytes::Bytes;
use csync::{CommandKind, Framing};
use cyrus_types::NameRules;
use tokio::sync::oneshot;
use tracing::Span;

use super::SAID_BYE;
use super::testing::{Given, Line, lost, open};
use crate::replica::ask::{About, Ask, Asker, Pending};
use crate::replica::command_error::CommandError;
use crate::replica::frames::Frame;
use crate::replica::testing::given::in_paused_time;

const OUT_OF_STEP: &str = "the replica's answers are out of step";

fn quota(root: &str) -> String {
    format!("S: * QUOTA %(ROOT {root} STORAGE 100 MODSEQ 7)")
}

/// A command that can be sent in pieces, and where its answer goes.
fn ask(kind: CommandKind) -> (Ask, Pending) {
    let (reply, pending) = oneshot::channel();
    let (asker, about, span) = (Asker::default(), About::Anything, Span::none());
    (Ask { kind, asker, about, reply, span }, pending)
}

async fn push(line: &Line, frame: Frame) {
    line.frames.frames.send(frame).await.unwrap();
}

#[test]
fn commands_go_out_ahead_of_answers_which_come_in_their_order() {
    in_paused_time(async {
        let (one, two) = (quota("user.anna"), quota("user.bert"));
        let (line, peer) = open(&format!(
            "C: GET QUOTA user.anna
             C: GET QUOTA user.bert
             C: NOOP
             {one}
             S: OK success
             {two}
             S: OK success
             S: OK Noop completed
             farewell"
        ));
        let client = line.asker(1);
        let anna = client.get_quota("user.anna").await.unwrap();
        let bert = line.asker(2).get_quota("user.bert").await.unwrap();
        client.noop().await.unwrap();
        for (asked, root) in [(bert, "user.bert"), (anna, "user.anna")] {
            assert_eq!(asked.answer().await.unwrap().user.quotas[0].root, root);
        }
        drop(client);
        assert_eq!(line.ended().await.reason, "closed by us");
        peer.heard().await;
    });
}

#[test]
fn a_line_about_another_user_ends_the_connection_for_all_in_flight() {
    in_paused_time(async {
        let (line, peer) = open(
            "C: GET USER anna
             C: GET USER bert
             S: * MAILBOX %(UNIQUEID u1 MBOXNAME user.bert)
             S: OK success",
        );
        let rules = Arc::new(NameRules::default());
        let (first, second) = (line.asker(1), line.asker(2));
        let anna = first.get_user(&"anna".into(), &rules).await.unwrap();
        let bert = second.get_user(&"bert".into(), &rules).await.unwrap();
        let (reason, behind) = lost(anna.answer().await);
        assert!(reason.starts_with(OUT_OF_STEP) && reason.contains("user.bert"), "{reason}");
        assert!(!behind, "anna's answer was due");
        assert!(lost(bert.answer().await).1, "bert's was not");
        // Later questions fail in the same way.
        assert!(!lost(first.noop().await).1);
        assert!(lost(second.noop().await).1);
        assert_eq!(line.ended().await.reason, reason);
        peer.heard().await;
    });
}

/// How a connection with one command in flight reacts to this answer.
fn ended_by(command: &str, script: &str) -> String {
    in_paused_time(async {
        let (line, peer) = open(&format!("C: {command}\n{script}"));
        let client = line.worker();
        let in_flight = match command {
            "NOOP" => client.send(csync::command::noop()).await,
            "RESTART" => client.restart().await,
            root => client.unquota(root.strip_prefix("APPLY UNQUOTA ").unwrap()).await,
        };
        let reason = lost(in_flight.unwrap().done().await).0;
        drop(client);
        assert_eq!(line.ended().await.reason, reason);
        peer.heard().await;
        reason
    })
}

#[test]
fn what_no_answer_to_the_command_looks_like_ends_the_connection() {
    for (command, said) in [
        ("NOOP", "OK success"),
        ("RESTART", "OK Noop completed"),
        ("APPLY UNQUOTA user.anna", "* QUOTA %(ROOT user.anna)"),
    ] {
        let reason = ended_by(command, &format!("S: {said}"));
        assert!(reason.starts_with(OUT_OF_STEP), "{command}, {said}: {reason}");
    }
    let reason = ended_by("NOOP", "S: + go on");
    assert_eq!(reason, "the replica asked for more where nothing was to come");
    let reason = ended_by("NOOP", "S: what?");
    assert!(reason.starts_with("its answer can't be read: "), "{reason}");
    let reason = ended_by("NOOP", "close");
    assert_eq!(reason, "the replica closed the connection");
    let reason = ended_by("NOOP", "S: * BYE shutting down");
    assert_eq!(reason, format!("{SAID_BYE}: shutting down"));
}

#[test]
fn what_comes_unasked_ends_the_connection() {
    in_paused_time(async {
        for (said, reason) in [
            ("S: OK success", "the replica answered unasked: success"),
            ("S: * QUOTA %(ROOT x)", "the replica said QUOTA when nothing was asked"),
            ("S: * BYE shutting down", "the replica said BYE: shutting down"),
        ] {
            let (line, peer) = open(said);
            let client = line.asker(1);
            assert_eq!(line.ended().await.reason, reason);
            assert_eq!(lost(client.noop().await), (reason.to_string(), false));
            drop(client);
            peer.heard().await;
        }
    });
}

#[test]
fn over_imap_an_answer_must_have_its_command_s_tag() {
    in_paused_time(async {
        let given = || Given { framing: Framing::Imap, ..Given::default() };
        let (line, peer) = given().open(
            "C: S0 NOOP
             S: S0 OK Completed
             C: S1 SYNCAPPLY UNQUOTA user.anna
             S: S0 OK Completed",
        );
        let client = line.worker();
        client.noop().await.unwrap();
        let unquota = client.unquota("user.anna").await.unwrap();
        let (reason, _) = lost(unquota.done().await);
        assert_eq!(
            reason,
            format!("{OUT_OF_STEP}: the answer to S0 came as the answer to UNQUOTA")
        );
        drop((client, line));
        peer.heard().await;
    });
}

#[test]
fn an_ok_before_all_of_the_command_is_out_ends_the_connection() {
    in_paused_time(async {
        let (line, peer) = open("-- 1s\nS: OK success");
        let (ask, pending) = ask(CommandKind::Mailbox);
        push(&line, Frame::Open { ask, bytes: Bytes::from("APPLY MAILBOX %(") }).await;
        let (reason, behind) = lost(pending.await.unwrap());
        let why = "an OK before it was sent came as the answer to MAILBOX";
        assert_eq!((reason, behind), (format!("{OUT_OF_STEP}: {why}"), false));
        line.ended().await;
        peer.heard().await;
    });
}

#[test]
fn a_refusal_may_come_before_all_of_the_command_is_out() {
    in_paused_time(async {
        let (line, peer) = open(
            "-- 1s
             S: NO IMAP_MAILBOX_LOCKED locked
             C: APPLY MAILBOX %()
             C: NOOP
             S: OK Noop completed",
        );
        let (ask, pending) = ask(CommandKind::Mailbox);
        push(&line, Frame::Open { ask, bytes: Bytes::from("APPLY MAILBOX %(") }).await;
        let answer = pending.await.unwrap().unwrap();
        assert_eq!(answer.status.text, "IMAP_MAILBOX_LOCKED locked");
        push(&line, Frame::Close(Bytes::from(")\r\n"))).await;
        line.worker().noop().await.unwrap();
        line.ended().await;
        peer.heard().await;
    });
}

/// The replica may be in the middle of the messages, and read the rest of them as commands.
#[test]
fn a_refusal_of_messages_is_told_and_ends_the_connection() {
    in_paused_time(async {
        let (line, peer) = open(
            "C: APPLY MESSAGE (%{default ab 3}…
             C: NOOP
             S: NO IMAP_IOERROR disk full",
        );
        let client = line.worker();
        let (ask, pending) = ask(CommandKind::Message);
        let bytes = Bytes::from("APPLY MESSAGE (%{default ab 3}\r\nabc)\r\n");
        push(&line, Frame::Command { ask, bytes }).await;
        let (reason, _) = lost(client.noop().await);
        assert!(reason.starts_with("it refused messages"), "{reason}");
        assert_eq!(pending.await.unwrap().unwrap().status.text, "IMAP_IOERROR disk full");
        drop((client, line));
        peer.heard().await;
    });
}

#[test]
fn a_refusal_of_anything_else_is_an_answer() {
    in_paused_time(async {
        let (line, peer) = open(
            "C: APPLY UNQUOTA user.anna
             S: NO IMAP_QUOTAROOT_NONEXISTENT no such root
             C: NOOP
             S: OK Noop completed",
        );
        let client = line.worker();
        let refused = client.unquota("user.anna").await.unwrap().done().await;
        assert!(matches!(refused, Err(CommandError::Refused { .. })), "{refused:?}");
        client.noop().await.unwrap();
        drop((client, line));
        peer.heard().await;
    });
}

/// Another thread has its place in the channel, and the frame is not in it yet, when the connection ends: it stayed there,
/// and whoever waited for the answer kept the channel alive, so both waited for ever.
#[test]
fn a_command_that_is_just_being_sent_when_the_connection_ends_fails() {
    in_paused_time(async {
        let (line, _peer) = open("S: * BYE shutting down");
        let frames = line.frames.frames.clone();
        let place = frames.reserve().await.unwrap();
        while !frames.is_closed() {
            tokio::task::yield_now().await;
        }
        // The connection ends as far as it can.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let (ask, pending) = ask(CommandKind::Noop);
        place.send(Frame::Command { ask, bytes: Bytes::from_static(b"NOOP\r\n") });
        let waited = tokio::time::timeout(std::time::Duration::from_secs(60), pending).await;
        let answer = waited.expect("an answer, although it is a bad one").unwrap();
        assert!(matches!(answer, Err(CommandError::Lost { .. })), "{answer:?}");
    });
}
