//! One mailbox that can't be made equal does not stop the rest of its user: not in a run, and not in rolling replication,
//! where it rests alone.

use std::fs;
use std::time::{Duration, Instant};

use testkit::{Cyrus, c_client};

use crate::common::{Pair, Running, summary, wait_for};
use crate::errors::{assert_no_bug, failure_of};
use crate::rolling::{log_files, logging_pair};

/// Appends a message with these words.
fn append(cyrus: &Cyrus, mailbox: &str, words: &str) {
    let text = format!("From: a@example.com\r\nSubject: {words}\r\n\r\n{words}\r\n");
    cyrus.login("anna").unwrap().append(mailbox, &[], None, text.as_bytes()).unwrap();
}

/// How many messages are in a mailbox there.
fn there(pair: &Pair, mailbox: &str) -> usize {
    pair.replica.login("anna").unwrap().examine(mailbox).unwrap() as usize
}

/// Anna with three folders on both sides, one of which got a message of its own on the replica.
fn diverged() -> Pair {
    let pair = logging_pair();
    pair.master.create_user("anna").unwrap();
    let mut anna = pair.master.login("anna").unwrap();
    for folder in ["INBOX/bad", "INBOX/good", "INBOX/other"] {
        anna.create(folder).unwrap();
        append(&pair.master, folder, folder);
    }
    pair.sync_well(&["-u", "anna"]);
    append(&pair.replica, "INBOX/bad", "only here");
    for file in log_files(&pair) {
        drop(fs::remove_file(file));
    }
    pair
}

/// In a run: the folder is left as it is on both sides, and named; all others arrive. The C client merges it, which is
/// copyback.
#[test]
fn one_folder_that_diverged_keeps_no_other_away() {
    let pair = diverged();
    append(&pair.master, "INBOX/bad", "not sent");
    append(&pair.master, "INBOX/good", "sent");
    pair.master.login("anna").unwrap().create("INBOX/new").unwrap();
    append(&pair.master, "INBOX/new", "sent");
    pair.master.login("anna").unwrap().subscribe("INBOX/new").unwrap();
    for _ in 0..2 {
        let run = pair.sync(&["-u", "anna", "-v"]);
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        assert!(failure_of(&run, "anna").contains("mailbox user.anna.bad needs copyback"));
        assert_no_bug(&run);
        assert_eq!(there(&pair, "INBOX/good"), 2);
        assert_eq!(there(&pair, "INBOX/new"), 1);
        assert_eq!(there(&pair, "INBOX/bad"), 2, "it is as it was");
    }
    let report = pair.differences(&["anna".to_string()]);
    let only_bad = report.0.iter().all(|d| d.mailbox.as_deref() == Some("user.anna.bad"));
    assert!(only_bad && !report.is_empty(), "{report}");

    // Two of them: both are named.
    append(&pair.replica, "INBOX/other", "only here");
    append(&pair.master, "INBOX/good", "sent, too");
    let run = pair.sync(&["-A"]);
    let line = failure_of(&run, "anna");
    assert!(line.contains("user.anna.bad") && line.contains("user.anna.other"), "{line}");
    assert!(summary(&run).contains("1 message"), "{}", run.stderr);
    assert_eq!(there(&pair, "INBOX/good"), 3);

    let by_c = c_client::run(&pair.master, &["-u", "anna"]).unwrap();
    assert_eq!(by_c.code, Some(0), "{}", by_c.stderr);
    assert!(pair.differences(&["anna".to_string()]).is_empty());
}

/// The status that SIGUSR1 asks for.
fn status(running: &Running) -> String {
    let before = running.stderr().len();
    running.signal("USR1");
    wait_for("the status", || running.stderr()[before..].contains("behind"));
    std::thread::sleep(Duration::from_millis(50));
    running.stderr()[before..].to_string()
}

/// In rolling replication: the folder rests alone, is named in the status and stays in the log; entries of the user's other
/// mailboxes are done at once, however long the folder rests; nothing is promoted. Once the folder can be replicated it is.
#[test]
fn one_folder_that_diverged_rests_by_itself() {
    let pair = diverged();
    let mut running = pair.start_sync(&["-R", "-d", "0", "-v"]);
    append(&pair.master, "INBOX/bad", "not sent");
    append(&pair.master, "INBOX/good", "sent");
    wait_for("the good folder", || there(&pair, "INBOX/good") == 2);
    let quarantined = "SYNCERROR: mailbox in quarantine: entry=<MAILBOX user.anna.bad>";
    pair.master.wait_for_syslog(quarantined).unwrap();
    // It rests for eight seconds now, its user for none.
    for nr in 3..8 {
        let started = Instant::now();
        append(&pair.master, "INBOX/good", "sent");
        append(&pair.master, "INBOX/bad", "not sent");
        wait_for("the good folder", || there(&pair, "INBOX/good") == nr);
        assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    }
    // The numbers are updated once a second.
    wait_for("the status", || status(&running).contains("1 failing, 1 of them in quarantine"));
    let said = status(&running);
    assert!(said.contains("anna: mailbox user.anna.bad needs copyback"), "{said}");
    let [_, run] = log_files(&pair);
    wait_for("log-run", || {
        fs::read_to_string(&run).is_ok_and(|left| left == "MAILBOX user.anna.bad\n")
    });
    let log = pair.master.syslog();
    assert!(!log.iter().any(|line| line.text.contains("Promoting")), "{log:#?}");
    assert!(running.is_running());

    // The message that only the replica had is removed there together with the folder, which is made again from the master.
    let mut admin = pair.replica.login("anna").unwrap();
    admin.delete("INBOX/bad").unwrap();
    drop(admin);
    running.signal("HUP");
    running.terminate();
    assert_eq!(running.wait().code, Some(0));

    // A single pass over the rest: only the folder fails, four times, and stays in the log.
    let pass = pair.sync(&["-1"]);
    let left = fs::read_to_string(&run).unwrap_or_default();
    assert_eq!(pass.code, Some(1), "{}", pass.stderr);
    assert_eq!(left, "MAILBOX user.anna.bad\n", "{}", pass.stderr);
    assert!(pass.stderr.contains("user.anna.bad"), "{}", pass.stderr);
}

/// A folder that can't be read for a while, and a folder that was deleted here meanwhile: the deletion waits with it, if
/// both are seen at once, and is not forgotten.
#[test]
fn what_waits_for_a_broken_folder_is_not_forgotten() {
    let pair = logging_pair();
    pair.master.create_user("anna").unwrap();
    let mut anna = pair.master.login("anna").unwrap();
    for folder in ["INBOX/bad", "INBOX/gone"] {
        anna.create(folder).unwrap();
        append(&pair.master, folder, folder);
        anna.subscribe(folder).unwrap();
    }
    pair.sync_well(&["-u", "anna"]);
    let index = crate::errors::path_of(&pair.master, "-D", "user/anna/bad").join("cyrus.index");
    let bytes = fs::read(&index).unwrap();
    fs::write(&index, b"").unwrap();
    anna.unsubscribe("INBOX/gone").unwrap();
    fs::write(&log_files(&pair)[0], "USER anna\n").unwrap();
    let mut running = pair.start_sync(&["-R", "-d", "0", "-v"]);
    wait_for("the failure", || {
        pair.master.syslog().iter().any(|line| line.text.contains("mailbox in quarantine"))
    });
    assert!(running.is_running());
    fs::write(&index, &bytes).unwrap();
    wait_for("all of it", || pair.differences(&["anna".to_string()]).is_empty());
    running.terminate();
    assert_eq!(running.wait().code, Some(0));
}

/// Mailboxes that the replica made itself under names that were later used here, as by a server that was the master
/// meanwhile or that makes an INBOX at a login. With -O ours replaces them if they hold no mail that exists nowhere else;
/// one that does stays as it is, and fails. The C client's force mode replaces it together with its mail.
#[test]
fn with_one_way_ours_takes_its_name_where_no_mail_is_lost() {
    let pair = Pair::start();
    let users = ["anna".to_string()];
    for side in [&pair.master, &pair.replica] {
        side.create_user("anna").unwrap();
        let mut anna = side.login("anna").unwrap();
        for folder in ["INBOX/same", "INBOX/mail", "INBOX/emptied"] {
            anna.create(folder).unwrap();
        }
        append(side, "INBOX/same", "on both sides");
    }
    append(&pair.master, "INBOX", "ours");
    append(&pair.replica, "INBOX/mail", "only there");
    append(&pair.replica, "INBOX/emptied", "removed there");
    let mut client = pair.replica.login("anna").unwrap();
    client.select("INBOX/emptied").unwrap();
    client.remove("1").unwrap();
    client.unselect().unwrap();

    // Without it, only mailboxes that never held anything are removed there: here the INBOX.
    let run = pair.sync(&["-u", "anna", "-v"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    for folder in ["same", "mail", "emptied"] {
        assert!(
            failure_of(&run, "anna").contains(&format!("user.anna.{folder}")),
            "{}",
            run.stderr
        );
        assert!(!run.stdout.contains(&format!("UNMAILBOX user.anna.{folder}")), "{}", run.stdout);
    }
    assert_eq!(there(&pair, "INBOX"), 1);
    for _ in 0..2 {
        let run = pair.sync(&["-u", "anna", "-O", "-v"]);
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        assert_no_bug(&run);
        let line = failure_of(&run, "anna");
        assert!(line.contains("user.anna.mail") && !line.contains("user.anna.same"), "{line}");
        assert_eq!(there(&pair, "INBOX/mail"), 1);
        let report = pair.differences(&users);
        let only_mail = report.0.iter().all(|d| d.mailbox.as_deref() == Some("user.anna.mail"));
        assert!(only_mail && !report.is_empty(), "{report}");
    }
    // What else would be removed with the one message is limited.
    let run = pair.sync(&["-u", "anna", "-O", "--overwrite", "--max-deletes", "1"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert_eq!(there(&pair, "INBOX/mail"), 1);
    let run = pair.sync_well(&["-u", "anna", "-O", "--overwrite", "-v"]);
    let line = "OVERWRITE user.anna.mail (1 message that only the replica had)";
    assert!(run.stdout.contains(line), "{}", run.stdout);
    assert!(run.stderr.contains("overwritten: anna: 1 mailbox, 1 message"), "{}", run.stderr);
    pair.assert_equal(&users);

    // The C client removes such mail without asking.
    let twin = Pair::start();
    for side in [&twin.master, &twin.replica] {
        side.create_user("anna").unwrap();
        side.login("anna").unwrap().create("INBOX/mail").unwrap();
    }
    append(&twin.replica, "INBOX/mail", "only there");
    c_client::run(&twin.master, &["-O", "-u", "anna"]).unwrap().must_succeed().unwrap();
    assert_eq!(there(&twin, "INBOX/mail"), 0);
}

/// A replica that is shut down says BYE. With -o a rolling client then ends, with exit 0, as the C client does: the log's
/// entries wait for the next one. A single pass that was cut short is still not a success.
#[test]
fn a_replica_that_says_bye_ends_a_client_that_does_not_wait() {
    let mut pair = logging_pair();
    pair.master.create_user("anna").unwrap();
    let mut running = pair.start_sync(&["-R", "-o", "-d", "0", "-v"]);
    crate::rolling::settle(&pair, &mut running);
    pair.replica.stop();
    append(&pair.master, "INBOX", "late");
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("the replica said BYE"), "{}", ended.stderr);
    let [_, run] = log_files(&pair);
    assert!(fs::read_to_string(run).unwrap().contains("MAILBOX user.anna\n"));
    // A client that finds no replica at all got no BYE.
    assert_eq!(pair.sync(&["-R", "-o"]).code, Some(1));
    assert_eq!(pair.sync(&["-1", "-o"]).code, Some(1));
    pair.replica.start().unwrap();
    pair.sync_well(&["-1", "-o"]);
    pair.assert_equal(&["anna".to_string()]);
}
