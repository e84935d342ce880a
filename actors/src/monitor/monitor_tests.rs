//! The Monitor with all its sinks, with slow ones and with broken ones.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc as std_mpsc;

use cyrus_types::Owner;

use super::*;
use crate::monitor::report::{Outcome, Sent, UserReport};
use crate::monitor::reporting::{Reporting, ShownProgress, Verbosity};
use crate::monitor::sinks::metrics::MetricsSource;

fn user(nr: u64) -> UserReport {
    let outcome = match nr % 4 {
        0 => Outcome::Failed { reason: "no index".into() },
        1 => Outcome::Unchanged,
        _ => Outcome::Done,
    };
    let sent = Sent { mailboxes: 1, messages: nr, bytes: nr * 10, ..Sent::default() };
    let owner = Owner::from(format!("user{nr}").as_str());
    UserReport { owner, outcome, sent, tries: 1, took: Duration::ZERO }
}

// Shows that report, list, metrics and totals agree, each user once.
#[test]
fn all_sinks_say_the_same_about_twenty_thousand_users() {
    const USERS: u64 = 20_000;
    let dir = tempfile::tempdir().unwrap();
    let [report, failed] = ["report", "failed"].map(|name| dir.path().join(name));
    let bar = ShownProgress::Bar { colours: true };
    let mut reporting = Reporting::new(Verbosity::default(), bar, |_| 7);
    reporting.report_to(&report).unwrap();
    reporting.failed_users_to(&failed).unwrap();
    let (events, told) = EventSink::channel(false, false);
    let progress = Progress::default();
    let metrics = MetricsSource::default();
    metrics.show(vec![(None, progress.clone())]);
    let shown = progress.clone();
    let unwritten = actix_rt::System::new().block_on(async move {
        let sinks = reporting.sinks("replica", None, None);
        let watching = Watching::start(sinks, told, shown);
        let mut all = RunReport::default();
        events.tell(Event::Listed { users: USERS }).await;
        for nr in 0..USERS {
            events.tell(Event::Started { tries: 1 }).await;
            events.tell(Event::Finished(Box::new(user(nr)))).await;
            all.add(user(nr));
        }
        watching.end(&events, Some(Arc::new(all))).await
    });
    assert_eq!(unwritten, Vec::<String>::new());
    let (messages, failures) = (USERS * (USERS - 1) / 2, USERS / 4);
    let totals = progress.totals();
    assert_eq!((totals.ended.all(), totals.started), (USERS, USERS));
    assert_eq!((totals.ended.failed, totals.sent.messages), (failures, messages));
    let text = metrics.text().unwrap();
    for line in [
        format!("sync_client_users_done_total{{outcome=\"failed\"}} {failures}.0\n"),
        format!("sync_client_messages_replicated_total {messages}.0\n"),
    ] {
        assert!(text.contains(&line), "{line} is not in {text}");
    }
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    let users = json["users"].as_array().unwrap();
    let names: BTreeSet<&str> = users.iter().map(|user| user["user"].as_str().unwrap()).collect();
    assert_eq!((users.len() as u64, names.len() as u64), (USERS, USERS));
    let sum: u64 = users.iter().map(|user| user["messages"].as_u64().unwrap()).sum();
    assert_eq!((&json["totals"]["messages"], sum), (&messages.into(), messages));
    assert_eq!(json["exit_code"], 7);
    let failed = std::fs::read_to_string(&failed).unwrap();
    assert_eq!(failed.lines().count() as u64, failures);
}

/// A sink that waits for somebody at its first event.
struct Slow(std_mpsc::Receiver<()>);

impl Sink for Slow {
    fn take(&mut self, _: &Event, _: &Progress) -> Result<(), SinkError> {
        // An error is the end of the test.
        let _ = self.0.recv();
        Ok(())
    }
}

// Shows that a sink that hangs costs a run nothing before the channel is full.
#[test]
fn a_slow_sink_delays_nobody_before_the_channel_is_full() {
    let (release, waiting) = std_mpsc::channel();
    let (events, told) = EventSink::channel(false, false);
    actix_rt::System::new().block_on(async move {
        let sinks = Sinks::new(vec![Box::new(Slow(waiting))], |_| 0);
        let watching = Watching::start(sinks, told, Progress::default());
        let sending = async {
            for _ in 0..1024 {
                events.tell(Event::Started { tries: 1 }).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), sending).await.unwrap();
        drop(release);
        watching.end(&events, None).await;
    });
}

/// A sink with a full disk.
struct Broken;

fn disk_full() -> SinkError {
    let source = io::ErrorKind::StorageFull.into();
    SinkError { path: PathBuf::from("/full"), what: "the report", source }
}

impl Sink for Broken {
    fn take(&mut self, event: &Event, _: &Progress) -> Result<(), SinkError> {
        match event {
            Event::Started { .. } => Err(disk_full()),
            _ => Ok(()),
        }
    }

    fn end(self: Box<Self>, _: &Ending<'_>) -> Result<(), SinkError> {
        Err(disk_full())
    }
}

/// Counts the notices about it.
struct Notices(std_mpsc::Sender<String>);

impl Sink for Notices {
    fn take(&mut self, event: &Event, _: &Progress) -> Result<(), SinkError> {
        if let Event::Notice(text) = event {
            self.0.send(text.clone()).unwrap();
        }
        Ok(())
    }

    fn end(self: Box<Self>, ending: &Ending<'_>) -> Result<(), SinkError> {
        self.0.send(format!("exit {}", ending.exit)).unwrap();
        Ok(())
    }
}

#[test]
fn a_sink_that_fails_is_told_of_once_and_changes_the_exit_code() {
    let (events, told) = EventSink::channel(false, false);
    let (tell, said) = std_mpsc::channel();
    let unwritten = actix_rt::System::new().block_on(async move {
        let sinks = Sinks::new(vec![Box::new(Broken), Box::new(Notices(tell))], |_| 0);
        let watching = Watching::start(sinks, told, Progress::default());
        for _ in 0..100 {
            events.tell(Event::Started { tries: 1 }).await;
        }
        watching.end(&events, Some(Arc::new(RunReport::default()))).await
    });
    let problem = "can't write the report /full: no storage space";
    assert_eq!(unwritten, [problem]);
    let said: Vec<String> = said.iter().collect();
    assert_eq!(said, [format!("{problem}; the run goes on"), "exit 1".into()]);
}
