//! How often a work that failed is tried again, and after which pauses: for the list and the log alike.
//!
//! The pauses double from try to try, up to a longest one. In a run each is cut by up to a half, at random, so that users who
//! failed together are not tried again together.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use crate::error::Class;
use crate::settings::Jitter;

/// How often a user of a list is tried if its failures are transient; and the number of failures in a row from which a user
/// of the log is in quarantine.
pub(crate) const TRIES: u32 = 4;
/// How often if only another look shows whether the failure is transient.
const UNSURE_TRIES: u32 = 2;
/// The longest pause after a failure that may be the link's fault.
const LINK_PAUSE: Duration = Duration::from_secs(5);
/// From here on a pause is the longest one in any case.
const DOUBLED: u32 = 32;

/// Who is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// A list: if another try may help, a few times. Then it has ended, and is forgotten.
    ByClass,
    /// A single pass over a log: whatever happened, a few times. Then it stays in the log.
    Pass,
    /// The log, as long as we run: whatever happened, for ever.
    Endless,
}

/// Tries and pauses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retry {
    pub(crate) patience: Patience,
    pub(crate) first_pause: Duration,
    pub(crate) longest_pause: Duration,
    pub(crate) jitter: Jitter,
}

impl Retry {
    /// The pause after this many failures in a row, the last one of this class; `None` if it is final.
    pub(crate) fn pause(&self, times: u32, class: Class, links_fault: bool) -> Option<Duration> {
        let tries = match (self.patience, class) {
            (Patience::Endless, _) => u32::MAX,
            (Patience::Pass, _) | (Patience::ByClass, Class::Transient) => TRIES,
            (Patience::ByClass, Class::Unsure) => UNSURE_TRIES,
            (Patience::ByClass, Class::Permanent | Class::Fatal) => 0,
        };
        if times >= tries {
            return None;
        }
        // Whose fault it is matters where there are many tries: the few of a list are to outlast a short failure.
        let short = links_fault && self.patience != Patience::ByClass;
        let longest = if short { self.longest_pause.min(LINK_PAUSE) } else { self.longest_pause };
        Some(self.doubled(times, longest))
    }

    fn doubled(&self, times: u32, longest: Duration) -> Duration {
        // The jitter of the crate adds up to the whole pause.
        let part = if self.jitter == Jitter::Off { 1 } else { 2 };
        let (first, longest) = (self.first_pause.min(longest) / part, longest / part);
        let builder = ExponentialBuilder::new()
            .with_min_delay(first)
            .with_max_delay(longest)
            .with_factor(2.0)
            .without_max_times();
        let builder = match self.jitter {
            Jitter::Off => builder,
            Jitter::On => builder.with_jitter(),
            Jitter::Seeded(seed) => builder.with_jitter().with_jitter_seed(seed),
        };
        let place = times.clamp(1, DOUBLED) - 1;
        let pause = builder.build().nth(place as usize).unwrap_or(longest);
        // People read it.
        Duration::from_millis(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(patience: Patience, jitter: Jitter) -> Retry {
        let (first_pause, longest_pause) = (Duration::from_secs(1), Duration::from_secs(60));
        Retry { patience, first_pause, longest_pause, jitter }
    }

    fn seconds(retry: &Retry, class: Class, links_fault: bool) -> Vec<Option<u64>> {
        let pause = |times| retry.pause(times, class, links_fault);
        (1..=8).map(|times| pause(times).map(|pause| pause.as_secs())).collect()
    }

    #[test]
    fn a_list_gives_up_and_the_log_does_not() {
        let (list, log) = (Patience::ByClass, Patience::Endless);
        let never = vec![None; 8];
        let few = [vec![Some(1), Some(2), Some(4)], vec![None; 5]].concat();
        let of = |patience, class| seconds(&retry(patience, Jitter::Off), class, false);
        assert_eq!(of(list, Class::Transient), few);
        assert_eq!(of(list, Class::Unsure), [vec![Some(1)], vec![None; 7]].concat());
        assert_eq!(of(list, Class::Permanent), never);
        assert_eq!(of(Patience::Pass, Class::Permanent), few);
        let doubled = [1, 2, 4, 8, 16, 32, 60, 60].map(Some);
        assert_eq!(of(log, Class::Permanent), doubled);
        let links = seconds(&retry(log, Jitter::Off), Class::Transient, true);
        assert_eq!(links, [1, 2, 4, 5, 5, 5, 5, 5].map(Some));
    }

    #[test]
    fn jitter_cuts_a_pause_by_half_at_most_and_not_always_alike() {
        let pauses: Vec<Duration> = (0..50)
            .map(|seed| {
                let retry = retry(Patience::Endless, Jitter::Seeded(seed));
                retry.pause(3, Class::Transient, false).unwrap()
            })
            .collect();
        let (half, whole) = (Duration::from_secs(2), Duration::from_secs(4));
        assert!(pauses.iter().all(|pause| (half..=whole).contains(pause)), "{pauses:?}");
        let spread = *pauses.iter().max().unwrap() - *pauses.iter().min().unwrap();
        assert!(spread > Duration::from_secs(1), "{pauses:?}");
        let again = retry(Patience::Endless, Jitter::Seeded(7)).pause(3, Class::Transient, false);
        assert_eq!(again, Some(pauses[7]));
    }

    #[test]
    fn many_failures_and_no_pause_are_no_trouble() {
        let mut retry = retry(Patience::Endless, Jitter::On);
        retry.longest_pause = Duration::from_secs(600);
        let pause = retry.pause(u32::MAX - 1, Class::Transient, false).unwrap();
        assert!((300..=600).contains(&pause.as_secs()), "{pause:?}");
        retry.first_pause = Duration::ZERO;
        assert_eq!(retry.pause(5, Class::Transient, false), Some(Duration::ZERO));
    }
}
