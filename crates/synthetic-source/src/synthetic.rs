//! All users: which were changed, and which are in memory.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cyrus_types::{LogEntry, NameRules, Owner};

use crate::change::{Change, Changer};
use crate::mailbox::Flags;
use crate::plan::Plan;
use crate::random::{Random, mix};
use crate::user::{self, User};

/// How many records of unchanged users are kept in memory, about 100 bytes each. The users in flight should fit.
const RECORDS: usize = 200_000;

/// A master whose users are made from a seed, in memory. A user is made when it is asked for, and made again later if it was
/// not changed meanwhile; so memory grows with the users that were changed, and not with all.
#[derive(Debug)]
pub struct Synthetic {
    pub(crate) plan: Plan,
    pub(crate) rules: NameRules,
    pub(crate) flags: Arc<Flags>,
    users: Mutex<Users>,
    pub(crate) locked: Arc<Mutex<HashSet<Owner>>>,
}

#[derive(Debug)]
struct Users {
    random: Random,
    changed: HashMap<usize, Arc<User>>,
    unchanged: VecDeque<(usize, Arc<User>)>,
    /// Records of those.
    records: usize,
}

/// What a step did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// To whom.
    pub userid: String,
    /// The changes, in order.
    pub changes: Vec<Change>,
}

impl Step {
    /// The lines that Cyrus would write into its sync log.
    pub fn log(&self) -> impl Iterator<Item = LogEntry> + '_ {
        self.changes.iter().map(|change| change.log_entry(&self.userid))
    }
}

impl Synthetic {
    /// These users. Nothing is made yet.
    #[must_use]
    pub fn new(plan: Plan) -> Synthetic {
        Synthetic {
            plan,
            rules: NameRules::default(),
            flags: Arc::default(),
            users: Mutex::new(Users {
                random: Random::new(mix(&[plan.seed, u64::MAX])),
                changed: HashMap::new(),
                unchanged: VecDeque::new(),
                records: 0,
            }),
            locked: Arc::default(),
        }
    }

    /// The user ids, in order.
    pub fn userids(&self) -> impl Iterator<Item = String> + use<> {
        (0..self.plan.users).map(user::userid)
    }

    /// Changes one user by up to four changes. The same plan and the same number of steps give the same users. A mailbox that
    /// is open stays as it is for whoever has it open.
    pub fn step(&self) -> Step {
        let (number, mut random, changes) = {
            let mut users = lock(&self.users);
            let number = users.random.below(self.plan.users);
            let changes = 1 + users.random.below(4);
            (number, Random::new(users.random.next()), changes)
        };
        let mut changed = User::clone(&self.user(number));
        let mut changer = Changer {
            plan: &self.plan,
            rules: &self.rules,
            flags: &self.flags,
            random: &mut random,
            user: &mut changed,
        };
        let changes = (0..changes).filter_map(|_| changer.change()).collect();
        let userid = changed.userid.to_string();
        lock(&self.users).changed.insert(number, Arc::new(changed));
        Step { userid, changes }
    }

    /// A user by number, as it is now.
    pub(crate) fn user(&self, number: usize) -> Arc<User> {
        if let Some(known) = lock(&self.users).known(number) {
            return known;
        }
        // Others don't wait meanwhile.
        let made = Arc::new(User::make(&self.plan, &self.rules, &self.flags, number));
        lock(&self.users).keep(number, made)
    }

    /// The same by user id; `None` if there is no such user.
    pub(crate) fn user_named(&self, userid: &str) -> Option<Arc<User>> {
        let number = user::number_of(userid).filter(|number| *number < self.plan.users)?;
        Some(self.user(number))
    }
}

impl Users {
    fn known(&self, number: usize) -> Option<Arc<User>> {
        let unchanged = || self.unchanged.iter().find(|(n, _)| *n == number).map(|(_, user)| user);
        self.changed.get(&number).or_else(unchanged).cloned()
    }

    /// Keeps a user that was made, unless another thread was faster.
    fn keep(&mut self, number: usize, made: Arc<User>) -> Arc<User> {
        if let Some(known) = self.known(number) {
            return known;
        }
        self.records += made.records();
        self.unchanged.push_back((number, made.clone()));
        while self.records > RECORDS && self.unchanged.len() > 1 {
            if let Some((_, oldest)) = self.unchanged.pop_front() {
                self.records -= oldest.records();
            }
        }
        made
    }
}

/// Takes a lock. Nothing panics while it is held.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
