//! Runs that are disturbed: by clients at work, by processes that die, by links that break, by
//! signals, and by a replica that has what its master lacks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use testkit::fill::{self, RandomWork};
use testkit::oracle::PrivateServer;
use testkit::relay::Relay;
use testkit::{Cyrus, DeleteMode, Via};

use crate::common::{Pair, summary, summary_in, wait_for};

/// A pair with a relay between, and users with something to send. Reconnecting waits a second at most.
fn over_a_relay(users: usize) -> (Pair, Relay, Vec<String>) {
    let master =
        Cyrus::master().option("sync_reconnect_maxwait", "1").delete_mode(DeleteMode::Immediate);
    let mut pair = Pair::with(master, Cyrus::replica(), Via::Csync);
    let relay = Relay::start(pair.replica.csync_port().unwrap()).unwrap();
    pair.master.replicate_to_port(relay.port(), Via::Csync).unwrap();
    let users = fill::uniform(&pair.master, users, 4, 8, 3000).unwrap();
    (pair, relay, users)
}

/// The syslog lines with these words.
fn said(master: &Cyrus, words: &str) -> Vec<String> {
    let lines = master.syslog().into_iter().map(|line| line.text);
    lines.filter(|text| text.contains(words)).collect()
}

/// While clients keep changing everything they can, runs may fail because of these changes; once there is quiet, one run
/// repairs all of it.
#[test]
fn clients_at_work() {
    let pair = Pair::start();
    let users = fill::uniform(&pair.master, 6, 3, 10, 800).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = users
            .chunks(3)
            .enumerate()
            .map(|(nr, some)| {
                let (master, stop) = (&pair.master, &stop);
                scope.spawn(move || {
                    let mut work = RandomWork::new(4200 + nr as u64);
                    let mut done = 0;
                    while !stop.load(Ordering::SeqCst) {
                        done += work.run(master, some, 20).unwrap().total_done();
                    }
                    done
                })
            })
            .collect();
        for _ in 0..6 {
            let run = pair.sync(&["-A", "-j", "4"]);
            let words = summary(&run);
            assert!(words.starts_with("6 users: "), "{words}");
            // A user may fail while it is renamed or deleted, and then the run reports it.
            let failed = words.contains(" failed");
            assert_eq!(run.code, Some(i32::from(failed)), "{run:?}");
        }
        stop.store(true, Ordering::SeqCst);
        let done: Vec<usize> = writers.into_iter().map(|w| w.join().unwrap()).collect();
        assert!(done.iter().all(|n| *n > 20), "hardly any work was done: {done:?}");
    });
    assert_eq!(said(&pair.master, "SYNCERROR"), [""; 0]);
    pair.sync_well(&["-A", "-j", "4"]);
    pair.assert_equal(&users);
}

/// sync_server processes are killed in the middle of a run, three times. Work in flight fails and is repeated on new
/// connections (a user has four tries); no user fails in the end.
#[test]
fn killed_servers() {
    let (pair, relay, users) = over_a_relay(12);
    relay.set_delay(Duration::from_millis(5));
    relay.stall_after(20_000);
    let run = pair.start_sync(&["-A", "-j", "4"]);
    for round in 1..=3 {
        wait_for("work in flight", || relay.is_stalled());
        let connections = relay.connections();
        assert!(pair.replica.kill_service("sync_server") > 0, "nothing to kill, round {round}");
        if round < 3 {
            relay.stall_after(40_000);
        }
        relay.stall(false);
        wait_for("new connections", || relay.connections() > connections);
    }
    let end = run.wait().well();
    assert!(end.starts_with("12 users: 12 replicated"), "{end}");
    pair.assert_equal(&users);
    let ended = said(&pair.master, "ended: ");
    assert!(!ended.is_empty(), "{:#?}", pair.master.syslog());
}

/// The whole replica goes down in the middle of a run and comes back: the run waits for it, connects again and ends well.
#[test]
fn a_replica_that_restarts() {
    let (mut pair, relay, users) = over_a_relay(8);
    relay.stall_after(50_000);
    let run = pair.start_sync(&["-A", "-j", "3"]);
    wait_for("work in flight", || relay.is_stalled());
    pair.replica.stop();
    relay.stall(false);
    let connections = relay.connections();
    wait_for("a try to connect", || relay.connections() > connections);
    pair.replica.start().unwrap();
    let end = run.wait().well();
    assert!(end.starts_with("8 users: 8 replicated"), "{end}");
    pair.assert_equal(&users);
}

/// The link breaks at each kind of command in turn: every run ends well all the same, since the user
/// in flight is tried again.
#[test]
fn links_cut_at_commands() {
    let (pair, relay, users) = over_a_relay(3);
    relay.hide("DEFLATE");
    let commands = [
        "GET USER",
        "APPLY MESSAGE",
        "APPLY MAILBOX",
        "APPLY RESERVE",
        "APPLY RENAME",
        "APPLY UNMAILBOX",
        "RESTART",
    ];
    for (nr, command) in commands.iter().enumerate() {
        for user in &users {
            let mut client = pair.master.login(user).unwrap();
            let folder = format!("INBOX/folder{}", nr % 3 + 1);
            client.append(&folder, &[], None, &noise(nr as u64, 70_000)).unwrap();
            client.select(&folder).unwrap();
            // Some of the large ones are on the replica already, so that asking for them is worthwhile.
            client.copy("1:*", "INBOX").unwrap();
            client.create(&format!("INBOX/new{nr}")).unwrap();
            if let Some(last) = nr.checked_sub(1) {
                client.rename(&format!("INBOX/new{last}"), &format!("INBOX/old{last}")).unwrap();
            }
            if let Some(before) = nr.checked_sub(2) {
                client.delete(&format!("INBOX/old{before}")).unwrap();
            }
        }
        relay.cut_at(command);
        let run = pair.sync_well(&["-A", "-j", "2"]);
        assert_eq!(relay.cuts(), nr + 1, "{command} was never sent: {}", run.stderr);
        assert!(summary(&run).starts_with("3 users: 3 replicated"), "{command}: {}", run.stderr);
        pair.assert_equal(&users);
    }
}

/// The link breaks after so many bytes, wherever that is.
#[test]
fn links_cut_anywhere() {
    let (pair, relay, users) = over_a_relay(6);
    for (nr, bytes) in [7, 100, 2_500, 10_001, 33_333, 77_777].into_iter().enumerate() {
        for (which, user) in (0_u64..).zip(&users) {
            let mut client = pair.master.login(user).unwrap();
            // All are different: otherwise deflate would shrink the second one on a connection to almost nothing.
            let message = noise(nr as u64 * 100 + which, 30_000);
            client.append("INBOX/folder1", &[], None, &message).unwrap();
        }
        relay.cut_after(bytes);
        let run = pair.sync_well(&["-A", "-j", "2"]);
        assert_eq!(relay.cuts(), nr + 1, "less was sent: {}", run.stderr);
        pair.assert_equal(&users);
    }
}

/// Asked to stop in the middle of a run: the users in flight are finished completely, and no other is started; exit 75,
/// since the rest is left to another run.
#[test]
fn a_signal_in_mid_run() {
    let (pair, relay, users) = over_a_relay(10);
    relay.stall_after(50_000);
    let run = pair.start_sync(&["-A", "-j", "2"]);
    wait_for("work in flight", || relay.is_stalled());
    run.terminate();
    pair.master.wait_for_syslog("asked to stop").unwrap();
    relay.stall(false);
    let ended = run.wait();
    assert_eq!(ended.code, Some(75), "{}", ended.stderr);
    let end = summary_in(&ended.stderr).unwrap();
    let mut server = PrivateServer::start(&pair.replica).unwrap();
    let (there, missing): (Vec<String>, Vec<String>) =
        users.iter().cloned().partition(|user| !lines_of(&mut server, user).is_empty());
    assert!(!missing.is_empty() && !there.is_empty(), "{end}");
    assert!(end.starts_with(&format!("{} users: {0} replicated", there.len())), "{end}");
    let line = format!(
        "sync_client: interrupted: {} of 10 users finished, {} not reached; run the same command again to go on\n",
        there.len(),
        missing.len()
    );
    assert!(ended.stderr.contains(&line), "{}", ended.stderr);
    pair.assert_equal(&there);
    let rest = pair.sync_well(&["-A"]);
    let wanted = format!("10 users: {} replicated, {} already equal", missing.len(), there.len());
    assert!(summary(&rest).starts_with(&wanted), "{}", rest.stderr);
    pair.assert_equal(&users);
}

/// The same while the network is stalled for good. SIGUSR1 shows what is being done; users in flight get some seconds to
/// end, then the program ends without them, names them, and exits with 75. The next run repairs it.
#[test]
fn a_signal_while_the_network_stands_still() {
    let (pair, relay, users) = over_a_relay(3);
    relay.stall_after(20_000);
    let run = pair.start_sync(&["-A", "-j", "1"]);
    wait_for("work in flight", || relay.is_stalled());
    // On request it reports its work meanwhile.
    run.signal("USR1");
    wait_for("the status", || run.stderr().contains(" user in flight"));
    let doing = [": sending user.", ": waiting for the replica's answers"];
    assert!(doing.iter().any(|d| run.stderr().contains(d)), "{}", run.stderr());
    run.terminate();
    let ended = run.wait();
    assert_eq!(ended.code, Some(75), "{}", ended.stderr);
    let line = "sync_client: interrupted: 0 of 3 users finished, 1 broken off, 2 not reached; run the same command again to go on\nsync_client: broken off: bench";
    assert!(ended.stderr.contains(line), "{}", ended.stderr);
    relay.stall(false);
    pair.sync_well(&["-A"]);
    pair.assert_equal(&users);
}

/// The network stalls in the middle of an upload. Clients of that very user read, append, flag, expunge, create, rename and
/// delete on the master meanwhile, without delay; only operations that would remove the message files of the mailbox in
/// flight (its own rename or deletion) may wait.
#[test]
fn a_network_that_stands_still_locks_nobody_out() {
    let (pair, relay, _) = over_a_relay(1);
    let users = ["anna".to_owned()];
    pair.master.create_user("anna").unwrap();
    let mut anna = pair.master.login("anna").unwrap();
    for name in ["INBOX/big", "INBOX/other", "INBOX/small"] {
        anna.create(name).unwrap();
        anna.append(name, &[], None, b"Subject: first\r\n\r\nFirst.\r\n").unwrap();
    }
    // More than all the buffers on the way hold, and hard to compress.
    for nr in 0..40 {
        anna.append("INBOX/big", &[], None, &noise(nr, 1_000_000)).unwrap();
    }
    relay.stall_after(2_000_000);
    let mut run = pair.start_sync(&["-u", "anna"]);
    wait_for("the upload's middle", || relay.is_stalled());

    let started = Instant::now();
    for (name, messages) in [("INBOX", 0), ("INBOX/other", 1), ("INBOX/big", 41)] {
        assert_eq!(anna.select(name).unwrap(), messages, "{name}");
        anna.append(name, &["\\Flagged"], None, b"Subject: s\r\n\r\nMeanwhile.\r\n").unwrap();
        anna.store("1:*", "+FLAGS", &["$meanwhile"]).unwrap();
        anna.remove("1").unwrap();
        anna.unselect().unwrap();
    }
    anna.create("INBOX/new").unwrap();
    anna.rename("INBOX/new", "INBOX/newer").unwrap();
    anna.delete("INBOX/other").unwrap();
    anna.subscribe("INBOX/newer").unwrap();
    anna.set_metadata("INBOX/big", "/shared/comment", Some("meanwhile")).unwrap();
    let took = started.elapsed();
    assert!(took < Duration::from_secs(10), "clients had to wait: {took:?}");
    assert!(run.is_running() && relay.is_stalled());

    std::thread::scope(|scope| {
        let renaming = scope.spawn(|| anna.rename("INBOX/big", "INBOX/bigger"));
        relay.stall(false);
        renaming.join().unwrap().unwrap();
    });
    run.wait().well();
    pair.sync_well(&["-A"]);
    pair.assert_equal(&users);
}

/// A message of this size that deflate can hardly shrink.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut message = format!("Subject: noise {seed}\r\n\r\n").into_bytes();
    while message.len() < bytes {
        for _ in 0..76 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            message.push(LETTERS[(state % 64) as usize]);
        }
        message.extend_from_slice(b"\r\n");
    }
    message
}

/// Everything a side reports about a user, by mailbox.
fn lines_of(server: &mut PrivateServer, user: &str) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut lines = BTreeMap::new();
    for item in server.items("USER", user).unwrap_or_default() {
        if item.name == "MAILBOX" {
            let name = item.value.text("MBOXNAME").unwrap();
            let full = server.get_named("FULLMAILBOX", &name).unwrap();
            lines.insert(name, full);
        }
    }
    if !lines.is_empty() {
        lines.insert(String::new(), server.get_named("USER", user).unwrap());
    }
    lines
}

/// The replica has something that its master lacks: a message that a client put there. Without -O such a user fails with an
/// error that names the mailbox and copyback, and nothing is changed on either side; the user's other folders and all other
/// users go on. With -O it is the same. With --overwrite the master is not changed either, and the replica becomes equal to
/// the master.
#[test]
fn a_replica_that_is_ahead() {
    let pair = Pair::start();
    let users = fill::uniform(&pair.master, 4, 3, 5, 500).unwrap();
    pair.sync_well(&["-A"]);
    let (ahead, forked) = (&users[0], &users[1]);
    let extra = b"Subject: extra\r\n\r\nOnly on the replica.\r\n";
    for user in [ahead, forked] {
        pair.replica.login(user).unwrap().append("INBOX/folder1", &[], None, extra).unwrap();
    }
    for user in [forked, &users[2], &users[3]] {
        let mut client = pair.master.login(user).unwrap();
        for name in ["INBOX", "INBOX/folder1"] {
            let news = b"Subject: news\r\n\r\nOnly on the master.\r\n";
            client.append(name, &[], None, news).unwrap();
        }
    }
    let sides = || {
        let mut lines = Vec::new();
        for side in [&pair.master, &pair.replica] {
            let mut server = PrivateServer::start(side).unwrap();
            lines.push([ahead, forked].map(|user| lines_of(&mut server, user)));
        }
        lines
    };
    let before = sides();

    let run = pair.sync(&["-A", "-v"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(summary(&run).starts_with("4 users: 2 replicated"), "{}", run.stderr);
    for user in [ahead, forked] {
        let prefix =
            format!("sync_client: failed: {user}: mailbox user.{user}.folder1 needs copyback: ");
        let told = run.stderr.lines().any(|line| line.starts_with(&prefix));
        assert!(told, "no {prefix} in {}", run.stderr);
    }
    let after = sides();
    let [master, replica] = [0, 1].map(|side| (&before[side], &after[side]));
    assert!(master.0 == master.1, "the master was changed");
    assert!(replica.0[0] == replica.1[0], "{ahead} was changed on the replica");
    // If only checksums show it, it is found late: the mailbox is left alone, the others may have been sent.
    let folder = format!("user.{forked}.folder1");
    assert!(replica.0[1][&folder] == replica.1[1][&folder], "{folder} was changed on the replica");
    pair.assert_equal(&users[2..]);

    // With -O too it is not removed by accident.
    let forced = pair.sync(&["-A", "-v", "-O"]);
    assert!(sides() == after, "-O changed something");
    assert_eq!(forced.code, Some(1), "{forced:?}");
    assert_eq!(forced.stderr.matches("\nsync_client: failed: ").count(), 2, "{}", forced.stderr);
    // Unless the command line says so.
    pair.sync_well(&["-A", "-v", "-O", "--overwrite"]);
    assert!(sides()[0] == before[0], "--overwrite changed the master");
    pair.assert_equal(&users);
}
