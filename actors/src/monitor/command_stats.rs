//! How the replica answers, by kind of command: how often, how fast, how often with a refusal.
//!
//! A command's time starts when all of it is sent and its answer is the next one due, and ends when that answer is
//! complete. So it includes the replica's work and one round trip, but not the time in our queues.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use csync::{Code, CommandKind};

use crate::monitor::words;

/// How many kinds are named: those first that took longest in total.
const NAMED: usize = 4;

/// So many codes are counted apart for each kind, and so many characters of each: Cyrus has about a hundred.
const CODES: usize = 100;
const CODE: usize = 64;

/// The upper bounds of the histogram's classes in milliseconds; slower ones are in a last class without a bound.
const BOUNDS: [u64; 14] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 60_000];

/// How often and how fast one kind of command was answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct KindCounts {
    /// `MAILBOX`, `GET USER`
    pub(crate) name: String,
    pub(crate) answered: u64,
    pub(crate) refused: u64,
    /// How often each code was the answer: also those that make us compare or look again.
    pub(crate) codes: BTreeMap<String, u64>,
    /// All times together.
    pub(crate) seconds: f64,
    /// How many took no longer than so many seconds, and longer than the class before.
    pub(crate) classes: Vec<(f64, u64)>,
}

/// Counters of all connections of a run. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct CommandStats(Arc<[Counter; CommandKind::ALL.len()]>);

impl Default for CommandStats {
    fn default() -> CommandStats {
        CommandStats(Arc::new(std::array::from_fn(|_| Counter::default())))
    }
}

#[derive(Debug, Default)]
struct Counter {
    answered: AtomicU64,
    refused: AtomicU64,
    /// Written only when there is a refusal.
    codes: Mutex<BTreeMap<String, u64>>,
    /// Microseconds: the total and the slowest.
    all: AtomicU64,
    slowest: AtomicU64,
    classes: [AtomicU64; BOUNDS.len()],
}

impl CommandStats {
    /// Counts a command that was answered after this time.
    pub(crate) fn answered(&self, kind: CommandKind, took: Duration, well: bool) {
        let Some(counter) = self.0.get(kind as usize) else { return };
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        counter.answered.fetch_add(1, Ordering::Relaxed);
        counter.refused.fetch_add(u64::from(!well), Ordering::Relaxed);
        counter.all.fetch_add(micros, Ordering::Relaxed);
        counter.slowest.fetch_max(micros, Ordering::Relaxed);
        let class = BOUNDS.iter().position(|bound| micros <= bound * 1_000);
        if let Some(class) = class.and_then(|class| counter.classes.get(class)) {
            class.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts the code of a refusal.
    pub(crate) fn refused_with(&self, kind: CommandKind, code: Option<&Code>) {
        let Some(counter) = self.0.get(kind as usize) else { return };
        let mut codes = counter.codes.lock().unwrap_or_else(PoisonError::into_inner);
        let word = code.map_or("none", Code::as_str);
        // The peer may make up any number of words.
        let word = if codes.len() < CODES || codes.contains_key(word) { word } else { "other" };
        *codes.entry(word.chars().take(CODE).collect()).or_default() += 1;
    }

    /// How often a kind was answered.
    pub(crate) fn count(&self, kind: CommandKind) -> u64 {
        let counter = self.0.get(kind as usize);
        counter.map_or(0, |counter| counter.answered.load(Ordering::Relaxed))
    }

    /// The kinds that were answered at least once.
    pub(crate) fn each(&self) -> Vec<KindCounts> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let kinds = CommandKind::ALL.iter().zip(self.0.iter());
        let kinds = kinds.filter(|(_, counter)| read(&counter.answered) > 0);
        let counts = |(kind, counter): (&CommandKind, &Counter)| KindCounts {
            name: full_name(*kind),
            answered: read(&counter.answered),
            refused: read(&counter.refused),
            codes: counter.codes.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            seconds: read(&counter.all) as f64 / 1e6,
            classes: BOUNDS
                .iter()
                .zip(&counter.classes)
                .map(|(bound, count)| (*bound as f64 / 1e3, read(count)))
                .collect(),
        };
        kinds.map(counts).collect()
    }

    /// `answers: MAILBOX 3000 (mean 2.1 ms, longest 900 ms, 2 refused), …`; `None` before the first answer.
    pub(crate) fn words(&self) -> Option<String> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let kinds = CommandKind::ALL.iter().zip(self.0.iter());
        let mut kinds: Vec<_> = kinds.filter(|(_, counter)| read(&counter.answered) > 0).collect();
        kinds.sort_by_key(|(_, counter)| std::cmp::Reverse(read(&counter.all)));
        let (all, _) = kinds.split_at(kinds.len().min(NAMED));
        let mut text = String::from("answers:");
        for (place, (kind, counter)) in all.iter().enumerate() {
            let answered = read(&counter.answered);
            let mean = millis(read(&counter.all) / answered.max(1));
            let comma = if place == 0 { "" } else { "," };
            // Writing to a string can't fail.
            let _ = write!(text, "{comma} {} {answered} (mean {mean}", full_name(**kind));
            let _ = write!(text, ", longest {}", millis(read(&counter.slowest)));
            match read(&counter.refused) {
                0 => text.push(')'),
                refused => drop(write!(text, ", {refused} refused)")),
            }
        }
        if kinds.len() > NAMED {
            let others = kinds.iter().skip(NAMED).map(|(_, counter)| read(&counter.answered)).sum();
            let _ = write!(text, ", {}", words::count(others, "other"));
        }
        (!kinds.is_empty()).then_some(text)
    }
}

/// GET and APPLY of the same thing are counted separately.
fn full_name(kind: CommandKind) -> String {
    if kind.is_get() { format!("GET {kind}") } else { kind.to_string() }
}

fn millis(micros: u64) -> String {
    match micros {
        0..10_000 => format!("{:.1} ms", micros as f64 / 1e3),
        10_000..1_000_000 => format!("{} ms", micros / 1_000),
        _ => format!("{:.1} s", micros as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_took_longest_in_all_come_first() {
        let stats = CommandStats::default();
        assert_eq!(stats.words(), None);
        for _ in 0..3 {
            stats.answered(CommandKind::Mailbox, Duration::from_millis(2), true);
        }
        stats.answered(CommandKind::Mailbox, Duration::from_millis(1_500), false);
        stats.answered(CommandKind::GetUser, Duration::from_micros(300), true);
        let clone = stats.clone();
        assert_eq!(
            clone.words().unwrap(),
            "answers: MAILBOX 4 (mean 376 ms, longest 1.5 s, 1 refused), GET USER 1 (mean 0.3 ms, longest 0.3 ms)"
        );
        let mailbox = &clone.each()[1];
        assert_eq!((mailbox.name.as_str(), mailbox.answered, mailbox.refused), ("MAILBOX", 4, 1));
        let refused = |text: &str| {
            stats.refused_with(CommandKind::Mailbox, Code::of(text).as_ref());
        };
        ["IMAP_SYNC_CHECKSUM x", "IMAP_SYNC_CHECKSUM y", "no"].into_iter().for_each(refused);
        (0..200).for_each(|number| refused(&format!("IMAP_{number}{}", "X".repeat(9000))));
        refused("IMAP_SYNC_CHECKSUM z");
        let codes = &clone.each()[1].codes;
        let few = [codes["IMAP_SYNC_CHECKSUM"], codes["none"], codes["other"]];
        assert_eq!((few, codes.len()), ([3, 1, 102], CODES + 1));
        assert!(codes.keys().all(|code| code.len() <= CODE));
        let classes: Vec<_> = mailbox.classes.iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(classes, [&(0.002, 3), &(2.5, 1)]);
        assert_eq!((mailbox.seconds, clone.count(CommandKind::GetUser)), (1.506, 1));
        for kind in [CommandKind::Sub, CommandKind::Seen, CommandKind::Quota, CommandKind::Noop] {
            stats.answered(kind, Duration::ZERO, true);
        }
        assert!(stats.words().unwrap().ends_with("), 2 others"), "{:?}", stats.words());
    }
}
