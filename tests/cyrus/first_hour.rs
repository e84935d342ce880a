//! What a new user meets first: correct exit codes, and messages that say what to do.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use embedded_replica::{Fault, Options, Replica};
use testkit::relay::Relay;
use testkit::{Cyrus, Via, fill, process};

use crate::common::{Pair, summary, wait_for};

/// A partition that the replica lacks, named by -p or by a mailbox here: at the first user, exit 78, with the partition's
/// name; at most one of the replica's servers dies.
#[test]
fn a_partition_that_the_replica_lacks() {
    let mut pair = Pair::start();
    let users = fill::uniform(&pair.master, 8, 2, 3, 500).unwrap();
    let of_ours = |pair: &Pair, args: &[&str]| {
        drop(pair.replica.take_syslog());
        let run = pair.sync(args);
        assert_eq!(run.code, Some(78), "{}", run.stderr);
        let partition = if args.contains(&"-p") { "ssd" } else { "second" };
        let wanted = format!(
            "sync_client: stopped: the replica has no partition \"{partition}\"; add partition-{partition} to its imapd.conf or choose another with -p\nsync_client: 0 of "
        );
        assert!(run.stderr.contains(&wanted), "{}", run.stderr);
        assert!(run.wall < Duration::from_secs(15), "{:?}", run.wall);
        let died = "assertion failed: imap/dlist.c: 160: base != NULL";
        pair.replica.wait_for_syslog(died).unwrap();
        let log = pair.replica.take_syslog();
        let deaths = log.iter().filter(|line| line.text.contains(died));
        assert_eq!(deaths.count(), 1, "{log:#?}");
    };
    of_ours(&pair, &["-A", "-j", "4", "-p", "ssd"]);
    of_ours(&pair, &["-u", &users[0], "-p", "ssd"]);

    // The master's own partition; then the advice is followed.
    let mut admin = pair.master.admin().unwrap();
    let inbox = pair.master.name(&["user", &users[3]]);
    admin.move_to_partition(&inbox, "second").unwrap();
    pair.replica.unset_option("partition-second").unwrap();
    pair.replica.restart().unwrap();
    of_ours(&pair, &["-u", &users[3]]);
    pair.sync_well(&["-u", &users[3], "-p", "default"]);
    let second = pair.replica.partition("second").display().to_string();
    pair.replica.set_option("partition-second", &second).unwrap();
    pair.replica.restart().unwrap();
    pair.sync_well(&["-A"]);
    pair.assert_equal(&users);
}

/// A new user's folder on a partition of its own, while the INBOX's is known: the INBOX is made before the replica is asked
/// for that partition, so nothing is refused, and no server dies.
#[test]
fn a_folder_on_another_partition() {
    let pair = Pair::start();
    let users = fill::uniform(&pair.master, 3, 2, 2, 300).unwrap();
    // The users before it have shown by then that the INBOX's partition exists.
    let folder = pair.master.name(&["user", &users[2], "folder1"]);
    pair.master.admin().unwrap().move_to_partition(&folder, "second").unwrap();
    drop((pair.master.take_syslog(), pair.replica.take_syslog()));
    pair.sync_well(&["-A", "-j", "1"]);
    pair.assert_equal(&users);
    let said = [pair.master.take_syslog(), pair.replica.take_syslog()].concat();
    let bad = ["NO response", "assertion failed"];
    let bad: Vec<_> =
        said.iter().filter(|line| bad.iter().any(|words| line.text.contains(words))).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

/// A link that is cut just when a partition is asked for says nothing about partitions: the user is tried again.
#[test]
fn a_cut_link_is_no_missing_partition() {
    let mut pair = Pair::start();
    fill::uniform(&pair.master, 2, 2, 3, 500).unwrap();
    let replica = Replica::new(Options::default()).unwrap();
    let server = replica.serve("127.0.0.1:0").unwrap();
    pair.master.replicate_to_port(server.address().port(), Via::Csync).unwrap();
    let refusals = [("Unknown", "error"), ("IMAP_MAILBOX_LOCKED", "busy")];
    for (nr, (code, text)) in refusals.into_iter().enumerate() {
        let refused = Fault::Refuse { code: code.into(), text: text.into() };
        replica.faults().at("APPLY MAILBOX", 1, refused);
        replica.faults().at("APPLY MESSAGE", 1, Fault::Drop);
        let run = pair.sync_well(&["-A", "-j", "1"]);
        assert_eq!(replica.faults().left(), 0, "{}", run.stderr);
        if nr == 0 {
            assert!(summary(&run).starts_with("2 users: 2 replicated"), "{}", run.stderr);
            for user in ["bench0000", "bench0001"] {
                let mut client = pair.master.login(user).unwrap();
                client.create("INBOX/more").unwrap();
                client.append("INBOX/more", &[], None, b"Subject: x\r\n\r\nx\r\n").unwrap();
            }
        }
    }
}

/// In rolling replication a mailbox on a partition that the replica lacks stops only its user, and only until the partition
/// exists.
#[test]
fn a_partition_that_comes_later() {
    // Otherwise the user might rest, or a replica that restarts be waited for, longer than the test waits.
    let master = Cyrus::master().sync_log(&[]).option("sync_retry_maxwait", "2s");
    let master = master.option("sync_reconnect_maxwait", "1s");
    let mut pair = Pair::with(master, Cyrus::replica(), Via::Csync);
    let users = fill::uniform(&pair.master, 2, 1, 1, 300).unwrap();
    pair.replica.unset_option("partition-second").unwrap();
    pair.replica.restart().unwrap();
    // On the partition before anybody looks.
    let mut admin = pair.master.admin().unwrap();
    let other = pair.master.name(&["user", &users[0], "other"]);
    admin.create(&other).unwrap();
    admin.move_to_partition(&other, "second").unwrap();
    let run = pair.start_sync(&["-R", "-d", "0"]);
    pair.master.wait_for_syslog("the replica has no partition \"second\"").unwrap();
    let mut client = pair.master.login(&users[1]).unwrap();
    client.append("INBOX", &[], None, b"Subject: x\r\n\r\nx\r\n").unwrap();
    wait_for("the other user", || pair.differences(&users[1..]).is_empty());
    let second = pair.replica.partition("second").display().to_string();
    pair.replica.set_option("partition-second", &second).unwrap();
    pair.replica.restart().unwrap();
    wait_for("the user", || pair.differences(&users).is_empty());
    run.terminate();
    assert_eq!(run.wait().code, Some(0));
}

/// No user is selected: exit 1, with advice, whether a prefix, a list or the store contains no users.
#[test]
fn nobody_selected() {
    let pair = Pair::start();
    let run = pair.sync(&["-A"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let db = pair.master.config_dir().join("mailboxes.db");
    let wanted = format!("sync_client: nobody was selected: {} lists no users\n", db.display());
    assert_eq!(run.stderr, wanted);

    pair.master.create_user("anna").unwrap();
    pair.master.create_user("annette").unwrap();
    pair.master.create_user("bert").unwrap();
    let run = pair.sync(&["-A", "zzz"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let wanted = "sync_client: nobody was selected: no mailbox's internal name and no user's name begins with \"zzz\"; a prefix is the beginning of internal names, such as user.an for the users whose names begin with \"an\"\n";
    assert_eq!(run.stderr, wanted);
    // The advice, and a prefix of users' names.
    let run = pair.sync_well(&["-A", "user.an"]);
    assert_eq!(summary(&run), "2 users: 2 replicated");
    let run = pair.sync_well(&["-A", "ann"]);
    assert_eq!(summary(&run), "2 users: 2 already equal");
    assert!(run.stderr.contains("replicating the users whose names begin so"), "{}", run.stderr);

    // A shared mailbox with this prefix does not hide users; a prefix that was used for user names is reported.
    pair.master.admin().unwrap().create("announcements").unwrap();
    let run = pair.sync_well(&["-A", "ann"]);
    assert_eq!(summary(&run), "2 users: 2 already equal, shared mailboxes replicated");
    let run = pair.sync_well(&["-A", "us"]);
    assert!(run.stderr.contains("replicating all of them"), "{}", run.stderr);
    assert!(summary(&run).starts_with("3 users: "), "{}", run.stderr);

    let list = pair.master.dir().join("users");
    fs::write(&list, "# nobody\n\n  \n").unwrap();
    let run = pair.sync(&["-u", "-f", list.to_str().unwrap()]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert_eq!(run.stderr, "sync_client: nobody was selected: the list of users is empty\n");

    // Blanks around a name are removed; an unknown name is a failure, and nothing waits for it.
    fs::write(&list, " anna \n\tbert\nnosuch\n").unwrap();
    let run = pair.sync(&["-u", "-f", list.to_str().unwrap()]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert_eq!(summary(&run), "3 users: 2 already equal, 1 without an INBOX");
    let wanted = "sync_client: no such user: \"nosuch\" has no INBOX on this server\n";
    assert!(run.stderr.ends_with(wanted), "{}", run.stderr);
    pair.assert_equal(&["anna".into(), "annette".into(), "bert".into()]);
}

/// SIGINT and SIGTERM in the middle: 75, with how far it came; the same command again goes on.
#[test]
fn an_interrupted_run_says_how_far_it_came() {
    let mut pair = Pair::start();
    let users = fill::uniform(&pair.master, 12, 2, 4, 600).unwrap();
    let relay = Relay::start(pair.replica.csync_port().unwrap()).unwrap();
    pair.master.replicate_to_port(relay.port(), Via::Csync).unwrap();
    relay.set_delay(Duration::from_millis(60));
    for signal in ["INT", "TERM"] {
        let run = pair.start_sync(&["-A", "-j", "1", "-v"]);
        wait_for("a mailbox", || run.stdout().contains("\nMAILBOX "));
        run.signal(signal);
        let end = run.wait();
        assert_eq!(end.code, Some(75), "{}", end.stderr);
        let line = end.stderr.lines().find(|line| line.starts_with("sync_client: interrupted: "));
        let line = line.unwrap_or_else(|| panic!("{}", end.stderr));
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<usize>().unwrap();
        let (finished, all, missed) = (number(2), number(4), number(7));
        assert_eq!((all, finished + missed), (12, 12), "{line}");
        assert!(missed > 0 && line.ends_with("not reached; run the same command again to go on"));
        let named = end.stderr.lines().last().unwrap();
        let named = named.strip_prefix("sync_client: not reached: ").unwrap();
        assert_eq!(named.split(", ").count(), missed, "{named}");
    }
    relay.set_delay(Duration::ZERO);
    pair.sync_well(&["-A"]);
    pair.assert_equal(&users);
}

/// An endless list on standard input does not delay a signal; SIGHUP, as from a closed terminal, ends a run in good order,
/// and SIGUSR1 never ends one.
#[test]
fn signals_before_and_within_a_run() {
    let pair = Pair::start();
    let users = fill::uniform(&pair.master, 3, 1, 1, 300).unwrap();
    for (signal, code) in [("TERM", 75), ("HUP", 75)] {
        let mut command = pair.command(&["-u", "-f", "-"]);
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let held = child.stdin.take();
        let send = |signal: &str| process::send(&child, signal).unwrap();
        std::thread::sleep(Duration::from_millis(500));
        send("USR1");
        std::thread::sleep(Duration::from_millis(200));
        send(signal);
        let output = child.wait_with_output().unwrap();
        drop(held);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{signal}: {said}");
        assert!(said.contains("sync_client: reading the list of users"), "{said}");
        assert!(
            said.contains("sync_client: interrupted before the list of users was read"),
            "{said}"
        );
    }
    // The lock files exist, and belong to the Cyrus user.
    pair.sync_well(&["-A"]);
    for user in &users {
        let mut client = pair.master.login(user).unwrap();
        client.append("INBOX", &[], None, b"Subject: news\r\n\r\nnews\r\n").unwrap();
    }
    let lock = crate::locks::try_lock(&pair.master, &users[0]).unwrap();
    let run = pair.start_sync(&["-A"]);
    wait_for("the others", || pair.differences(&users[1..]).is_empty());
    run.signal("HUP");
    let end = run.wait();
    assert_eq!(end.code, Some(75), "{}", end.stderr);
    assert!(
        end.stderr.contains("sync_client: interrupted: 2 of 3 users finished"),
        "{}",
        end.stderr
    );
    drop(lock);
}

/// A single pass of rolling replication that is interrupted, or leaves a locked user out, is not complete.
#[test]
fn a_single_pass_that_is_not_all() {
    let mut pair = Pair::with(Cyrus::master().sync_log(&[]), Cyrus::replica(), Via::Csync);
    let users = fill::uniform(&pair.master, 6, 1, 2, 300).unwrap();
    let given = pair.master.dir().join("given");
    let lines: Vec<String> = users.iter().map(|user| format!("USER {user}\n")).collect();
    fs::write(&given, lines.concat()).unwrap();
    let given = given.to_str().unwrap().to_owned();
    let relay = Relay::start(pair.replica.csync_port().unwrap()).unwrap();
    pair.master.replicate_to_port(relay.port(), Via::Csync).unwrap();
    relay.set_delay(Duration::from_millis(150));
    for (args, left) in [
        (&["-1", "-j", "1", "-v"][..], "left in the log"),
        (&["-R", "-f", &given, "-j", "1", "-v"], "not done"),
    ] {
        let run = pair.start_sync(args);
        wait_for("a mailbox", || run.stdout().contains("MAILBOX "));
        run.terminate();
        let end = run.wait();
        assert_eq!(end.code, Some(75), "{args:?}: {}", end.stderr);
        assert!(end.stderr.contains(left), "{args:?}: {}", end.stderr);
        pair.replica.wipe().unwrap();
    }
    relay.set_delay(Duration::ZERO);
    pair.master.replicate_to(&pair.replica, Via::Csync).unwrap();
    pair.sync_well(&["-1"]);
    pair.sync_well(&["-R", "-f", &given]);
    pair.assert_equal(&users);
    let lock = crate::locks::try_lock(&pair.master, &users[0]).unwrap();
    let run = pair.sync(&["-R", "-N", "-f", &given]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains(", 1 not done (1 locked)"), "{}", run.stderr);
    drop(lock);
}

/// The summary counts what the replica accepted: each message once, though it was uploaded twice, because the replica was
/// busy when its mailbox was sent the first time.
#[test]
fn what_is_sent_twice_counts_once() {
    let mut pair = Pair::start();
    fill::uniform(&pair.master, 1, 3, 40, 600).unwrap();
    let replica = Replica::new(Options::default()).unwrap();
    let server = replica.serve("127.0.0.1:0").unwrap();
    pair.master.replicate_to_port(server.address().port(), Via::Csync).unwrap();
    let busy = Fault::Refuse { code: "IMAP_MAILBOX_LOCKED".into(), text: "busy".into() };
    // The first one asks for the partition, the second is the INBOX.
    replica.faults().at("APPLY MAILBOX", 2, busy);
    let run = pair.sync_well(&["-A"]);
    assert_eq!(replica.faults().left(), 0);
    assert!(replica.stats().messages > 120, "nothing was uploaded twice");
    let summary = summary(&run);
    assert!(summary.starts_with("1 user: 1 replicated; sent 120 messages, "), "{summary}");
}

/// An unknown host may mean that a name server is down: the run waits, and the line says why.
#[test]
fn a_host_that_does_not_exist() {
    let pair = Pair::start();
    pair.master.create_user("anna").unwrap();
    let run = pair.start_sync(&["-A", "-S", "no-such-host.invalid"]);
    let wanted = "sync_client: Can not connect to server 'no-such-host.invalid', retrying in 15 seconds (can't find the address of no-such-host.invalid: ";
    wait_for("the line", || run.stderr().contains(wanted));
    run.terminate();
    let end = run.wait();
    assert_eq!(end.code, Some(75));
    let wanted = "sync_client: interrupted while the replica could not be reached: 0 of 1 user finished, 1 not reached; run the same command again to go on\n";
    assert!(end.stderr.contains(wanted), "{}", end.stderr);
}

/// A replica with Cyrus' defaults, which lets nobody log in without TLS: the message says what to set, and that works.
#[test]
fn a_replica_that_wants_tls() {
    let replica = Cyrus::replica().option("allowplaintext", "no");
    let mut pair = Pair::with(Cyrus::master(), replica, Via::Csync);
    pair.master.create_user("anna").unwrap();
    let run = pair.sync(&["-A"]);
    assert_eq!(run.code, Some(78), "{}", run.stderr);
    let wanted = "lets nobody log in without TLS, which this program can't do yet; set SERVICE_allowplaintext: yes in its imapd.conf";
    assert!(run.stderr.contains(wanted), "{}", run.stderr);
    pair.replica.set_option("csync_allowplaintext", "yes").unwrap();
    pair.replica.restart().unwrap();
    // The relay stands for the tunnel.
    let tunnel = Relay::start(pair.replica.csync_port().unwrap()).unwrap();
    pair.master.replicate_to_port(tunnel.port(), Via::Csync).unwrap();
    pair.sync_well(&["-A"]);
    pair.assert_equal(&["anna".into()]);
}
