//! Users that exist only in memory, replicated into an embedded replica: a master without a disk, and any number of changes
//! in a second.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use actors::source::{Source, Which};
use actors::user_read::Inbox;
use actors::{
    EarlyClaim, LogSource, RollReport, RollSettings, RollStatus, RunReport, Selection, Settings,
    StopRequest, Verbosity,
};
use cyrus_types::{ModSeq, Owner};
use embedded_replica::{Options, Replica, Server};
use sync_plan::Folder;
use synthetic_source::{Change, Plan, Sizes, Step, Synthetic};
use testkit::oracle::{Item, PrivateServer, Value};

use crate::running::{in_process, settings};

/// Annotations that records hold themselves begin so.
const VIRTUAL: &str = "/vendor/cmu/cyrus-imapd/";

struct World {
    source: Arc<Synthetic>,
    replica: Replica,
    server: Server,
}

/// A mailbox: its head, and its records by UID.
type Described = (String, BTreeMap<u64, String>);

impl World {
    fn new(plan: Plan) -> World {
        let options = Options { conversations: false, ..Options::default() };
        let replica = Replica::new(options).unwrap();
        let server = replica.serve("127.0.0.1:0").unwrap();
        World { source: Arc::new(Synthetic::new(plan)), replica, server }
    }

    fn settings(&self) -> Settings {
        let mut settings = settings(self.server.address().port());
        settings.run.jobs = 3;
        settings
    }

    fn run(&self, settings: Settings, when: &str) -> RunReport {
        let report =
            in_process(settings, self.source.clone(), Selection::AllUsers { prefix: None });
        assert!(report.named.is_empty() && report.stopped.is_none(), "{report:?}\n{when}");
        report
    }

    /// Works off these lines of a sync log, once.
    fn roll(&self, log: &str) -> RollReport {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), log).unwrap();
        let rolling = RollSettings {
            source: LogSource::File(file.path().to_path_buf()),
            claim: EarlyClaim::default(),
            once: true,
            delay: Duration::ZERO,
            restart_every: None,
            shutdown_file: None,
            longest_pause: Duration::from_secs(1),
        };
        let (settings, source) = (self.settings(), self.source.clone());
        actix_rt::System::new().block_on(async move {
            let (_keep, stop) = tokio::sync::watch::channel(StopRequest::Go);
            let status = RollStatus::default();
            actors::roll(settings, rolling, source, Verbosity::default(), stop, status).await
        })
    }

    /// How often the replica was told to change something.
    fn told(&self) -> u64 {
        let commands = self.replica.stats().commands;
        // These come with each connection, and each look.
        let harmless = ["APPLY CAPABILITIES", "APPLY FORCE", "APPLY RESTART"];
        let changes = commands
            .iter()
            .filter(|(name, _)| name.starts_with("APPLY") && !harmless.contains(&name.as_str()));
        changes.map(|(_, count)| count).sum()
    }

    /// Everything of a user as the source has it, by name: mailboxes, subscriptions and seen state.
    fn wanted(&self, userid: &str) -> (BTreeMap<String, Described>, BTreeSet<String>) {
        let owner = Owner::from(userid);
        let read = self.source.read_user(&owner, true, None, Inbox::There).unwrap().unwrap();
        let mut mailboxes = BTreeMap::new();
        for folder in &read.master.folders {
            let Folder::Mailbox(mailbox) = folder else { panic!("{folder:?}") };
            let annotations: BTreeSet<_> =
                mailbox.annotations.iter().map(|a| annotation(&a.entry, &a.value)).collect();
            let head = format!(
                "{} {} {} {} {} {} {} {annotations:?}",
                mailbox.uniqueid,
                mailbox.last_uid,
                mailbox.highestmodseq,
                mailbox.uidvalidity,
                mailbox.recentuid,
                mailbox.recenttime,
                mailbox.acl
            );
            let open = self.source.open(&read.entries[&mailbox.uniqueid]).unwrap().unwrap();
            let mut records = BTreeMap::new();
            for record in open.records(Which::Since(ModSeq::ZERO)) {
                let record = record.unwrap();
                let flags: BTreeSet<&str> = record.flag_names(open.index().flag_names).collect();
                let annotations = open.annotations(record.uid).unwrap();
                let annotations: BTreeSet<_> =
                    annotations.iter().map(|a| annotation(&a.entry, &a.value)).collect();
                let line = format!(
                    "{} {} {} {} {} {flags:?} {annotations:?}",
                    record.modseq,
                    record.size,
                    record.guid,
                    record.last_updated,
                    record.internaldate
                );
                records.insert(u64::from(record.uid.0), line);
            }
            mailboxes.insert(mailbox.name.to_string(), (head, records));
        }
        let subscriptions = read.master.subscriptions.iter().map(|name| format!("LSUB {name}"));
        let seen = read.master.seen.iter().map(|s| {
            format!("{} {} {} {} {}", s.uniqueid, s.lastread, s.lastuid, s.lastchange, s.seenuids)
        });
        (mailboxes, subscriptions.chain(seen).collect())
    }

    /// The same as the replica has it.
    fn found(
        &self,
        server: &mut PrivateServer,
        userid: &str,
    ) -> (BTreeMap<String, Described>, BTreeSet<String>) {
        let (mut mailboxes, mut other) = (BTreeMap::new(), BTreeSet::new());
        for Item { name, value } in server.items("USER", userid).unwrap() {
            let text = |key| value.text(key).unwrap_or_default();
            match name.as_str() {
                "MAILBOX" => {
                    let keys =
                        ["UNIQUEID", "LAST_UID", "HIGHESTMODSEQ", "UIDVALIDITY", "RECENTUID"];
                    let words: Vec<String> = keys.map(text).into();
                    let head = format!(
                        "{} {} {} {:?}",
                        words.join(" "),
                        text("RECENTTIME"),
                        text("ACL"),
                        annotations(&value)
                    );
                    let full = server.items("FULLMAILBOX", &text("MBOXNAME")).unwrap();
                    let records = full[0].value.get("RECORD").map(Value::items);
                    let records = records.unwrap_or_default().iter().map(record).collect();
                    mailboxes.insert(text("MBOXNAME"), (head, records));
                }
                "LSUB" => other.extend(value.items().iter().map(|name| format!("LSUB {name}"))),
                "SEEN" => {
                    let keys = ["UNIQUEID", "LASTREAD", "LASTUID", "LASTCHANGE", "SEENUIDS"];
                    other.insert(keys.map(text).join(" "));
                }
                _ => {}
            }
        }
        (mailboxes, other)
    }

    /// Compares all users, name for name and UID for UID.
    fn assert_equal(&self, when: &str) {
        let mut server = PrivateServer::over_tcp(self.server.address().port()).unwrap();
        for userid in self.source.userids() {
            let (mut wanted, other) = self.wanted(&userid);
            let (mut found, other_found) = self.found(&mut server, &userid);
            assert_eq!(other_found, other, "{when}: {userid}");
            assert!(
                found.keys().eq(wanted.keys()),
                "{when}: {:?} {:?}",
                found.keys(),
                wanted.keys()
            );
            for (name, (head, records)) in &mut wanted {
                let (head_found, records_found) = found.get_mut(name).unwrap();
                assert_eq!(head_found, head, "{when}: {name}");
                // What the master has forgotten, the replica may still know as expunged.
                records_found.retain(|uid, record| {
                    records.contains_key(uid) || !record.contains("\\\\Expunged")
                });
                assert_eq!(records_found, records, "{when}: {name}");
            }
        }
    }
}

fn record(value: &Value) -> (u64, String) {
    let text = |key| value.text(key).unwrap_or_default();
    let flags = value.get("FLAGS").map(Value::items).unwrap_or_default();
    let flags: BTreeSet<String> = flags.iter().map(ToString::to_string).collect();
    let words = ["MODSEQ", "SIZE", "GUID", "LAST_UPDATED", "INTERNALDATE"].map(text);
    let line = format!("{} {flags:?} {:?}", words.join(" "), annotations(value));
    (value.number("UID").unwrap(), line)
}

/// The stored annotations of a mailbox or record.
fn annotations(value: &Value) -> BTreeSet<String> {
    let all = value.get("ANNOTATIONS").map(Value::items).unwrap_or_default().iter();
    let text = |a: &Value, key| a.text(key).unwrap_or_default();
    let stored = all.filter(|a| !text(a, "ENTRY").starts_with(VIRTUAL));
    stored.map(|a| annotation(&text(a, "ENTRY"), text(a, "VALUE").as_bytes())).collect()
}

fn annotation(entry: &str, value: &[u8]) -> String {
    format!("{entry}={}", String::from_utf8_lossy(value))
}

const PLAN: Plan =
    Plan { seed: 11, users: 4, mailboxes: 4, messages: 12, sizes: Sizes::Between(1, 4000) };

/// One seed for each test, or as many as SYNTHETIC_SEEDS says.
fn seeds() -> std::ops::Range<u64> {
    let more = std::env::var("SYNTHETIC_SEEDS").ok();
    PLAN.seed..PLAN.seed + more.map_or(1, |number| number.parse::<u64>().unwrap())
}

#[test]
fn many_steps_of_change_arrive_and_a_second_run_sends_nothing() {
    for seed in seeds() {
        let world = World::new(Plan { seed, ..PLAN });
        for round in 0..60 {
            // More than one step from the second round on, so that changes meet.
            let steps = 0..round.min(1 + round % 5);
            let steps: Vec<_> = steps.map(|_| world.source.step()).collect();
            let when = format!("seed {seed}, round {round}: {steps:#?}");
            world.run(world.settings(), &when);
            world.assert_equal(&when);
            let before = world.told();
            let report = world.run(world.settings(), &when);
            assert_eq!((world.told(), report.well.sent.mailboxes), (before, 0), "{when}");
        }
    }
}

#[test]
#[should_panic(expected = "not replicated: user.synth")]
fn a_change_that_was_not_replicated_is_seen() {
    let world = World::new(PLAN);
    world.run(world.settings(), "first run");
    world.assert_equal("replicated");
    let is_append = |change: &Change| matches!(change, Change::Appended(..));
    while !world.source.step().changes.iter().any(is_append) {}
    world.assert_equal("not replicated");
}

// The same changes, but only what a log names is looked at.
#[test]
fn what_a_log_says_of_the_changes_arrives() {
    for seed in seeds() {
        let world = World::new(Plan { seed, ..PLAN });
        world.run(world.settings(), "first run");
        for round in 0..60 {
            let steps: Vec<_> = (0..1 + round % 5).map(|_| world.source.step()).collect();
            let lines = steps.iter().flat_map(Step::log).map(|line| format!("{line}\n"));
            let log: String = lines.collect();
            let when = format!("seed {seed}, round {round}: {steps:#?}\n{log}");
            let report = world.roll(&log);
            assert!(report.all_well() && report.left == 0, "{report}\n{when}");
            world.assert_equal(&when);
        }
    }
}

// Batches of five messages, and with messages that are too large for memory.
#[test]
fn batches_and_large_messages_arrive() {
    let world = World::new(Plan { seed: 12, sizes: Sizes::Between(1, 2_000_000), ..PLAN });
    let mut settings = world.settings();
    settings.sync.batch_messages = 5;
    for round in 0..6 {
        let when = format!("round {round}");
        world.run(settings.clone(), &when);
        world.assert_equal(&when);
        for _ in 0..10 {
            world.source.step();
        }
    }
    let mut bodies = 0;
    for userid in world.source.userids() {
        let owner = Owner::from(&*userid);
        let read = world.source.read_user(&owner, true, None, Inbox::There).unwrap().unwrap();
        for entry in read.entries.values() {
            let open = world.source.open(entry).unwrap().unwrap();
            for record in open.records(Which::Since(ModSeq::ZERO)).map(Result::unwrap) {
                let body = world.replica.body(&entry.name, record.uid);
                bodies += usize::from(body.is_some_and(|body| body.len() as u64 == record.size));
            }
        }
    }
    assert!(bodies > 100, "{bodies}");
}
