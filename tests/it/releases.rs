//! Masters of other versions of Cyrus, each held against its own client: what the two leave on two replicas is the same.

use std::collections::BTreeSet;

use testkit::oracle::{self, Ignore, PrivateServer};
use testkit::{Cyrus, Release, Via, c_client, fill};

use crate::common::Pair;

/// 3.2.6: keys without a letter in front, everything by name.
#[test]
fn a_master_of_3_2() {
    let master = Cyrus::master().release(Release::Bullseye);
    let mut pair = Pair::with(master, Cyrus::replica(), Via::Csync);
    let theirs = Cyrus::replica().start().unwrap();
    let users = fill::fill_users(&pair.master, 5, 6).unwrap();
    pair.master.replicate_to(&theirs, Via::Csync).unwrap();
    for user in &users {
        c_client::run(&pair.master, &["-u", user]).unwrap().must_succeed().unwrap();
    }
    pair.master.replicate_to(&pair.replica, Via::Csync).unwrap();
    let run = pair.sync(&["-A"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let mut one = PrivateServer::start(&pair.replica).unwrap();
    let mut other = PrivateServer::start(&theirs).unwrap();
    let mut lines =
        oracle::compare_servers(&mut one, &mut other, &users, Ignore::default()).unwrap();
    // Where there is only a name, ours leaves a name; its client says nothing, and the replica makes a mailbox.
    let names: BTreeSet<Option<String>> = lines
        .0
        .iter()
        .filter(|line| line.key == "MBOXTYPE" && line.master.as_deref() == Some("ei"))
        .map(|line| line.mailbox.clone())
        .collect();
    assert!(!names.is_empty());
    // Scripts go one by one, and each replica makes a mailbox of its own of them.
    let is_sieve = |name: &Option<String>| name.as_ref().is_some_and(|n| n.ends_with(".#sieve"));
    lines.0.retain(|line| !names.contains(&line.mailbox) && !is_sieve(&line.mailbox));
    let keys: BTreeSet<&str> = lines.0.iter().map(|line| line.key.as_str()).collect();
    assert!(lines.is_empty(), "{keys:?} {lines}");
    let scripts = |server: &Cyrus| -> Vec<String> {
        let mut server = PrivateServer::start_plain(server).unwrap();
        let lines = users.iter().flat_map(|user| server.get_named("META", user).unwrap());
        let lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
        let mut lines: Vec<String> = lines.filter(|line| line.starts_with("* SIEVE ")).collect();
        lines.sort();
        lines
    };
    let sides = [scripts(&pair.replica), scripts(&theirs)];
    assert!(!sides[0].is_empty() && sides[0] == sides[1], "{sides:?}");
    let again = pair.sync_well(&["-A"]);
    assert!(again.stderr.contains(" already equal"), "{}", again.stderr);
}

/// 3.12: the names of flags that no message has, groups, and mailboxes of JMAP notifications.
#[test]
fn a_master_of_3_12() {
    let master = Cyrus::master().release(Release::Sid);
    let replica = || Cyrus::replica().release(Release::Sid);
    let mut pair = Pair::with(master, replica(), Via::Csync);
    let theirs = replica().start().unwrap();
    let users = fill::fill_users(&pair.master, 5, 3).unwrap();
    let user = users[0].as_str();
    let mut client = pair.master.login(user).unwrap();
    client.append("INBOX", &["$one", "$two"], None, b"Subject: flags\r\n\r\nx\r\n").unwrap();
    client.select("INBOX").unwrap();
    client.store("1:*", "-FLAGS", &["$one"]).unwrap();
    drop(client);
    let mut admin = pair.master.admin().unwrap();
    for group in ["group:staff", "group:board"] {
        admin.raw(&format!("SETUSERGROUP {user} {group}")).unwrap();
    }
    drop(admin);
    pair.master.replicate_to(&theirs, Via::Csync).unwrap();
    for user in &users {
        c_client::run(&pair.master, &["-u", user]).unwrap().must_succeed().unwrap();
    }
    pair.master.replicate_to(&pair.replica, Via::Csync).unwrap();
    pair.sync_well(&["-A"]);
    let mut one = PrivateServer::start(&pair.replica).unwrap();
    let mut other = PrivateServer::start(&theirs).unwrap();
    let lines = oracle::compare_servers(&mut one, &mut other, &users, Ignore::default()).unwrap();
    assert!(lines.is_empty(), "{lines}");
    let says = |server: &mut PrivateServer| -> String {
        let lines =
            server.get_named("FULLMAILBOX", &format!("user.{}", user.replace('.', "^"))).unwrap();
        lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    };
    for server in [&mut one, &mut other] {
        let text = says(server);
        assert!(text.contains("USERFLAGS (") && text.contains("$one"), "{text}");
        assert!(text.contains("USERGROUPS") && text.contains("group:staff"), "{text}");
    }
    let again = pair.sync_well(&["-A"]);
    assert!(again.stderr.contains(": 3 already equal"), "{}", again.stderr);
    // A group that the user leaves again, and another message.
    let mut admin = pair.master.admin().unwrap();
    admin.raw(&format!("UNSETUSERGROUP {user} group:board")).unwrap();
    let mut client = pair.master.login(user).unwrap();
    client.append("INBOX", &[], None, b"Subject: more\r\n\r\nx\r\n").unwrap();
    pair.sync_well(&["-u", user]);
    let text = says(&mut one);
    assert!(text.contains("group:staff") && !text.contains("group:board"), "{text}");
    pair.assert_equal(&users);
}
