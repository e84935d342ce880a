//! How fast a run goes: what was sent in the last half minute. A plain value that takes counts and the time.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use crate::monitor::words;

/// Older counts say nothing about the present.
const WINDOW: Duration = Duration::from_secs(30);
/// Of counts that are closer together than this, one is kept.
const STEP: Duration = Duration::from_secs(1);

/// Counts of the last half minute, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    samples: VecDeque<Sample>,
}

/// What was sent in a period.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    messages: u64,
    bytes: u64,
    took: Duration,
}

impl Rate {
    /// Whether nothing was sent.
    pub(crate) fn is_zero(&self) -> bool {
        self.messages == 0
    }

    /// Messages a second.
    pub(crate) fn per_second(&self) -> f64 {
        self.messages as f64 / self.took.as_secs_f64()
    }
}

/// `12 messages/s, 3.4 MB/s`
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages = self.per_second();
        write!(f, "{messages:.0} messages/s, {}", words::rate(self.bytes, self.took))
    }
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    messages: u64,
    bytes: u64,
}

impl Pace {
    /// Records what has been sent by now.
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

    /// The present rate; `None` before there is anything to compare with.
    pub(crate) fn rate(&self, now: Instant, messages: u64, bytes: u64) -> Option<Rate> {
        let first = self.samples.front()?;
        let took = now.saturating_duration_since(first.at);
        let messages = messages.saturating_sub(first.messages);
        let bytes = bytes.saturating_sub(first.bytes);
        (took >= STEP).then_some(Rate { messages, bytes, took })
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
        assert!(pace.rate(start, 0, 0).is_none());
        pace.note(start, 0, 0);
        assert!(pace.rate(start, 0, 0).is_none());
        // Ten messages a second for a minute, then nothing.
        for second in 1..=60 {
            pace.note(at(second), second * 10, second * 2_000_000);
            let rate = pace.rate(at(second), second * 10, second * 2_000_000).unwrap();
            assert_eq!(rate.to_string(), "10 messages/s, 2.0 MB/s");
        }
        for second in 61..=75 {
            pace.note(at(second), 600, 120_000_000);
        }
        assert_eq!(
            pace.rate(at(75), 600, 120_000_000).unwrap().to_string(),
            "5 messages/s, 1.0 MB/s"
        );
        for second in 76..=90 {
            pace.note(at(second), 600, 120_000_000);
        }
        assert_eq!(
            pace.rate(at(90), 600, 120_000_000).unwrap().to_string(),
            "0 messages/s, 0.0 MB/s"
        );
        assert!(pace.rate(at(90), 600, 120_000_000).unwrap().is_zero());
        assert!(pace.samples.len() <= 32);
    }
}
