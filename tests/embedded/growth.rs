//! The cost of a user in a store of many users: no more than in one of few, and no more memory than allowed.
//!
//! `GROWTH_USERS=200000 cargo test --release --test embedded growth:: -- --nocapture` replicates all users of a store of
//! that size instead of some of them; it needs about 6 GB in /dev/shm and ten minutes.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use embedded_replica::{Keep, Options, Replica};
use testkit::Folder;
use testkit::c_client::{self, Outcome};
use testkit::store::{MasterStore, Plan, Sizes};

/// Users that are replicated.
const USERS: usize = 2_000;
/// Enough for a list of mailboxes that is not kept in memory.
const MANY: usize = 40_000;
/// The most memory, in bytes.
const MOST: u64 = 64 << 20;

fn run(conf: &Path, list: Option<&Path>) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sync_client"));
    // With a report: it must not keep all users in memory.
    let folder = Folder::make(&std::env::temp_dir(), "growth").unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let report = folder.path().join("report.json");
    command.arg("-C").arg(conf).args(["-j", "4", "--report"]).arg(&report);
    match list {
        Some(list) => command.args(["-u", "-f"]).arg(list),
        None => command.arg("-A"),
    };
    let run = c_client::measure(command).unwrap().must_succeed().unwrap();
    assert!(report.exists());
    run
}

#[expect(clippy::print_stderr, reason = "whoever measures growth wants to see what was measured")]
fn tell(text: &str) {
    eprintln!("{text}");
}

/// CPU time per user of a run with nothing to do in a store of this many users; the least of several.
fn idle(users: usize, all: bool) -> Duration {
    let plan =
        Plan { users, mailboxes: 1, messages: 1, sizes: Sizes::Fixed(300), ..Plan::default() };
    let store = MasterStore::write(&plan).unwrap();
    let options =
        Options { keep: Keep::Count, compress: false, conversations: false, ..Options::default() };
    let replica = Replica::new(options).unwrap();
    let server = replica.serve("127.0.0.1:0").unwrap();
    let conf = store.conf_for("growth", server.address().port()).unwrap();
    let list = conf.with_file_name("list");
    let mut names = String::new();
    // From everywhere in the store.
    let step = (store.model().users.len() / USERS).max(1);
    for user in store.model().users.iter().step_by(step).take(USERS) {
        writeln!(names, "{}", user.userid).unwrap();
    }
    fs::write(&list, names).unwrap();
    let list = (!all).then_some(list.as_path());
    let taken = if all { users } else { USERS };
    let first = run(&conf, list);
    assert!(first.peak_rss_bytes < MOST, "{} bytes for {users} new users", first.peak_rss_bytes);
    let mut least = Duration::MAX;
    // The long run shows enough by itself.
    let rounds = if all { 1 } else { 3 };
    for _ in 0..rounds {
        let run = run(&conf, list);
        assert!(run.stderr.contains(&format!("{taken} already equal")), "{}", run.stderr);
        assert!(run.peak_rss_bytes < MOST, "{} bytes for {users} users", run.peak_rss_bytes);
        tell(&format!(
            "{users} users, {taken} of them taken: {:?}, CPU {:?}, {} kB; new: {:?}, {} kB",
            run.wall,
            run.cpu(),
            run.peak_rss_bytes / 1024,
            first.wall,
            first.peak_rss_bytes / 1024
        ));
        least = least.min(run.cpu());
    }
    least / taken as u32
}

#[test]
fn a_user_costs_the_same_among_many() {
    let many = std::env::var("GROWTH_USERS").ok().map(|users| users.parse().unwrap());
    let few = idle(USERS, many.is_some());
    let large = idle(many.unwrap_or(MANY), many.is_some());
    assert!(large < few * 3 / 2, "{few:?} a user among few, {large:?} among many");
}
