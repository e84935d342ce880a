//! Stores written without Cyrus, replicated by both clients to both replicas: what arrives equals what was written.

use std::path::Path;
use std::process::Command;

use embedded_replica::{Options, Replica};
use testkit::oracle::PrivateServer;
use testkit::store::{MasterStore, Plan, Sizes};
use testkit::{Cyrus, c_client, run_as_cyrus};

/// Runs a client on a written store and expects exit code 0.
fn run(mut program: Command, conf: &Path) {
    program.arg("-C").arg(conf).arg("-A");
    c_client::measure(program).unwrap().must_succeed().unwrap();
}

fn ours() -> Command {
    Command::new(env!("CARGO_BIN_EXE_sync_client"))
}

fn theirs() -> Command {
    run_as_cyrus("/usr/lib/cyrus/bin/sync_client").unwrap()
}

/// The replica reports what was written, and has every message's bytes.
fn assert_arrived(store: &MasterStore, mut said: PrivateServer, what: &str) {
    let report = store.model().differences(&mut said).unwrap();
    assert!(report.is_empty(), "{what}: {report}");
    let bytes = store.model().differing_bytes(&mut said).unwrap();
    assert!(bytes.is_empty(), "{what}: {bytes}");
}

// Shows that a written store, at first and after each of two rounds of changes, arrives complete: by our client and by the
// C client, at a real replica and at an embedded one; and that the comparison can fail: before the last run it does.
#[test]
fn a_written_store_arrives_everywhere() {
    testkit::ensure_cyrus().unwrap();
    let plan = Plan {
        users: 12,
        messages: 20,
        sizes: Sizes::Spread { median: 4000, most: 2_000_000 },
        ..Plan::default()
    };
    let mut store = MasterStore::write(&plan).unwrap();
    let options = Options { conversations: false, ..Options::default() };
    let replicas = [Replica::new(options.clone()).unwrap(), Replica::new(options).unwrap()];
    let embedded = replicas.each_ref().map(|replica| replica.serve("127.0.0.1:0").unwrap());
    let real = ["ours", "theirs"].map(|_| Cyrus::replica().start().unwrap());
    for round in 0..3 {
        if round > 0 {
            store.change(round, 40).unwrap();
            let mut said = PrivateServer::start(&real[0]).unwrap();
            assert!(!store.model().differences(&mut said).unwrap().is_empty());
        }
        for (nr, client) in [ours, theirs].into_iter().enumerate() {
            let what = format!("client {nr}, round {round}");
            let port = embedded[nr].address().port();
            run(client(), &store.conf_for("embedded", port).unwrap());
            assert_arrived(&store, PrivateServer::over_tcp(port).unwrap(), &what);
            run(client(), &store.conf_for("real", real[nr].csync_port().unwrap()).unwrap());
            assert_arrived(&store, PrivateServer::start(&real[nr]).unwrap(), &what);
        }
    }
}
