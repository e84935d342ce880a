//! Masters of other versions of Cyrus, each compared with its own client: both leave the same state on two replicas.

use std::collections::BTreeSet;

use testkit::oracle::{self, Ignore, PrivateServer};
use testkit::{Builder, Cyrus, Release, Via, c_client, fill};

use crate::common::Pair;
use crate::errors::failure_of;

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
        // The filled ones have quota resources with names that 3.12 no longer has.
        let users = match release {
            Release::Bullseye => fill::fill_users(&pair.master, 5, users).unwrap(),
            Release::Sid => fill::uniform(&pair.master, users, 3, 4, 500).unwrap(),
        };
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

    /// The differences between the two replicas, without what the versions do differently on purpose.
    fn differences(&self) -> oracle::Report {
        let mut ours = PrivateServer::start(&self.pair.replica).unwrap();
        let mut theirs = PrivateServer::start(&self.theirs).unwrap();
        let compared =
            oracle::compare_servers(&mut ours, &mut theirs, &self.users, Ignore::default());
        let mut lines = compared.unwrap();
        // For a name without a mailbox, ours leaves a name; before 3.4 their client does not send it, and the replica
        // creates a mailbox of its own.
        let mut names = BTreeSet::new();
        for user in &self.users {
            for item in ours.items("USER", user).unwrap() {
                if item.value.text("MBOXTYPE").is_some_and(|letters| letters.contains('i')) {
                    names.insert(item.value.text("MBOXNAME"));
                }
            }
        }
        // Before 3.6 scripts go one by one, and each replica makes a mailbox of its own from them.
        let is_sieve =
            |name: &Option<String>| name.as_ref().is_some_and(|n| n.ends_with(".#sieve"));
        lines.0.retain(|line| !names.contains(&line.mailbox) && !is_sieve(&line.mailbox));
        // The order depends on whether a mailbox is made with its messages or before them.
        let same_flags = |line: &oracle::Difference| {
            let sorted = |flags: &Option<String>| {
                let mut flags: Vec<String> = flags
                    .iter()
                    .flat_map(|flags| flags.trim_matches(['(', ')']).split(' '))
                    .map(str::to_owned)
                    .collect();
                flags.sort();
                flags
            };
            line.key.ends_with("USERFLAGS") && sorted(&line.master) == sorted(&line.replica)
        };
        lines.0.retain(|line| !same_flags(line));
        lines
    }

    /// The scripts of all users as a replica reports them.
    fn scripts(&self, server: &Cyrus) -> Vec<String> {
        let mut server = PrivateServer::start_plain(server).unwrap();
        let lines = self.users.iter().flat_map(|user| server.get_named("META", user).unwrap());
        let lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
        let lines = lines.filter(|line| line.starts_with("* SIEVE "));
        // The time of storing is the replica's own.
        let words = |line: String| -> String {
            let words = line.split(' ').filter(|word| word.parse::<u64>().map_or(true, |n| n < 2));
            words.collect::<Vec<_>>().join(" ")
        };
        let mut lines: Vec<String> = lines.map(words).collect();
        lines.sort();
        lines
    }
}

/// 3.2.6: keys without a leading letter, everything by name.
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
        // -A finds what a log of 3.2 does not contain, for example that a quota root was removed with its mailbox.
        let rest = trio.pair.sync_well(&["-v", "-A"]);
        for line in rest.stdout.lines() {
            let told = ["MAILBOX", "UNMAILBOX", "RENAME", "SUB", "UNSUB", "SEEN", "SIEVE"];
            let verb = line.split(' ').next().unwrap_or_default();
            assert!(!told.contains(&verb), "{seed}: {}", rest.stdout);
        }
        trio.run_theirs();
        let lines = trio.differences();
        assert!(lines.is_empty(), "{seed}: {lines}");
    }
}

/// With `improved_mboxlist_sort` a list from before 3.5 has another order, which we do not read: that is reported at once.
#[test]
fn the_other_order_of_3_2_is_refused() {
    let master = Cyrus::master().release(Release::Bullseye);
    let master = master.option("improved_mboxlist_sort", "yes");
    let pair = Pair::with(master, Cyrus::replica(), Via::Csync);
    for user in ["anna", "anna-b"] {
        pair.master.create_user(user).unwrap();
    }
    for args in [&["-A"][..], &["-u", "anna"], &["-R", "-1"]] {
        let run = pair.sync(args);
        assert_eq!(run.code, Some(78), "{args:?}: {}", run.stderr);
        assert!(
            run.stderr.contains("option improved_mboxlist_sort: 'yes' is not read"),
            "{}",
            run.stderr
        );
    }
    let mut replica = PrivateServer::start(&pair.replica).unwrap();
    assert!(replica.get_named("USER", "anna").unwrap().is_empty());
}

/// Changes a mailbox's type in the list of mailboxes; its type before is plain mail or one of these letters.
fn set_type(master: &Cyrus, name: &str, letter: char) {
    let path = master.config_dir().join("mailboxes.db");
    let tool = |args: &[&str]| {
        let path = path.to_str().unwrap();
        let all: Vec<&str> = [path, "twoskip"].iter().chain(args).copied().collect();
        let output = master.tool("cyr_dbtool", &all).unwrap();
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    };
    let key = format!("N{name}");
    let value = tool(&["get", &key]);
    let id = value.split(" I ").nth(1).unwrap().split(' ').next().unwrap();
    for key in [key.clone(), format!("I{id}")] {
        let value = tool(&["get", &key]);
        let (front, rest) = value.split_once("T ").unwrap();
        let changed = format!("{front}T {letter}{}", rest.get(1..).unwrap());
        tool(&["set", &key, &changed]);
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
    // The type of JMAP's notifications mailboxes in the list.
    admin.create(&trio.pair.master.name(&["user", user, "notes"])).unwrap();
    drop(admin);
    set_type(&trio.pair.master, &format!("user\x1f{user}\x1fnotes"), 'j');
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
    let lines = one.get_named("USER", user).unwrap();
    let notes = lines.iter().map(|line| String::from_utf8_lossy(line).into_owned());
    let notes = notes
        .into_iter()
        .find(|line| line.contains(&format!("MBOXNAME user.{user}.notes ")))
        .unwrap();
    assert!(notes.contains("MBOXTYPE j"), "{notes}");
    // An unknown letter fails its mailbox, and no other.
    set_type(&trio.pair.master, &format!("user\x1f{user}\x1fnotes"), 'q');
    let mut client = trio.pair.master.login(user).unwrap();
    client.append("INBOX", &[], None, b"Subject: news\r\n\r\nnews\r\n").unwrap();
    let run = trio.pair.sync(&["-u", user]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let words = failure_of(&run, user);
    assert!(
        words.contains(&format!("user.{user}.notes is of type 'q', which is unknown")),
        "{words}"
    );
    assert!(!words.contains("damaged"), "{words}");
    assert!(run.stderr.contains("sent 1 message,"), "{}", run.stderr);
    set_type(&trio.pair.master, &format!("user\x1f{user}\x1fnotes"), 'j');
    // A group that the user leaves again, and another message.
    let mut admin = trio.pair.master.admin().unwrap();
    admin.raw(&format!("UNSETUSERGROUP {user} group:board")).unwrap();
    let mut client = trio.pair.master.login(user).unwrap();
    client.append("INBOX", &[], None, b"Subject: more\r\n\r\nx\r\n").unwrap();
    trio.pair.sync_well(&["-u", user]);
    let text = says(&mut one);
    assert!(text.contains("group:staff") && !text.contains("group:board"), "{text}");
    drop((one, other));
    trio.run_theirs();
    let lines = trio.differences();
    assert!(lines.is_empty(), "{lines}");
}
