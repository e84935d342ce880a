//! Configured databases of the master that are missing or unreadable: "missing" is not "empty".

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use testkit::c_client;
use testkit::oracle::PrivateServer;
use testkit::{Cyrus, Via};

use crate::common::{Pair, wait_for};
use crate::errors::{assert_no_bug, failure_of, path_of};
use crate::rolling::{log_files, settle};

/// A replicated user with a quota root, subscriptions and an annotation.
fn pair() -> Pair {
    let pair = Pair::start();
    let mut admin = pair.master.admin().unwrap();
    admin.create("user/anna").unwrap();
    admin.create("user/anna/Sent").unwrap();
    admin.set_quota("user/anna", &[("STORAGE", 5000)]).unwrap();
    let mut anna = pair.master.login("anna").unwrap();
    anna.subscribe("INBOX").unwrap();
    anna.subscribe("INBOX/Sent").unwrap();
    anna.set_metadata("INBOX", "/private/comment", Some("mine")).unwrap();
    anna.append("INBOX", &[], None, b"Subject: one\r\n\r\nbody\r\n").unwrap();
    pair.sync_well(&["-u", "anna"]);
    pair.assert_equal(&["anna".into()]);
    pair
}

/// The replica's data of a user's quota, subscriptions and annotations.
fn replica_says(pair: &Pair) -> Vec<String> {
    let mut server = PrivateServer::start(&pair.replica).unwrap();
    let lines = server.get_named("USER", "anna").unwrap();
    lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
}

fn holds(lines: &[String], start: &str) -> bool {
    lines.iter().any(|line| line.starts_with(start))
}

#[test]
fn formats_that_are_not_read_are_refused_at_the_start() {
    let mut pair = pair();
    let before = replica_says(&pair);
    for option in [
        "mboxlist_db",
        "quota_db",
        "annotation_db",
        "subscription_db",
        "seenstate_db",
        "conversations_db",
    ] {
        for format in ["sql", "zeroskip"] {
            pair.master.set_option(option, format).unwrap();
            for args in [&["-A"][..], &["-u", "anna"], &["-R", "-1"]] {
                let run = pair.sync(args);
                assert_eq!(run.code, Some(78), "{option} {format} {args:?}: {}", run.stderr);
                assert!(
                    run.stderr.contains(&format!("option {option}: '{format}'")),
                    "{}",
                    run.stderr
                );
                assert_no_bug(&run);
            }
        }
        pair.master.unset_option(option).unwrap();
    }
    assert_eq!(replica_says(&pair), before);
}

#[test]
fn a_list_of_mailboxes_that_is_not_there_is_an_error_at_the_start() {
    let mut pair = pair();
    let before = replica_says(&pair);
    let wrong = pair.master.dir().join("nowhere/mailboxes.db").display().to_string();
    pair.master.set_option("mboxlist_db_path", &wrong).unwrap();
    for args in [&["-A"][..], &["-u", "anna"], &["-R", "-1"]] {
        let run = pair.sync(args);
        assert_eq!(run.code, Some(78), "{args:?}: {}", run.stderr);
        assert!(
            run.stderr.contains(&format!("option mboxlist_db_path: {wrong} does not exist")),
            "{}",
            run.stderr
        );
    }
    assert_eq!(replica_says(&pair), before);
}

#[test]
fn quota_roots_that_can_not_be_found_are_not_removed() {
    let mut pair = pair();
    let nowhere = pair.master.dir().join("nowhere/quotas.db").display().to_string();
    let before = replica_says(&pair);
    assert!(holds(&before, "* QUOTA "), "{before:?}");
    // One file per root, in a missing folder; one file for all, which is missing.
    for format in ["quotalegacy", "twoskip", "skiplist"] {
        pair.master.set_option("quota_db", format).unwrap();
        pair.master.set_option("quota_db_path", &nowhere).unwrap();
        for args in [&["-A"][..], &["-u", "anna"], &["-O", "-u", "anna"]] {
            let run = pair.sync(args);
            assert_eq!(run.code, Some(1), "{format} {args:?}: {}", run.stderr);
            assert!(failure_of(&run, "anna").contains("quota_db_path"), "{format}: {}", run.stderr);
            assert_eq!(replica_says(&pair), before, "{format} {args:?}");
        }
        let log = pair.master.dir().join("some.log");
        fs::write(&log, "QUOTA user.anna\nUSER anna\n").unwrap();
        let run = pair.sync(&["-R", "-f", log.to_str().unwrap()]);
        assert_eq!(run.code, Some(1), "{format}: {}", run.stderr);
        assert_eq!(replica_says(&pair), before, "{format}, from a log");
    }
    // Cyrus' own client removes it.
    pair.master.set_option("quota_db", "quotalegacy").unwrap();
    c_client::run(&pair.master, &["-u", "anna"]).unwrap();
    assert!(!holds(&replica_says(&pair), "* QUOTA "));
}

#[test]
fn a_quota_root_that_only_headers_still_name_is_a_failure_that_can_be_mended() {
    let pair = pair();
    let file = pair.master.config_dir().join("quota/a/user.anna");
    fs::remove_file(&file).unwrap();
    let before = replica_says(&pair);
    let run = pair.sync(&["-u", "anna"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let words = failure_of(&run, "anna");
    assert!(words.contains("quota root user.anna") && words.contains("quota -f"), "{words}");
    assert_eq!(replica_says(&pair), before);
    // The advice works.
    pair.master.tool("quota", &["-f"]).unwrap();
    pair.sync_well(&["-u", "anna"]);
    assert!(!holds(&replica_says(&pair), "* QUOTA "));
    pair.assert_equal(&["anna".into()]);
}

#[test]
fn subscriptions_that_are_not_there_are_not_cancelled() {
    let pair = pair();
    let sub = path_of(&pair.master, "-U", "user/anna").join("sub.db");
    assert!(sub.is_file(), "{}", sub.display());
    fs::remove_file(&sub).unwrap();
    let before = replica_says(&pair);
    assert!(holds(&before, "* LSUB "), "{before:?}");
    for args in [&["-A"][..], &["-u", "anna"], &["-O", "-u", "anna"]] {
        let run = pair.sync(args);
        assert_eq!(run.code, Some(1), "{args:?}: {}", run.stderr);
        let words = failure_of(&run, "anna");
        assert!(words.contains(&format!("{} does not exist", sub.display())), "{words}");
        assert_eq!(replica_says(&pair), before, "{args:?}");
    }
    // New mail comes all the same.
    let mut anna = pair.master.login("anna").unwrap();
    anna.append("INBOX", &[], None, b"Subject: two\r\n\r\nbody\r\n").unwrap();
    pair.sync(&["-u", "anna"]);
    let mut there = pair.replica.login("anna").unwrap();
    assert_eq!(there.select("INBOX").unwrap(), 2);
    assert!(holds(&replica_says(&pair), "* LSUB "));
    // The advice works: an empty file means "none".
    let made =
        pair.master.command("/bin/sh").arg("-c").arg(format!("> {}", sub.display())).status();
    assert!(made.unwrap().success());
    pair.sync_well(&["-u", "anna"]);
    assert!(!holds(&replica_says(&pair), "* LSUB "));
    pair.assert_equal(&["anna".into()]);
}

#[test]
fn somebody_who_never_subscribed_has_no_file_and_is_well() {
    let pair = Pair::start();
    pair.master.create_user("bert").unwrap();
    assert!(!path_of(&pair.master, "-U", "user/bert").join("sub.db").exists());
    pair.sync_well(&["-u", "bert"]);
    pair.sync_well(&["-A"]);
    pair.assert_equal(&["bert".into()]);
}

#[test]
fn cyrus_own_client_cancels_subscriptions_that_are_not_there() {
    let pair = pair();
    fs::remove_file(path_of(&pair.master, "-U", "user/anna").join("sub.db")).unwrap();
    c_client::run(&pair.master, &["-u", "anna"]).unwrap().must_succeed().unwrap();
    assert!(!holds(&replica_says(&pair), "* LSUB "));
}

#[test]
fn annotations_that_are_not_there_are_not_removed() {
    let mut pair = pair();
    let annotations = |pair: &Pair| {
        let lines = replica_says(pair);
        lines.iter().any(|line| line.contains("ANNOTATIONS") && line.contains("mine"))
    };
    assert!(annotations(&pair), "{:?}", replica_says(&pair));
    let nowhere = pair.master.dir().join("nowhere/annotations.db").display().to_string();
    pair.master.set_option("annotation_db_path", &nowhere).unwrap();
    let before = replica_says(&pair);
    for args in [&["-A"][..], &["-u", "anna"], &["-O", "-u", "anna"]] {
        let run = pair.sync(args);
        assert_eq!(run.code, Some(1), "{args:?}: {}", run.stderr);
        let words = failure_of(&run, "anna");
        assert!(words.contains("option annotation_db_path"), "{words}");
        assert!(words.contains(&nowhere), "{words}");
        assert_eq!(replica_says(&pair), before, "{args:?}");
    }
}

/// Of two users that a rename links, one has no file of subscriptions: that entry stays in the log under that user's name
/// until the file exists.
#[test]
fn what_failed_of_a_linked_user_stays_in_the_log() {
    let master = Cyrus::master().conversations(false).sync_log(&[]);
    let pair = Pair::with(master, Cyrus::replica().conversations(false), Via::Csync);
    for user in ["anna", "bert"] {
        pair.master.create_user(user).unwrap();
        pair.master.login(user).unwrap().create("INBOX/x").unwrap();
        pair.master.login(user).unwrap().subscribe("INBOX/x").unwrap();
    }
    pair.sync_well(&["-A"]);
    let [log, run] = log_files(&pair);
    drop(fs::remove_file(&log));
    let sub = path_of(&pair.master, "-U", "user/bert").join("sub.db");
    let subscriptions = fs::read(&sub).unwrap();
    let folder = fs::metadata(sub.parent().unwrap()).unwrap();
    fs::remove_file(&sub).unwrap();
    pair.master.admin().unwrap().rename("user/anna/x", "user/bert/y").unwrap();
    let logged = fs::read_to_string(&log).unwrap();
    fs::write(&log, format!("{logged}META bert\n")).unwrap();
    let mut running = pair.start_sync(&["-R", "-d", "0"]);
    let left = || fs::read_to_string(&run).unwrap_or_default();
    wait_for("bert alone to be left", || !log.exists() && left() == "META bert\n");
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(left(), "META bert\n");
    fs::write(&sub, subscriptions).unwrap();
    chown(&sub, Some(folder.uid()), Some(folder.gid())).unwrap();
    settle(&pair, &mut running);
    running.terminate();
    assert_eq!(running.wait().code, Some(0));
    pair.assert_equal(&["anna".into(), "bert".into()]);
}
