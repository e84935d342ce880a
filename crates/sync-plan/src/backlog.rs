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

/// How many users may be linked by messages that were copied or moved from one to the other; renames link more.
const LINKED: usize = 16;

/// The tasks of one user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tasks {
    /// Remove the user from the replica, if it does not exist here.
    pub unuser: bool,
    /// Replicate everything of the user.
    pub whole: bool,
    /// Replicate the data outside mailboxes: subscriptions, seen state, scripts.
    pub meta: bool,
    /// Look at these names: new, changed, renamed or deleted mailboxes.
    pub mailboxes: HashSet<MailboxName>,
    /// Those of them that the log calls removed.
    pub removed: HashSet<MailboxName>,
    /// Compare these quota roots.
    pub quotas: HashSet<Arc<str>>,
    /// Replicate the server's annotations (of the shared mailboxes' tasks only).
    pub server: bool,
    /// When the first of these was added.
    pub since: Option<Instant>,
    /// Users to be worked on together with this one: a mailbox was renamed, or messages were copied or moved, from one to the
    /// other.
    links: BTreeSet<Owner>,
    /// Users whose sync locks these tasks need, while their own tasks stay apart.
    companions: BTreeSet<Owner>,
    /// No tasks at all: another user of the same work needs this one's sync lock.
    companion: bool,
}

impl Tasks {
    fn merge(&mut self, other: Tasks) {
        self.unuser |= other.unuser;
        self.whole |= other.whole;
        self.meta |= other.meta;
        self.server |= other.server;
        self.links.extend(other.links);
        self.companions.extend(other.companions);
        self.since = self.since.into_iter().chain(other.since).min();
        if self.unuser || self.whole {
            self.swallow();
        } else {
            self.mailboxes.extend(other.mailboxes);
            self.removed.extend(other.removed);
            self.quotas.extend(other.quotas);
        }
    }

    /// Everything of a user is to be done: other tasks are dropped. Links stay.
    fn swallow(&mut self) {
        self.meta = false;
        self.mailboxes = HashSet::new();
        self.removed = HashSet::new();
        self.quotas = HashSet::new();
    }

    /// These tasks as entries of the log.
    fn entries(&self, owner: &Owner) -> impl Iterator<Item = LogEntry> + use<> {
        let mut entries = Vec::new();
        let mut of_user = |is_set: bool, entry: fn(String) -> LogEntry| {
            let userid = owner.userid().filter(|_| is_set);
            entries.extend(userid.map(|userid| entry(userid.to_string())));
        };
        of_user(self.unuser, LogEntry::Unuser);
        of_user(self.whole, LogEntry::User);
        of_user(self.meta, LogEntry::Meta);
        if self.server {
            entries.push(LogEntry::Annotation(None));
        }
        // Both lines, as Cyrus logs a removal: the C client may be the next to read them, and does not look at mailboxes
        // that are logged as removed.
        entries.extend(self.removed.iter().cloned().map(LogEntry::Unmailbox));
        entries.extend(self.mailboxes.iter().cloned().map(LogEntry::Mailbox));
        entries.extend(self.quotas.iter().map(|root| LogEntry::Quota(root.to_string())));
        entries.into_iter()
    }
}

/// Work to be carried out as one: of one user, or of several that are linked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkUnit {
    /// Each user and its tasks, by user id; their locks are taken in this order.
    pub users: Vec<(Owner, Tasks)>,
}

impl WorkUnit {
    /// The first user with tasks: the key of the work, under which it is reported.
    #[must_use]
    pub fn key(&self) -> Owner {
        self.owners().next().cloned().unwrap_or(Owner::Shared)
    }

    /// The users with tasks; only the locks of the others are needed.
    pub fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.users.iter().filter(|(_, tasks)| !tasks.companion).map(|(owner, _)| owner)
    }

    fn entries(&self) -> impl Iterator<Item = LogEntry> + '_ {
        self.users.iter().flat_map(|(owner, tasks)| tasks.entries(owner))
    }
}

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
            let companions = self.companions(&together);
            let mut all = together.iter().chain(&companions);
            if let Some(busy) = all.find(|user| self.busy.contains(*user)) {
                self.parked.entry(busy.clone()).or_default().push(owner);
                continue;
            }
            let mut users = Vec::with_capacity(together.len() + companions.len());
            for owner in together {
                let tasks = self.tasks.remove(&owner).unwrap_or_default();
                users.push((owner, tasks));
            }
            let companion = || Tasks { companion: true, ..Tasks::default() };
            users.extend(companions.into_iter().map(|owner| (owner, companion())));
            users.sort_by(|(a, _), (b, _)| a.cmp(b));
            self.busy.extend(users.iter().map(|(owner, _)| owner.clone()));
            let work = Arc::new(WorkUnit { users });
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

    /// Users whose locks are needed for these users' tasks, too.
    fn companions(&self, together: &BTreeSet<Owner>) -> BTreeSet<Owner> {
        let tasks = together.iter().filter_map(|owner| self.tasks.get(owner));
        let companions = tasks.flat_map(|tasks| &tasks.companions);
        companions.filter(|owner| !together.contains(*owner)).cloned().collect()
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
        let mut work = Arc::unwrap_or_clone(self.under_way.remove(key)?);
        let (own, companions) = work.users.into_iter().partition(|(_, tasks)| !tasks.companion);
        self.free(&WorkUnit { users: companions });
        work.users = own;
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

    /// A work in progress waits for a lock: until [`Backlog::go_on`] no other user waits for its users.
    pub fn waits(&mut self, key: &Owner) {
        if let Some(work) = self.under_way.get(key).cloned() {
            self.stall(&work);
        }
    }

    /// A work that waited for a lock goes on.
    pub fn go_on(&mut self, key: &Owner) {
        for (owner, _) in self.under_way.get(key).into_iter().flat_map(|work| &work.users) {
            self.stuck.remove(owner);
        }
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
        for (owner, _) in &work.users {
            self.busy.remove(owner);
            self.stuck.remove(owner);
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
