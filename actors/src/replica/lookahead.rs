//! How many users may be looked at ahead of those that are worked on.
//!
//! A replica that is far away is kept busy only if many questions are under way: a hundred users of four mailboxes
//! each take it less time than a round trip of 50 ms. But of each both sides' headers are in memory, so
//! what is bounded is mailboxes. How many the next user has is not known; the mean of those before is.

/// So many users at most, whatever their size.
const USERS: usize = 160;
/// So many for each job: a run with few jobs is to go easy on the replica.
const USERS_PER_JOB: usize = 10;
/// So many mailboxes at a time: some 15 MB, both sides together.
const MAILBOXES: u64 = 8_000;
/// What a user is taken to have before the first was looked at.
const FIRST_GUESS: u64 = 100;

/// The bound, and what it is learnt from.
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

    /// A user with so many mailboxes was looked at. None were seen of one that failed before, which tells nothing.
    pub(crate) fn looked_at(&mut self, mailboxes: usize) {
        self.users += u64::from(mailboxes > 0);
        self.mailboxes += mailboxes as u64;
    }

    /// How many users may be in flight now, those that are worked on included.
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
