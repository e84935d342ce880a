//! How much is held in memory while the replica accepts nothing.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use embedded_replica::{Keep, Options, Replica};
use testkit::c_client;
use testkit::relay::Relay;
use testkit::store::{Bodies, MasterStore, Plan, Sizes};

/// Before, it was up to 16 MiB for each connection: 16 frames may wait, and these were as large as messages up to a
/// megabyte.
#[test]
fn large_messages_of_many_users_wait_on_the_disk() {
    let plan = Plan {
        users: 16,
        mailboxes: 1,
        messages: 30,
        sizes: Sizes::Fixed(1_000_000),
        bodies: Bodies::Repeated(30),
        ..Plan::default()
    };
    let store = MasterStore::write(&plan).unwrap();
    let options =
        Options { keep: Keep::Count, compress: false, conversations: false, ..Options::default() };
    let replica = Replica::new(options).unwrap();
    let server = replica.serve("127.0.0.1:0").unwrap();
    let relay = Relay::start(server.address().port()).unwrap();
    relay.stall_after(40_000_000);
    let conf = store.conf_for("relayed", relay.port()).unwrap();
    let outcome = thread::scope(|scope| {
        scope.spawn(|| {
            let began = Instant::now();
            while !relay.is_stalled() && began.elapsed() < Duration::from_secs(60) {
                thread::sleep(Duration::from_millis(5));
            }
            // Time to fill everything that can be filled.
            thread::sleep(Duration::from_secs(2));
            relay.stall(false);
        });
        let mut command = Command::new(env!("CARGO_BIN_EXE_sync_client"));
        command.arg("-C").arg(&conf).args(["-A", "-j", "16"]);
        c_client::measure(command).unwrap().must_succeed().unwrap()
    });
    assert_eq!(replica.stats().messages, 16 * 30);
    let peak = outcome.peak_rss_bytes >> 20;
    // On a busy machine some are not made before everything stalls.
    assert!(relay.connections() >= 8, "{} connections", relay.connections());
    assert!((20..100).contains(&peak), "{peak} MiB");
}
