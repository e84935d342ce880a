//! How many users may be looked at ahead of those that are worked on.
//!
//! A replica that is far away is busy only if many questions are in flight: it needs less than a round trip of 50 ms for a
//! hundred users of four mailboxes each. But both sides' headers of each user are in memory, so the bound is on mailboxes.
//! How many the next user has is unknown; the mean of the users before is used instead.

/// At most this many users, whatever their size.
const USERS: usize = 160;
/// At most this many for each job: a run with few jobs should not load the replica.
const USERS_PER_JOB: usize = 10;
/// At most this many mailboxes at a time: about 15 MB, both sides together.
const MAILBOXES: u64 = 8_000;
/// The assumed size of a user before the first was looked at.
const FIRST_GUESS: u64 = 100;

/// The bound, and the numbers that it is computed from.
#[derive(Debug)]
pub(crate) struct Ahead {
    jobs: usize,
    users: u64,
    mailboxes: u64,
}

impl Ahead {
    pub(crate) fn new(jobs: usize) -> Ahead {
        Ahead { jobs, users: 0, mailboxes: 0 }
    }

    /// The most that may ever be in flight.
    pub(crate) fn most(jobs: usize) -> usize {
        jobs + (USERS_PER_JOB * jobs).min(USERS)
    }

    /// A user with this many mailboxes was looked at. A user that failed before has zero, which says nothing.
    pub(crate) fn looked_at(&mut self, mailboxes: usize) {
        self.users += u64::from(mailboxes > 0);
        self.mailboxes += mailboxes as u64;
    }

    /// How many users may be in flight now, including those that are worked on.
    pub(crate) fn in_flight(&self) -> usize {
        let mean = self.mailboxes.checked_div(self.users).unwrap_or(FIRST_GUESS).max(1);
        let fit = usize::try_from(MAILBOXES / mean).unwrap_or(USERS);
        Ahead::most(self.jobs).min(self.jobs + fit.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_users_are_many_and_large_ones_few() {
        let mut ahead = Ahead::new(16);
        assert_eq!(ahead.in_flight(), 16 + 80, "nothing is known yet");
        ahead.looked_at(0);
        assert_eq!(ahead.in_flight(), 16 + 80, "nor after one that failed");
        ahead.looked_at(4);
        assert_eq!(ahead.in_flight(), 16 + 160);
        ahead.looked_at(2_000);
        assert_eq!(ahead.in_flight(), 16 + 7);
        ahead.looked_at(1_000_000);
        assert_eq!(ahead.in_flight(), 16 + 1);
        let mut one = Ahead::new(1);
        one.looked_at(1);
        assert_eq!(one.in_flight(), 11);
    }
}
