//! `cargo xtask bench --backlog`: a log of a million lines, merged alone and carried out by the whole program.
//!
//! The C client carries it out too, in five minutes: it keeps what it has read in lists, which it searches for each further
//! line (`imap/sync_support.c`, sync_action_list_add, of cyrus-imapd 3.6.1).

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use cyrus_store::sync_log::{Line, Lines};
use cyrus_types::NameRules;
use embedded_replica::{Keep, Options, Replica};
use sync_plan::backlog::Backlog;
use testkit::store::{MasterStore, Plan};
use testkit::{c_client, run_as_cyrus};

use crate::bench::log;
use crate::bench::results::{Client, Results, Sample};
use crate::bench::runs::JOBS;
use crate::bench::samples::MIB;
use crate::program::C_CLIENT;
use crate::say;

/// 2,000 users; two of each user's mailboxes exist.
const PLAN: Plan = Plan {
    seed: 6,
    users: 2000,
    mailboxes: 2,
    messages: 3,
    sizes: testkit::store::Sizes::Fixed(2048),
    bodies: testkit::store::Bodies::Distinct,
};

/// Merges several times, and makes each client carry the log out once.
pub(crate) fn measure(
    program: &Path,
    lines: usize,
    times: usize,
    results: &mut Results,
) -> Result<()> {
    say(&format!("writing a store of {} users and a log of {lines} lines", PLAN.users));
    let store = MasterStore::write(&PLAN)?;
    let conf = store.imapd_conf();
    let log = conf.with_file_name("backlog");
    log::write(&log, lines, PLAN.users)
        .with_context(|| format!("failed to write {}", log.display()))?;
    // The C client opens it for writing, to lock it.
    let cyrus = testkit::process::cyrus_user()?;
    std::os::unix::fs::chown(&log, Some(cyrus.uid.as_raw()), Some(cyrus.gid.as_raw()))
        .with_context(|| format!("failed to change the owner of {}", log.display()))?;

    // Compiled as the program is.
    let merger = std::env::current_exe().context("failed to find this program")?;
    for nr in 0..times {
        let mut command = Command::new(&merger);
        command.arg("merge").arg(&log);
        let outcome = c_client::measure(command)?.must_succeed()?;
        let sample = Sample::of(&outcome);
        say(&format!(
            "merge, run {} of {times}: {:.3} s, {:.0} MiB; {}",
            nr + 1,
            sample.wall,
            sample.rss / MIB,
            outcome.stdout.trim()
        ));
        results.add("merge", 0, Client::Ours, sample)?;
    }

    for client in [Client::Ours, Client::C] {
        let sample = work_off(client, program, &store, &log)?;
        results.add("backlog", 0, client, sample)?;
    }
    Ok(())
}

/// Makes a client carry out the log, into an empty sink.
fn work_off(client: Client, program: &Path, store: &MasterStore, log: &Path) -> Result<Sample> {
    let options = Options { keep: Keep::Count, conversations: false, ..Options::default() };
    let replica = Replica::new(options)?;
    let server = replica.serve("127.0.0.1:0")?;
    let conf = store.conf_for(client.name(), server.address().port())?;
    let mut command = match client == Client::C {
        true => run_as_cyrus(C_CLIENT)?,
        false => Command::new(program),
    };
    command.arg("-C").arg(conf).args(["-R", "-f"]).arg(log);
    if client == Client::Ours {
        command.args(["-j", JOBS]);
    }
    let outcome = c_client::measure(command)?.must_succeed()?;
    let sample = Sample::of(&outcome);
    let stats = replica.stats();
    say(&format!(
        "worked off by {client}: {:.2} s, CPU {:.2} s, {:.0} MiB; {}\nthe sink was asked: {:?}",
        sample.wall,
        sample.cpu,
        sample.rss / MIB,
        outcome.stderr.trim(),
        stats.commands
    ));
    let wanted = (PLAN.users * PLAN.mailboxes * PLAN.messages) as u64;
    ensure!(stats.messages == wanted, "{} messages came of {wanted}", stats.messages);
    Ok(sample)
}

/// `xtask-tasks merge FILE`: reads and merges a log, and reports the result.
pub(crate) fn merge(args: &[String]) -> Result<u8> {
    let [path] = args else { bail!("merge takes a log") };
    let file = File::open(path).with_context(|| format!("failed to open {path}"))?;
    let mut backlog = Backlog::new(NameRules::default());
    let mut entries = 0;
    for line in Lines::new(BufReader::with_capacity(256 * 1024, file)) {
        match line.with_context(|| format!("failed to read {path}"))? {
            Line::Entry(entry) => backlog.add(&entry, Instant::now()),
            Line::Unread { why, .. } => bail!("a line is no entry: {why}"),
        }
        entries += 1;
    }
    // The result is used, so that no compiler leaves the merge out.
    let (mut works, mut users, mut mailboxes) = (0, 0, 0);
    while let Some(work) = backlog.take_next() {
        works += 1;
        users += work.users.len();
        mailboxes += work.users.iter().map(|(_, tasks)| tasks.mailboxes.len()).sum::<usize>();
    }
    say(&format!("{entries} entries: {works} works of {users} users, {mailboxes} mailboxes"));
    Ok(0)
}
