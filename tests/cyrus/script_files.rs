//! Sieve scripts that are still files: upgraded from before 3.6, or made by `autocreate_sieve_script`.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};

use testkit::oracle::PrivateServer;
use testkit::{Cyrus, Via, c_client};

use crate::common::Pair;
use crate::errors::{failure_of, path_of};

/// Where a server keeps a user's scripts as files.
fn folder(server: &Cyrus, user: &str) -> PathBuf {
    let own = path_of(server, "-U", &format!("user/{user}"));
    let id = own.file_name().unwrap().to_str().unwrap();
    server.sieve_dir().join("uuid").join(&id[..1]).join(&id[1..2]).join(id)
}

/// Makes a script as 3.4 has it: text, bytecode, and the link to the one that is active.
fn make_script(folder: &Path, name: &str) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(format!("{name}.script")), "keep;\r\n").unwrap();
    fs::write(folder.join(format!("{name}.bc")), "bytecode").unwrap();
    symlink(format!("{name}.bc"), folder.join("defaultbc")).unwrap();
    let user = nix::unistd::User::from_name("cyrus").unwrap().unwrap();
    for path in ["", &format!("{name}.script"), &format!("{name}.bc")] {
        let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
        chown(folder.join(path), Some(uid), Some(gid)).unwrap();
    }
    let mut above = folder.parent();
    for _ in 0..3 {
        let path = above.unwrap();
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        above = path.parent();
    }
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .map(|entries| entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect())
        .unwrap_or_default();
    names.sort();
    names
}

/// Whether a server knows anna's script by its #sieve mailbox.
fn has_script(server: &Cyrus) -> bool {
    let mut server = PrivateServer::start_plain(server).unwrap();
    let lines = server.get_named("META", "anna").unwrap();
    lines.iter().any(|line| String::from_utf8_lossy(line).contains("FILENAME mine.script"))
}

/// A pair on which anna was replicated and then has a script as a file on both sides; bert has none.
fn pair() -> Pair {
    let pair = Pair::with(Cyrus::master().sieve(true).sync_log(&[]), Cyrus::replica(), Via::Csync);
    for user in ["anna", "bert"] {
        pair.master.create_user(user).unwrap();
    }
    pair.sync_well(&["-A"]);
    for server in [&pair.master, &pair.replica] {
        make_script(&folder(server, "anna"), "mine");
    }
    // A link to a missing file is not a script.
    let bert = folder(&pair.master, "bert");
    fs::create_dir_all(&bert).unwrap();
    symlink("gone.bc", bert.join("defaultbc")).unwrap();
    pair
}

/// Such a user fails before the replica is asked about the user, in every mode: the replica's own files stay. The advice in
/// the error works.
#[test]
fn a_user_with_script_files_fails_before_the_replica_is_asked() {
    let pair = pair();
    let both = [files(&folder(&pair.master, "anna")), files(&folder(&pair.replica, "anna"))];
    assert_eq!(both[0], ["defaultbc", "mine.bc", "mine.script"]);
    assert_eq!(both[0], both[1]);
    let log = pair.master.dir().join("some.log");
    fs::write(&log, "META anna\nUSER anna\nUSER bert\n").unwrap();
    for args in
        [&["-A"][..], &["-u", "anna", "bert"], &["-O", "-A"], &["-R", "-f", log.to_str().unwrap()]]
    {
        let run = pair.sync(args);
        assert_eq!(run.code, Some(1), "{args:?}: {}", run.stderr);
        let words = failure_of(&run, "anna");
        assert!(words.contains("the Sieve scripts are files in "), "{words}");
        assert!(words.contains("timsieved") && words.contains("as an admin for anna"), "{words}");
        assert!(!run.stderr.contains("failed: bert"), "{}", run.stderr);
        let now = [files(&folder(&pair.master, "anna")), files(&folder(&pair.replica, "anna"))];
        assert_eq!(now, both, "{args:?}");
    }
    drop(pair.master.access().sieve("anna").unwrap());
    let run = pair.sync_well(&["-A"]);
    assert!(!run.stderr.contains("failed"), "{}", run.stderr);
    assert!(has_script(&pair.replica), "the replica has it now, in its #sieve mailbox");
    pair.assert_equal(&["anna".into(), "bert".into()]);
}

/// Cyrus' own client moves the scripts on the master and then replicates the mailbox: both ways have the same result.
#[test]
fn cyrus_own_client_moves_them_first() {
    let pair = pair();
    c_client::run(&pair.master, &["-u", "anna"]).unwrap().must_succeed().unwrap();
    assert!(has_script(&pair.replica), "the replica has it now, in its #sieve mailbox");
    pair.sync_well(&["-u", "anna", "bert"]);
    pair.assert_equal(&["anna".into(), "bert".into()]);
}
