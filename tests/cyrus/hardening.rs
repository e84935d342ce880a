//! What the disk, the peer and names may contain without harm: rights of files, links, FIFOs, devices, control characters.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use embedded_replica::{Fault, Options, Replica};
use nix::sys::stat::Mode;
use testkit::{Cyrus, Via, fill};

use crate::common::Pair;
use crate::errors::{assert_no_bug, failure_of, path_of};

/// The lock between two replicators, which only we create.
fn sync_lock(master: &Cyrus, user: &str) -> PathBuf {
    master.config_dir().join("lock/q").join(format!("*S*127^0^0^1*{user}.lock"))
}

fn mode(path: &Path) -> u32 {
    let facts = fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    facts.permissions().mode() & 0o777
}

/// `umask` and `cyrus_group` apply to every file we make. A lock file that anyone may open is one that anyone may hold.
#[test]
fn files_are_made_with_the_rights_that_imapd_conf_says() {
    let mut pair = Pair::with(Cyrus::master().sync_log(&[]), Cyrus::replica(), Via::Csync);
    let cache = pair.master.config_dir().join("sync-cache");
    pair.master.set_option("sync_cache_db_path", &cache.display().to_string()).unwrap();
    pair.master.create_user("anna").unwrap();
    pair.sync_well(&["-u", "anna"]);
    pair.sync_well(&["-R", "-1"]);
    let claim = pair.master.config_dir().join("sync/log-replicator");
    let redb = pair.master.config_dir().join("sync-cache.redb");
    for path in [&sync_lock(&pair.master, "anna"), &claim, &redb] {
        assert_eq!(mode(path), 0o600, "{}", path.display());
    }
    pair.master.set_option("umask", "027").unwrap();
    pair.master.set_option("cyrus_group", "daemon").unwrap();
    pair.master.create_user("bert").unwrap();
    pair.sync_well(&["-u", "bert"]);
    let lock = sync_lock(&pair.master, "bert");
    let cyrus = fs::metadata(pair.master.config_dir()).unwrap();
    let daemon = nix::unistd::Group::from_name("daemon").unwrap().unwrap();
    let made = fs::metadata(&lock).unwrap();
    assert_eq!((mode(&lock), made.uid(), made.gid()), (0o640, cyrus.uid(), daemon.gid.as_raw()));
    pair.master.set_option("cyrus_group", "nobody-knows-it").unwrap();
    let run = pair.sync(&["-u", "bert"]);
    assert_eq!(run.code, Some(78), "{}", run.stderr);
    assert!(
        run.stderr.contains("there is no group nobody-knows-it; check cyrus_group"),
        "{}",
        run.stderr
    );
}

/// A user who may write in a folder of locks or logs can't make us open, empty or write another file.
#[test]
fn links_in_the_place_of_our_own_files_are_not_followed() {
    let pair = Pair::with(Cyrus::master().sync_log(&[]), Cyrus::replica(), Via::Csync);
    for user in ["anna", "bert"] {
        pair.master.create_user(user).unwrap();
    }
    pair.sync_well(&["-A"]);
    let precious = pair.master.dir().join("precious");
    fs::write(&precious, "keep me\n").unwrap();
    std::os::unix::fs::chown(
        &precious,
        Some(fs::metadata(pair.master.config_dir()).unwrap().uid()),
        None,
    )
    .unwrap();
    let lock = sync_lock(&pair.master, "anna");
    fs::remove_file(&lock).unwrap();
    symlink(&precious, &lock).unwrap();
    let run = pair.sync(&["-u", "anna", "bert"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(
        failure_of(&run, "anna").contains("is no plain file but a symbolic link"),
        "{}",
        run.stderr
    );
    assert!(!run.stderr.contains("failed: bert"), "{}", run.stderr);
    fs::remove_file(&lock).unwrap();

    let sync = pair.master.config_dir().join("sync");
    for name in ["log-replicator", "log-run", "log-run.NEW", "log-unread"] {
        let path = sync.join(name);
        let _ = fs::remove_file(&path);
        let log = sync.join("log");
        pair.master
            .login("anna")
            .unwrap()
            .append("INBOX", &[], None, b"Subject: x\r\n\r\nx\r\n")
            .unwrap();
        assert!(log.exists());
        if name == "log-unread" {
            fs::write(&log, "GREET anna\n").unwrap();
        }
        if name == "log-run.NEW" {
            // Something is left, and log-run is rewritten.
            fs::write(&log, "USER anna\nUSER bert\n").unwrap();
            fs::write(pair.master.config_dir().join("lock/q/held"), "").unwrap();
        }
        symlink(&precious, &path).unwrap();
        let run = pair.sync(&["-R", "-1"]);
        assert_no_bug(&run);
        if !matches!(name, "log-run.NEW" | "log-unread") {
            assert_ne!(run.code, Some(0), "{name}: {}", run.stderr);
            assert!(run.stderr.contains("symbolic link"), "{name}: {}", run.stderr);
        }
        assert_eq!(fs::read_to_string(&precious).unwrap(), "keep me\n", "{name}");
        let _ = fs::remove_file(&path);
    }
}

/// The object in the place of a file.
#[derive(Debug, Clone, Copy)]
enum Odd {
    Fifo,
    Zero,
    Folder,
}

impl Odd {
    /// Takes the place of a file, which is moved aside.
    fn put(self, path: &Path) -> PathBuf {
        let aside = path.with_file_name("aside");
        if path.exists() {
            fs::rename(path, &aside).unwrap();
        } else {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        match self {
            Odd::Fifo => nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o666)).unwrap(),
            Odd::Zero => symlink("/dev/zero", path).unwrap(),
            Odd::Folder => fs::create_dir(path).unwrap(),
        }
        if !matches!(self, Odd::Zero) {
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
        }
        aside
    }

    /// Restores the file.
    fn take_away(self, path: &Path, aside: &Path) {
        match self {
            Odd::Folder => fs::remove_dir(path).unwrap(),
            _ => fs::remove_file(path).unwrap(),
        }
        if aside.exists() {
            fs::rename(aside, path).unwrap();
        }
    }
}

/// A FIFO, an endless device or a folder in the place of any file of the store fails only that user, at once, with the
/// file's name, and uses no memory.
#[test]
fn what_is_no_file_is_not_waited_for() {
    let pair = Pair::start();
    let users = fill::uniform(&pair.master, 2, 1, 2, 500).unwrap();
    let (odd, well) = (users[0].as_str(), users[1].as_str());
    let external = format!("user/{odd}");
    pair.master.admin().unwrap().set_quota(&external, &[("STORAGE", 5000)]).unwrap();
    pair.master.login(odd).unwrap().subscribe("INBOX").unwrap();
    pair.sync_well(&["-A"]);
    let inbox = path_of(&pair.master, "-M", &external);
    let own = path_of(&pair.master, "-U", &external);
    let letter = odd.chars().next().unwrap();
    let files = [
        inbox.join("cyrus.header"),
        inbox.join("cyrus.index"),
        inbox.join("cyrus.annotations"),
        own.join("sub.db"),
        own.join("seen.db"),
        own.join("conversations.db"),
        pair.master.config_dir().join(format!("quota/{letter}/user.{odd}")),
    ];
    for path in &files {
        for kind in [Odd::Fifo, Odd::Zero, Odd::Folder] {
            // There is something to send, so that all of the mailbox is read.
            let mut client = pair.master.login(odd).unwrap();
            let text = format!("Subject: {kind:?} at {}\r\n\r\nx\r\n", path.display());
            client.append("INBOX", &[], None, text.as_bytes()).unwrap();
            drop(client);
            let aside = kind.put(path);
            let run = pair.sync(&["-u", odd, well]);
            kind.take_away(path, &aside);
            let what = format!("{kind:?} at {}: {}", path.display(), run.stderr);
            assert_eq!(run.code, Some(1), "{what}");
            assert!(failure_of(&run, odd).contains(&path.display().to_string()), "{what}");
            assert!(!run.stderr.contains(&format!("failed: {well}")), "{what}");
            assert!(run.wall < Duration::from_secs(60), "{what}: {:?}", run.wall);
            assert!(run.peak_rss_bytes < 64 << 20, "{what}: {}", run.peak_rss_bytes);
            assert_no_bug(&run);
        }
    }
    // The message itself.
    let mut client = pair.master.login(odd).unwrap();
    client.append("INBOX", &[], None, b"Subject: last\r\n\r\nlast\r\n").unwrap();
    client.select("INBOX").unwrap();
    let uid = client.uids().unwrap().into_iter().max().unwrap();
    drop(client);
    let path = inbox.join(format!("{uid}."));
    for kind in [Odd::Fifo, Odd::Zero] {
        let aside = kind.put(&path);
        let run = pair.sync(&["-u", odd]);
        kind.take_away(&path, &aside);
        assert_eq!(run.code, Some(1), "{kind:?}: {}", run.stderr);
        assert!(failure_of(&run, odd).contains(&format!("uid {uid}")), "{kind:?}: {}", run.stderr);
        assert!(run.wall < Duration::from_secs(60) && run.peak_rss_bytes < 64 << 20);
    }
    pair.sync_well(&["-A"]);
    pair.assert_equal(&users);
}

/// Neither names nor a peer's text reach a terminal or syslog with control characters or megabytes in them; and a NUL does
/// not make the line vanish.
#[test]
fn foreign_words_are_shown_harmless() {
    let mut pair = Pair::start();
    pair.master.create_user("anna").unwrap();
    let name = "an\x1b[31mna\nsync_client: failed: all of them";
    let run = pair.sync(&["-u", name]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(
        !run.stderr.contains('\x1b') && !run.stderr.contains("\nsync_client: failed: all"),
        "{:?}",
        run.stderr
    );

    let replica = Replica::new(Options::default()).unwrap();
    let server = replica.serve("127.0.0.1:0").unwrap();
    pair.master.replicate_to_port(server.address().port(), Via::Csync).unwrap();
    drop(pair.master.take_syslog());
    let mut words = b"NO IMAP_INTERNAL \x1b[2J\x07bad\0 end of ".to_vec();
    words.extend(vec![b'x'; 20_000]);
    words.extend(b"\r\n");
    // Whatever it is asked, and however often.
    for nth in 1..10 {
        replica.faults().at("APPLY MAILBOX", nth, Fault::Answer(words.clone()));
    }
    let run = pair.sync(&["-v", "-u", "anna"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let harmless = |text: &str| !text.chars().any(|c| c.is_control() && c != '\n');
    assert!(harmless(&run.stderr), "{:?}", run.stderr);
    let failure = failure_of(&run, "anna");
    assert!(failure.contains("\\x1b[2J\\x07bad\\x00 end of xxx"), "{failure}");
    assert!(failure.len() < 9000 && failure.contains("bytes more)"), "{}", failure.len());
    let lines = pair.master.take_syslog();
    assert!(lines.iter().all(|line| harmless(&line.text) && line.text.len() < 9000), "{lines:?}");
    assert!(lines.iter().any(|line| line.text.contains("\\x00 end of xxx")), "{lines:?}");
}

/// `syslog_facility` is obeyed; an unknown one is reported, and MAIL is used, as in Cyrus.
#[test]
fn lines_go_to_the_facility_that_imapd_conf_says() {
    let mut pair = Pair::start();
    pair.master.create_user("anna").unwrap();
    for (option, facility) in
        [(None, 2), (Some("LOCAL3"), 19), (Some("daemon"), 3), (Some("odd"), 2)]
    {
        match option {
            Some(name) => pair.master.set_option("syslog_facility", name).unwrap(),
            None => pair.master.unset_option("syslog_facility").unwrap(),
        }
        drop(pair.master.take_syslog());
        pair.sync_well(&["-l", "-u", "anna"]);
        let lines = pair.master.take_syslog();
        let ours: Vec<_> = lines.iter().filter(|line| line.text.contains("sync_client[")).collect();
        assert!(
            !ours.is_empty() && ours.iter().all(|l| l.facility == facility),
            "{option:?}: {ours:?}"
        );
        let told =
            ours.iter().any(|l| l.text.contains("config error: syslog name odd not recognised"));
        assert_eq!(told, option == Some("odd"), "{ours:?}");
    }
}
