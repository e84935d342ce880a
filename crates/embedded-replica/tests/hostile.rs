//! Peers that send nonsense, too much, or nothing: the connection ends with an error, the replica stays.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails by panicking")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use embedded_replica::{Fault, Keep, Options, Replica, Server};

fn start() -> (Replica, Server) {
    let replica = Replica::new(Options { keep: Keep::Count, ..Options::default() }).unwrap();
    let server = replica.serve("127.0.0.1:0").unwrap();
    (replica, server)
}

/// A connection that is logged in.
fn connect(server: &Server) -> TcpStream {
    let mut tcp = TcpStream::connect(server.address()).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    tcp.write_all(b"AUTHENTICATE PLAIN AGEAYg==\r\n").unwrap();
    until(&mut tcp, "OK Success");
    tcp
}

/// Reads until this text arrives.
fn until(tcp: &mut TcpStream, wanted: &str) -> String {
    let mut said = String::new();
    let mut buf = [0; 4096];
    while !said.contains(wanted) {
        let count = tcp.read(&mut buf).unwrap();
        assert!(count > 0, "no {wanted:?} in {said:?}");
        said.push_str(&String::from_utf8_lossy(&buf[..count]));
    }
    said
}

/// Reads to the end of the connection. A peer that still sends gets a reset.
fn to_end(tcp: &mut TcpStream) -> String {
    let mut said = Vec::new();
    let _ = tcp.read_to_end(&mut said);
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn nonsense_ends_the_connection_and_nothing_else() {
    let (_replica, server) = start();
    for nonsense in [
        "GET USER \"unfinished\r\n",
        "APPLY SUB %(USERID a MBOXNAME b\r\n",
        "APPLY MAILBOX %(LAST_UID 99999999999)\r\n",
        "APPLY MAILBOX %(RECORD (%(UID 0)))\r\n",
        "APPLY MESSAGE (%{default zz 5}\r\n",
        "APPLY SIEVE {99999999999+}\r\n",
    ] {
        let mut tcp = connect(&server);
        tcp.write_all(nonsense.as_bytes()).unwrap();
        assert!(to_end(&mut tcp).starts_with("BAD IMAP_PROTOCOL_ERROR"), "{nonsense}");
    }
    let mut deep = connect(&server);
    deep.write_all(format!("GET X {}\r\n", "(".repeat(100)).as_bytes()).unwrap();
    assert!(to_end(&mut deep).contains("too deep"));
    let mut still = connect(&server);
    still.write_all(b"NOOP\r\n").unwrap();
    until(&mut still, "OK Noop");
}

#[test]
fn endless_input_is_cut_off() {
    let (_replica, server) = start();
    for (start, piece) in [("", "x"), ("GET USER ", "x"), ("GET MAILBOXES (", "name ")] {
        let mut tcp = connect(&server);
        tcp.write_all(start.as_bytes()).unwrap();
        let piece = piece.repeat(20_000);
        // At most 64 MiB of values are accepted; 200 MB are offered.
        let refused = (0..2_000).any(|_| tcp.write_all(piece.as_bytes()).is_err());
        assert!(refused || to_end(&mut tcp).contains("too long"), "{start}");
    }
}

#[test]
fn commands_that_are_refused_change_nothing() {
    let (replica, server) = start();
    let mut tcp = TcpStream::connect(server.address()).unwrap();
    tcp.write_all(b"GET USER anna\r\n").unwrap();
    until(&mut tcp, "NO Please authenticate first");
    let mut tcp = connect(&server);
    let head = "UNIQUEID u MBOXNAME user.anna HIGHESTMODSEQ 5 LAST_UID 1 RECENTUID 0 RECENTTIME 0 \
                LAST_APPENDDATE 0 POP3_LAST_LOGIN 0 UIDVALIDITY 9 ACL \"\" OPTIONS \"\"";
    let record = format!(
        "RECORD (%(UID 1 MODSEQ 5 LAST_UPDATED 1 FLAGS () INTERNALDATE 1 SIZE 3 GUID {}))",
        "ab".repeat(20)
    );
    let elsewhere = format!("APPLY MAILBOX %({head} PARTITION nowhere {record})\r\n");
    tcp.write_all(elsewhere.as_bytes()).unwrap();
    until(&mut tcp, "NO Unknown error");
    // The message was never sent.
    let apply = format!("APPLY MAILBOX %({head} PARTITION default {record})\r\n");
    tcp.write_all(apply.as_bytes()).unwrap();
    until(&mut tcp, "NO Unknown error");
    let file = format!("APPLY MESSAGE (%{{default {} 3}}\r\nabc)\r\n", "ab".repeat(20));
    tcp.write_all(file.as_bytes()).unwrap();
    until(&mut tcp, "OK success");
    tcp.write_all(apply.as_bytes()).unwrap();
    until(&mut tcp, "OK success");
    tcp.write_all(b"GET USER anna\r\n").unwrap();
    assert!(until(&mut tcp, "OK success").contains("LAST_UID 1 HIGHESTMODSEQ 5"));
    assert_eq!((replica.stats().messages, replica.stats().bytes), (1, 3));
    replica.wipe();
    tcp.write_all(b"GET USER anna\r\n").unwrap();
    assert_eq!(until(&mut tcp, "OK success"), "OK success\r\n");
}

#[test]
fn a_stalled_connection_ends_with_the_server() {
    let (replica, server) = start();
    replica.faults().at("GET USER", 1, Fault::Stall);
    let mut tcp = connect(&server);
    tcp.write_all(b"NOOP\r\nGET USER anna\r\n").unwrap();
    assert_eq!(until(&mut tcp, "completed"), "OK Noop completed\r\n");
    drop(server);
    assert_eq!(to_end(&mut tcp), "");
}
