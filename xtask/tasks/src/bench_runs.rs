//! The runs of a benchmark between real servers: masters prepared once, replicas wiped or kept in step.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::c_client::{self, Outcome};
use testkit::relay::Relay;
use testkit::store::{MasterStore, Plan};
use testkit::{Cyrus, oracle, run_as_cyrus};

use crate::bench_report::Work;
use crate::bench_results::{Client, Results, Sample};
use crate::say;

/// Jobs of ours in `-A`.
pub(crate) const JOBS: &str = "16";
pub(crate) const C_CLIENT: &str = "/usr/lib/cyrus/bin/sync_client";

/// A replica and the way to it.
struct Replica {
    cyrus: Cyrus,
    relay: Relay,
}

/// Two masters' stores, and a replica for each client.
pub(crate) struct Bench {
    many: MasterStore,
    wide: MasterStore,
    ours: Replica,
    theirs: Replica,
    program: PathBuf,
    /// Which store and work both replicas are in step with.
    in_step: bool,
}

/// 200 users of 4 mailboxes of 25 messages of 2 KB.
pub(crate) fn many_users() -> Plan {
    Plan { seed: 3, users: 200, mailboxes: 4, messages: 25, ..Plan::default() }
}

/// One user of 400 mailboxes of 10 messages of 2 KB.
fn wide_user() -> Plan {
    Plan { seed: 4, users: 1, mailboxes: 400, messages: 10, ..Plan::default() }
}

impl Bench {
    pub(crate) fn new(program: &Path, on_disk: bool) -> Result<Bench> {
        testkit::ensure_cyrus()?;
        say("writing the masters' stores, starting two replicas");
        let many = MasterStore::write(&many_users())?;
        let wide = MasterStore::write(&wide_user())?;
        let replica = || -> Result<Replica> {
            let cyrus = Cyrus::replica().option("conversations", "no").on_disk(on_disk).start()?;
            let relay = Relay::start(cyrus.csync_port()?)?;
            Ok(Replica { cyrus, relay })
        };
        let (ours, theirs) = (replica()?, replica()?);
        // A copy, so that a build meanwhile does not change what is measured.
        let copy = ours.cyrus.dir().join("sync_client");
        std::fs::copy(program, &copy)
            .with_context(|| format!("failed to copy {}", program.display()))?;
        Ok(Bench { many, wide, ours, theirs, program: copy, in_step: false })
    }

    /// Pairs of runs of one work over one round trip (milliseconds).
    pub(crate) fn measure(
        &mut self,
        work: Work,
        rtt: u64,
        pairs: usize,
        results: &mut Results,
    ) -> Result<()> {
        if matches!(work, Work::Idle | Work::Changed) && !self.in_step {
            for client in [Client::C, Client::Ours] {
                self.replica(client).cyrus.wipe()?;
                self.run(client, Work::All, 0)?.must_succeed()?;
            }
            self.in_step = true;
        }
        for nr in 0..pairs {
            if work == Work::Changed {
                for user in 0..10 {
                    self.many.append(user * 20 + nr % 20, nr % 4, 1)?;
                }
            }
            let mut line = format!("{work} at {rtt} ms, pair {} of {pairs}:", nr + 1);
            for client in Client::order(nr) {
                let sample = self.sample(client, work, rtt)?;
                line += &format!(" {client} {:.3} s", sample.wall);
                results.add(work.name(), rtt, client, sample)?;
            }
            say(&line);
        }
        Ok(())
    }

    fn sample(&mut self, client: Client, work: Work, rtt: u64) -> Result<Sample> {
        if matches!(work, Work::All | Work::Wide) {
            self.in_step = false;
            self.replica(client).cyrus.wipe()?;
        }
        // What was just started or written is not this run's to wait for.
        std::thread::sleep(Duration::from_millis(300));
        let outcome = self.run(client, work, rtt)?.must_succeed()?;
        let model = if work == Work::Wide { self.wide.model() } else { self.many.model() };
        let here: usize =
            model.users.iter().flat_map(|u| &u.mailboxes).map(|m| m.messages.len()).sum();
        let there = messages(&self.replica(client).cyrus.spool());
        ensure!(here == there, "{} left {there} of {here} messages there", outcome.program);
        Ok(Sample::of(&outcome))
    }

    fn run(&mut self, client: Client, work: Work, rtt: u64) -> Result<Outcome> {
        let replica = self.replica(client);
        let port = match rtt {
            0 => replica.cyrus.csync_port()?,
            rtt => {
                replica.relay.set_delay(Duration::from_micros(rtt * 500));
                replica.relay.port()
            }
        };
        let store = if work == Work::Wide { &self.wide } else { &self.many };
        let conf = store.conf_for(client.name(), port)?;
        let mut command = match client {
            Client::C => run_as_cyrus(C_CLIENT)?,
            Client::Ours => std::process::Command::new(&self.program),
        };
        command.arg("-C").arg(conf);
        match (work, client) {
            (Work::Wide, _) => command.args(["-u", &self.wide.model().users[0].userid]),
            (_, Client::C) => command.arg("-A"),
            (_, Client::Ours) => command.args(["-A", "-j", JOBS]),
        };
        Ok(c_client::measure(command)?)
    }

    fn replica(&mut self, client: Client) -> &mut Replica {
        match client {
            Client::Ours => &mut self.ours,
            Client::C => &mut self.theirs,
        }
    }

    /// Both clients must have left the same on their replicas: a fast one that leaves things out is none.
    pub(crate) fn check_equal(&mut self, work: Work) -> Result<()> {
        let model = if work == Work::Wide { self.wide.model() } else { self.many.model() };
        let users: Vec<&str> = model.users.iter().map(|u| u.userid.as_str()).collect();
        let report = oracle::compare(&self.theirs.cyrus, &self.ours.cyrus, &users)?;
        ensure!(report.is_empty(), "the replicas differ after {work}:\n{report}");
        Ok(())
    }
}

/// Message files below a folder.
fn messages(folder: &Path) -> usize {
    let mut found = 0;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found += messages(&path);
        } else if path.to_string_lossy().ends_with('.') {
            found += 1;
        }
    }
    found
}
