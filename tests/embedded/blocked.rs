//! A terminal that takes no more, as after Ctrl-S or behind a pager.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use embedded_replica::{Keep, Options, Replica};
use testkit::process;
use testkit::store::{MasterStore, Plan};

/// Nobody reads its stderr, which is full of traffic. A first signal may not be heard of in time; a second one ends it.
#[test]
fn a_second_signal_ends_a_run_that_can_not_write() {
    let store = MasterStore::write(&Plan { users: 40, messages: 10, ..Plan::default() }).unwrap();
    let options = Options { keep: Keep::Count, conversations: false, ..Options::default() };
    let replica = Replica::new(options).unwrap();
    let server = replica.serve("127.0.0.1:0").unwrap();
    let conf = store.conf_for("blocked", server.address().port()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sync_client"));
    command.arg("-C").arg(conf).args(["-A", "-v", "-v"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It is stuck when it asks for nothing more.
    let mut before = None;
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let now = replica.stats().messages;
        if before == Some(now) {
            break;
        }
        before = Some(now);
    }
    assert!(child.try_wait().unwrap().is_none(), "it was not stuck");
    process::send(&child, "TERM").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    process::send(&child, "TERM").unwrap();
    let asked = Instant::now();
    let ended = loop {
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        if asked.elapsed() > Duration::from_secs(8) {
            child.kill().unwrap();
            panic!("it goes on");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(ended.code(), Some(75));
}
