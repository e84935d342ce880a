//! Damaged stores. Each damage has its own clear message, fails alone, and never makes us delete anything on the replica.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use testkit::c_client::Outcome;
use testkit::oracle::PrivateServer;
use testkit::{Cyrus, fill};

use crate::common::{Pair, summary};

// ---- shared code ----

/// No output may look like a bug of ours.
pub(crate) fn assert_no_bug(run: &Outcome) {
    for text in [&run.stdout, &run.stderr] {
        for bad in ["panic", "please report this", "RUST_BACKTRACE", "unwrap()"] {
            assert!(!text.contains(bad), "{bad} in:\n{text}");
        }
    }
}

/// The summary's line about a failed user.
pub(crate) fn failure_of<'a>(run: &'a Outcome, user: &str) -> &'a str {
    let start = format!("sync_client: failed: {user}: ");
    run.stderr.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| {
        panic!("{user} did not fail:\n{}", run.stderr);
    })
}

/// A mailbox's folder (`-M`) or that of a user's files (`-U`), as Cyrus' own mbpath prints it.
pub(crate) fn path_of(master: &Cyrus, what: &str, mailbox: &str) -> PathBuf {
    let output = master.tool("mbpath", &[what, mailbox]).unwrap();
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end())
}

/// Everything a replica reports about a user: a mailbox's name with its lines; the user's own lines below "".
fn replica_says(replica: &mut PrivateServer, user: &str) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut says = BTreeMap::new();
    let mut own = Vec::new();
    for (item, line) in
        replica.items("USER", user).unwrap().iter().zip(replica.get_named("USER", user).unwrap())
    {
        match item.value.text("MBOXNAME").filter(|_| item.name == "MAILBOX") {
            Some(name) => {
                let lines = replica.get_named("FULLMAILBOX", &name).unwrap();
                says.insert(name, lines);
            }
            None => own.push(line),
        }
    }
    says.insert(String::new(), own);
    says
}

/// The original of a file, to be restored.
struct Kept {
    path: PathBuf,
    bytes: Option<Vec<u8>>,
    mode: u32,
    owner: (u32, u32),
}

impl Kept {
    fn of(path: &Path) -> Kept {
        use std::os::unix::fs::MetadataExt;
        let facts = fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Kept {
            path: path.to_path_buf(),
            bytes: facts.is_file().then(|| fs::read(path).unwrap()),
            mode: facts.mode(),
            owner: (facts.uid(), facts.gid()),
        }
    }

    fn put_back(&self) {
        if let Some(bytes) = &self.bytes {
            if self.path.is_dir() {
                fs::remove_dir(&self.path).unwrap();
            }
            fs::write(&self.path, bytes).unwrap();
        }
        fs::set_permissions(&self.path, Permissions::from_mode(self.mode)).unwrap();
        chown(&self.path, Some(self.owner.0), Some(self.owner.1)).unwrap();
    }
}

fn be32(bytes: &[u8], at: usize) -> usize {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

/// CRC-32 (IEEE), as at the end of Cyrus' index header.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

/// Changes a number of an index header and corrects the checksum.
fn set_in_header(index: &mut [u8], at: usize, value: u32) {
    let end = be32(index, 12) - 4;
    index[at..at + 4].copy_from_slice(&value.to_be_bytes());
    let crc = crc32(&index[..end]);
    index[end..end + 4].copy_from_slice(&crc.to_be_bytes());
}

fn message(nr: usize) -> Vec<u8> {
    format!(
        "From: a@example.com\r\nSubject: number {nr}\r\nMessage-ID: <{nr}@example.com>\r\n\r\ntext of number {nr}\r\n"
    )
    .into_bytes()
}

/// Gives every user a new message in the INBOX and in folder1.
fn append_to_all(master: &Cyrus, users: &[String], nr: usize) {
    for user in users {
        let mut client = master.login(user).unwrap();
        // Different bytes: Cyrus would make equal messages of a user one file with two names.
        for (folder, more) in [("INBOX", 0), ("INBOX/folder1", 100)] {
            client.append(folder, &[], None, &message(nr + more)).unwrap();
        }
    }
}

// ---- damaged stores ----

/// A damage to a store.
enum Damage {
    /// Changes a file of the INBOX.
    Mailbox(&'static str, fn(&mut Vec<u8>)),
    /// Changes one of the user's own files.
    User(&'static str, fn(&mut Vec<u8>)),
    /// Removes a file of the INBOX.
    Gone(&'static str),
    /// Takes all rights from a file of the INBOX, or from its folder ("").
    Unreadable(&'static str),
    /// Puts a folder where a file of the INBOX was.
    Folder(&'static str),
}

/// Each case: the damage, and what the message must contain besides the user's name. `PATH` stands for the file's path,
/// `MAILBOX` for the INBOX's internal name.
const DAMAGES: &[(Damage, &[&str])] = &[
    (
        Damage::Mailbox("cyrus.index", |b| b.truncate(b.len() - 70)),
        &["MAILBOX", "PATH", "is needed|are needed|short|truncated"],
    ),
    (Damage::Mailbox("cyrus.index", |b| b.truncate(50)), &["MAILBOX", "PATH"]),
    (Damage::Mailbox("cyrus.index", Vec::clear), &["MAILBOX", "PATH"]),
    (Damage::Gone("cyrus.index"), &["MAILBOX", "PATH", "does not exist"]),
    (Damage::Folder("cyrus.index"), &["MAILBOX", "PATH"]),
    (
        Damage::Mailbox("cyrus.index", |b| {
            let at = b.len() - be32(b, 16) + 9;
            b[at] ^= 0x40;
        }),
        &["MAILBOX", "PATH", "record 5", "checksum", "reconstruct"],
    ),
    (
        Damage::Mailbox("cyrus.index", |b| b[30] ^= 0x01),
        &["MAILBOX", "PATH", "header checksum", "reconstruct"],
    ),
    // From a newer Cyrus than we know, with correct checksums.
    (
        Damage::Mailbox("cyrus.index", |b| set_in_header(b, 8, 99)),
        &["MAILBOX", "PATH", "version 99"],
    ),
    // It claims four thousand million records: no memory is reserved for them.
    (Damage::Mailbox("cyrus.index", |b| set_in_header(b, 20, u32::MAX)), &["MAILBOX", "PATH"]),
    (
        Damage::Mailbox("cyrus.header", |b| {
            b.clear();
            b.extend_from_slice(b"\xff\xfe no header at all \0\n");
        }),
        &["MAILBOX", "PATH", "damaged"],
    ),
    (Damage::Mailbox("cyrus.header", |b| b.truncate(60)), &["MAILBOX", "PATH", "damaged"]),
    (Damage::Gone("cyrus.header"), &["MAILBOX", "PATH", "does not exist"]),
    (Damage::Unreadable("cyrus.index"), &["MAILBOX", "PATH", "ermission denied"]),
    (Damage::Unreadable(""), &["MAILBOX", "PATH", "ermission denied"]),
    (Damage::Gone("5."), &["MAILBOX", "uid 5", "PATH", "missing"]),
    (Damage::Mailbox("5.", |b| b.truncate(20)), &["MAILBOX", "uid 5", "PATH", "20 bytes"]),
    (
        Damage::Mailbox("5.", |b| {
            let last = b.len() - 4;
            b[last] ^= 1;
        }),
        &["MAILBOX", "uid 5", "PATH", "SHA-1"],
    ),
    (Damage::Unreadable("5."), &["MAILBOX", "uid 5", "PATH", "ermission denied"]),
    (
        Damage::Mailbox("cyrus.annotations", |b| {
            let half = b.len() / 2;
            b.truncate(half);
        }),
        &["MAILBOX", "PATH"],
    ),
    (Damage::User("sub", |b| b.iter_mut().for_each(|byte| *byte = 0xee)), &["PATH"]),
    (Damage::User("seen", |b| b.truncate(100)), &["PATH"]),
    (Damage::User("conversations", |b| b.truncate(100)), &["PATH"]),
    (Damage::User("conversations", |b| b[0] ^= 0xff), &["PATH"]),
];

/// Users whose store is not changed.
const HEALTHY: usize = 3;

/// The damaged file.
fn target(master: &Cyrus, damage: &Damage, user: &str) -> PathBuf {
    let inbox = format!("user/{user}");
    match damage {
        Damage::Mailbox("", _) | Damage::Unreadable("") => path_of(master, "-D", &inbox),
        Damage::Mailbox(file, _)
        | Damage::Gone(file)
        | Damage::Unreadable(file)
        | Damage::Folder(file) => path_of(master, "-D", &inbox).join(file),
        Damage::User(file, _) => {
            let folder = path_of(master, "-U", &inbox);
            let mut found = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path());
            found
                .find(|p| {
                    let name = p.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    name == *file || name.starts_with(&format!("{file}."))
                })
                .unwrap_or_else(|| {
                    panic!(
                        "no {file} in {}: {:?}",
                        folder.display(),
                        fs::read_dir(&folder).unwrap().collect::<Vec<_>>()
                    )
                })
        }
    }
}

fn inflict(damage: &Damage, path: &Path) {
    match damage {
        Damage::Mailbox(_, change) | Damage::User(_, change) => {
            let mut bytes = fs::read(path).unwrap();
            change(&mut bytes);
            fs::write(path, bytes).unwrap();
        }
        Damage::Gone(_) => fs::remove_file(path).unwrap(),
        Damage::Unreadable(_) => fs::set_permissions(path, Permissions::from_mode(0o0)).unwrap(),
        Damage::Folder(_) => {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }
    }
}

/// Every user except the last three has one damage, all at once. Each fails with a message that names the file or mailbox;
/// the healthy users and the damaged users' other mailboxes go on; data that could not be read does not change on the
/// replica; with the bytes restored, the next run repairs everything.
#[test]
fn each_damage_fails_one_user_alone_and_heals_once_repaired() {
    let pair = Pair::start();
    let users = fill::uniform(&pair.master, DAMAGES.len() + HEALTHY, 2, 4, 300).unwrap();
    prepare_databases(&pair.master, &users);
    pair.sync_well(&["-A", "-j", "8"]);
    append_to_all(&pair.master, &users, 5);

    let mut replica = PrivateServer::start(&pair.replica).unwrap();
    let before: Vec<_> = users.iter().map(|user| replica_says(&mut replica, user)).collect();
    let mut kept = Vec::new();
    for ((damage, _), user) in DAMAGES.iter().zip(&users) {
        let path = target(&pair.master, damage, user);
        kept.push(Kept::of(&path));
        inflict(damage, &path);
    }
    drop(pair.master.take_syslog());
    let run = pair.sync(&["-A", "-j", "8"]);
    let log = pair.master.take_syslog();
    let after: Vec<_> = users.iter().map(|user| replica_says(&mut replica, user)).collect();
    for file in &kept {
        file.put_back();
    }

    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert_no_bug(&run);
    assert_eq!(
        summary(&run).split(';').next().unwrap(),
        format!("{} users: {HEALTHY} replicated, {} failed", users.len(), DAMAGES.len()),
        "{}",
        run.stderr
    );
    let mut wrong = Vec::new();
    for (nr, (damage, words)) in DAMAGES.iter().enumerate() {
        let user = &users[nr];
        let line = failure_of(&run, user);
        println!("{line}");
        let path = kept[nr].path.display().to_string();
        for word in *words {
            let filled = word.replace("PATH", &path).replace("MAILBOX", &format!("user.{user}"));
            if !filled.split('|').any(|either| line.contains(either)) {
                wrong.push(format!("'{filled}' is not in: {line}"));
            }
        }
        let inbox = format!("user.{user}");
        let folder = format!("user.{user}.folder1");
        if before[nr].keys().ne(after[nr].keys()) {
            wrong.push(format!("{user}: mailboxes came or went on the replica"));
        }
        if matches!(damage, Damage::User(..)) {
            if before[nr][""] != after[nr][""] {
                wrong.push(format!("{user}: changed on the replica though unreadable: {line}"));
            }
            let (old, new) = (&before[nr], &after[nr]);
            if (old[&inbox] == new[&inbox]) != (old[&folder] == new[&folder]) {
                wrong.push(format!("{user}: half of the mail was replicated: {line}"));
            }
        } else {
            if before[nr][&inbox] != after[nr][&inbox] {
                wrong.push(format!("{user}: the INBOX changed on the replica: {line}"));
            }
            if before[nr][&folder] == after[nr][&folder] {
                wrong.push(format!("{user}: the good folder was not replicated: {line}"));
            }
        }
        let noted = log.iter().any(|l| {
            l.text.contains("IOERROR: user replication failed")
                && l.text.contains(&format!("userid=<{user}>"))
        });
        if !noted {
            wrong.push(format!("{user}: syslog says nothing"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    pair.assert_equal(&users[DAMAGES.len()..]);

    // Repaired: the next run makes everything equal, down to the last byte.
    pair.sync_well(&["-A", "-j", "8"]);
    pair.assert_equal(&users);
}

/// Makes the databases that are damaged later: annotations, subscriptions, seen state.
fn prepare_databases(master: &Cyrus, users: &[String]) {
    let shared = users.last().unwrap();
    let mut owner = master.login(shared).unwrap();
    owner.set_acl("INBOX/folder1", "anyone", "lrsw").unwrap();
    for (user, (damage, _)) in users.iter().zip(DAMAGES) {
        let mut client = master.login(user).unwrap();
        match damage {
            Damage::Mailbox("cyrus.annotations", _) => {
                client.select("INBOX").unwrap();
                client.annotate("1:2", "/comment", "value.shared", Some("a comment")).unwrap();
            }
            Damage::User("sub", _) => {
                client.subscribe("INBOX").unwrap();
                client.subscribe("INBOX/folder1").unwrap();
            }
            Damage::User("seen", _) => {
                let name = format!("user/{shared}/folder1");
                client.select(&name).unwrap();
                client.store("1:2", "-FLAGS", &["\\Seen"]).unwrap();
                client.store("1", "+FLAGS", &["\\Seen"]).unwrap();
                client.unselect().unwrap();
            }
            _ => {}
        }
    }
}

/// Databases that all users share, damaged one after the other: nothing is replicated wrongly, nothing deleted, the file is
/// named; once it is restored everything is equal again.
#[test]
fn damaged_databases_of_the_whole_server_stop_work_and_delete_nothing() {
    let pair = Pair::start();
    let mut users = fill::uniform(&pair.master, 4, 2, 2, 200).unwrap();
    // A user that has only other folders, on both sides: the replica keeps the user unchanged.
    let orphaned = "only".to_string();
    pair.master.create_user(&orphaned).unwrap();
    pair.master.login(&orphaned).unwrap().create("INBOX/folder1").unwrap();
    let mut client = pair.master.login(&users[0]).unwrap();
    client.set_metadata("INBOX", "/shared/comment", Some("a comment")).unwrap();
    drop(client);
    pair.sync_well(&["-A"]);

    let mut replica = PrivateServer::start(&pair.replica).unwrap();
    let mailboxes_db = pair.master.config_dir().join("mailboxes.db");
    let path = mailboxes_db.display().to_string();
    let whole = Kept::of(&mailboxes_db);
    let bytes = whole.bytes.clone().unwrap();
    let all = [users.clone(), vec![orphaned.clone()]].concat();
    let before: Vec<_> = all.iter().map(|user| replica_says(&mut replica, user)).collect();

    // An unknown user, and one whose INBOX is gone (its entry is removed from the list): that is a failure if users are
    // named, and with -A the user is ignored.
    let entry = format!("Nuser\u{1f}{orphaned}");
    let args = [path.as_str(), "twoskip", "delete", entry.as_str()];
    pair.master.tool("cyr_dbtool", &args).unwrap();
    let run = pair.sync(&["-v", "-u", "nobody", &orphaned]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stdout.contains("Does not exist locally nobody\n"), "{}", run.stdout);
    assert!(run.stdout.contains(&format!("Does not exist locally {orphaned}\n")), "{}", run.stdout);
    assert!(summary(&run).contains("2 without an INBOX"), "{}", run.stderr);
    for user in ["nobody", &orphaned] {
        let line = format!("sync_client: no such user: {user:?} has no INBOX on this server\n");
        assert!(run.stderr.contains(&line), "{}", run.stderr);
    }
    let run = pair.sync_well(&["-A"]);
    assert!(summary(&run).contains(" 4 already equal"), "{}", run.stderr);
    assert_no_bug(&run);
    whole.put_back();

    // The list of mailboxes. Bytes flipped anywhere are detected, or are in unused places.
    let mut cases: Vec<(String, Option<Vec<u8>>, bool)> = vec![
        ("missing".into(), None, true),
        ("empty".into(), Some(Vec::new()), true),
        ("10 bytes".into(), Some(bytes[..10].to_vec()), true),
        ("half".into(), Some(bytes[..bytes.len() / 2].to_vec()), true),
        ("no magic".into(), Some([&b"garbage!"[..], &bytes[8..]].concat()), true),
        ("zeros".into(), Some(vec![0; bytes.len()]), true),
    ];
    for nr in 0..6 {
        let mut flipped = bytes.clone();
        let at = (bytes.len() - 1) * nr / 6 + 70 * nr;
        flipped[at] ^= 0x21;
        cases.push((format!("flipped at {at} of {}", bytes.len()), Some(flipped), false));
    }
    for (what, content, must_fail) in &cases {
        match content {
            Some(content) => fs::write(&mailboxes_db, content).unwrap(),
            None => fs::remove_file(&mailboxes_db).unwrap(),
        }
        let run = pair.sync(&["-A"]);
        // Users asked for by name are retried for some seconds, so only two of the cases are tried.
        let named = matches!(what.as_str(), "empty" | "half")
            .then(|| pair.sync(&["-u", &users[0], &users[1]]));
        whole.put_back();
        for run in [Some(&run), named.as_ref()].into_iter().flatten() {
            assert_no_bug(run);
            if *must_fail || run.code != Some(0) {
                // A missing one is noticed before anything starts.
                let code = if what == "missing" { 78 } else { 1 };
                assert_eq!(run.code, Some(code), "{what}: {}{}", run.stdout, run.stderr);
                assert!(run.stderr.contains(&path), "{what}: {}", run.stderr);
            }
        }
        if run.code == Some(0) {
            assert!(
                summary(&run).starts_with("5 users: 5 already equal"),
                "{what}: {}",
                run.stderr
            );
        }
    }
    for (user, before) in all.iter().zip(&before) {
        assert_eq!(&replica_says(&mut replica, user), before, "{user}");
    }

    // Unreadable, which has the same effect as a missing store.
    fs::set_permissions(&mailboxes_db, Permissions::from_mode(0o0)).unwrap();
    let run = pair.sync(&["-A"]);
    whole.put_back();
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(
        run.stderr.contains(&path) && run.stderr.contains("ermission denied"),
        "{}",
        run.stderr
    );

    // The annotations of all mailboxes: a user with something to send fails, and the error names the file.
    append_to_all(&pair.master, &users, 3);
    let annotations = Kept::of(&pair.master.config_dir().join("annotations.db"));
    let annotations_bytes = annotations.bytes.clone().unwrap();
    fs::write(&annotations.path, &annotations_bytes[..annotations_bytes.len() / 2]).unwrap();
    let run = pair.sync(&["-A"]);
    annotations.put_back();
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert_no_bug(&run);
    let wanted = annotations.path.display().to_string();
    assert!(failure_of(&run, &users[0]).contains(&wanted), "{}", run.stderr);
    assert_eq!(replica_says(&mut replica, &users[0]), before[0]);
    pair.sync_well(&["-A"]);
    users.push(orphaned);
    pair.assert_equal(&users);
}
