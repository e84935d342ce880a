//! Masters of other versions of Cyrus, each held against its own client: what the two leave on two replicas is the same.

use std::collections::BTreeSet;

use testkit::oracle::{self, Ignore, PrivateServer};
use testkit::{Builder, Cyrus, Release, Via, c_client, fill};

use crate::common::Pair;

/// A master, its replica, and another replica for Cyrus' own client of the master's version.
struct Trio {
    pair: Pair,
    theirs: Cyrus,
    users: Vec<String>,
}

impl Trio {
    fn start(release: Release, replica: fn() -> Builder, users: usize) -> Trio {
        let master = Cyrus::master().release(release).sync_log(&[]);
        let pair = Pair::with(master, replica(), Via::Csync);
        let theirs = replica().start().unwrap();
        let users = fill::fill_users(&pair.master, 5, users).unwrap();
        Trio { pair, theirs, users }
    }

    /// Its own client replicates to the other replica.
    fn run_theirs(&mut self) {
        self.pair.master.replicate_to(&self.theirs, Via::Csync).unwrap();
        for user in &self.users {
            c_client::run(&self.pair.master, &["-u", user]).unwrap().must_succeed().unwrap();
        }
        self.pair.master.replicate_to(&self.pair.replica, Via::Csync).unwrap();
    }

    /// What differs between the two replicas, but for what the versions do differently on purpose.
    fn differences(&self) -> oracle::Report {
        let mut ours = PrivateServer::start(&self.pair.replica).unwrap();
        let mut theirs = PrivateServer::start(&self.theirs).unwrap();
        let compared =
            oracle::compare_servers(&mut ours, &mut theirs, &self.users, Ignore::default());
        let mut lines = compared.unwrap();
        // Where there is only a name, ours leaves a name; before 3.4 their client says nothing, and the replica makes a
        // mailbox.
        let names: BTreeSet<Option<String>> = lines
            .0
            .iter()
            .filter(|line| line.key == "MBOXTYPE" && line.master.as_deref() == Some("ei"))
            .map(|line| line.mailbox.clone())
            .collect();
        // Before 3.6 scripts go one by one, and each replica makes a mailbox of its own of them.
        let is_sieve =
            |name: &Option<String>| name.as_ref().is_some_and(|n| n.ends_with(".#sieve"));
        lines.0.retain(|line| !names.contains(&line.mailbox) && !is_sieve(&line.mailbox));
        lines
    }

    /// The scripts of all users as a replica tells of them.
    fn scripts(&self, server: &Cyrus) -> Vec<String> {
        let mut server = PrivateServer::start_plain(server).unwrap();
        let lines = self.users.iter().flat_map(|user| server.get_named("META", user).unwrap());
        let lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
        let mut lines: Vec<String> = lines.filter(|line| line.starts_with("* SIEVE ")).collect();
        lines.sort();
        lines
    }
}

/// 3.2.6: keys without a letter in front, everything by name.
#[test]
fn a_master_of_3_2() {
    let mut trio = Trio::start(Release::Bullseye, Cyrus::replica, 6);
    trio.run_theirs();
    let run = trio.pair.sync(&["-A"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let lines = trio.differences();
    assert!(lines.is_empty(), "{lines}");
    let sides = [trio.scripts(&trio.pair.replica), trio.scripts(&trio.theirs)];
    assert!(!sides[0].is_empty() && sides[0] == sides[1], "{sides:?}");
    let again = trio.pair.sync_well(&["-A"]);
    assert!(again.stderr.contains(": 6 already equal"), "{}", again.stderr);
}

/// The same after work of all kinds, from the log.
#[test]
fn a_log_of_3_2() {
    let mut trio = Trio::start(Release::Bullseye, Cyrus::replica, 4);
    trio.pair.sync_well(&["-A"]);
    trio.run_theirs();
    for seed in 0..3 {
        fill::RandomWork::new(40 + seed).run(&trio.pair.master, &trio.users, 60).unwrap();
        trio.pair.sync_well(&["-R", "-1"]);
        let again = trio.pair.sync_well(&["-A"]);
        assert!(again.stderr.contains(": 4 already equal"), "{}", again.stderr);
        trio.run_theirs();
        let lines = trio.differences();
        assert!(lines.is_empty(), "{seed}: {lines}");
    }
}

/// 3.12: the names of flags that no message has, groups, and mailboxes of JMAP notifications.
#[test]
fn a_master_of_3_12() {
    let mut trio = Trio::start(Release::Sid, || Cyrus::replica().release(Release::Sid), 3);
    let user = trio.users[0].clone();
    let user = user.as_str();
    let mut client = trio.pair.master.login(user).unwrap();
    client.append("INBOX", &["$one", "$two"], None, b"Subject: flags\r\n\r\nx\r\n").unwrap();
    client.select("INBOX").unwrap();
    client.store("1:*", "-FLAGS", &["$one"]).unwrap();
    drop(client);
    let mut admin = trio.pair.master.admin().unwrap();
    for group in ["group:staff", "group:board"] {
        admin.raw(&format!("SETUSERGROUP {user} {group}")).unwrap();
    }
    drop(admin);
    trio.run_theirs();
    trio.pair.sync_well(&["-A"]);
    let lines = trio.differences();
    assert!(lines.is_empty(), "{lines}");
    let mut one = PrivateServer::start(&trio.pair.replica).unwrap();
    let mut other = PrivateServer::start(&trio.theirs).unwrap();
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
    let again = trio.pair.sync_well(&["-A"]);
    assert!(again.stderr.contains(": 3 already equal"), "{}", again.stderr);
    // A group that the user leaves again, and another message.
    let mut admin = trio.pair.master.admin().unwrap();
    admin.raw(&format!("UNSETUSERGROUP {user} group:board")).unwrap();
    let mut client = trio.pair.master.login(user).unwrap();
    client.append("INBOX", &[], None, b"Subject: more\r\n\r\nx\r\n").unwrap();
    trio.pair.sync_well(&["-u", user]);
    let text = says(&mut one);
    assert!(text.contains("group:staff") && !text.contains("group:board"), "{text}");
    trio.pair.assert_equal(&trio.users);
}
