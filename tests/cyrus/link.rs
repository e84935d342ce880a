//! The link to the replica: logins that are refused for a while, options of the connection, silence.

use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use embedded_replica::{Fault, Options, Replica};
use testkit::oracle::{self, Ignore, PrivateServer};
use testkit::relay::Relay;
use testkit::{Cyrus, Via, fill};

use crate::common::{Pair, wait_for};
use crate::rolling::settle;

// An overloaded saslauthd gives the same NO as a wrong password. Before, the first one ended everything with 78.
#[test]
fn a_login_that_is_refused_once_is_tried_again() {
    let pair = Pair::start();
    let users = fill::uniform(&pair.master, 4, 2, 2, 300).unwrap();
    pair.replica.saslauthd().refuse(true);
    let run = thread::scope(|scope| {
        scope.spawn(|| {
            let refused = "badlogin";
            pair.replica.wait_for_syslog(refused).unwrap();
            pair.replica.saslauthd().refuse(false);
        });
        pair.sync(&["-A", "-j", "2"])
    });
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    pair.assert_equal(&users);
}

// A login that is refused three times and was never granted is wrong.
#[test]
fn a_login_that_is_refused_three_times_is_wrong() {
    let pair = Pair::start();
    fill::uniform(&pair.master, 2, 1, 1, 300).unwrap();
    pair.replica.saslauthd().refuse(true);
    let run = pair.sync(&["-A"]);
    assert_eq!(run.code, Some(78), "{}", run.stderr);
    assert!(run.stderr.contains("check sync_authname and sync_password"), "{}", run.stderr);
    let refusals =
        pair.replica.syslog().iter().filter(|line| line.text.contains("badlogin")).count();
    assert_eq!(refusals, 3);
}

// A daemon that was logged in once goes on when a later login is refused, and finishes when it is granted again.
#[test]
fn a_daemon_outlives_a_refused_login() {
    let mut pair = Pair::with(Cyrus::master().sync_log(&[]), Cyrus::replica(), Via::Csync);
    let relay = Relay::start(pair.replica.csync_port().unwrap()).unwrap();
    pair.master.replicate_to_port(relay.port(), Via::Csync).unwrap();
    let users = fill::uniform(&pair.master, 2, 2, 2, 300).unwrap();
    let mut running = pair.start_sync(&["-R", "-d", "0", "-v"]);
    settle(&pair, &mut running);
    pair.replica.saslauthd().refuse(true);
    relay.cut_all();
    let mut client = pair.master.login(&users[0]).unwrap();
    client.append("INBOX", &[], None, b"Subject: news\r\n\r\nnews\r\n").unwrap();
    wait_for("a refusal", || running.stderr().contains("refused the login"));
    assert!(running.is_running(), "{}", running.stderr());
    pair.replica.saslauthd().refuse(false);
    settle(&pair, &mut running);
    pair.assert_equal(&users);
    running.terminate();
    assert_eq!(running.wait().code, Some(0));
}

// `-S host:port/tls` means TLS to Cyrus' client, and `/noauth` no login. Before, both were ignored silently, and the
// password was sent in clear.
#[test]
fn options_behind_the_port_are_refused() {
    let pair = Pair::start();
    let port = pair.replica.csync_port().unwrap();
    for option in ["tls", "noauth", "tls/noauth"] {
        let run = pair.sync(&["-A", "-S", &format!("127.0.0.1:{port}/{option}")]);
        assert_eq!(run.code, Some(78), "{}", run.stderr);
        assert!(run.stderr.contains(&format!("'/{option}' is not possible yet")), "{}", run.stderr);
    }
}

// client_timeout, client_bind and tcp_keepalive: as the operating system sees the connection.
#[test]
fn connections_are_made_as_configured() {
    let mut pair = Pair::start();
    let users = fill::uniform(&pair.master, 1, 1, 1, 300).unwrap();
    let relay = Relay::start(pair.replica.csync_port().unwrap()).unwrap();
    pair.master.replicate_to_port(relay.port(), Via::Csync).unwrap();
    let options = [
        ("client_bind", "yes"),
        ("client_bind_name", "127.0.0.77"),
        ("tcp_keepalive", "yes"),
        ("tcp_keepalive_idle", "77s"),
    ];
    for (name, value) in options {
        pair.master.set_option(name, value).unwrap();
    }
    relay.stall(true);
    let mut run = pair.start_sync(&["-A"]);
    // `sl local remote st queues timer …` of /proc/net/tcp: our end in hexadecimal, its keepalive timer (02) running.
    let there = format!("0100007F:{:04X}", relay.port());
    let connection = || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let ours = |line: &&str| {
            line.contains("4D00007F:") && line.contains(&there) && line.contains(" 02:")
        };
        table.lines().find(ours).map(str::to_string)
    };
    wait_for("a connection from that address that is kept alive", || connection().is_some());
    let line = connection().unwrap();
    let timer = line.split_whitespace().nth(5).unwrap();
    let ticks = timer.split_once(':').unwrap().1;
    let seconds = u64::from_str_radix(ticks, 16).unwrap() / 100;
    assert!((40..=77).contains(&seconds), "{line}");
    relay.stall(false);
    assert!(run.is_running());
    run.wait().well();
    pair.assert_equal(&users);
    // An address that does not answer, because its queue is full: reported after client_timeout, not after ten seconds.
    let full = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = full.local_addr().unwrap();
    let wait = Duration::from_millis(300);
    let waiting: Vec<TcpStream> =
        std::iter::from_fn(|| TcpStream::connect_timeout(&address, wait).ok())
            .take(10_000)
            .collect();
    pair.master.set_option("client_timeout", "2s").unwrap();
    pair.master.set_option("client_bind", "no").unwrap();
    let started = Instant::now();
    let away = pair.sync(&["-A", "-o", "-S", &address.to_string()]);
    assert_eq!(away.code, Some(1), "{}", away.stderr);
    assert!(away.stderr.contains("no answer in 2 seconds"), "{}: {}", waiting.len(), away.stderr);
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}: {}", started.elapsed(), away.stderr);
}

// A replica that takes longer for a SUB than sync_timeout allows, and carries it out later. Meanwhile the user
// unsubscribes. The next try found both sides equal and ended, and then the old connection's change arrived.
#[test]
fn what_a_silent_connection_still_does_is_waited_for() {
    let mut pair = Pair::start();
    let replica = Replica::new(Options::default()).unwrap();
    let server = replica.serve("127.0.0.1:0").unwrap();
    pair.master.replicate_to_port(server.address().port(), Via::Csync).unwrap();
    pair.master.set_option("sync_timeout", "3s").unwrap();
    let users = fill::uniform(&pair.master, 1, 2, 2, 300).unwrap();
    let mut client = pair.master.login(&users[0]).unwrap();
    client.unsubscribe("INBOX/folder1").unwrap();
    pair.sync_well(&["-A"]);
    client.subscribe("INBOX/folder1").unwrap();
    replica.faults().at("APPLY SUB", 1, Fault::Delay(Duration::from_secs(9)));
    let run = pair.start_sync(&["-u", &users[0]]);
    wait_for("the change to be under way", || replica.faults().left() == 0);
    client.unsubscribe("INBOX/folder1").unwrap();
    run.wait().well();
    // Longer than anything that may still arrive.
    thread::sleep(Duration::from_secs(8));
    let mut ours = PrivateServer::start(&pair.master).unwrap();
    let mut theirs = PrivateServer::over_tcp(server.address().port()).unwrap();
    let lines = oracle::compare_servers(&mut ours, &mut theirs, &users, Ignore::default()).unwrap();
    assert!(lines.is_empty(), "{lines}");
}
