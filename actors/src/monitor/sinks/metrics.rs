//! `--metrics-listen`: all numbers as Prometheus reads them. `docs/monitoring.md` describes each.
//!
//! This sink takes no events: whoever asks gets the totals that the Monitor has added up by now.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use csync::CommandKind;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::prometheus_text;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;

use crate::monitor::command_stats::KindCounts;
use crate::monitor::in_flight::{LOCKED, RESTING, WAITING};
use crate::monitor::progress::Progress;

/// A run, and the name of its channel.
type Shown = (Option<String>, Progress);

/// Whose numbers to show. Clones share it.
#[derive(Debug, Clone)]
pub struct MetricsSource {
    started: SystemTime,
    channels: Arc<Mutex<Vec<Shown>>>,
}

impl Default for MetricsSource {
    fn default() -> MetricsSource {
        MetricsSource { started: SystemTime::now(), channels: Arc::default() }
    }
}

impl MetricsSource {
    /// From now on these: runs, each with the name of its channel.
    pub fn show(&self, channels: Vec<Shown>) {
        *self.channels.lock().unwrap_or_else(PoisonError::into_inner) = channels;
    }

    fn channels(&self) -> Vec<Shown> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether each has logged in at its replica once, and none was asked to stop.
    pub(crate) fn is_ready(&self) -> bool {
        let channels = self.channels();
        !channels.is_empty() && channels.iter().all(|(_, progress)| progress.is_ready())
    }

    /// All numbers of this moment, in Prometheus' text format.
    ///
    /// # Errors
    /// None: writing to a string can't fail.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let now = Instant::now();
        let channels = self.channels();
        let runs = channels.iter().map(|(name, run)| Run::of(name.as_deref(), run, now));
        let (started, runs) = (self.started, runs.collect());
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Snapshot { started, runs }));
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry)?;
        Ok(text)
    }
}

/// Labels of a number.
type Labels = Vec<(&'static str, String)>;

/// The numbers of one moment.
#[derive(Debug)]
struct Snapshot {
    started: SystemTime,
    runs: Vec<Run>,
}

/// Those of a run over a list, or of a channel.
#[derive(Debug)]
struct Run {
    channel: Labels,
    numbers: Vec<Number>,
    commands: Vec<KindCounts>,
}

/// A metric's name, without what all names begin with, its kind, what it is, and its value.
#[derive(Debug)]
struct Number {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    labels: Labels,
    value: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

/// Writes down a run's numbers.
#[derive(Default)]
struct Numbers(Vec<Number>);

impl Numbers {
    fn add(&mut self, kind: Kind, name: &'static str, help: &'static str, value: f64) {
        self.0.push(Number { name, kind, help, labels: Labels::new(), value });
    }

    fn counter(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.add(Kind::Counter, name, help, value as f64);
    }

    fn gauge(&mut self, name: &'static str, help: &'static str, value: f64) {
        self.add(Kind::Gauge, name, help, value);
    }

    fn labelled(
        &mut self,
        (kind, name, help): (Kind, &'static str, &'static str),
        label: &'static str,
        values: &[(&str, u64)],
    ) {
        for (word, value) in values {
            let labels = vec![(label, (*word).to_string())];
            self.0.push(Number { name, kind, help, labels, value: *value as f64 });
        }
    }
}

const STATE: (Kind, &str, &str) = (Kind::Gauge, "users", "Users by what happens to them now");
const OUTCOME: (Kind, &str, &str) =
    (Kind::Counter, "users_done", "Users that ended, by how; in rolling replication, works");
const REFUSED: (Kind, &str, &str) =
    (Kind::Counter, "commands_refused", "Commands that the replica answered with NO, by code");

impl Run {
    fn of(channel: Option<&str>, progress: &Progress, now: Instant) -> Run {
        let totals = progress.totals();
        let (in_flight, commands) = (progress.in_flight(), progress.commands());
        let mut n = Numbers::default();
        n.gauge("ready", "1 once the replica accepted a login, until we are asked to stop", {
            f64::from(progress.is_ready())
        });
        if let Some(lag) = &totals.lag {
            let age = lag.oldest.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
            n.gauge("lag_seconds", "Age of the oldest log entry that is not replicated", age);
            n.gauge("log_readable", "Whether the sync log can be read", f64::from(lag.readable));
        }
        if let Some(listed) = totals.listed {
            n.gauge("users_listed", "Users of the list", listed as f64);
        }
        let [waiting, locked, resting] =
            [WAITING, LOCKED, RESTING].map(|stage| in_flight.count(stage) as u64);
        let busy = (in_flight.len() as u64).saturating_sub(waiting + locked + resting);
        let mut states = vec![
            ("in_flight", busy),
            ("waiting_for_connection", waiting),
            ("waiting_for_lock", locked),
        ];
        match &totals.lag {
            None => {
                let queued = totals.listed.unwrap_or_default().saturating_sub(totals.started);
                states.extend([("queued", queued), ("resting", resting)]);
            }
            Some(lag) => states.extend([
                ("queued", lag.waiting.saturating_sub(lag.in_flight)),
                ("resting", lag.failing.saturating_sub(lag.quarantined)),
                ("quarantined", lag.quarantined),
                ("locked", lag.locked),
                ("skipped", lag.skipped),
            ]),
        }
        n.labelled(STATE, "state", &states);
        n.labelled(OUTCOME, "outcome", &totals.ended.each());
        n.counter("retries", "Tries that failed and are followed by another one", totals.retries);
        let sent = totals.sent;
        n.counter("mailboxes_replicated", "Mailboxes that the replica applied", sent.mailboxes);
        n.counter("messages_replicated", "Messages that the replica accepted", sent.messages);
        n.counter("replicated_bytes", "Bytes of these messages", sent.bytes);
        n.counter("removed", "Mailboxes and messages removed on the replica", sent.removed);
        let (messages, bytes) = progress.uploads();
        n.counter("messages_uploaded", "Messages sent, accepted or not", messages);
        n.counter("uploaded_bytes", "Bytes of these messages", bytes);
        let full = commands.count(CommandKind::GetFullMailbox);
        n.counter("full_comparisons", "Mailboxes that were compared record by record", full);
        n.gauge("connections", "Open connections", progress.replica().open() as f64);
        n.counter("connections_opened", "Connections that were opened", totals.opened);
        n.counter("connections_lost", "Connections that ended before we ended them", totals.lost);
        let commands = commands.each();
        for of in &commands {
            for (code, count) in &of.codes {
                let labels = vec![("command", of.name.clone()), ("code", code.clone())];
                let ((kind, name, help), value) = (REFUSED, *count as f64);
                n.0.push(Number { name, kind, help, labels, value });
            }
        }
        let channel = channel.map(|name| ("channel", name.to_string()));
        Run { channel: channel.into_iter().collect(), numbers: n.0, commands }
    }
}

/// What all our names begin with.
const PREFIX: &str = "sync_client_";

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let help = "When this process started, in seconds since 1970";
        let gauge = MetricType::Gauge;
        encoder
            .encode_descriptor("process_start_time_seconds", help, None, gauge)?
            .encode_gauge(&started)?;
        let name = format!("{PREFIX}build_info");
        let mut info = encoder.encode_descriptor(&name, "Which program this is", None, gauge)?;
        info.encode_family(&[("version", env!("CARGO_PKG_VERSION"))])?.encode_gauge(&1_u64)?;
        self.numbers(&mut encoder)?;
        let name = format!("{PREFIX}command_duration_seconds");
        let help = "From the moment a command is sent and its answer is due to the answer";
        let mut times = encoder.encode_descriptor(&name, help, None, MetricType::Histogram)?;
        for run in &self.runs {
            for kind in &run.commands {
                let labels = with(&run.channel, [("command", kind.name.clone())]);
                let no_examples = None::<&std::collections::HashMap<_, Exemplar<NoLabelSet, f64>>>;
                times.encode_family(&labels)?.encode_histogram(
                    kind.seconds,
                    kind.answered,
                    &kind.classes,
                    no_examples,
                )?;
            }
        }
        Ok(())
    }
}

impl Snapshot {
    /// Each name once, with the values of all runs below it.
    fn numbers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut written: Vec<&str> = Vec::new();
        for first in self.runs.iter().flat_map(|run| &run.numbers) {
            if written.contains(&first.name) {
                continue;
            }
            written.push(first.name);
            let name = format!("{PREFIX}{}", first.name);
            let kind = match first.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
            };
            let mut metric = encoder.encode_descriptor(&name, first.help, None, kind)?;
            for run in &self.runs {
                for number in run.numbers.iter().filter(|number| number.name == first.name) {
                    let labels = with(&run.channel, number.labels.clone());
                    value(metric.encode_family(&labels)?, number)?;
                }
            }
        }
        Ok(())
    }
}

fn value(mut metric: MetricEncoder<'_>, number: &Number) -> fmt::Result {
    match number.kind {
        Kind::Counter => metric.encode_counter(&number.value, None::<&Exemplar<NoLabelSet, f64>>),
        Kind::Gauge => metric.encode_gauge(&number.value),
    }
}

fn with(channel: &Labels, labels: impl IntoIterator<Item = (&'static str, String)>) -> Labels {
    channel.iter().cloned().chain(labels).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::events::{Event, Lag};
    use crate::monitor::report::{Outcome, Sent};
    use std::time::Duration;

    fn has(text: &str, line: &str) {
        assert!(text.lines().any(|l| l == line), "{line} is not in:\n{text}");
    }

    #[test]
    fn each_number_is_there_once_for_each_channel() {
        let (one, two) = (Progress::default(), Progress::default());
        let sent = Sent { messages: 3, bytes: 9_007_199_254_740_000, ..Sent::default() };
        one.add(&Event::LogDone { users: 2, outcome: Outcome::Done, sent });
        let long_ago = Instant::now().checked_sub(Duration::from_secs(90));
        one.add(&Event::Lag(Lag {
            oldest: long_ago,
            waiting: 5,
            failing: 3,
            quarantined: 1,
            ..Lag::default()
        }));
        one.commands().answered(CommandKind::GetFullMailbox, Duration::from_millis(7), false);
        one.commands().refused_with(CommandKind::GetFullMailbox, None);
        two.add(&Event::Listed { users: 12 });
        let source = MetricsSource::default();
        assert!(!source.is_ready());
        source.show(vec![(Some("a\"b".into()), one.clone()), (None, two.clone())]);
        let text = source.text().unwrap();
        for line in [
            "# TYPE sync_client_users gauge",
            "sync_client_users{channel=\"a\\\"b\",state=\"quarantined\"} 1.0",
            "sync_client_users{channel=\"a\\\"b\",state=\"resting\"} 2.0",
            "sync_client_users{state=\"queued\"} 12.0",
            "sync_client_users_done_total{channel=\"a\\\"b\",outcome=\"replicated\"} 2.0",
            "sync_client_log_readable{channel=\"a\\\"b\"} 0.0",
            "sync_client_full_comparisons_total{channel=\"a\\\"b\"} 1.0",
            "sync_client_commands_refused_total{channel=\"a\\\"b\",command=\"GET FULLMAILBOX\",code=\"none\"} 1.0",
            "sync_client_command_duration_seconds_bucket{channel=\"a\\\"b\",command=\"GET FULLMAILBOX\",le=\"0.01\"} 1",
            "sync_client_ready 0.0",
        ] {
            has(&text, line);
        }
        let lag = text.lines().find(|l| l.starts_with("sync_client_lag_seconds{")).unwrap();
        assert!(lag.contains(" 90."), "{lag}");
        let helps: Vec<&str> = text.lines().filter(|l| l.starts_with("# HELP ")).collect();
        let unique: std::collections::BTreeSet<&str> = helps.iter().copied().collect();
        assert_eq!(helps.len(), unique.len());
        one.replica().connected(1);
        assert!(!source.is_ready());
        two.replica().connected(1);
        assert!(source.is_ready());
        two.stopping();
        assert!(!source.is_ready());
    }
}
