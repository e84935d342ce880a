//! The link to the replica: a very slow login, and a server that dies.

use std::io::Write;
use std::net::TcpListener;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use embedded_replica::{Fault, Keep, Options, Replica};
use testkit::c_client;
use testkit::store::{MasterStore, Plan, Sizes};

use crate::running::summary;

// A peer that sends a byte of its greeting now and then, for ever. Each byte came in time; now the whole handshake must.
#[test]
fn a_login_that_drips_has_an_end() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for tcp in listener.incoming() {
            thread::spawn(move || {
                let mut tcp = tcp.unwrap();
                while tcp.write_all(b"*").is_ok() {
                    thread::sleep(Duration::from_millis(500));
                }
            });
        }
    });
    let plan =
        Plan { users: 1, mailboxes: 1, messages: 1, sizes: Sizes::Fixed(300), ..Plan::default() };
    let store = MasterStore::write(&plan).unwrap();
    let conf = store.conf_for("drip", port).unwrap();
    let mut text = std::fs::read_to_string(&conf).unwrap();
    text.push_str("sync_timeout: 3s\n");
    std::fs::write(&conf, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sync_client"));
    command.arg("-C").arg(&conf).args(["-A", "-o"]);
    let started = Instant::now();
    let run = c_client::measure(command).unwrap();
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(started.elapsed() < Duration::from_secs(40), "{:?}", started.elapsed());
    assert!(run.stderr.contains("our login for 9 seconds"), "{}", run.stderr);
}

// A server that dies on a compressed connection ends it in the middle of a deflate block. That was reported as "unexpected
// BufError".
#[test]
fn a_server_that_dies_in_a_compressed_connection_is_told_plainly() {
    let plan =
        Plan { users: 1, mailboxes: 2, messages: 1, sizes: Sizes::Fixed(300), ..Plan::default() };
    let store = MasterStore::write(&plan).unwrap();
    let options = Options { keep: Keep::Count, conversations: false, ..Options::default() };
    let replica = Replica::new(options).unwrap();
    let server = replica.serve("127.0.0.1:0").unwrap();
    for _ in 0..8 {
        replica.faults().at("APPLY MAILBOX", 1, Fault::Drop);
    }
    let conf = store.conf_for("dying", server.address().port()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sync_client"));
    command.arg("-C").arg(&conf).args(["-A", "-z"]);
    let run = c_client::measure(command).unwrap();
    assert!(summary(&run).starts_with("1 user: 1 failed"), "{}", run.stderr);
    assert!(run.stderr.contains("the replica closed the connection"), "{}", run.stderr);
    assert!(!run.stderr.contains("BufError"), "{}", run.stderr);
}
