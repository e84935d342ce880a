//! Each piece of advice in a failed user's line is followed literally, and helps.

use std::fs;
use std::process::Command;
use std::time::Duration;

use testkit::c_client::Outcome;
use testkit::{Cyrus, Via, fill, process};

use crate::common::{Pair, summary};
use crate::errors::{assert_no_bug, failure_of, path_of};

/// The command in backticks in a line, run on a server through a shell.
fn follow(server: &Cyrus, line: &str) {
    let command = line.split('`').nth(1).unwrap_or_else(|| panic!("no command in {line}"));
    let (program, rest) = command.split_once(' ').unwrap();
    let program = match program {
        "sync_client" => env!("CARGO_BIN_EXE_sync_client").to_string(),
        cyrus => format!("/usr/lib/cyrus/bin/{cyrus}"),
    };
    let conf = server.imapd_conf();
    let script = format!("exec {program} -C {} {rest}", conf.display());
    let mut shell: Command = server.command("/bin/sh");
    process::must_run(shell.arg("-c").arg(&script)).unwrap();
}

fn append(server: &Cyrus, user: &str, folder: &str, text: &str) {
    let message = format!("Subject: {text}\r\n\r\n{text}\r\n");
    server.login(user).unwrap().append(folder, &[], None, message.as_bytes()).unwrap();
}

/// The user fails; the line's command makes both sides equal.
fn fails_until_overwritten(pair: &Pair, user: &str, args: &[&str], why: &str) {
    let run = pair.sync(args);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert_no_bug(&run);
    let line = failure_of(&run, user);
    assert!(line.contains(why), "{line}");
    follow(&pair.master, line);
    pair.assert_equal(&[user.to_string()]);
}

/// One UID with two messages, a message that only the replica has, another mailbox with a name of ours: with and without
/// -O, the advice works.
#[test]
fn letting_go_what_only_the_replica_has() {
    let pair = Pair::start();
    let mut users = fill::uniform(&pair.master, 3, 2, 3, 400).unwrap();
    let odd = "o'neil co";
    pair.master.create_user(odd).unwrap();
    users.push(odd.to_string());
    pair.sync_well(&["-A"]);
    for user in &users[..2] {
        append(&pair.master, user, "INBOX", "one message");
        append(&pair.replica, user, "INBOX", "another message");
    }
    fails_until_overwritten(&pair, &users[0], &["-u", &users[0]], "needs copyback");
    fails_until_overwritten(&pair, &users[1], &["-O", "-u", &users[1]], "needs copyback");

    append(&pair.replica, &users[2], "INBOX", "only there");
    fails_until_overwritten(&pair, &users[2], &["-u", &users[2]], "needs copyback");

    for server in [&pair.replica, &pair.master] {
        server.login(&users[3]).unwrap().create("INBOX/news").unwrap();
        append(server, &users[3], "INBOX/news", "news");
    }
    let why = "the replica has another mailbox of this name";
    fails_until_overwritten(&pair, &users[3], &["-u", &users[3]], why);
}

/// A mailbox that was deleted on the replica while that was the master, and cleaned up there: the replica remembers its
/// unique id for ever (3.6.1), and refuses it. The first try reports that, everything else of the user arrives, and the
/// advice helps.
#[test]
fn a_unique_id_that_was_deleted_on_the_replica() {
    let pair = Pair::start();
    let users = fill::uniform(&pair.master, 1, 2, 3, 400).unwrap();
    let user = &users[0];
    pair.sync_well(&["-A"]);
    pair.replica.login(user).unwrap().delete("INBOX/folder1").unwrap();
    pair.replica.tool("cyr_expire", &["-E", "1", "-D", "0", "-X", "0"]).unwrap();
    append(&pair.master, user, "INBOX/folder1", "more");
    append(&pair.master, user, "INBOX", "more");
    let run = pair.sync(&["-u", user]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let line = failure_of(&run, user);
    assert!(line.contains(": it was deleted on the replica, which does not make"), "{line}");
    assert!(run.wall < Duration::from_secs(5), "it was tried again: {:?}", run.wall);
    assert!(summary(&run).contains("; sent 1 message, "), "{}", run.stderr);
    let db = pair.replica.config_dir().join("mailboxes.db");
    follow(&pair.replica, &line.replace("MAILBOXES.DB", db.to_str().unwrap()));
    pair.sync_well(&["-u", user]);
    pair.assert_equal(&users);
}

fn repaired(pair: &Pair, user: &str) -> Outcome {
    let run = pair.sync(&["-u", user]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let line = failure_of(&run, user);
    follow(&pair.master, line);
    pair.sync_well(&["-u", user])
}

/// A damaged record, and a message without a file: reconstruct, with the name from the line.
#[test]
fn reconstruct() {
    let pair = Pair::start();
    let users = ["with space", "plain"].map(str::to_string);
    for user in &users {
        pair.master.create_user(user).unwrap();
        pair.master.login(user).unwrap().create("INBOX/Sent Items").unwrap();
        for nr in 0..4 {
            append(&pair.master, user, "INBOX/Sent Items", &format!("number {nr}"));
        }
    }
    let folder = |user: &str| path_of(&pair.master, "-D", &format!("user/{user}/Sent Items"));
    let index = folder(&users[0]).join("cyrus.index");
    let mut bytes = fs::read(&index).unwrap();
    let at = bytes.len() - 40;
    bytes[at] ^= 0x40;
    fs::write(&index, bytes).unwrap();
    fs::remove_file(folder(&users[1]).join("2.")).unwrap();
    for user in &users {
        let run = repaired(&pair, user);
        assert!(summary(&run).starts_with("1 user: 1 replicated"), "{}", run.stderr);
    }
    pair.assert_equal(&users);
}

/// A user was renamed here, and the replica does not rename users.
#[test]
fn a_replica_that_renames_no_users() {
    let moves = Cyrus::master().option("allowusermoves", "yes");
    let mut pair = Pair::with(moves, Cyrus::replica(), Via::Csync);
    pair.master.create_user("anna").unwrap();
    pair.sync_well(&["-A"]);
    pair.master.admin().unwrap().rename("user/anna", "user/berta").unwrap();
    let run = pair.sync(&["-A"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let line = failure_of(&run, "berta");
    assert!(line.contains("IMAP_MAILBOX_NOTSUPPORTED"), "{line}");
    assert!(
        line.ends_with(
            "set `allowusermoves: yes` in the replica's imapd.conf, so that it renames users"
        ),
        "{line}"
    );
    pair.replica.set_option("allowusermoves", "yes").unwrap();
    pair.replica.restart().unwrap();
    pair.sync_well(&["-A"]);
    pair.assert_equal(&["berta".into()]);
}
