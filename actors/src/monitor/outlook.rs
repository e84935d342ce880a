//! About how long a run over a list still takes: a plain value that takes counts and the time, for the bar.
//!
//! Users come largest first, so users each second say far too much at the start. Bytes alone say too little where most users
//! are equal, since a look takes as long for a small user as for a large one. So it is found out what both cost:
//! ```text
//!   seconds = users that ended * a + bytes that were sent * b      a, b: least squares over all steps of the run
//! ```
//! How many bytes will be sent follows from the users' sizes (their quota usage) and from how much had to be sent of those
//! that have ended.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use cyrus_types::Owner;

/// How often the counts are looked at: shorter steps differ too much. Nothing is said before the first one.
const STEP: Duration = Duration::from_secs(10);
/// How much an older step counts beside the next one.
const FADES: f64 = 0.99;
/// So many users, the largest, are known by name: what they take says most about a run.
const KNOWN: usize = 4096;

/// How large the users of a list are, in bytes.
#[derive(Debug, Default)]
pub(crate) struct Sizes {
    all: f64,
    largest: HashMap<String, u64>,
    /// What each of the others has on the average.
    other: f64,
}

impl Sizes {
    /// From sizes and names, largest first; 0 if a size is not known.
    pub(crate) fn of(sized: &[(u64, &str)]) -> Sizes {
        let (largest, others) = sized.split_at(sized.len().min(KNOWN));
        let sum = |users: &[(u64, &str)]| users.iter().map(|(size, _)| *size as f64).sum::<f64>();
        Sizes {
            all: sum(sized),
            other: sum(others) / others.len().max(1) as f64,
            largest: largest.iter().map(|(size, user)| ((*user).to_string(), *size)).collect(),
        }
    }

    /// About how large this user is.
    pub(crate) fn size(&self, owner: &Owner) -> f64 {
        let Some(userid) = owner.userid() else { return 0.0 };
        self.largest.get(userid).map_or(self.other, |size| *size as f64)
    }
}

/// The counts of a run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    /// All users of the list.
    pub(crate) users: u64,
    /// Those that have ended.
    pub(crate) ended: u64,
    /// Bytes that were sent, of all users.
    pub(crate) sent: u64,
    /// Bytes that were sent of users that have ended, and their sizes.
    pub(crate) of_ended: u64,
    pub(crate) size_of_ended: f64,
}

/// What a run has shown so far of its end.
#[derive(Debug, Default)]
pub(crate) struct Outlook {
    last: Option<(Instant, Counts)>,
    /// Sums over the steps: seconds, users, bytes, and their products for each second.
    seconds: f64,
    users: f64,
    bytes: f64,
    users_users: f64,
    users_bytes: f64,
    bytes_bytes: f64,
}

impl Outlook {
    /// Takes the counts of this moment, from the time on when the list is known. May come often.
    pub(crate) fn note(&mut self, now: Instant, counts: Counts) {
        let (at, before) = *self.last.get_or_insert((now, counts));
        let took = now.saturating_duration_since(at);
        if took < STEP {
            return;
        }
        self.last = Some((now, counts));
        let seconds = took.as_secs_f64();
        let users = counts.ended.saturating_sub(before.ended) as f64;
        let bytes = counts.sent.saturating_sub(before.sent) as f64;
        for (sum, step) in [
            (&mut self.seconds, seconds),
            (&mut self.users, users),
            (&mut self.bytes, bytes),
            (&mut self.users_users, users * users / seconds),
            (&mut self.users_bytes, users * bytes / seconds),
            (&mut self.bytes_bytes, bytes * bytes / seconds),
        ] {
            *sum = *sum * FADES + step;
        }
    }

    /// About how long it still takes; `None` if that can't be known yet.
    pub(crate) fn left(&self, counts: Counts, sizes: &Sizes) -> Option<Duration> {
        let Counts { users, ended, sent, of_ended, size_of_ended } = counts;
        let users_left = users.saturating_sub(ended) as f64;
        let by_users = users_left * self.seconds / self.users;
        let seconds = if size_of_ended > 0.0 {
            let part = (of_ended as f64 / size_of_ended).min(1.0);
            let bytes_left = (sizes.all * part - sent as f64).max(0.0);
            self.by_both(users_left, bytes_left).unwrap_or(by_users)
        } else if sizes.all > 0.0 {
            // Nobody has ended whose size is known.
            return None;
        } else {
            by_users
        };
        // Whole seconds, and no such number if nobody has ended.
        Duration::try_from_secs_f64(seconds.ceil()).ok()
    }

    /// The seconds for these users and bytes; `None` if no bytes were sent.
    fn by_both(&self, users_left: f64, bytes_left: f64) -> Option<f64> {
        let by_users = users_left * self.seconds / self.users;
        let by_bytes = bytes_left * self.seconds / self.bytes;
        if self.bytes == 0.0 {
            return None;
        }
        if self.users == 0.0 {
            return Some(by_bytes);
        }
        let both = self.users_users * self.bytes_bytes;
        let alike = both - self.users_bytes * self.users_bytes;
        if alike <= both * 1e-9 {
            // Both grew in step, so it can't be known which of them takes the time.
            return Some(f64::midpoint(by_users, by_bytes));
        }
        let user = (self.users * self.bytes_bytes - self.bytes * self.users_bytes) / alike;
        let byte = (self.bytes * self.users_users - self.users * self.users_bytes) / alike;
        match (user >= 0.0, byte >= 0.0) {
            (true, true) => Some(users_left * user + bytes_left * byte),
            (false, _) => Some(by_bytes),
            (true, false) => Some(by_users),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: usize = 10_000;
    /// Bytes each second.
    const LINK: f64 = 10e6;
    /// Seconds for a user beside its bytes.
    const LOOK: f64 = 0.02;

    /// Sizes as users have them: a few are huge, most are small.
    fn sizes() -> Vec<u64> {
        (1..=USERS as u64).map(|nr| 20_000_000_000 / nr).collect()
    }

    /// What was said at one second of a made-up run.
    struct Said {
        /// How long it really took from there, in seconds.
        left: f64,
        said: f64,
        /// By the users of the last half minute alone.
        by_users: f64,
    }

    /// A run that sends this part of the bytes, one user after the other.
    fn run(part: f64) -> Vec<Said> {
        let sizes = sizes();
        let names: Vec<String> = (0..USERS).map(|nr| format!("user{nr}")).collect();
        let sized: Vec<(u64, &str)> =
            sizes.iter().copied().zip(names.iter().map(|n| &**n)).collect();
        let known = Sizes::of(&sized);
        let to_send = |nr: usize| sizes.get(nr).map_or(0.0, |size| *size as f64 * part);
        let whole: f64 = (0..USERS).map(|nr| to_send(nr) / LINK + LOOK).sum();
        let (start, mut outlook, mut all_said) = (Instant::now(), Outlook::default(), Vec::new());
        let (mut ended, mut ended_at, mut of_ended, mut size_of_ended) = (0, 0.0, 0.0, 0.0);
        let mut ended_by = Vec::new();
        for second in 0..whole as u64 {
            while ended < USERS && ended_at + to_send(ended) / LINK + LOOK <= second as f64 {
                ended_at += to_send(ended) / LINK + LOOK;
                of_ended += to_send(ended);
                size_of_ended += known.size(&Owner::from(names[ended].as_str()));
                ended += 1;
            }
            let under_way = (second as f64 - ended_at - LOOK).max(0.0) * LINK;
            let counts = Counts {
                users: USERS as u64,
                ended: ended as u64,
                sent: (of_ended + under_way.min(to_send(ended))) as u64,
                of_ended: of_ended as u64,
                size_of_ended,
            };
            outlook.note(start + Duration::from_secs(second), counts);
            ended_by.push(ended);
            let lately = ended - ended_by[ended_by.len().saturating_sub(31)];
            let by_users = (USERS - ended) as f64 * 30.0 / lately as f64;
            if let Some(said) = outlook.left(counts, &known) {
                let left = whole - second as f64;
                all_said.push(Said { left, said: said.as_secs_f64(), by_users });
            }
        }
        assert!(all_said.len() as f64 > whole * 0.8, "it says nothing for too long");
        all_said
    }

    // Shows that a migration says soon about how long it takes. By users alone it was more than five times too long.
    #[test]
    fn a_migration_knows_its_end_although_the_largest_come_first() {
        let all = run(1.0);
        assert!(all[..all.len() / 3].iter().all(|said| said.by_users > said.left * 5.0));
        for Said { left, said, .. } in all {
            assert!((left * 0.9 - 2.0..left * 1.1 + 2.0).contains(&said), "{said}, not {left}");
        }
    }

    #[test]
    fn equal_users_take_their_time_whatever_their_size() {
        for Said { left, said, .. } in run(0.0) {
            assert!((left * 0.9 - 2.0..left * 1.1 + 2.0).contains(&said), "{said}, not {left}");
        }
    }

    #[test]
    fn a_run_that_sends_little_is_not_far_from_the_truth_either() {
        for part in [0.1, 0.01] {
            for Said { left, said, .. } in run(part) {
                assert!((left * 0.4..left * 3.0).contains(&said), "{said}, not {left}");
            }
        }
    }

    #[test]
    fn without_sizes_it_goes_by_users_and_says_nothing_before_it_knows() {
        let (start, mut outlook) = (Instant::now(), Outlook::default());
        let at = |ended| Counts { users: 110, ended, ..Counts::default() };
        outlook.note(start, at(0));
        outlook.note(start + Duration::from_secs(9), at(9));
        assert_eq!(outlook.left(at(9), &Sizes::default()), None);
        outlook.note(start + Duration::from_secs(10), at(10));
        assert_eq!(outlook.left(at(10), &Sizes::default()), Some(Duration::from_secs(100)));
        assert_eq!(outlook.left(at(110), &Sizes::default()), Some(Duration::ZERO));
    }

    #[test]
    fn the_largest_are_known_and_of_the_others_the_average() {
        assert_eq!(Sizes::of(&[]).all, 0.0);
        let names: Vec<String> = (0..KNOWN + 2).map(|nr| format!("user{nr}")).collect();
        let size = |nr: usize| if nr < KNOWN { 100 } else { (KNOWN + 2 - nr) as u64 * 2 };
        let sized: Vec<_> = names.iter().enumerate().map(|(nr, n)| (size(nr), &**n)).collect();
        let sizes = Sizes::of(&sized);
        let of = |nr: usize| sizes.size(&Owner::from(names[nr].as_str()));
        assert_eq!((of(0), of(KNOWN - 1), of(KNOWN), of(KNOWN + 1)), (100.0, 100.0, 3.0, 3.0));
        assert_eq!((sizes.size(&Owner::Shared), sizes.all), (0.0, KNOWN as f64 * 100.0 + 6.0));
    }
}
