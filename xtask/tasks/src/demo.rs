//! `cargo xtask demo`: the program's main job on any Linux, without Cyrus: it writes a master's store, replicates it into
//! an embedded replica, changes it, replicates again, and compares the replica with what was written.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use embedded_replica::{Options, Replica};
use testkit::c_client::{self, Outcome};
use testkit::oracle::PrivateServer;
use testkit::store::{MasterStore, Plan, Sizes};

use crate::demo_steps::{Step, figures, quote, verdict};
use crate::{demo_cyrus, program, say};

const PLAN: Plan = Plan {
    seed: 1,
    users: 200,
    mailboxes: 4,
    messages: 25,
    sizes: Sizes::Spread { median: 2048, most: 400_000 },
    bodies: testkit::store::Bodies::Distinct,
};
/// Changes made between the runs.
const CHANGES: usize = 120;
/// How often progress is printed.
const TICK: Duration = Duration::from_millis(200);

/// Runs the demo; returns 0 if both sides are equal at its end.
pub(crate) fn run(args: &[String]) -> Result<u8> {
    match args {
        [] => embedded(),
        [arg] if arg == "--cyrus" => demo_cyrus::run(),
        [arg, ..] => bail!("demo takes --cyrus or nothing, but not {arg:?}"),
    }
}

fn embedded() -> Result<u8> {
    let program = program::build()?;
    let step = Step::start(&format!("writing a master's store of {} users", PLAN.users));
    let mut store = MasterStore::write(&PLAN)?;
    let sizes = store.model().users.iter().flat_map(|u| &u.mailboxes).flat_map(|m| &m.messages);
    let (count, bytes) = sizes.fold((0, 0), |(n, sum), m| (n + 1, sum + u64::from(m.size)));
    let mailboxes = PLAN.users * PLAN.mailboxes;
    step.done(&format!("{mailboxes} mailboxes, {count} messages, {:.1} MB", bytes as f64 / 1e6));

    let step = Step::start("starting the embedded replica");
    let replica = Replica::new(Options { conversations: false, ..Options::default() })?;
    let server = replica.serve("127.0.0.1:0")?;
    let port = server.address().port();
    let conf = store.conf_for("embedded", port)?;
    step.done(&format!("csync on port {port}"));

    let run = |args: &[&str]| shown(&program, &conf, args, &replica);
    let first = run(&["-A", "-j", "16"])?;
    let again = run(&["-A", "-j", "16"])?;

    let step = Step::start("changing the master's store");
    let done = store.change(2, CHANGES)?;
    step.done(&format!(
        "{} messages appended, {} flagged, {} expunged; {} mailboxes made, {} deleted",
        done.appended, done.flagged, done.expunged, done.created, done.deleted
    ));
    let changed = run(&["-A", "-j", "16", "-v"])?;

    let mut said = PrivateServer::over_tcp(port)?;
    let step = Step::start("comparing every record of the replica with what was written");
    let report = store.model().differences(&mut said)?;
    step.done(&verdict(&report));
    let step = Step::start("comparing the bytes of every message");
    let bytes = store.model().differing_bytes(&mut said)?;
    step.done(&verdict(&bytes));
    for text in [&report, &bytes].into_iter().filter(|report| !report.is_empty()) {
        say(&text.to_string());
    }
    let well = [first, again, changed].iter().all(|run| run.code == Some(0));
    say("");
    if well && report.is_empty() && bytes.is_empty() {
        say(
            "Both sides are equal. The store is gone again. `cargo xtask demo --cyrus` shows the same between real servers.",
        );
        return Ok(0);
    }
    say("Something went wrong: see above.");
    Ok(1)
}

/// Runs the program, printing what has arrived while it runs.
fn shown(program: &Path, conf: &Path, args: &[&str], replica: &Replica) -> Result<Outcome> {
    let step = Step::start(&format!("sync_client {}", args.join(" ")));
    let mut command = Command::new(program);
    command.arg("-C").arg(conf).args(args);
    let ended = AtomicBool::new(false);
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| tell_progress(replica, &ended));
        let outcome = c_client::measure(command);
        ended.store(true, Ordering::Relaxed);
        outcome
    })?;
    step.done(&figures(&outcome));
    quote(&outcome);
    Ok(outcome)
}

/// Prints a line now and then about what the replica has received.
fn tell_progress(replica: &Replica, ended: &AtomicBool) {
    let before = replica.stats();
    let applied = |stats: &embedded_replica::Stats| {
        stats.commands.get("APPLY MAILBOX").copied().unwrap_or_default()
    };
    let (mut told, mut slept) = (0, Instant::now());
    while !ended.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(5));
        if slept.elapsed() < TICK {
            continue;
        }
        slept = Instant::now();
        let now = replica.stats();
        let messages = now.messages - before.messages;
        if messages > told {
            told = messages;
            let megabytes = (now.bytes - before.bytes) as f64 / 1e6;
            let mailboxes = applied(&now) - applied(&before);
            say(&format!(
                "           … {mailboxes} mailboxes, {messages} messages, {megabytes:.1} MB"
            ));
        }
    }
}
