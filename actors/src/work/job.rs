//! A work, and what was done for it so far: what the queues of both feeders hand out and take back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use cyrus_types::{MailboxName, Owner};
use sync_plan::backlog::{Tasks, WorkUnit};

use crate::monitor::report::Sent;

/// A work, and what was done for it so far.
#[derive(Debug)]
pub(crate) struct WorkJob<L> {
    /// For whom it is reported.
    pub(crate) owner: Owner,
    pub(crate) work: Arc<WorkUnit>,
    /// Locks that the work waited for and got, by user.
    pub(crate) locks: Vec<(Owner, L)>,
    /// A connection was lost while an answer about one of its users was due: they are asked about alone.
    pub(crate) alone: bool,
    /// How often it was tried.
    pub(crate) tries: u32,
    /// When the last try began; before the first one, when the work was given.
    pub(crate) since: Instant,
    pub(crate) sent: Sent,
    /// Why the last try failed.
    pub(crate) trouble: Option<String>,
    /// Becomes true when a change on the replica is started.
    pub(crate) begun: Arc<AtomicBool>,
}

impl<L> WorkJob<L> {
    /// A work that was not tried yet.
    pub(crate) fn new(work: Arc<WorkUnit>, since: Instant) -> WorkJob<L> {
        WorkJob {
            owner: work.key(),
            work,
            locks: Vec::new(),
            alone: false,
            tries: 0,
            since,
            sent: Sent::default(),
            trouble: None,
            begun: Arc::default(),
        }
    }

    /// Mailboxes that are named here have these names now; another try looks for both.
    pub(crate) fn follow(&mut self, names: BTreeSet<MailboxName>) {
        if names.is_empty() {
            return;
        }
        let work = Arc::make_mut(&mut self.work);
        let named = work.users.iter_mut().find(|(_, tasks)| !tasks.mailboxes.is_empty());
        if let Some((_, tasks)) = named {
            tasks.mailboxes.extend(names);
        }
    }

    /// A mailbox moved between this work's users and another one: they are worked on together from now on. False if they
    /// were already.
    pub(crate) fn link(&mut self, other: &Owner) -> bool {
        let work = Arc::make_mut(&mut self.work);
        match work.users.binary_search_by(|(owner, _)| owner.cmp(other)) {
            Ok(_) => false,
            Err(place) => {
                work.users.insert(place, (other.clone(), Tasks::default()));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::tasks::whole;

    #[test]
    fn a_followed_name_is_looked_for_by_the_next_try() {
        let name = MailboxName::new;
        let mut tasks = Tasks::default();
        tasks.mailboxes.insert(name("user.anna.old"));
        let work = WorkUnit { users: vec![("anna".into(), tasks)] };
        let mut job: WorkJob<()> = WorkJob::new(Arc::new(work), Instant::now());
        job.follow(BTreeSet::from([name("user.anna.new")]));
        let named = [name("user.anna.old"), name("user.anna.new")].into();
        assert_eq!(job.work.users[0].1.mailboxes, named);
        let mut all: WorkJob<()> = WorkJob::new(whole("bert".into()), Instant::now());
        all.follow(BTreeSet::from([name("user.bert.new")]));
        assert!(all.work.users[0].1.mailboxes.is_empty());
    }

    #[test]
    fn a_linked_user_is_locked_in_order_and_the_work_stays_the_same_users() {
        let mut job: WorkJob<()> = WorkJob::new(whole("bert".into()), Instant::now());
        assert!(job.link(&"anna".into()) && !job.link(&"anna".into()) && !job.link(&"bert".into()));
        let users: Vec<&str> = job.work.users.iter().map(|(owner, _)| owner.name()).collect();
        assert_eq!((users, job.owner.name()), (vec!["anna", "bert"], "bert"));
    }
}
