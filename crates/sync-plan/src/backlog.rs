//! The backlog: what is to be done and has not been started, merged, by user. The sync log fills it with entries, a list with
//! the tasks of its users.
//!
//! ```text
//!   log: entry --add---.
//!                       tasks by user --take_next--> WorkUnit (one user, or some whom a rename links) --done--> gone
//!   list: tasks --give-'     ^                    |
//!                            '----- put back -----'  failed: rests until it is woken
//! ```
//! The works of one user never overlap and keep their order; works of different users are independent. Each call costs
//! about the same however much is waiting, so that a million entries are merged in a second or two. A mailbox that fails
//! alone is set aside: it rests alone, and stays in the log. Which task includes which: UNUSER includes all tasks of its
//! user, USER all except UNUSER, META the user's SEEN and SUB; each name is kept once.
//!
//! Modelled on `imap/sync_support.c:sync_do_reader` of cyrus-imapd 3.6.1, which searches lists instead.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use cyrus_types::{LogEntry, MailboxName, NameRules, Owner};

mod tasks;

pub use self::tasks::{Tasks, WorkUnit};
use self::tasks::{companions, with_companions};

/// How many users may be linked by messages that were copied or moved from one to the other; renames link more.
const LINKED: usize = 16;

/// The tasks of all users.
#[derive(Debug)]
pub struct Backlog {
    rules: NameRules,
    tasks: HashMap<Owner, Tasks>,
    /// Users with tasks, in order of arrival.
    queue: VecDeque<Owner>,
    /// Users whose turn came while they, or a user linked with them, were busy: under the busy one.
    parked: HashMap<Owner, Vec<Owner>>,
    /// Users that are being worked on, rest or wait for a lock.
    busy: HashSet<Owner>,
    /// Those of them that rest or wait: no other user waits for them, even if linked.
    stuck: HashSet<Owner>,
    /// Companions of works in progress: somebody else's work has, or is about to take, these users' locks.
    lent: HashSet<Owner>,
    /// Works in progress, by their keys.
    under_way: HashMap<Owner, Arc<WorkUnit>>,
    /// Single objects that rest while everything else of their users goes on: the user, and since when the entry is open.
    aside: HashMap<LogEntry, (Owner, Option<Instant>)>,
    /// When the last entry was added.
    now: Option<Instant>,
}

impl Backlog {
    /// An empty backlog of a server with these rules for names.
    #[must_use]
    pub fn new(rules: NameRules) -> Backlog {
        Backlog {
            rules,
            tasks: HashMap::new(),
            queue: VecDeque::new(),
            parked: HashMap::new(),
            busy: HashSet::new(),
            stuck: HashSet::new(),
            lent: HashSet::new(),
            under_way: HashMap::new(),
            aside: HashMap::new(),
            now: None,
        }
    }

    /// Adds tasks that a list gives now.
    pub fn give(&mut self, owner: &Owner, tasks: Tasks, now: Instant) {
        self.now = Some(now);
        self.of(owner).merge(tasks);
    }

    /// Adds an entry that was read now.
    pub fn add(&mut self, entry: &LogEntry, now: Instant) {
        self.now = Some(now);
        match entry {
            LogEntry::User(user) => {
                self.of(&user.as_str().into()).merge(Tasks { whole: true, ..Tasks::default() })
            }
            LogEntry::Unuser(user) => {
                self.of(&user.as_str().into()).merge(Tasks { unuser: true, ..Tasks::default() })
            }
            LogEntry::Meta(user) | LogEntry::Seen(user, _) | LogEntry::Sub(user, _) => {
                let tasks = self.of(&user.as_str().into());
                tasks.meta |= !(tasks.whole || tasks.unuser);
            }
            LogEntry::Annotation(None) => self.of(&Owner::Shared).server = true,
            // A change to a resting object waits with it; a deletion or a rename does not, because it may solve the
            // problem.
            LogEntry::Mailbox(_) if self.aside.contains_key(entry) => {}
            LogEntry::Mailbox(name)
            | LogEntry::Unmailbox(name)
            | LogEntry::Annotation(Some(name)) => {
                let owner = name.owner(&self.rules);
                self.add_mailbox(&owner, name);
                let tasks = self.of(&owner);
                if matches!(entry, LogEntry::Unmailbox(_)) && tasks.mailboxes.contains(name) {
                    tasks.removed.insert(name.clone());
                }
            }
            LogEntry::Quota(root) => {
                let owner = self.rules.parse_internal(root).owner();
                let tasks = self.of(&owner);
                if !(tasks.whole || tasks.unuser || tasks.quotas.contains(root.as_str())) {
                    tasks.quotas.insert(root.as_str().into());
                }
            }
            LogEntry::DoubleMailbox(from, to) => self.add_pair(from, to, LINKED),
            LogEntry::Rename(from, to) => self.add_pair(from, to, usize::MAX),
        }
    }

    fn add_pair(&mut self, from: &MailboxName, to: &MailboxName, most: usize) {
        let (old, new) = (from.owner(&self.rules), to.owner(&self.rules));
        self.add_mailbox(&old, from);
        self.add_mailbox(&new, to);
        if old != new && self.of(&old).links.len().max(self.of(&new).links.len()) < most {
            self.of(&old).links.insert(new.clone());
            self.of(&new).links.insert(old);
        }
    }

    fn add_mailbox(&mut self, owner: &Owner, name: &MailboxName) {
        let tasks = self.of(owner);
        if !(tasks.whole || tasks.unuser || tasks.mailboxes.contains(name)) {
            tasks.mailboxes.insert(name.clone());
        }
    }

    /// A user's tasks that are not started yet.
    fn of(&mut self, owner: &Owner) -> &mut Tasks {
        self.tasks.entry(owner.clone()).or_insert_with(|| {
            self.queue.push_back(owner.clone());
            Tasks { since: self.now, ..Tasks::default() }
        })
    }

    /// The next work that can start. Its users are busy until it is done.
    pub fn take_next(&mut self) -> Option<Arc<WorkUnit>> {
        while let Some(owner) = self.queue.pop_front() {
            if !self.tasks.contains_key(&owner) {
                continue;
            }
            let together = self.linked(&owner);
            let companions =
                companions(together.iter().filter_map(|owner| self.tasks.get(owner)), &together);
            let busy =
                together.iter().find(|user| self.busy.contains(*user) || self.lent.contains(*user));
            if let Some(busy) = busy.or_else(|| companions.iter().find(|user| !self.may_lend(user)))
            {
                self.parked.entry(busy.clone()).or_default().push(owner);
                continue;
            }
            self.busy.extend(together.iter().cloned());
            self.lent.extend(companions.iter().cloned());
            let mut users = Vec::with_capacity(together.len() + companions.len());
            for owner in together {
                let tasks = self.tasks.remove(&owner).unwrap_or_default();
                users.push((owner, tasks));
            }
            let work = Arc::new(WorkUnit { users: with_companions(users, companions) });
            self.under_way.insert(work.key(), work.clone());
            return Some(work);
        }
        None
    }

    /// A user and all users that are linked with it, directly or not, and are not stuck.
    fn linked(&self, owner: &Owner) -> BTreeSet<Owner> {
        let mut all = BTreeSet::from([owner.clone()]);
        let mut open = vec![owner.clone()];
        while let Some(owner) = open.pop() {
            for other in self.tasks.get(&owner).into_iter().flat_map(|tasks| &tasks.links) {
                if !self.stuck.contains(other) && all.insert(other.clone()) {
                    open.push(other.clone());
                }
            }
        }
        all
    }

    /// Whether a work of others may take this user's lock. One that rests does not need it; one that waits for it does not
    /// have it.
    fn may_lend(&self, owner: &Owner) -> bool {
        !self.lent.contains(owner) && (!self.busy.contains(owner) || self.stuck.contains(owner))
    }

    /// Mailboxes that the work with this key names have these names now: another try looks for both.
    pub fn follow(&mut self, key: &Owner, names: impl IntoIterator<Item = MailboxName>) {
        let Some(work) = self.under_way.get_mut(key) else { return };
        let mut users = Arc::make_mut(work).users.iter_mut();
        if let Some((_, tasks)) = users.find(|(_, tasks)| !tasks.mailboxes.is_empty()) {
            tasks.mailboxes.extend(names);
        }
    }

    /// A work is done: its users' next tasks may start.
    pub fn done(&mut self, key: &Owner) {
        if let Some(work) = self.under_way.remove(key) {
            self.free(&work);
        }
    }

    /// A work failed: its tasks are to be done again, everything of each user if `whole`. Its users rest until
    /// [`Backlog::wake`]; users of whom only the locks were needed are free at once, and not in the result.
    pub fn put_back(&mut self, key: &Owner, whole: bool) -> Option<WorkUnit> {
        let work = self.under_way.remove(key)?;
        let work = self.alone(work);
        for (owner, tasks) in &work.users {
            let mut tasks = tasks.clone();
            if whole && !owner.is_shared() && !tasks.unuser {
                tasks.whole = true;
            }
            self.of(owner).merge(tasks);
        }
        self.stall(&work);
        Some(work)
    }

    /// A work without the users of whom only the locks were needed, which are free from now on.
    fn alone(&mut self, work: Arc<WorkUnit>) -> WorkUnit {
        let work = Arc::unwrap_or_clone(work);
        let (own, companions) = work.users.into_iter().partition(|(_, tasks)| !tasks.companion);
        self.free(&WorkUnit { users: companions });
        WorkUnit { users: own }
    }

    /// A work in progress waits for a lock: until [`Backlog::go_on`] no other user waits for its users, nor for those of
    /// whom it needs only the locks.
    pub fn waits(&mut self, key: &Owner) {
        let Some(work) = self.under_way.remove(key) else { return };
        let work = self.alone(work);
        self.stall(&work);
        self.under_way.insert(key.clone(), Arc::new(work));
    }

    /// A work that waited for a lock goes on. False if it can't: a user of whom it needs only the lock is worked on now.
    pub fn go_on(&mut self, key: &Owner) -> bool {
        let Some(work) = self.under_way.get(key).cloned() else { return true };
        let together: BTreeSet<Owner> = work.owners().cloned().collect();
        let companions = companions(work.users.iter().map(|(_, tasks)| tasks), &together);
        if !companions.iter().all(|owner| self.may_lend(owner)) {
            return false;
        }
        for owner in &together {
            self.stuck.remove(owner);
        }
        if !companions.is_empty() {
            self.lent.extend(companions.iter().cloned());
            let users = with_companions(work.users.clone(), companions);
            self.under_way.insert(key.clone(), Arc::new(WorkUnit { users }));
        }
        true
    }

    fn stall(&mut self, work: &WorkUnit) {
        for (owner, _) in &work.users {
            self.stuck.insert(owner.clone());
            self.unpark(owner);
        }
    }

    fn unpark(&mut self, owner: &Owner) {
        for waiting in self.parked.remove(owner).unwrap_or_default().into_iter().rev() {
            self.queue.push_front(waiting);
        }
    }

    /// A work of several users could not start because of one of them: each is to be worked on alone.
    pub fn split(&mut self, key: &Owner) {
        let Some(work) = self.put_back(key, false) else { return };
        for (owner, _) in &work.users {
            if let Some(tasks) = self.tasks.get_mut(owner) {
                tasks.links.retain(|other| !work.users.iter().any(|(user, _)| user == other));
            }
        }
        self.free(&work);
    }

    /// Resting users may be worked on again.
    pub fn wake(&mut self, work: &WorkUnit) {
        self.free(work);
    }

    fn free(&mut self, work: &WorkUnit) {
        for (owner, tasks) in &work.users {
            if tasks.companion {
                self.lent.remove(owner);
            } else {
                self.busy.remove(owner);
                self.stuck.remove(owner);
            }
            self.unpark(owner);
        }
    }

    /// These two users are to be worked on together from now on, until both are done: a mailbox moved from one to the
    /// other.
    pub fn link(&mut self, one: &Owner, other: &Owner) {
        self.of(one).links.insert(other.clone());
        if let Some(tasks) = self.tasks.get_mut(other) {
            tasks.links.insert(one.clone());
        }
    }

    /// Whether this user rests, waits for a lock, or was put back for good.
    #[must_use]
    pub fn is_stuck(&self, owner: &Owner) -> bool {
        self.stuck.contains(owner)
    }

    /// This work was put back and rests, but only a moment, for a user that it is linked with: who is linked with its users
    /// waits for it. If that user's rest ended within this one and it did not wait, they might miss each other for ever.
    pub fn rest_briefly(&mut self, work: &WorkUnit) {
        for owner in work.owners() {
            self.stuck.remove(owner);
        }
    }

    /// From now on this user's tasks, which were put back, need the lock of `other`, too, but are not done together with
    /// its tasks: each is reported by itself.
    pub fn accompany(&mut self, owner: &Owner, other: &Owner) {
        if let Some(tasks) = self.tasks.get_mut(owner) {
            tasks.companions.insert(other.clone());
        }
    }

    /// How many users' turns are still to come. Some of them may have to wait for others then.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// A mailbox, a quota root or the user's other data (`entry` says which) failed alone, while everything else of the
    /// work with this key was done: it rests until [`Backlog::take_up`].
    pub fn lay_aside(&mut self, owner: &Owner, entry: LogEntry, since: Option<Instant>) {
        let (_, first) = self.aside.entry(entry).or_insert_with(|| (owner.clone(), since));
        *first = first.iter().copied().chain(since).min();
    }

    /// A resting entry is to be done now.
    pub fn take_up(&mut self, entry: &LogEntry) {
        let Some((owner, since)) = self.aside.remove(entry) else { return };
        let now = self.now;
        if let Some(since) = since.or(now) {
            self.add(entry, since);
        }
        self.now = now;
        if let Some(tasks) = self.tasks.get_mut(&owner) {
            tasks.since = tasks.since.into_iter().chain(since).min();
        }
    }

    /// A resting entry is done, together with something else.
    pub fn forget_aside(&mut self, entry: &LogEntry) {
        self.aside.remove(entry);
    }

    /// When the oldest open entry was added.
    #[must_use]
    pub fn oldest(&self) -> Option<Instant> {
        let under_way = self.under_way.values().flat_map(|work| &work.users);
        let under_way = under_way.filter_map(|(_, tasks)| tasks.since);
        let aside = self.aside.values().filter_map(|(_, since)| *since);
        under_way.chain(self.tasks.values().filter_map(|tasks| tasks.since)).chain(aside).min()
    }

    /// Whether nothing is open or in progress.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.under_way.is_empty() && self.aside.is_empty()
    }

    /// How many users have something open or in progress.
    #[must_use]
    pub fn users(&self) -> usize {
        let is_busy = |user: &Owner| self.tasks.contains_key(user) || self.busy.contains(user);
        let aside: HashSet<&Owner> =
            self.aside.values().map(|(owner, _)| owner).filter(|owner| !is_busy(owner)).collect();
        let under_way = self.under_way.values().map(|work| work.users.len()).sum::<usize>();
        self.tasks.len() + under_way + aside.len()
    }

    /// All open entries, as log lines, including those in progress.
    pub fn entries(&self) -> impl Iterator<Item = LogEntry> + '_ {
        let under_way = self.under_way.values().flat_map(|work| work.entries());
        let waiting = self.tasks.iter().flat_map(|(owner, tasks)| tasks.entries(owner));
        under_way.chain(waiting).chain(self.aside.keys().cloned())
    }
}

#[cfg(test)]
#[path = "backlog_tests.rs"]
mod tests;
