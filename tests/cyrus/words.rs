//! The program's messages as a person sees them, kept as snapshots in `snapshots/`: summaries, missing rights.
//!
//! Times, rates, ports and folders differ from run to run and are replaced by `[time]` and the like.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use testkit::c_client;
use testkit::{fill, process};

use crate::common::Pair;

/// The parts that differ between runs.
fn filters(pair: &Pair) -> insta::internals::SettingsBindDropGuard {
    let mut settings = insta::Settings::clone_current();
    for (server, name) in [(&pair.master, "[master]"), (&pair.replica, "[replica]")] {
        settings.add_filter(&server.dir().display().to_string(), name);
    }
    settings.add_filter(r"/uuid/./.?/[0-9a-z]+/", "/[uuid]/");
    settings.add_filter(r"127\.0\.0\.1:\d+", "127.0.0.1:[port]");
    settings.add_filter(r"in (\d+(h|m|s|ms) ?)+\b", "in [time]");
    settings.add_filter(r"\d+\.\d MB/s", "[rate]");
    settings.add_filter(r"\d+(\.\d)? (bytes|kB)", "[bytes]");
    settings.add_filter(
        r"checksum is [0-9a-f]+ but should be [0-9a-f]+",
        "checksum is [crc] but should be [crc]",
    );
    settings.set_prepend_module_to_snapshot(false);
    settings.bind_to_scope()
}

/// An ordinary user that may read neither configuration nor store is told which user to be.
#[test]
fn without_rights() {
    let pair = Pair::start();
    pair.master.create_user("anna").unwrap();
    // The program must be where every user can reach it.
    let program = pair.master.dir().join("sync_client");
    fs::copy(env!("CARGO_BIN_EXE_sync_client"), &program).unwrap();
    let nobody = |conf: &str| {
        let mut command = Command::new(&program);
        command.args(["-C", conf, "-A"]).uid(65_534).gid(65_534).current_dir("/");
        c_client::measure(command).unwrap()
    };
    let _filters = filters(&pair);
    fs::set_permissions(pair.master.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    let conf = pair.master.imapd_conf();
    fs::set_permissions(pair.master.config_dir(), fs::Permissions::from_mode(0o700)).unwrap();
    let run = nobody(conf.to_str().unwrap());
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    insta::assert_snapshot!("store_without_rights", run.stderr);
    fs::set_permissions(&conf, fs::Permissions::from_mode(0o600)).unwrap();
    let run = nobody(conf.to_str().unwrap());
    assert_eq!(run.code, Some(78), "{}", run.stderr);
    insta::assert_snapshot!("configuration_without_rights", run.stderr);
    assert!(process::cyrus_user().is_ok());
}

/// Runs of every kind: all well, nothing to do, some failed, one locked, one unknown.
#[test]
fn summaries() {
    let pair = Pair::start();
    let users = fill::uniform(&pair.master, 4, 2, 3, 500).unwrap();
    let _filters = filters(&pair);
    insta::assert_snapshot!("summary_of_a_first_run", pair.sync(&["-A"]).stderr);
    insta::assert_snapshot!("summary_of_nothing_to_do", pair.sync(&["-u", &users[0]]).stderr);

    let inbox = crate::errors::path_of(&pair.master, "-D", &format!("user/{}", users[0]));
    let index = inbox.join("cyrus.index");
    let mut bytes = fs::read(&index).unwrap();
    let at = bytes.len() - 40;
    bytes[at] ^= 0x40;
    fs::write(&index, bytes).unwrap();
    fs::write(pair.master.config_dir().join(format!("sync/skipuser-{}", users[1])), "").unwrap();
    let lock = crate::locks::try_lock(&pair.master, &users[2]).unwrap();
    let mut args = vec!["-j", "1", "-N", "-u"];
    args.extend(users.iter().map(String::as_str));
    args.push("nosuch");
    let run = pair.sync(&args);
    drop(lock);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    // They end in no order of their own.
    let mut lines: Vec<&str> = run.stderr.lines().collect();
    lines[1..].sort_unstable();
    insta::assert_snapshot!("summary_of_every_outcome", lines.join("\n"));
}
