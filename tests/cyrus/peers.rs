//! Replicas of every version: what they know is used, and what they do not know is not sent to them.

use std::collections::BTreeSet;

use embedded_replica::{Options, Replica, Server, Version};
use testkit::oracle::{self, Difference, Ignore, PrivateServer};
use testkit::{Cyrus, DeleteMode, Release, Via, c_client, fill};

use crate::common::{Pair, summary};

/// An embedded replica of a version.
struct Peer {
    version: Version,
    replica: Replica,
    server: Server,
}

impl Peer {
    fn start(options: Options) -> Peer {
        let version = options.version;
        let replica = Replica::new(options).unwrap();
        let server = replica.serve("127.0.0.1:0").unwrap();
        Peer { version, replica, server }
    }

    fn all() -> Vec<Peer> {
        let of = |version| Peer::start(Options { version, ..Options::default() });
        Version::ALL.map(of).into_iter().collect()
    }

    fn port(&self) -> u16 {
        self.server.address().port()
    }

    /// How often it received this command.
    fn count(&self, command: &str) -> u64 {
        self.replica.stats().commands.get(command).copied().unwrap_or(0)
    }

    /// The differences between the master and it, without what one of the two versions does not know.
    fn differences(&self, master: &Cyrus, users: &[String]) -> oracle::Report {
        let mut theirs = PrivateServer::over_tcp(self.port()).unwrap();
        differences(master, &mut theirs, self.version, users)
    }
}

/// The differences between the master and a replica of this version, without what one of the two versions does not know.
fn differences(
    master: &Cyrus,
    theirs: &mut PrivateServer,
    version: Version,
    users: &[String],
) -> oracle::Report {
    // Before 3.6 a script is a file; the master then reports its own in the same way.
    let start =
        if version >= Version::V3_6 { PrivateServer::start } else { PrivateServer::start_plain };
    let mut ours = start(master).unwrap();
    let names = without_mailbox(&mut ours, users);
    let compared = oracle::compare_servers(&mut ours, theirs, users, Ignore::default());
    let mut lines = compared.unwrap();
    lines.0.retain(|line| !is_excused(line, version, &names));
    lines
}

fn is_excused(line: &Difference, version: Version, names: &BTreeSet<String>) -> bool {
    let known_since = |since: Version, keys: &[&str]| {
        let last = line.key.rsplit([' ', '.']).next().unwrap_or_default();
        keys.contains(&last) && version < since
    };
    let newer = ["USERFLAGS", "JMAPID", "VERSION", "MAILBOX", "ANNOTATION-STORAGE"];
    let is_name = line.mailbox.as_ref().is_some_and(|name| names.contains(name));
    // An annotation without its modseq.
    let value = |side: &Option<String>| {
        side.as_deref().and_then(|text| text.split_once("VALUE ")).map(|(_, v)| v.to_owned())
    };
    let same_value = line.key.contains("ANNOTATIONS ")
        && version < Version::V3_2
        && value(&line.master) == value(&line.replica);
    // Before 3.6 a server reports bytecode like any file.
    let is_bytecode = version < Version::V3_6
        && line.key.starts_with("SIEVE ")
        && [".bc GUID", ".bc LAST_UPDATE"].iter().any(|end| line.key.ends_with(end));
    same_value
        || is_bytecode
        || (is_name && version < Version::V3_4)
        || known_since(Version::V3_2, &["CREATEDMODSEQ", "FOLDERMODSEQ", "RACLMODSEQ", "MODSEQ"])
        || (line.master.is_none()
            && line.key != "MAILBOX"
            && newer.iter().any(|key| line.key.ends_with(key)))
}

/// Names of these users that have no mailbox.
fn without_mailbox(master: &mut PrivateServer, users: &[String]) -> BTreeSet<String> {
    let items = users.iter().flat_map(|user| master.items("USER", user).unwrap());
    let names = items
        .filter(|item| item.value.text("MBOXTYPE").is_some_and(|letters| letters.contains('i')));
    names.filter_map(|item| item.value.text("MBOXNAME")).collect()
}

/// Shared mailboxes with messages, one of which is to be renamed.
fn share(master: &Cyrus) {
    let mut admin = master.admin().unwrap();
    for name in ["news", "lists"] {
        admin.create(name).unwrap();
        admin.set_acl(name, testkit::cyrus::ADMIN, "lrswipkxtecda").unwrap();
        admin.append(name, &[], None, b"Subject: shared\r\n\r\nx\r\n").unwrap();
    }
}

// Shows that a replica of each version is made equal, and stays so through changes of all kinds, with shared mailboxes and
// names without a mailbox; that a run after that has nothing to do; and that no version gets what it does not know.
#[test]
fn every_version_is_made_equal() {
    let mut pair = Pair::start();
    let users = fill::fill_users(&pair.master, 17, 5).unwrap();
    share(&pair.master);
    let folder = pair.master.name(&["user", &users[0], "deep", "er"]);
    pair.master.admin().unwrap().create(&folder).unwrap();
    let peers = Peer::all();
    for round in 0..2 {
        if round > 0 {
            fill::RandomWork::new(170).run(&pair.master, &users, 120).unwrap();
            pair.master.admin().unwrap().rename("lists", "letters").unwrap();
        }
        for peer in &peers {
            let version = peer.version;
            pair.master.replicate_to_port(peer.port(), Via::Csync).unwrap();
            let run = pair.sync(&["-A"]);
            assert_eq!(run.code, Some(0), "{version:?}, round {round}: {}", run.stderr);
            if round == 0 {
                let knows = version >= Version::V3_6;
                assert_eq!(peer.count("APPLY CAPABILITIES") > 0, knows, "{version:?}");
                assert_eq!(peer.count("GET UNIQUEIDS") > 0, knows, "{version:?}");
                assert_eq!(peer.count("APPLY SIEVE") > 0, !knows, "{version:?}");
                assert_eq!(peer.count("APPLY FORCE"), 0, "{version:?}");
            }
            let lines = peer.differences(&pair.master, &users);
            assert!(lines.is_empty(), "{version:?}, round {round}: {lines}");
            let again = pair.sync_well(&["-v", "-A"]);
            let equal = ": 5 already equal, shared mailboxes already equal";
            assert!(
                summary(&again).ends_with(equal),
                "{version:?}, round {round}: {}\n{}",
                again.stdout,
                again.stderr
            );
        }
    }
}

// Shows the same of rolling replication, which asks for what the log names.
#[test]
fn every_version_is_kept_equal_by_the_log() {
    let mut pair = Pair::with(Cyrus::master().sync_log(&[]), Cyrus::replica(), Via::Csync);
    let users = fill::fill_users(&pair.master, 19, 4).unwrap();
    for (round, version) in Version::ALL.into_iter().enumerate() {
        let peer = Peer::start(Options { version, ..Options::default() });
        pair.master.replicate_to_port(peer.port(), Via::Csync).unwrap();
        pair.sync_well(&["-R", "-1"]);
        pair.sync_well(&["-A"]);
        fill::RandomWork::new(190 + round as u64).run(&pair.master, &users, 80).unwrap();
        pair.sync_well(&["-R", "-1"]);
        let lines = peer.differences(&pair.master, &users);
        assert!(lines.is_empty(), "{version:?}: {lines}");
    }
}

// Shows that -O sends FORCE only where it is known, and reports if it is not.
#[test]
fn force_is_said_to_those_who_know_it() {
    let mut pair = Pair::start();
    fill::uniform(&pair.master, 2, 2, 3, 500).unwrap();
    for peer in Peer::all() {
        let knows = peer.version >= Version::V3_6;
        pair.master.replicate_to_port(peer.port(), Via::Csync).unwrap();
        let _ = pair.master.take_syslog();
        let run = pair.sync_well(&["-O", "-A"]);
        assert!(summary(&run).starts_with("2 users: 2 replicated"), "{}", run.stderr);
        assert_eq!(peer.count("APPLY FORCE") > 0, knows, "{:?}", peer.version);
        let words = "its Cyrus does not know FORCE (-O)";
        assert_eq!(run.stderr.matches(words).count(), usize::from(!knows), "{}", run.stderr);
        let log = pair.master.take_syslog();
        let told = log.iter().filter(|line| line.text.contains(words)).count();
        assert_eq!(told, usize::from(!knows), "{log:#?}");
        if !knows {
            // Cyrus' own gives up.
            assert_eq!(c_client::run(&pair.master, &["-O", "-A"]).unwrap().code, Some(1));
            pair.master.wait_for_syslog("SYNCERROR: failed to enable force mode").unwrap();
        }
    }
}

// Shows UNMAILBOX-ID: a removal identifies its mailbox, and is carried out.
#[test]
fn removals_name_what_they_mean() {
    let master = Cyrus::master().delete_mode(DeleteMode::Immediate);
    let mut pair = Pair::with(master, Cyrus::replica(), Via::Csync);
    let users = fill::uniform(&pair.master, 1, 3, 2, 500).unwrap();
    let options = Options { version: Version::Head, unmailbox_id: true, ..Options::default() };
    let peer = Peer::start(options);
    pair.master.replicate_to_port(peer.port(), Via::Csync).unwrap();
    pair.sync_well(&["-A"]);
    assert!(peer.replica.stats().capabilities.contains("SIEVE-MAILBOX UNMAILBOX-ID"));
    let mut client = pair.master.login(&users[0]).unwrap();
    client.create("INBOX/gone").unwrap();
    pair.sync_well(&["-A"]);
    client.delete("INBOX/gone").unwrap();
    let run = pair.sync_well(&["-v", "-v", "-A"]);
    assert!(run.stderr.contains("UNMAILBOX %(MBOXNAME"), "{}", run.stderr);
    assert!(peer.differences(&pair.master, &users).is_empty());
}

/// Makes a real replica equal, and keeps it so through changes of all kinds; no server dies.
fn made_equal(release: Release, version: Version) {
    let pair = Pair::with(Cyrus::master(), Cyrus::replica().release(release), Via::Csync);
    let users = fill::fill_users(&pair.master, 23, 4).unwrap();
    share(&pair.master);
    for round in 0..3 {
        if round > 0 {
            fill::RandomWork::new(230 + round).run(&pair.master, &users, 100).unwrap();
        }
        if round == 1 {
            pair.master.admin().unwrap().rename("lists", "letters").unwrap();
        }
        let run = pair.sync_well(&["-v", "-A"]);
        assert_eq!(run.stdout.contains("RENAME lists -> letters"), round == 1, "{}", run.stdout);
        let start = if version >= Version::V3_6 {
            PrivateServer::start
        } else {
            PrivateServer::start_plain
        };
        let mut theirs = start(&pair.replica).unwrap();
        let lines = differences(&pair.master, &mut theirs, version, &users);
        assert!(lines.is_empty(), "round {round}: {lines}");
        let again = pair.sync_well(&["-A"]);
        let equal = ": 4 already equal, shared mailboxes already equal";
        assert!(summary(&again).ends_with(equal), "round {round}: {}", again.stderr);
        for line in pair.replica.take_syslog() {
            assert!(!line.text.contains("signaled to death"), "{line:?}");
        }
    }
}

/// 3.2.6: its servers die when they are asked for a mailbox by an id that they do not have.
#[test]
fn a_real_replica_of_3_2_is_made_equal() {
    made_equal(Release::Bullseye, Version::V3_2);
}

/// 3.12.4.
#[test]
fn a_real_replica_of_3_12_is_made_equal() {
    made_equal(Release::Sid, Version::V3_12);
}

/// The lines of -a in syslog, each with its severity.
fn archive_lines(master: &Cyrus) -> BTreeSet<(u8, String)> {
    let lines = master.take_syslog();
    let lines = lines.iter().filter(|line| line.text.contains(" archive"));
    let words = |text: &str| text.split_once("]: ").map_or(text, |(_, words)| words).to_owned();
    lines.map(|line| (line.severity, words(&line.text))).collect()
}

// Shows -a beside Cyrus' own client of 3.12: the same words with the same severity, the same CAPABILITIES, and messages
// that are staged on the archive partition if there is one; replication goes on in any case.
#[test]
fn staging_to_the_archive_as_the_c_client_does() {
    testkit::ensure_cyrus().unwrap();
    let mut master = Cyrus::master().release(Release::Sid).start().unwrap();
    fill::uniform(&master, 2, 2, 3, 500).unwrap();
    let of = |version, archive| Options { version, archive, ..Options::default() };
    let supports = (6, "Destination supports replication to archive".to_owned());
    let lacks = (5, "Destination doesn't support replication to archive".to_owned());
    for (options, line) in [
        (of(Version::V3_12, true), &supports),
        (of(Version::V3_12, false), &lacks),
        (of(Version::V3_6, true), &lacks),
        (of(Version::V3_2, true), &lacks),
    ] {
        let staged = if line == &supports { 12 } else { 0 };
        let asked = [true, false].map(|ours| {
            let peer = Peer::start(options.clone());
            master.replicate_to_port(peer.port(), Via::Csync).unwrap();
            let _ = master.take_syslog();
            if ours {
                let mut command = master.root_command(env!("CARGO_BIN_EXE_sync_client"));
                command.arg("-C").arg(master.imapd_conf()).args(["-a", "-A"]);
                c_client::measure(command).unwrap().must_succeed().unwrap();
            } else {
                c_client::run(&master, &["-a", "-A"]).unwrap().must_succeed().unwrap();
            }
            assert_eq!(archive_lines(&master), BTreeSet::from([line.clone()]), "ours: {ours}");
            let stats = peer.replica.stats();
            assert_eq!((stats.messages, stats.archived), (12, staged), "ours: {ours}");
            stats.capabilities
        });
        assert_eq!(asked[0], asked[1]);
    }
}

// Shows an imapd that offers it without having an archive: requested, not switched on, reported, and replicated. Then a
// sync_server that has one.
#[test]
fn staging_to_real_archives() {
    let master = Cyrus::master().release(Release::Sid);
    let mut pair = Pair::with(master, Cyrus::replica().release(Release::Sid), Via::Imap);
    let users = fill::uniform(&pair.master, 2, 2, 3, 500).unwrap();
    let refused =
        (5, "Replication to archive requested but destination didn't enable it".to_owned());
    let _ = pair.master.take_syslog();
    c_client::run(&pair.master, &["-a", "-u", &users[0]]).unwrap().must_succeed().unwrap();
    assert_eq!(
        archive_lines(&pair.master),
        BTreeSet::from([
            (6, "Destination supports replication to archive".to_owned()),
            refused.clone(),
        ])
    );
    pair.sync_well(&["-a", "-A"]);
    assert_eq!(archive_lines(&pair.master), BTreeSet::from([refused]));
    let lines = pair.differences(&users);
    assert!(lines.is_empty(), "{lines}");
    let replica = Cyrus::replica().release(Release::Sid).archive().start().unwrap();
    pair.master.replicate_to(&replica, Via::Csync).unwrap();
    pair.replica = replica;
    pair.sync_well(&["-a", "-A"]);
    let supports = (6, "Destination supports replication to archive".to_owned());
    assert_eq!(archive_lines(&pair.master), BTreeSet::from([supports]));
    assert!(pair.replica.dir().join("archive/sync.").is_dir(), "nothing was staged there");
    let lines = pair.differences(&users);
    assert!(lines.is_empty(), "{lines}");
    // Without -a they are staged on the spool.
    let replica = Cyrus::replica().release(Release::Sid).archive().start().unwrap();
    pair.master.replicate_to(&replica, Via::Csync).unwrap();
    pair.sync_well(&["-A"]);
    assert!(!replica.dir().join("archive/sync.").exists());
    assert!(replica.dir().join("spool/sync.").is_dir());
}

/// A mailbox went from one user to another, and a replica that can't be asked by unique id has it under the old name. The new
/// owner alone can't get it: the error says so, does not call it deleted, and its advice leads to equal sides.
#[test]
fn a_mailbox_under_a_name_that_3_2_does_not_tell() {
    let old = |builder: testkit::Builder| builder.release(Release::Bullseye);
    let pair = Pair::with(old(Cyrus::master()), old(Cyrus::replica()), Via::Csync);
    let users = ["anna".to_owned(), "bert".to_owned()];
    for user in &users {
        pair.master.create_user(user).unwrap();
        let mut here = pair.master.login(user).unwrap();
        here.create("INBOX/x").unwrap();
        here.append("INBOX/x", &[], None, b"Subject: x\r\n\r\nx\r\n").unwrap();
    }
    pair.sync_well(&["-A"]);
    pair.master.admin().unwrap().rename("user/anna/x", "user/bert/from").unwrap();
    let alone = pair.sync(&["-u", "bert"]);
    assert_eq!(alone.code, Some(1), "{}", alone.stderr);
    let words = "mailbox user.bert.from: the replica has it under another name";
    assert!(alone.stderr.contains(words), "{}", alone.stderr);
    assert!(!alone.stderr.contains("cyr_dbtool"), "{}", alone.stderr);
    pair.sync_well(&["-u", "anna"]);
    pair.sync_well(&["-u", "bert"]);
    let mut ours = PrivateServer::start_plain(&pair.master).unwrap();
    let mut theirs = PrivateServer::start_plain(&pair.replica).unwrap();
    let compared = oracle::compare_servers(&mut ours, &mut theirs, &users, Ignore::default());
    let lines = compared.unwrap();
    assert!(lines.is_empty(), "{lines}");
    // Clients may not open it: it still has the ACL of the owner before.
    let there = pair.replica.admin().unwrap().list("", "user/bert/*").unwrap();
    assert!(format!("{there:?}").contains("user/bert/from"), "{there:?}");
}
