//! Shared mailboxes, which belong to no user: -A covers them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use cyrus_store::{Config, sync_lock};
use testkit::oracle::PrivateServer;
use testkit::{Cyrus, DeleteMode, Via};

use crate::common::{Pair, summary};

/// What a side says of these mailboxes, in the order asked for.
fn lines(side: &Cyrus, names: &[&str]) -> Vec<String> {
    let mut server = PrivateServer::start(side).unwrap();
    let said = server.get(&format!("MAILBOXES ({})", names.join(" "))).unwrap();
    said.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
}

/// Shared mailboxes are created, filled, renamed and deleted on the replica as on the master, with messages, ACLs and
/// quota; a second run finds them unchanged; a prefix restricts them; and one that only the replica has is left alone.
#[test]
fn shared_mailboxes_go_with_all_users() {
    let master = Cyrus::master().delete_mode(DeleteMode::Immediate);
    let replica = Cyrus::replica().delete_mode(DeleteMode::Immediate);
    let pair = Pair::with(master, replica, Via::Csync);
    pair.master.create_user("anna").unwrap();
    let mut admin = pair.master.admin().unwrap();
    for name in ["news", "news.local", "lists", "lists.old"] {
        let name = pair.master.name(&name.split('.').collect::<Vec<_>>());
        admin.create(&name).unwrap();
        admin.set_acl(&name, "anna", "lrswip").unwrap();
        admin.set_acl(&name, testkit::cyrus::ADMIN, "lrswipkxtecda").unwrap();
    }
    admin.set_quota("news", &[("STORAGE", 4096)]).unwrap();
    let mut anna = pair.master.login("anna").unwrap();
    for (i, name) in ["news", "lists"].into_iter().cycle().take(10).enumerate() {
        let message = format!("From: anna@example.com\r\nSubject: {i}\r\n\r\nshared {i}\r\n");
        anna.append(name, &[], None, message.as_bytes()).unwrap();
    }

    let run = pair.sync_well(&["-A", "news"]);
    assert!(summary(&run).starts_with("0 users: shared mailboxes"), "{}", run.stderr);
    let all = ["news", "news.local", "lists", "lists.old"];
    assert_eq!(lines(&pair.replica, &all), lines(&pair.master, &all[..2]));

    let run = pair.sync_well(&["-A"]);
    assert!(summary(&run).starts_with("1 user: 1 replicated"), "{}", run.stderr);
    assert_eq!(lines(&pair.replica, &all), lines(&pair.master, &all));
    let quota = |side| PrivateServer::start(side).unwrap().get("QUOTA news").unwrap();
    assert!(String::from_utf8_lossy(&quota(&pair.replica)[0]).contains("STORAGE 4096"));

    let run = pair.sync_well(&["-A"]);
    assert!(summary(&run).contains(" 1 already equal"), "{}", run.stderr);
    assert!(summary(&run).ends_with(", shared mailboxes already equal"), "{}", run.stderr);

    admin.delete(&pair.master.name(&["lists", "old"])).unwrap();
    admin.rename("lists", "letters").unwrap();
    let mut there = pair.replica.admin().unwrap();
    there.create("orphan").unwrap();
    let run = pair.sync_well(&["-A", "-v"]);
    assert!(run.stdout.contains("RENAME lists -> letters (default)\n"), "{}", run.stdout);
    assert!(run.stdout.contains("UNMAILBOX lists.old\n"), "{}", run.stdout);
    let all = ["news", "news.local", "lists", "lists.old", "letters", "orphan"];
    let here = lines(&pair.master, &all);
    let there = lines(&pair.replica, &all);
    assert_eq!(here.len(), 3);
    assert_eq!(there[..3], here);
    assert!(there[3].contains("MBOXNAME orphan"), "{there:?}");
}

/// Shared mailboxes can't be named in a list of failed users: a comment says how to repeat them, and that works.
#[test]
fn a_list_says_how_to_repeat_them() {
    let pair = Pair::start();
    let name = pair.master.name(&["news"]);
    pair.master.admin().unwrap().create(&name).unwrap();
    pair.sync_well(&["-A"]);
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let list = folder.path().join("failed");
    let file = list.to_str().unwrap();
    let config = Config::load_as(pair.master.imapd_conf(), "sync_client").unwrap();
    let lock = sync_lock(&config, "127.0.0.1", None, true).unwrap().unwrap();
    for (args, how) in [
        (&["-A"][..], "-A and the beginning of their names, or with -A alone"),
        (&["-A", "news"], "-A news"),
    ] {
        let run = pair.sync(&[args, &["-N", "--failed-users", file]].concat());
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        let listed = fs::read_to_string(&list).unwrap();
        assert_eq!(listed, format!("# shared mailboxes: repeat them with {how}\n"));
    }
    let nobody = pair.sync(&["-u", "-f", file]);
    assert_eq!(nobody.code, Some(1), "{}", nobody.stderr);
    assert!(nobody.stderr.contains("the list of users is empty"), "{}", nobody.stderr);
    drop(lock);
    let again = pair.sync_well(&["-A", "news", "-N", "--failed-users", file]);
    assert!(summary(&again).starts_with("0 users: shared mailboxes"), "{}", again.stderr);
    assert_eq!(fs::read_to_string(&list).unwrap(), "");
}
