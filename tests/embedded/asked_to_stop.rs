//! Rolling replication that is asked to stop before its login is through: as asked, and no failure.

use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use actors::{
    EarlyClaim, LogSource, RollReport, RollSettings, RollStatus, StopRequest, Stopped, Verbosity,
};
use embedded_replica::{Options, Replica};
use synthetic_source::{Plan as SyntheticPlan, Synthetic};
use testkit::relay::Relay;
use testkit::store::{MasterStore, Plan};

use crate::running::{Running, settings, wait_for};

/// After SIGHUP the replica accepts the connection, and says nothing.
#[test]
fn during_the_login_that_follows_a_hangup() {
    let store = MasterStore::write(&Plan { users: 1, messages: 1, ..Plan::default() }).unwrap();
    let replica = Replica::new(Options::default()).unwrap();
    let server = replica.serve("127.0.0.1:0").unwrap();
    let relay = Relay::start(server.address().port()).unwrap();
    let conf = store.conf_for("stopped", relay.port()).unwrap();
    store.log("").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sync_client"));
    command.arg("-C").arg(&conf).arg("-R");
    let running = Running::start(command);
    // One for the check at the start, one to stay.
    wait_for("the login", || {
        let answered = replica.stats().commands.get("APPLY CAPABILITIES").copied();
        relay.connections() == 2 && answered >= Some(1)
    });
    relay.stall(true);
    running.signal("HUP");
    wait_for("the next login", || relay.connections() == 3);
    running.terminate();
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

/// A single run of rolling replication that was asked before it began. Nobody accepts its connection.
fn asked_before(once: bool) -> RollReport {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = settings(listener.local_addr().unwrap().port());
    settings.replica.connect_once = false;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "").unwrap();
    let rolling = RollSettings {
        source: LogSource::File(file.path().to_path_buf()),
        claim: EarlyClaim::default(),
        once,
        delay: Duration::ZERO,
        restart_every: None,
        shutdown_file: None,
        longest_pause: Duration::from_secs(1),
    };
    let source = Arc::new(Synthetic::new(SyntheticPlan::default()));
    actix_rt::System::new().block_on(async move {
        let (_keep, stop) = tokio::sync::watch::channel(StopRequest::Stop);
        let status = RollStatus::default();
        actors::roll(settings, rolling, source, Verbosity::default(), stop, status).await
    })
}

/// As when SIGTERM comes while the configuration is read again.
#[test]
fn before_the_login_has_begun() {
    for once in [false, true] {
        assert_eq!(asked_before(once).stopped, Some(Stopped::Signal), "once: {once}");
    }
}
