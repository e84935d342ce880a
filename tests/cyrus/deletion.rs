//! Nothing is removed on the replica without proof, which is a unique id with a tombstone here: never because of a name
//! alone, and never while something of the user can't be read.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use testkit::c_client::{self, Outcome};
use testkit::oracle::PrivateServer;
use testkit::{Builder, Cyrus, DeleteMode, Via};

use crate::common::{Pair, summary};
use crate::errors::{assert_no_bug, failure_of, path_of};
use crate::rolling::{log_files, logging_pair, settle};

/// Appends a message with these words.
fn append(cyrus: &Cyrus, user: &str, mailbox: &str, words: &str) {
    let text = format!("From: a@example.com\r\nSubject: {words}\r\n\r\n{words}\r\n");
    cyrus.login(user).unwrap().append(mailbox, &[], None, text.as_bytes()).unwrap();
}

/// Makes a folder with one message in it.
fn make(cyrus: &Cyrus, user: &str, folder: &str) {
    cyrus.login(user).unwrap().create(folder).unwrap();
    append(cyrus, user, folder, folder);
}

/// A server's data of a user: quota roots, subscriptions, scripts.
fn said_of(cyrus: &Cyrus, user: &str, what: &str) -> Vec<String> {
    let mut server = PrivateServer::start(cyrus).unwrap();
    let lines = server.get(&format!("USER {user}")).unwrap();
    let lines = lines.iter().map(|line| String::from_utf8_lossy(line).into_owned());
    lines.filter(|line| line.starts_with(what)).collect()
}

/// Takes an entry out of the list of mailboxes, as damage does.
fn forget(cyrus: &Cyrus, key: &str) {
    let path = cyrus.config_dir().join("mailboxes.db").display().to_string();
    cyrus.tool("cyr_dbtool", &[path.as_str(), "twoskip", "delete", key]).unwrap();
}

/// A pair with a second replica, which Cyrus' own client brings to the same state.
struct Beside {
    pair: Pair,
    second: Cyrus,
}

impl Beside {
    fn start(master: Builder) -> Beside {
        let pair = Pair::with(master, Cyrus::replica(), Via::Csync);
        Beside { pair, second: Cyrus::replica().start().unwrap() }
    }

    /// Makes Cyrus' client carry out these lines of a log, towards the second replica.
    fn c_log(&mut self, lines: &str) -> Outcome {
        let [log, run] = log_files(&self.pair);
        drop(fs::remove_file(run));
        fs::write(&log, lines).unwrap();
        let folder = fs::metadata(self.pair.master.config_dir()).unwrap();
        chown(&log, Some(folder.uid()), Some(folder.gid())).unwrap();
        let outcome = self.c_sync(&["-R", "-1"]);
        assert!(!log.exists(), "it did not look: {outcome:?}");
        outcome
    }

    /// Runs Cyrus' client towards the second replica.
    fn c_sync(&mut self, args: &[&str]) -> Outcome {
        self.pair.master.replicate_to(&self.second, Via::Csync).unwrap();
        let outcome = c_client::run(&self.pair.master, args).unwrap();
        self.pair.master.replicate_to(&self.pair.replica, Via::Csync).unwrap();
        outcome
    }
}

/// A folder was renamed since the last run, and now its index is lost, because the disk dies. Its old name has a tombstone,
/// and because of that the only good copy on the replica was removed. Now it stays, as with the C client, and while it
/// can't be read nothing else of the user is removed either. Once it is repaired, everything follows.
#[test]
fn what_can_not_be_read_here_stays_there() {
    for mode in [DeleteMode::Delayed, DeleteMode::Immediate] {
        let mut beside = Beside::start(Cyrus::master().delete_mode(mode));
        let master = &beside.pair.master;
        master.create_user("anna").unwrap();
        for folder in ["INBOX/a", "INBOX/gone", "INBOX/quota"] {
            make(master, "anna", folder);
        }
        let mut anna = master.login("anna").unwrap();
        anna.subscribe("INBOX/a").unwrap();
        anna.subscribe("INBOX/quota").unwrap();
        let mut admin = master.admin().unwrap();
        admin.set_quota("user/anna/quota", &[("STORAGE", 5000)]).unwrap();
        beside.pair.sync_well(&["-u", "anna"]);
        beside.c_sync(&["-u", "anna"]).must_succeed().unwrap();

        let master = &beside.pair.master;
        anna.rename("INBOX/a", "INBOX/b").unwrap();
        anna.delete("INBOX/gone").unwrap();
        anna.unsubscribe("INBOX/quota").unwrap();
        PrivateServer::start(master).unwrap().command("APPLY UNQUOTA user.anna.quota").unwrap();
        append(master, "anna", "INBOX", "news");
        let index = path_of(master, "-M", "user/anna/b").join("cyrus.index");
        let index = if index.exists() {
            index
        } else {
            path_of(master, "-D", "user/anna/b").join("cyrus.index")
        };
        let bytes = fs::read(&index).unwrap();
        fs::write(&index, &bytes[..40]).unwrap();

        let run = beside.pair.sync(&["-u", "anna", "-v"]);
        let by_c = beside.c_sync(&["-u", "anna"]);
        fs::write(&index, &bytes).unwrap();
        assert_eq!((run.code, by_c.code), (Some(1), Some(1)), "{}{}", run.stderr, by_c.stderr);
        assert!(failure_of(&run, "anna").contains("user.anna.b"), "{}", run.stderr);
        assert_no_bug(&run);
        for word in ["UNMAILBOX", "UNSUB", "UNQUOTA"] {
            assert!(!run.stdout.contains(word), "{mode:?}: {}", run.stdout);
        }
        for replica in [&beside.pair.replica, &beside.second] {
            assert_eq!(replica.login("anna").unwrap().select("INBOX/a").unwrap(), 1, "{mode:?}");
        }
        let replica = &beside.pair.replica;
        assert_eq!(replica.login("anna").unwrap().select("INBOX").unwrap(), 1, "the news is there");
        let quota = PrivateServer::start(replica).unwrap().get("QUOTA user.anna.quota").unwrap();
        assert_eq!(quota.len(), 1);

        beside.pair.sync_well(&["-u", "anna"]);
        beside.pair.assert_equal(&["anna".to_string()]);
    }
}

/// A message moved from one folder to another, and then the other's index was lost: the replica's copy in the first folder
/// is the only readable one. It stays, though it was expunged here; everything else goes on. The C client fails the whole
/// user.
#[test]
fn what_moved_into_a_broken_folder_stays_there() {
    let pair = Pair::start();
    let master = &pair.master;
    master.create_user("anna").unwrap();
    for folder in ["INBOX/b", "INBOX/c", "INBOX/d"] {
        make(master, "anna", folder);
    }
    pair.sync_well(&["-u", "anna"]);
    let mut anna = master.login("anna").unwrap();
    anna.select("INBOX/b").unwrap();
    anna.move_to("1", "INBOX/c").unwrap();
    drop(anna);
    append(master, "anna", "INBOX/d", "news");
    let index = path_of(master, "-M", "user/anna/c").join("cyrus.index");
    let bytes = fs::read(&index).unwrap();
    fs::write(&index, b"").unwrap();
    for args in [&["-u", "anna"][..], &["-u", "anna", "-O"], &["-u", "anna", "-O", "--overwrite"]] {
        let run = pair.sync(args);
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        let failure = failure_of(&run, "anna");
        assert!(failure.contains("user.anna.b") && failure.contains("user.anna.c"), "{failure}");
        let mut there = pair.replica.login("anna").unwrap();
        assert_eq!(there.select("INBOX/b").unwrap(), 1, "{args:?}");
        assert_eq!(there.select("INBOX/d").unwrap(), 2, "{args:?}");
    }
    fs::write(&index, bytes).unwrap();
    pair.sync_well(&["-u", "anna"]);
    pair.assert_equal(&["anna".to_string()]);
}

/// A folder was deleted here long ago. While the replica was the master, its name was used again there: another mailbox,
/// with mail. The tombstone's name proves nothing about that one, so it stays, and syslog says so, in every mode.
#[test]
fn a_name_deleted_here_and_used_again_there_is_left_alone() {
    let pair = Pair::with(
        Cyrus::master().delete_mode(DeleteMode::Immediate).sync_log(&[]),
        Cyrus::replica(),
        Via::Csync,
    );
    pair.master.create_user("anna").unwrap();
    make(&pair.master, "anna", "INBOX/x");
    let mut admin = pair.master.admin().unwrap();
    for shared in ["common", "common/x", "gone"] {
        admin.create(shared).unwrap();
        admin.set_acl(shared, "cyrus", "lrswipkxtecda").unwrap();
        admin.append(shared, &[], None, b"Subject: ours\r\n\r\nours\r\n").unwrap();
    }
    pair.sync_well(&["-A"]);
    pair.master.login("anna").unwrap().delete("INBOX/x").unwrap();
    admin.delete("common/x").unwrap();
    pair.sync_well(&["-A"]);

    make(&pair.replica, "anna", "INBOX/x");
    let mut there = pair.replica.admin().unwrap();
    there.create("common/x").unwrap();
    there.set_acl("common/x", "cyrus", "lrswipkxtecda").unwrap();
    there.append("common/x", &[], None, b"Subject: theirs\r\n\r\ntheirs\r\n").unwrap();
    admin.delete("gone").unwrap();
    let log = pair.master.config_dir().join("sync/log");
    let logged =
        "UNMAILBOX user.anna.x\nMAILBOX user.anna.x\nUNMAILBOX common.x\nMAILBOX common.x\n";
    for args in [&["-A", "-v"][..], &["-u", "anna", "-v"], &["-1", "-v"], &["-A", "-O", "-v"]] {
        fs::write(&log, logged).unwrap();
        drop(pair.master.take_syslog());
        // A removal in the log is done by leaving the mailbox alone; a look at all of the user reports that the replica has
        // more.
        let run = pair.sync(args);
        assert_eq!(run.code, Some(i32::from(args[0] != "-1")), "{args:?}: {}", run.stderr);
        assert!(!run.stdout.contains("UNMAILBOX user.anna.x"), "{args:?}: {}", run.stdout);
        assert!(!run.stdout.contains("UNMAILBOX common.x"), "{args:?}: {}", run.stdout);
        assert_eq!(pair.replica.login("anna").unwrap().select("INBOX/x").unwrap(), 1, "{args:?}");
        assert_eq!(there.examine("common/x").unwrap(), 1, "{args:?}");
        there.unselect().unwrap();
        let wanted = "SYNCNOTICE: attempt to UNMAILBOX without a tombstone: mailbox=<user.anna.x>";
        let told = pair.master.take_syslog().iter().any(|line| line.text.contains(wanted));
        assert!(told, "{args:?}");
    }
    // A mailbox that was deleted here under its own unique id is removed there.
    assert!(there.examine("gone").is_err());
}

/// A user without an INBOX who was not removed: a log entry or a promotion about all of the user removes nothing. The C
/// client ignores such a user.
#[test]
fn a_user_without_an_inbox_loses_nothing() {
    let mut beside = Beside::start(Cyrus::master().sync_log(&[]).sieve(true));
    let master = &beside.pair.master;
    master.create_user("anna").unwrap();
    make(master, "anna", "INBOX/x");
    let mut anna = master.login("anna").unwrap();
    anna.subscribe("INBOX").unwrap();
    anna.subscribe("INBOX/x").unwrap();
    drop(anna);
    master.access().sieve("anna").unwrap().put("first", "keep;\r\n").unwrap();
    master.admin().unwrap().set_quota("user/anna", &[("STORAGE", 5000)]).unwrap();
    beside.pair.sync_well(&["-u", "anna"]);
    beside.c_sync(&["-u", "anna"]).must_succeed().unwrap();
    let master = &beside.pair.master;
    forget(master, "Nuser\u{1f}anna");

    let replica = &beside.pair.replica;
    let before = said_of(replica, "anna", "");
    let [log, run] = log_files(&beside.pair);
    for lines in ["USER anna\n", "META anna\n"] {
        drop(fs::remove_file(&run));
        fs::write(&log, lines).unwrap();
        let run = beside.pair.sync(&["-1", "-v"]);
        assert_no_bug(&run);
        let replica = &beside.pair.replica;
        assert_eq!(said_of(replica, "anna", ""), before, "{lines}: {}", run.stdout);
    }
    let there = said_of(&beside.second, "anna", "");
    beside.c_log("USER anna\n");
    assert_eq!(said_of(&beside.second, "anna", ""), there, "the C client leaves it alone");
}

/// Renamed users, one whose new name sorts before the old one and one after it: the old quota root is removed,
/// subscriptions stay with the new name, and no message is sent again, whatever the order of the log.
#[test]
fn a_user_who_gets_another_name_keeps_everything() {
    let master = Cyrus::master().sync_log(&[]).option("allowusermoves", "yes");
    let replica = Cyrus::replica().option("allowusermoves", "yes");
    let pair = Pair::with(master, replica, Via::Csync);
    let mut admin = pair.master.admin().unwrap();
    for user in ["mia", "nora"] {
        pair.master.create_user(user).unwrap();
        make(&pair.master, user, "INBOX/x");
        let mut client = pair.master.login(user).unwrap();
        client.subscribe("INBOX").unwrap();
        client.subscribe("INBOX/x").unwrap();
        admin.set_quota(&format!("user/{user}"), &[("STORAGE", 5000)]).unwrap();
        admin.set_acl(&format!("user/{user}"), "cyrus", "lrswipkxtecda").unwrap();
    }
    let mut running = pair.start_sync(&["-R", "-d", "0", "-v"]);
    settle(&pair, &mut running);
    pair.assert_equal(&["mia".to_string(), "nora".to_string()]);
    for (old, new) in [("mia", "ada"), ("nora", "zoe")] {
        admin.rename(&format!("user/{old}"), &format!("user/{new}")).unwrap();
        settle(&pair, &mut running);
        let said = running.stdout();
        assert!(said.contains(&format!("UNUSER {old}\n")), "{said}");
        let subscribed = said_of(&pair.replica, new, "* LSUB");
        assert_eq!(subscribed, said_of(&pair.master, new, "* LSUB"), "{said}");
        assert!(subscribed.join(" ").contains(&format!("user.{new}.x")), "{subscribed:?}");
        let quota = |cyrus: &Cyrus| {
            PrivateServer::start(cyrus).unwrap().get(&format!("QUOTA user.{old}")).unwrap()
        };
        assert_eq!(quota(&pair.replica), quota(&pair.master), "{said}");
        assert!(quota(&pair.replica).is_empty(), "{said}");
    }
    running.terminate();
    assert_eq!(running.wait().code, Some(0));
    assert_eq!(pair.differences(&["ada".to_string(), "zoe".to_string()]).0, []);

    // With a list of users only the new name is known: the messages are found under the former one.
    admin.set_acl("user/zoe", "cyrus", "lrswipkxtecda").unwrap();
    admin.rename("user/zoe", "user/yve").unwrap();
    let run = pair.sync_well(&["-u", "yve", "-v"]);
    assert!(run.stdout.contains("RENAME user.zoe -> user.yve"), "{}", run.stdout);
    assert!(!summary(&run).contains("message"), "{}", run.stderr);
    let refused = pair.master.syslog().into_iter().any(|line| line.text.contains("NO response"));
    assert!(!refused);
    assert_eq!(pair.differences(&["yve".to_string()]).0, []);
}

/// Two mailboxes with one unique id, as after folders and their entries were copied: the one that the list maps to it is
/// replicated, the other one is not, and both are named. Before, one of them was sent twice, with exit 0.
#[test]
fn two_mailboxes_with_one_unique_id_are_named() {
    let pair = logging_pair();
    pair.master.create_user("anna").unwrap();
    pair.master.create_user("bert").unwrap();
    make(&pair.master, "anna", "INBOX/x");
    let path = pair.master.config_dir().join("mailboxes.db").display().to_string();
    let tool = |args: &[&str]| {
        let args = [&[path.as_str(), "twoskip"][..], args].concat();
        let output = pair.master.tool("cyr_dbtool", &args).unwrap();
        String::from_utf8(output.stdout).unwrap().trim_end().to_string()
    };
    let entry = tool(&["get", "Nuser\u{1f}anna\u{1f}x"]);
    for copy in ["Nuser\u{1f}anna\u{1f}copy", "Nuser\u{1f}bert\u{1f}copy"] {
        tool(&["set", copy, &entry]);
    }
    let [log, _] = log_files(&pair);
    for args in [&["-A", "-v"][..], &["-u", "anna", "bert", "-v"]] {
        let run = pair.sync(args);
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        for user in ["anna", "bert"] {
            let line = failure_of(&run, user);
            let copy = format!("user.{user}.copy");
            assert!(line.contains(&copy) && line.contains("user.anna.x"), "{line}");
        }
        assert!(!run.stdout.contains("copy"), "{}", run.stdout);
        assert_eq!(pair.replica.login("anna").unwrap().select("INBOX/x").unwrap(), 1);
    }
    fs::write(log, "MAILBOX user.bert.copy\nMAILBOX user.bert\n").unwrap();
    append(&pair.master, "bert", "INBOX", "news");
    let run = pair.sync(&["-1", "-v"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("user.bert.copy has the same unique id"), "{}", run.stderr);
    assert_eq!(pair.replica.login("bert").unwrap().select("INBOX").unwrap(), 1);
}

/// A log that calls a mailbox removed that is unknown here, as after cyr_expire: syslog says so in the C client's words,
/// which log watchers look for, and nothing else happens, whether the replica has such a mailbox or not.
#[test]
fn what_the_log_calls_removed_without_a_tombstone_is_told() {
    let mut beside = Beside::start(Cyrus::master().sync_log(&[]));
    let master = &beside.pair.master;
    master.create_user("anna").unwrap();
    for side in [&beside.pair.replica, &beside.second] {
        side.create_user("anna").unwrap();
        make(side, "anna", "INBOX/there");
    }
    let [log, _] = log_files(&beside.pair);
    let logged = "UNMAILBOX user.anna.nowhere\nUNMAILBOX user.anna.there\n";
    let told = |master: &Cyrus| {
        let lines = master.take_syslog();
        let words = "SYNCNOTICE: attempt to UNMAILBOX without a tombstone: mailbox=<user.anna.";
        let mut found: Vec<String> = lines
            .iter()
            .filter_map(|line| line.text.split_once(words))
            // Ours append whose line it is.
            .filter_map(|(_, name)| name.split_inclusive('>').next().map(str::to_string))
            .collect();
        found.sort();
        found
    };
    drop(master.take_syslog());
    fs::write(&log, logged).unwrap();
    let run = beside.pair.sync_well(&["-1", "-v"]);
    let lines = beside.pair.master.syslog();
    let ours = told(&beside.pair.master);
    assert_eq!(ours, ["nowhere>", "there>"], "{} {lines:#?}", run.stdout);
    let by_c = beside.c_log(logged);
    let lines = beside.pair.master.syslog();
    assert_eq!(told(&beside.pair.master), ours, "{by_c:?} {lines:#?}");
    for side in [&beside.pair.replica, &beside.second] {
        assert_eq!(side.login("anna").unwrap().select("INBOX/there").unwrap(), 1);
    }
}

/// Users are deleted and made again, again and again, while a rolling client works on them: what they leave below DELETED
/// is on the replica in its final state, and so are the new ones.
#[test]
fn users_made_again_while_they_are_worked_on() {
    let pair = logging_pair();
    let users: Vec<String> = (0..4).map(|nr| format!("again{nr}")).collect();
    let mut admin = pair.master.admin().unwrap();
    for user in &users {
        pair.master.create_user(user).unwrap();
    }
    let mut running = pair.start_sync(&["-R", "-d", "0", "-j", "4"]);
    for round in 0..6_u64 {
        for (nr, user) in users.iter().enumerate() {
            make(&pair.master, user, "INBOX/x");
            make(&pair.master, user, "INBOX/y");
            for _ in 0..3 {
                append(&pair.master, user, "INBOX", "some");
            }
            std::thread::sleep(std::time::Duration::from_millis(round * 7 + nr as u64 * 5));
            append(&pair.master, user, "INBOX/x", "last");
            append(&pair.master, user, "INBOX", "last");
            let inbox = pair.master.name(&["user", user]);
            admin.set_acl(&inbox, "cyrus", "lrswipkxtecda").unwrap();
            admin.delete(&inbox).unwrap();
            std::thread::sleep(std::time::Duration::from_millis((5 - round) * 3));
            pair.master.create_user(user).unwrap();
            append(&pair.master, user, "INBOX", "new");
        }
        // A deleted mailbox's name contains the second of its deletion.
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    settle(&pair, &mut running);
    pair.assert_equal(&users);
    running.terminate();
    assert_eq!(running.wait().code, Some(0));
}

/// A user was removed here, and has a mailbox with mail on the replica that was never here. UNUSER used to remove it. Now
/// mailboxes with a tombstone are removed, that one stays and is named, and so is the log's entry. Once it is gone there
/// UNUSER is done.
#[test]
fn a_removed_user_keeps_what_was_never_here() {
    let immediate = |side: Builder| side.delete_mode(DeleteMode::Immediate);
    let master = immediate(Cyrus::master()).sync_log(&[]);
    let pair = Pair::with(master, immediate(Cyrus::replica()), Via::Csync);
    pair.master.create_user("anna").unwrap();
    make(&pair.master, "anna", "INBOX/a");
    pair.sync_well(&["-1"]);
    make(&pair.replica, "anna", "INBOX/mine");
    pair.replica.login("anna").unwrap().create("INBOX/empty").unwrap();
    let mut admin = pair.master.admin().unwrap();
    let inbox = pair.master.name(&["user", "anna"]);
    admin.set_acl(&inbox, "cyrus", "lrswipkxtecda").unwrap();
    admin.delete(&inbox).unwrap();
    let run = pair.sync(&["-1", "-v"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("user.anna.mine: only the replica has it"), "{}", run.stderr);
    assert!(!run.stdout.contains("UNUSER"), "{}", run.stdout);
    let mut there = pair.replica.login("anna").unwrap();
    assert_eq!(there.examine("INBOX/mine").unwrap(), 1);
    assert!(there.examine("INBOX/a").is_err());
    there.delete("INBOX/mine").unwrap();
    let run = pair.sync_well(&["-1", "-v"]);
    assert!(run.stdout.contains("UNUSER anna"), "{}", run.stdout);
    assert!(pair.replica.login("anna").unwrap().examine("INBOX/empty").is_err());
}

/// As above, and a flag that was set on the replica hides that the message was expunged here: only the record-by-record
/// comparison after the replica's refusal finds it.
#[test]
fn what_moved_into_a_broken_folder_stays_there_when_that_is_found_late() {
    let pair = Pair::start();
    let master = &pair.master;
    master.create_user("anna").unwrap();
    for folder in ["INBOX/b", "INBOX/c"] {
        make(master, "anna", folder);
    }
    append(master, "anna", "INBOX/b", "flagged");
    pair.sync_well(&["-u", "anna"]);
    let flag = |side: &Cyrus, times: usize| {
        let mut anna = side.login("anna").unwrap();
        anna.select("INBOX/b").unwrap();
        for nr in 0..times {
            let how = if nr % 2 == 0 { "+FLAGS" } else { "-FLAGS" };
            anna.store("2", how, &["\\Flagged"]).unwrap();
        }
    };
    flag(&pair.replica, 6);
    let mut anna = master.login("anna").unwrap();
    anna.select("INBOX/b").unwrap();
    anna.move_to("1", "INBOX/c").unwrap();
    drop(anna);
    flag(master, 14);
    let index = path_of(master, "-M", "user/anna/c").join("cyrus.index");
    let bytes = fs::read(&index).unwrap();
    fs::write(&index, b"").unwrap();
    let run = pair.sync(&["-u", "anna"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert_eq!(pair.replica.login("anna").unwrap().select("INBOX/b").unwrap(), 2, "{}", run.stderr);
    let failure = failure_of(&run, "anna");
    assert!(failure.contains("user.anna.b") && failure.contains("user.anna.c"), "{failure}");
    fs::write(&index, bytes).unwrap();
    pair.sync_well(&["-u", "anna"]);
    pair.assert_equal(&["anna".to_string()]);
}
