//! The test kit itself, against real servers: what it builds works, and its oracle can fail.

use testkit::{Cyrus, Via, c_client, fill, oracle};

/// A master and a replica that it replicates to.
fn pair(via: Via) -> testkit::Result<(Cyrus, Cyrus)> {
    let replica = Cyrus::replica().start()?;
    let mut master = Cyrus::master().start()?;
    master.replicate_to(&replica, via)?;
    Ok((master, replica))
}

#[test]
fn uniform_users_replicate_and_compare_equal() {
    let (master, replica) = pair(Via::Csync).unwrap();
    let started = std::time::Instant::now();
    let users = fill::uniform(&master, 3, 2, 20, 2000).unwrap();
    println!("filled in {:?}", started.elapsed());
    let outcome = c_client::run(&master, &["-v", "-A"]).unwrap().must_succeed().unwrap();
    println!("{outcome:?}");
    let report = oracle::compare(&master, &replica, &users).unwrap();
    assert!(report.is_empty(), "{report}");
    let report = oracle::compare_bytes(&master, &replica, &users).unwrap();
    assert!(report.is_empty(), "{report}");
}

#[test]
fn odd_users_replicate_and_compare_equal() {
    let (master, replica) = pair(Via::Csync).unwrap();
    let started = std::time::Instant::now();
    let users = fill::fill_users(&master, 7, 8).unwrap();
    println!("filled in {:?}", started.elapsed());
    let mut args = vec!["-v", "-u"];
    args.extend(users.iter().map(String::as_str));
    let outcome = c_client::run(&master, &args).unwrap().must_succeed().unwrap();
    println!("wall {:?} cpu {:?} rss {}", outcome.wall, outcome.cpu(), outcome.peak_rss_bytes);
    let report = oracle::compare(&master, &replica, &users).unwrap();
    assert!(report.is_empty(), "{report}");
    let report = oracle::compare_bytes(&master, &replica, &users).unwrap();
    assert!(report.is_empty(), "{report}");
}

#[test]
fn the_oracle_sees_what_differs() {
    let (master, replica) = pair(Via::Csync).unwrap();
    let users = fill::uniform(&master, 1, 2, 5, 500).unwrap();
    let user = users.first().unwrap().as_str();
    c_client::run(&master, &["-u", user]).unwrap().must_succeed().unwrap();
    assert!(oracle::compare(&master, &replica, &users).unwrap().is_empty());

    // Expunged on the master only: the replica has one copy too many.
    let mut client = master.login(user).unwrap();
    client.select("INBOX").unwrap();
    client.remove("2").unwrap();
    client.store("3", "+FLAGS", &["$new"]).unwrap();
    client.annotate("4", "/comment", "value.priv", Some("note")).unwrap();
    client.set_metadata("INBOX", "/private/comment", Some("mine")).unwrap();
    client.subscribe("INBOX").unwrap();
    master.admin().unwrap().set_quota("user/bench0000", &[("STORAGE", 5000)]).unwrap();
    let report = oracle::compare(&master, &replica, &users).unwrap();
    let text = report.to_string();
    for words in [
        "bench0000 user.bench0000 uid 2 RECORD: master expunged replica has it",
        "bench0000 user.bench0000 uid 3 FLAGS: master $new \\Seen replica \\Seen",
        "bench0000 user.bench0000 uid 4 ANNOTATIONS /comment of \"bench0000\": master MODSEQ",
        "bench0000 user.bench0000 FULL ANNOTATIONS /comment of \"bench0000\": master MODSEQ",
        "bench0000 LSUB user.bench0000: master subscribed replica (nothing)",
        "bench0000 user.bench0000 HIGHESTMODSEQ: master",
        "bench0000 user.bench0000 SYNC_CRC: master",
        "bench0000 user.bench0000 QUOTA STORAGE: master 5000 replica (nothing)",
    ] {
        assert!(text.contains(words), "{words:?} is missing in {text}");
    }

    // A mailbox more on the replica, and one that is gone.
    let mut admin = replica.admin().unwrap();
    admin.create("user/bench0000/only here").unwrap();
    let text = oracle::compare(&master, &replica, &users).unwrap().to_string();
    assert!(
        text.contains("user.bench0000.only here MAILBOX: master (nothing) replica has it"),
        "{text}"
    );

    // A message file that was changed behind Cyrus' back.
    c_client::run(&master, &["-u", user]).unwrap().must_succeed().unwrap();
    assert!(oracle::compare_bytes(&master, &replica, &users).unwrap().is_empty());
    let file = message_files(&replica.spool()).pop().unwrap();
    std::fs::write(&file, "other").unwrap();
    let text = oracle::compare_bytes(&master, &replica, &users).unwrap().to_string();
    assert!(text.starts_with("1 differences") && text.contains(" bytes: master "), "{text}");
    std::fs::remove_file(&file).unwrap();
    let text = oracle::compare_bytes(&master, &replica, &users).unwrap().to_string();
    assert!(text.contains("replica (nothing)"), "{text}");
    // A user that neither side has proves nothing.
    assert_eq!(oracle::compare(&master, &replica, &["nobody"]).unwrap().len(), 1);
    // A user that only one side has.
    master.create_user("lonely").unwrap();
    let text = oracle::compare(&master, &replica, &["lonely"]).unwrap().to_string();
    assert!(text.contains("lonely user.lonely MAILBOX: master has it replica (nothing)"), "{text}");
}

/// All message files below a folder.
fn message_files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(message_files(&path));
        } else if path.to_string_lossy().ends_with('.') {
            found.push(path);
        }
    }
    found
}

#[test]
fn random_work_follows_from_the_seed_and_replicates() {
    let (master, replica) = pair(Via::Imap).unwrap();
    let options =
        fill::FillOptions { big_message_bytes: 0, sieve: false, ..fill::FillOptions::new(3, 3) };
    let users = fill::fill_with(&master, &options).unwrap();
    let same = fill::fill_with(&replica, &options).unwrap();
    assert_eq!(users, same);
    let one = fill::RandomWork::new(5).run(&master, &users, 300).unwrap();
    let two = fill::RandomWork::new(5).run(&replica, &users, 300).unwrap();
    println!("{one:#?}");
    assert_eq!(one, two);
    assert!(one.total_done() > 250 && one.dropped.is_empty(), "{one:?}");

    // To another replica, over IMAP, through a slow line.
    let fresh = Cyrus::replica().csync(false).start().unwrap();
    let relay = testkit::relay::Relay::start(fresh.imap_port().unwrap()).unwrap();
    relay.set_delay(std::time::Duration::from_millis(1));
    let mut master = master;
    master.replicate_to_port(relay.port(), Via::Imap).unwrap();
    c_client::run(&master, &["-A"]).unwrap().must_succeed().unwrap();
    assert_eq!(relay.connections(), 1);
    let report = oracle::compare(&master, &fresh, &users).unwrap();
    assert!(report.is_empty(), "{report}");
    let report = oracle::compare_bytes(&master, &fresh, &users).unwrap();
    assert!(report.is_empty(), "{report}");
}

#[test]
fn servers_log_restart_refuse_and_are_killed_alone() {
    let mut cyrus = Cyrus::replica().unixhierarchysep(false).lmtp(true).start().unwrap();
    assert_eq!(cyrus.external("user.anna.Sent"), "user.anna.Sent");
    cyrus.create_user("anna").unwrap();
    assert!(cyrus.lmtp_socket().unwrap().exists());
    let before = testkit::snapshot::tree(cyrus.dir()).unwrap();
    assert!(before.keys().any(|path| path.ends_with("mailboxes.db")));
    cyrus.wait_for_syslog("cyrus plaintext User logged in").unwrap();
    let _session = cyrus.login("anna").unwrap();
    assert!(cyrus.kill_service("imapd") >= 1);
    cyrus.saslauthd().refuse(true);
    assert!(cyrus.login("anna").is_err());
    cyrus.saslauthd().refuse(false);
    cyrus.login("anna").unwrap();
    cyrus.set_option("maxmessagesize", "1000").unwrap();
    cyrus.restart().unwrap();
    let big = vec![b'x'; 10_000];
    assert!(
        cyrus.login("anna").unwrap().append("INBOX", &[], None, &big).unwrap_err().is_refusal()
    );
    let listed = cyrus.tool("ctl_mboxlist", &["-d"]).unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("user.anna"));
    cyrus.wipe().unwrap();
    assert!(cyrus.login("anna").unwrap().select("INBOX").unwrap_err().is_refusal());
    let folder = cyrus.dir().to_path_buf();
    drop(cyrus);
    assert!(!folder.exists());
}
