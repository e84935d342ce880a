//! The runs between real servers: a master's store without a server, and a replica for each client.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::c_client::{self, Outcome};
use testkit::relay::Relay;
use testkit::store::MasterStore;
use testkit::{Cyrus, oracle, run_as_cyrus};

use crate::bench::results::{Client, Results, Sample, output};
use crate::bench::works::{Load, Medium, Work};
use crate::bench::xargs;
use crate::program::C_CLIENT;
use crate::say;

/// Jobs of ours in `-A`.
pub(crate) const JOBS: &str = "16";

/// A client's replica and the way to it.
struct Replica {
    client: Client,
    cyrus: Cyrus,
    relay: Relay,
    /// The store that it was last made equal to.
    holds: Option<Load>,
}

/// The masters' stores that were needed so far, and a replica for each client.
pub(crate) struct Bench {
    medium: Medium,
    stores: Vec<(Load, MasterStore)>,
    replicas: Vec<Replica>,
    program: PathBuf,
    before: Option<PathBuf>,
}

impl Bench {
    /// Starts a replica for each client; the older build is one if there is such a file.
    pub(crate) fn new(program: &Path, before: Option<&Path>, medium: Medium) -> Result<Bench> {
        testkit::ensure_cyrus()?;
        let mut clients = vec![Client::C];
        if xargs::is_there() {
            clients.push(Client::Xargs);
        } else {
            say("xargs of GNU findutils is missing (apt-get install findutils): it is left out");
        }
        clients.extend(before.map(|_| Client::Before));
        clients.push(Client::Ours);
        say(&format!("starting {} replicas, their stores {}", clients.len(), medium.place()));
        let mut replicas = Vec::new();
        for client in clients {
            let on_disk = medium == Medium::Disk;
            let cyrus = Cyrus::replica().option("conversations", "no").on_disk(on_disk).start()?;
            must_be(medium, cyrus.dir())?;
            let relay = Relay::start(cyrus.csync_port()?)?;
            replicas.push(Replica { client, cyrus, relay, holds: None });
        }
        let dir = replicas.last().context("failed to find a replica")?.cyrus.dir();
        // Copies, so that a build meanwhile does not change what is measured.
        let copy = |program: &Path, name: &str| -> Result<PathBuf> {
            let copy = dir.join(name);
            std::fs::copy(program, &copy)
                .with_context(|| format!("failed to copy {}", program.display()))?;
            Ok(copy)
        };
        let before = before.map(|program| copy(program, "sync_client.before")).transpose()?;
        let program = copy(program, "sync_client")?;
        Ok(Bench { medium, stores: Vec::new(), replicas, program, before })
    }

    /// Rounds of runs of one workload over one round trip (milliseconds); each client runs once per round.
    pub(crate) fn measure(
        &mut self,
        work: Work,
        rtt: u64,
        rounds: usize,
        results: &mut Results,
    ) -> Result<()> {
        self.write_store(work.load())?;
        let clients: Vec<Client> = self.replicas.iter().map(|replica| replica.client).collect();
        let takes_part = |client: &Client| work.has_many_users() || *client != Client::Xargs;
        let clients: Vec<Client> = clients.into_iter().filter(takes_part).collect();
        if !work.begins_empty() {
            self.bring_in_step(work, &clients)?;
        }
        let kind = work.kind(self.medium);
        for nr in 0..rounds {
            if work == Work::Changed {
                let store = self.stores.iter_mut().find(|(load, _)| *load == work.load());
                let (_, store) = store.context("failed to find the master's store")?;
                for user in 0..10 {
                    store.append(user * 20 + nr % 20, nr % 4, 1)?;
                }
            }
            let round = results.next_round();
            let mut line = format!("{kind} at {rtt} ms, round {} of {rounds}:", nr + 1);
            for client in Client::order(nr, &clients) {
                let sample = self.sample(client, work, rtt)?;
                line += &format!(" {client} {:.3} s", sample.wall);
                results.add_to_round(round, &kind, rtt, client, sample)?;
            }
            say(&line);
        }
        Ok(())
    }

    /// Makes replicas equal to the master's store.
    fn bring_in_step(&mut self, work: Work, clients: &[Client]) -> Result<()> {
        for client in clients {
            let replica = self.replica_mut(*client)?;
            if replica.holds != Some(work.load()) {
                replica.cyrus.wipe()?;
                self.run(*client, work, 0)?.must_succeed()?;
                self.replica_mut(*client)?.holds = Some(work.load());
            }
        }
        Ok(())
    }

    fn sample(&mut self, client: Client, work: Work, rtt: u64) -> Result<Sample> {
        let replica = self.replica_mut(client)?;
        if work.begins_empty() {
            replica.holds = None;
            replica.cyrus.wipe()?;
        }
        // The run must not wait for what was just started or written.
        if self.medium == Medium::Disk {
            output(Command::new("sync").arg("-f").arg(self.replica(client)?.cyrus.dir()));
        }
        std::thread::sleep(Duration::from_millis(300));
        let outcome = self.run(client, work, rtt)?.must_succeed()?;
        let model = self.store(work.load())?.model();
        let here: usize =
            model.users.iter().flat_map(|u| &u.mailboxes).map(|m| m.messages.len()).sum();
        let there = messages(&self.replica(client)?.cyrus.spool());
        ensure!(here == there, "{} left {there} of {here} messages there", outcome.program);
        self.replica_mut(client)?.holds = Some(work.load());
        Ok(Sample::of(&outcome))
    }

    fn run(&self, client: Client, work: Work, rtt: u64) -> Result<Outcome> {
        let replica = self.replica(client)?;
        let port = match rtt {
            0 => replica.cyrus.csync_port()?,
            rtt => {
                replica.relay.set_delay(Duration::from_micros(rtt * 500));
                replica.relay.port()
            }
        };
        let store = self.store(work.load())?;
        let conf = store.conf_for(client.name(), port)?;
        let users = &store.model().users;
        let mut command = match client {
            Client::Xargs => {
                let list = conf.with_file_name("users");
                let lines: String = users.iter().map(|user| format!("{}\n", user.userid)).collect();
                std::fs::write(&list, lines)
                    .with_context(|| format!("failed to write {}", list.display()))?;
                return xargs::measure(xargs::command(&conf, &list)?);
            }
            Client::C => run_as_cyrus(C_CLIENT)?,
            Client::Before => Command::new(self.before.as_ref().context("no build of before")?),
            Client::Ours => Command::new(&self.program),
        };
        command.arg("-C").arg(conf);
        match (work, client) {
            (Work::Wide, _) => command.arg("-u").args(users.iter().map(|user| &user.userid)),
            (_, Client::C) => command.arg("-A"),
            _ => command.args(["-A", "-j", JOBS]),
        };
        Ok(c_client::measure(command)?)
    }

    /// All clients must leave the same result on their replicas: a client that leaves things out is not fast.
    pub(crate) fn check_equal(&self, work: Work) -> Result<()> {
        let users = &self.store(work.load())?.model().users;
        let users: Vec<&str> = users.iter().map(|user| user.userid.as_str()).collect();
        let theirs = self.replica(Client::C)?;
        for replica in &self.replicas {
            let client = replica.client;
            if client == Client::C || replica.holds != Some(work.load()) {
                continue;
            }
            let report = oracle::compare(&theirs.cyrus, &replica.cyrus, &users)?;
            ensure!(
                report.is_empty(),
                "the replicas of C and {client} differ after {work}:\n{report}"
            );
        }
        Ok(())
    }

    /// Writes a master's store if it is not there yet.
    fn write_store(&mut self, load: Load) -> Result<()> {
        if self.stores.iter().any(|(known, _)| *known == load) {
            return Ok(());
        }
        say(&format!("writing a master's store {}: {}", self.medium.place(), load.name()));
        let store = match self.medium {
            Medium::Memory => MasterStore::write(&load.plan())?,
            // In the folder of ours, with which it is removed.
            Medium::Disk => {
                let dir = self.replica(Client::Ours)?.cyrus.dir().join(load.name());
                std::fs::create_dir(&dir)
                    .with_context(|| format!("failed to make {}", dir.display()))?;
                MasterStore::write_in(&load.plan(), &dir)?
            }
        };
        must_be(self.medium, &store.imapd_conf())?;
        self.stores.push((load, store));
        Ok(())
    }

    fn store(&self, load: Load) -> Result<&MasterStore> {
        let store = self.stores.iter().find(|(known, _)| *known == load);
        Ok(&store.context("failed to find the master's store")?.1)
    }

    fn replica(&self, client: Client) -> Result<&Replica> {
        let replica = self.replicas.iter().find(|replica| replica.client == client);
        replica.with_context(|| format!("there is no replica for {client}"))
    }

    fn replica_mut(&mut self, client: Client) -> Result<&mut Replica> {
        let replica = self.replicas.iter_mut().find(|replica| replica.client == client);
        replica.with_context(|| format!("there is no replica for {client}"))
    }
}

/// Fails if a store is not in the medium that the results will name.
fn must_be(medium: Medium, path: &Path) -> Result<()> {
    let found = output(Command::new("stat").args(["-f", "-c", "%T"]).arg(path));
    ensure!(
        (found == "tmpfs") == (medium == Medium::Memory),
        "{} should be {}, but is on {found}: memory wants 2 GB free in /dev/shm, and --disk a /tmp on disk",
        path.display(),
        medium.place()
    );
    Ok(())
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
