//! How fast a run goes: what was sent in the last half minute. A plain value that takes counts and the time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::words;

/// What is older says nothing about now.
const WINDOW: Duration = Duration::from_secs(30);
/// Counts that are closer together than this tell no more than one of them.
const STEP: Duration = Duration::from_secs(1);

/// Counts of the last half minute, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    samples: VecDeque<Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    messages: u64,
    bytes: u64,
}

impl Pace {
    /// So much has been sent by now.
    pub(crate) fn note(&mut self, now: Instant, messages: u64, bytes: u64) {
        if self.samples.back().is_some_and(|last| now.saturating_duration_since(last.at) < STEP) {
            return;
        }
        self.samples.push_back(Sample { at: now, messages, bytes });
        while self.samples.len() > 1
            && self.samples.get(1).is_some_and(|next| {
                // The oldest one is no longer needed when the next one is old enough.
                now.saturating_duration_since(next.at) >= WINDOW
            })
        {
            self.samples.pop_front();
        }
    }

    /// `12 messages/s, 3.4 MB/s`; none before there is anything to compare with.
    pub(crate) fn words(&self, now: Instant, messages: u64, bytes: u64) -> Option<String> {
        let first = self.samples.front()?;
        let took = now.saturating_duration_since(first.at);
        if took < STEP {
            return None;
        }
        let messages = messages.saturating_sub(first.messages) as f64 / took.as_secs_f64();
        let rate = words::rate(bytes.saturating_sub(first.bytes), took);
        Some(format!("{messages:.0} messages/s, {rate}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_pace_of_the_last_half_minute() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::default();
        assert_eq!(pace.words(start, 0, 0), None);
        pace.note(start, 0, 0);
        assert_eq!(pace.words(start, 0, 0), None);
        // Ten messages a second for a minute, then nothing.
        for second in 1..=60 {
            pace.note(at(second), second * 10, second * 2_000_000);
            let words = pace.words(at(second), second * 10, second * 2_000_000).unwrap();
            assert_eq!(words, "10 messages/s, 2.0 MB/s");
        }
        for second in 61..=75 {
            pace.note(at(second), 600, 120_000_000);
        }
        assert_eq!(pace.words(at(75), 600, 120_000_000).unwrap(), "5 messages/s, 1.0 MB/s");
        for second in 76..=90 {
            pace.note(at(second), 600, 120_000_000);
        }
        assert_eq!(pace.words(at(90), 600, 120_000_000).unwrap(), "0 messages/s, 0.0 MB/s");
        assert!(pace.samples.len() <= 32);
    }
}
