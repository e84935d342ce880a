//! Benchmarks into a replica that throws messages away: what remains is the client's own cost.

use std::path::Path;

use anyhow::{Result, ensure};
use embedded_replica::{Keep, Options, Replica};
use testkit::store::{MasterStore, Plan, Sizes};
use testkit::{c_client, run_as_cyrus};

use crate::bench::results::{Client, Results, Sample};
use crate::bench::runs::JOBS;
use crate::bench::works::Load;
use crate::program::C_CLIENT;
use crate::say;

/// A workload into the sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SinkWork {
    /// Many small messages, deflated.
    Small,
    /// The same, in clear.
    SmallPlain,
    /// Messages of a megabyte, in clear.
    Large,
    /// A mailbox of a million messages.
    Million,
    /// One message of two gigabytes.
    Huge,
}

impl SinkWork {
    pub(crate) const ALL: [SinkWork; 5] =
        [SinkWork::Small, SinkWork::SmallPlain, SinkWork::Large, SinkWork::Million, SinkWork::Huge];

    pub(crate) fn name(self) -> &'static str {
        match self {
            SinkWork::Small => "sink-small",
            SinkWork::SmallPlain => "sink-small-plain",
            SinkWork::Large => "sink-large",
            SinkWork::Million => "sink-million",
            SinkWork::Huge => "sink-huge",
        }
    }

    pub(crate) fn words(self) -> &'static str {
        match self {
            SinkWork::Small => "`-A` (ours `-j 16`), 20,000 messages of 2 KB, deflated",
            SinkWork::SmallPlain => "`-A` (ours `-j 16`), 20,000 messages of 2 KB, in clear",
            SinkWork::Large => {
                "`-u`, 1,500 messages of 1 MB in one mailbox, one connection, in clear"
            }
            SinkWork::Million => "`-u`, a mailbox of 1,000,000 messages of 300 bytes, in clear",
            SinkWork::Huge => "`-u`, one message of 2 GB, in clear",
        }
    }

    pub(crate) fn messages(self) -> usize {
        let plan = self.plan();
        plan.users * plan.mailboxes * plan.messages
    }

    pub(crate) fn message_bytes(self) -> usize {
        match self.plan().sizes {
            Sizes::Fixed(bytes) | Sizes::Spread { median: bytes, .. } => bytes,
        }
    }

    fn plan(self) -> Plan {
        let one = |messages, bytes| Plan {
            seed: 5,
            users: 1,
            mailboxes: 1,
            messages,
            sizes: Sizes::Fixed(bytes),
            ..Plan::default()
        };
        match self {
            SinkWork::Small | SinkWork::SmallPlain => Load::Many.plan(),
            SinkWork::Large => one(1500, 1_000_000),
            SinkWork::Million => one(1_000_000, 300),
            SinkWork::Huge => one(1, 2_000_000_000),
        }
    }

    /// Long ones are measured once.
    fn rounds(self, rounds: usize) -> usize {
        if matches!(self, SinkWork::Million | SinkWork::Huge) { 1 } else { rounds }
    }
}

/// Measures all workloads into the sink.
pub(crate) fn measure(
    program: &Path,
    before: Option<&Path>,
    rounds: usize,
    results: &mut Results,
) -> Result<()> {
    let mut clients = Client::BOTH.to_vec();
    clients.extend(before.map(|_| Client::Before));
    for work in SinkWork::ALL {
        say(&format!("into the sink: {}", work.words()));
        let store = MasterStore::write(&work.plan())?;
        for nr in 0..work.rounds(rounds) {
            let round = results.next_round();
            let mut line = format!("{}, round {}:", work.name(), nr + 1);
            for client in Client::order(nr, &clients) {
                let file = before.filter(|_| client == Client::Before).unwrap_or(program);
                let sample = run(work, client, &store, file)?;
                line += &format!(" {client} {:.3} s, CPU {:.3} s", sample.wall, sample.cpu);
                results.add_to_round(round, work.name(), 0, client, sample)?;
            }
            say(&line);
        }
    }
    Ok(())
}

fn run(work: SinkWork, client: Client, store: &MasterStore, program: &Path) -> Result<Sample> {
    let options = Options {
        keep: Keep::Count,
        compress: work == SinkWork::Small,
        conversations: false,
        ..Options::default()
    };
    let replica = Replica::new(options)?;
    let server = replica.serve("127.0.0.1:0")?;
    let conf = store.conf_for(client.name(), server.address().port())?;
    let mut command = match client == Client::C {
        true => run_as_cyrus(C_CLIENT)?,
        false => std::process::Command::new(program),
    };
    command.arg("-C").arg(conf);
    let user = &store.model().users[0].userid;
    match (work, client) {
        (SinkWork::Small | SinkWork::SmallPlain, Client::C) => command.arg("-A"),
        (SinkWork::Small | SinkWork::SmallPlain, _) => command.args(["-A", "-j", JOBS]),
        _ => command.args(["-u", user]),
    };
    let outcome = c_client::measure(command)?.must_succeed()?;
    let came = replica.stats().messages;
    ensure!(came == work.messages() as u64, "{client} sent {came} messages of {}", work.messages());
    Ok(Sample::of(&outcome))
}
