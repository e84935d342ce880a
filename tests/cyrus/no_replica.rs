//! Peers that are not usable replicas: wrong passwords, nothing listening, another service. Each has its own message and
//! exit code.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use testkit::Cyrus;

use crate::common::{Pair, Running, wait_for};
use crate::errors::assert_no_bug;

/// Far more than a prompt end takes on a busy machine, far less than any wait that would be an error.
const SOON: Duration = Duration::from_secs(25);

/// A peer that sends one line to every client and then nothing more.
fn peer(greeting: &'static [u8]) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let _ = stream.write_all(greeting);
                let mut sink = [0; 512];
                while stream.read(&mut sink).is_ok_and(|length| length > 0) {}
            });
        }
    });
    port
}

/// A port where nothing listens.
fn closed_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// A replica that refuses the password, is down, or is another service.
#[test]
fn replicas_that_are_none() {
    let mut pair = Pair::with(Cyrus::master(), Cyrus::replica().lmtp(true), testkit::Via::Csync);
    pair.master.create_user("anna").unwrap();
    let server = "127.0.0.1";

    // A wrong password: at once, without trying again, exit 78; the password is never shown.
    pair.master.set_option("sync_password", "very-wrong").unwrap();
    drop(pair.master.take_syslog());
    let run = pair.sync(&["-v", "-v", "-u", "anna"]);
    assert_eq!(run.code, Some(78), "{}", run.stderr);
    assert!(
        run.stderr.contains("refused the login of cyrus: authentication failure"),
        "{}",
        run.stderr
    );
    assert!(
        !run.stderr.contains("very-wrong") && !run.stderr.contains("retrying"),
        "{}",
        run.stderr
    );
    assert_no_bug(&run);
    let log = pair.master.take_syslog();
    assert!(log.iter().any(|l| l.severity <= 3 && l.text.contains(server)), "{log:?}");
    let port = pair.replica.csync_port().unwrap();
    pair.master.replicate_to_port(port, testkit::Via::Csync).unwrap();

    // Nothing listens, with -o: one try, exit 1, reported on stderr and in syslog.
    pair.master.replicate_to_port(closed_port(), testkit::Via::Csync).unwrap();
    let started = Instant::now();
    let run = pair.sync(&["-o", "-A"]);
    assert!(started.elapsed() < SOON);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("Can not connect to server '127.0.0.1'"), "{}", run.stderr);
    assert!(!run.stderr.contains("retrying"), "{}", run.stderr);
    let log = pair.master.take_syslog();
    assert!(
        log.iter().any(|l| l.text.contains("Can not connect to server '127.0.0.1'")),
        "{log:?}"
    );
    waits_until_stopped(&pair, &["-A"]);

    // Another service that answers: HTTP, or nonsense. It may become right (a port forward that is being set up), so it is
    // tried again unless -o is given.
    for greeting in
        [&b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n"[..], b"\xff\xfe\x00\x01\r\n\r\n"]
    {
        let port = peer(greeting);
        pair.master.replicate_to_port(port, testkit::Via::Csync).unwrap();
        let run = pair.sync(&["-o", "-u", "anna"]);
        println!("{}", run.stderr);
        assert!(matches!(run.code, Some(1 | 78)), "{:?} {}", run.code, run.stderr);
        assert!(run.stderr.contains(&format!("{server}:{port}")), "{}", run.stderr);
        assert_no_bug(&run);
    }

    // The lmtp socket of a Cyrus.
    let socket = pair.replica.lmtp_socket().unwrap();
    let socket = socket.to_str().unwrap();
    let run = pair.sync(&["-o", "-S", socket, "-u", "anna"]);
    println!("{}", run.stderr);
    assert!(matches!(run.code, Some(1 | 78)), "{:?} {}", run.code, run.stderr);
    assert!(run.stderr.contains(socket), "{}", run.stderr);
    assert_no_bug(&run);

    // A peer that accepts and sends nothing: SIGTERM ends the wait for the greeting, too.
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    pair.master.replicate_to_port(port, testkit::Via::Csync).unwrap();
    let running = Running::start(pair.command(&["-u", "anna"]));
    let (held, _) = listener.accept().unwrap();
    let asked = Instant::now();
    running.terminate();
    assert_eq!(running.wait().code, Some(75));
    assert!(asked.elapsed() < SOON);
    drop(held);

    // With -o, the client gives up a silent peer after sync_timeout.
    pair.master.set_option("sync_timeout", "3").unwrap();
    let run = pair.sync(&["-o", "-u", "anna"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("Can not connect to server"), "{}", run.stderr);
    let path = pair.master.dir().join("run/silent");
    let silent = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
    let run = pair.sync(&["-o", "-S", path.to_str().unwrap(), "-u", "anna"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    drop(silent);
}

/// Without -o: it reports that it will retry in 15 seconds, and SIGTERM ends the wait at once, exit 75.
fn waits_until_stopped(pair: &Pair, args: &[&str]) {
    let running = Running::start(pair.command(args));
    let line =
        "sync_client: Can not connect to server '127.0.0.1', retrying in 15 seconds (127.0.0.1:";
    wait_for("the notice", || running.stderr().contains(line));
    assert!(running.stderr().contains(": Connection refused)\n"), "{}", running.stderr());
    let asked = Instant::now();
    running.terminate();
    assert_eq!(running.wait().code, Some(75));
    assert!(asked.elapsed() < Duration::from_secs(10));
}
