//! `--metrics-listen`: what a scrape says during a run equals what the report says at its end.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use cyrus_store::{Config, sync_lock};
use embedded_replica::{Fault, Keep, Options, Replica};
use testkit::store::{MasterStore, Plan, Sizes};

use crate::running::scrape::{free_port, get, scrape};
use crate::running::{Running, wait_for};

/// A run whose last user waits for its lock, and has nothing to send: before it ends all sums are there.
#[test]
fn a_run_s_metrics_and_its_report() {
    let plan =
        Plan { users: 40, mailboxes: 2, messages: 3, sizes: Sizes::Fixed(900), ..Plan::default() };
    let store = MasterStore::write(&plan).unwrap();
    let options = Options { keep: Keep::Count, conversations: false, ..Options::default() };
    let replica = Replica::new(options).unwrap();
    let server = replica.serve("127.0.0.1:0").unwrap();
    let conf = store.conf_for("metrics", server.address().port()).unwrap();
    let command = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sync_client"));
        command.arg("-C").arg(&conf).args(args);
        command
    };
    let users = &store.model().users;
    let (last, broken) = (&users[39].userid, &users[5].userid);
    let first = Running::start(command(&["-u", last]));
    assert_eq!(first.wait().code, Some(0));
    let config = Config::load_as(&conf, "sync_client").unwrap();
    let lock = sync_lock(&config, "127.0.0.1", Some(last), true).unwrap().unwrap();
    replica.faults().always("GET USER", last, Fault::Delay(Duration::from_secs(2)));
    let (code, text) = ("IMAP_MAILBOX_BADNAME".to_string(), "no".to_string());
    replica.faults().always("GET USER", broken, Fault::Refuse { code, text });

    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let report = folder.path().join("report");
    let port = free_port();
    let (listen, report_to) = (format!("127.0.0.1:{port}"), report.to_str().unwrap());
    let args = ["-A", "-j", "4", "--report", report_to, "--metrics-listen", &listen];
    let running = Running::start(command(&args));
    let mut numbers = BTreeMap::new();
    wait_for("all but one", || {
        numbers = scrape(port).unwrap_or_default();
        let done = numbers.iter().filter(|(name, _)| name.starts_with("sync_client_users_done_"));
        done.map(|(_, count)| count).sum::<f64>() == 39.0
    });
    assert!(get(port, "/readyz").unwrap().starts_with("HTTP/1.1 200 "));
    drop(lock);
    let looking = "sync_client_users{state=\"in_flight\"}";
    wait_for("the last one", || scrape(port).is_some_and(|numbers| numbers[looking] == 1.0));
    running.terminate();
    wait_for("the stop", || get(port, "/readyz").is_some_and(|a| a.starts_with("HTTP/1.1 503 ")));
    assert!(get(port, "/healthz").unwrap().starts_with("HTTP/1.1 200 "));
    let ended = running.wait();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);

    let all: serde_json::Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    let totals = &all["totals"];
    let number = |name: &str| numbers[&format!("sync_client_{name}")];
    for (name, total) in [
        ("users_done_total{outcome=\"replicated\"}", "replicated"),
        ("users_done_total{outcome=\"failed\"}", "failed"),
        ("mailboxes_replicated_total", "mailboxes"),
        ("messages_replicated_total", "messages"),
        ("replicated_bytes_total", "bytes"),
        ("messages_uploaded_total", "messages"),
        ("uploaded_bytes_total", "bytes"),
        ("users_listed", "users"),
    ] {
        assert_eq!(Some(number(name)), totals[total].as_f64(), "{name}: {totals}");
    }
    assert_eq!(totals["messages"], 38 * 6);
    assert_eq!(number("users{state=\"queued\"}"), 0.0);
    assert_eq!(number("users{state=\"waiting_for_lock\"}"), 1.0);
    assert!(number("connections") >= 1.0 && number("connections_opened_total") >= 1.0);
    assert_eq!(
        number("commands_refused_total{command=\"GET USER\",code=\"IMAP_MAILBOX_BADNAME\"}"),
        1.0
    );
    assert!(number("command_duration_seconds_count{command=\"MAILBOX\"}") >= 38.0);
    assert!(numbers["process_start_time_seconds"] > 1.6e9);
}

/// A port that somebody else has ends the program before it does anything.
#[test]
fn a_port_in_use() {
    let plan = Plan { users: 1, messages: 1, ..Plan::default() };
    let store = MasterStore::write(&plan).unwrap();
    let replica = Replica::new(Options::default()).unwrap();
    let server = replica.serve("127.0.0.1:0").unwrap();
    let conf = store.conf_for("metrics", server.address().port()).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for mode in ["-A", "-r", "-1"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sync_client"));
        command.arg("-C").arg(&conf).args([mode, "--metrics-listen", &port]);
        let run = Running::start(command).wait();
        assert_eq!(run.code, Some(78), "{mode}: {}", run.stderr);
        let wanted = format!("can't offer metrics at {port}: Address already in use");
        assert!(run.stderr.contains(&wanted), "{mode}: {}", run.stderr);
    }
    assert_eq!(replica.stats().messages, 0);
}

/// Rolling replication: how far it is behind while a user waits for its lock, beside what is done; after SIGHUP there is
/// still somebody who answers.
#[test]
fn a_channel_s_metrics() {
    let plan =
        Plan { users: 2, mailboxes: 1, messages: 3, sizes: Sizes::Fixed(900), ..Plan::default() };
    let store = MasterStore::write(&plan).unwrap();
    let options = Options { keep: Keep::Count, conversations: false, ..Options::default() };
    let replica = Replica::new(options).unwrap();
    let server = replica.serve("127.0.0.1:0").unwrap();
    let conf = store.conf_for("metrics", server.address().port()).unwrap();
    let [held, free] = [0, 1].map(|nr| &store.model().users[nr].userid);
    let command = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sync_client"));
        command.arg("-C").arg(&conf).args(args);
        command
    };
    // The lock's file is made by the program.
    assert_eq!(Running::start(command(&["-u", held])).wait().code, Some(0));
    let config = Config::load_as(&conf, "sync_client").unwrap();
    let lock = sync_lock(&config, "127.0.0.1", Some(held), true).unwrap().unwrap();
    store.log(&format!("USER {held}\nUSER {free}\n")).unwrap();
    let port = free_port();
    let running = Running::start(command(&["-R", "--metrics-listen", &port.to_string()]));
    let is = |name: &str, holds: &dyn Fn(f64) -> bool| {
        let numbers = scrape(port).unwrap_or_default();
        numbers.get(&format!("sync_client_{name}")).is_some_and(|number| holds(*number))
    };
    wait_for("the free user", || {
        is("users_done_total{outcome=\"replicated\"}", &|done| done == 1.0)
            && is("users{state=\"waiting_for_lock\"}", &|waiting| waiting == 1.0)
    });
    wait_for("the lag", || is("lag_seconds", &|lag| lag > 2.0 && lag < 60.0));
    assert!(is("log_readable", &|readable| readable == 1.0) && is("ready", &|ready| ready == 1.0));
    assert!(is("messages_replicated_total", &|messages| messages == 3.0));
    drop(lock);
    wait_for("the other one", || {
        is("users_done_total{outcome=\"equal\"}", &|done| done == 1.0)
            && is("lag_seconds", &|lag| lag == 0.0)
    });
    running.signal("HUP");
    wait_for("the configuration", || {
        is("users_done_total{outcome=\"equal\"}", &|done| done == 0.0)
            && is("ready", &|ready| ready == 1.0)
    });
    running.terminate();
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

/// A file that asks a daemon to stop, at the latest when the test ends.
struct StopFile(PathBuf);

impl Drop for StopFile {
    fn drop(&mut self) {
        let _ = fs::write(&self.0, "");
    }
}

/// In the background the port is the same, and it is free again when the daemon ends.
#[test]
fn a_daemon_s_metrics() {
    let store = MasterStore::write(&Plan { users: 1, messages: 1, ..Plan::default() }).unwrap();
    let options = Options { keep: Keep::Count, ..Options::default() };
    let replica = Replica::new(options).unwrap();
    let server = replica.serve("127.0.0.1:0").unwrap();
    let conf = store.conf_for("metrics", server.address().port()).unwrap();
    store.log("").unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let (port, stop) = (free_port(), StopFile(folder.path().join("stop")));
    let mut command = Command::new(env!("CARGO_BIN_EXE_sync_client"));
    command.env_remove("CYRUS_ISDAEMON").arg("-C").arg(&conf).arg("-r");
    command.arg("-F").arg(&stop.0).args(["--metrics-listen", &port.to_string()]);
    let mut starting = Running::start(command);
    wait_for("the parent's end", || !starting.is_running());
    wait_for("the daemon", || {
        get(port, "/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200 "))
    });
    drop(stop);
    // It has our pipes until it ends.
    let ended = starting.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(get(port, "/readyz"), None);
}
