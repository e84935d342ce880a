//! What a trace shows of a login: everything except the password.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::BytesMut;
use csync::{Handshake, HandshakeOptions};

use super::{ConnectError, Login};
use crate::monitor::events::{Direction, Event, EventSink};
use crate::replica::testing::given::{PASSWORD, in_paused_time};
use crate::replica::testing::peer::peer;

/// How long a step may take.
const WAIT: Duration = Duration::from_secs(20);

/// The result of a login with this peer, and its trace: sent and received.
fn log_in(password: &str, script: &str) -> (Result<(), ConnectError>, String, String) {
    in_paused_time(async {
        let (read, write, peer) = peer(script, 1 << 16);
        let (events, mut told) = EventSink::channel(false, true);
        let mut login = Login {
            address: "replica:csync".into(),
            read,
            write,
            unread: BytesMut::new(),
            events: &events,
            connection: 1,
            wait: WAIT,
        };
        let options = HandshakeOptions {
            authname: "cyrus".into(),
            password: password.into(),
            ..HandshakeOptions::default()
        };
        let ended = login.run(Handshake::new(options)).await.map(drop);
        drop(login);
        peer.heard().await;
        let (mut sent, mut received) = (String::new(), String::new());
        while let Ok(Event::Trace { direction, bytes, .. }) = told.try_recv() {
            let of = if direction == Direction::Sent { &mut sent } else { &mut received };
            of.push_str(&String::from_utf8_lossy(&bytes));
        }
        (ended, sent, received)
    })
}

fn plain() -> String {
    BASE64.encode(format!("\0cyrus\0{PASSWORD}"))
}

/// No part of the trace may contain the password, plain or encoded.
fn assert_secret(password: &str, sent: &str, received: &str) {
    for part in [password, &plain(), &BASE64.encode(password)] {
        assert!(!sent.contains(part), "{sent}");
        assert!(!received.contains(part), "{received}");
    }
}

#[test]
fn plain_is_shown_without_its_argument() {
    let script = format!(
        "S: * SASL PLAIN
         S: * SIEVE-MAILBOX
         S: * OK replica Cyrus sync server 3.6.1
         C: AUTHENTICATE PLAIN {}
         S: OK Success
         C: APPLY CAPABILITIES (SIEVE-MAILBOX)
         S: * ENABLED (SIEVE-MAILBOX)
         S: OK success",
        plain()
    );
    let (ended, sent, received) = log_in(PASSWORD, &script);
    ended.unwrap();
    assert_eq!(sent, "AUTHENTICATE PLAIN …\r\nAPPLY CAPABILITIES (SIEVE-MAILBOX)\r\n");
    assert!(received.ends_with("* ENABLED (SIEVE-MAILBOX)\r\nOK success\r\n"), "{received}");
    assert_secret(PASSWORD, &sent, &received);
}

#[test]
fn what_follows_a_continuation_is_not_shown() {
    let script = format!(
        "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] replica Cyrus IMAP 3.6.1 server ready
         C: A01 AUTHENTICATE PLAIN
         S: +
         C: {}
         S: A01 NO authentication failure",
        plain()
    );
    let (ended, sent, received) = log_in(PASSWORD, &script);
    assert!(ended.unwrap_err().is_refused());
    assert_eq!(sent, "A01 AUTHENTICATE PLAIN\r\n…\r\n");
    assert_secret(PASSWORD, &sent, &received);
}

#[test]
fn the_password_of_login_is_not_shown_either() {
    for (password, written) in [(PASSWORD, format!("\"{PASSWORD}\"")), ("simple", "simple".into())]
    {
        let script = format!(
            "S: * OK [CAPABILITY IMAP4rev1 LITERAL+] replica Cyrus IMAP 3.6.1 server ready
             C: A01 LOGIN cyrus {written}
             S: A01 NO authentication failure"
        );
        let (ended, sent, received) = log_in(password, &script);
        assert!(ended.unwrap_err().is_refused());
        assert_eq!(sent, "A01 LOGIN cyrus …\r\n");
        assert_secret(password, &sent, &received);
    }
}

#[test]
fn a_peer_that_says_nothing_is_left_when_a_step_takes_too_long() {
    let (ended, sent, _) = log_in(PASSWORD, "S: * SASL PLAIN");
    let e = ended.unwrap_err();
    assert_eq!(e.problem(), "the replica did not answer for 20 seconds");
    assert!(!e.is_fatal() && sent.is_empty(), "{sent}");
}
