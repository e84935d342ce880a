//! The queue driven by random events, beside a small model of what was given and of the real locks.
//!
//! The driver does with each result what `work/outcomes.rs` does. It knows the truth: which entries are not done, who holds
//! which lock, and which users can't be worked on without another one's lock.

use std::collections::{BTreeMap, BTreeSet};

use cyrus_types::NameRules;

use super::*;
use crate::settings::Jitter;
use crate::user::tasks::whole;

/// Users of a run; few, so that they often meet.
const USERS: u64 = 8;
/// How often a user may be looked at in vain within a second, for want of another one's lock.
const VAIN: u32 = 12;

/// Xorshift: the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn one_in(&mut self, number: u64) -> bool {
        self.below(number) == 0
    }
}

/// An attempt that holds all its locks.
struct Attempt {
    job: WorkJob<()>,
    ends: Instant,
    /// How many entries had been added when it began.
    began: usize,
}

struct World {
    random: Random,
    queue: WorkQueue<()>,
    patience: Patience,
    skip_locked: bool,
    now: Instant,
    attempts: Vec<Attempt>,
    /// Those that wait for a lock of this user.
    waits: Vec<(WorkJob<()>, Owner)>,
    /// The locks that others hold, until then.
    others: BTreeMap<Owner, Instant>,
    skipped: HashSet<Owner>,
    /// The first can't be worked on without the lock of the second.
    moved: BTreeSet<(Owner, Owner)>,
    /// Nothing fails by chance any more.
    calm: bool,
    stopped: bool,
    /// Entries that are not done, and when each was added last.
    log: HashMap<LogEntry, usize>,
    added: usize,
    /// Users of a list that have not ended, and those that have.
    open: BTreeSet<Owner>,
    ended: Vec<Owner>,
    /// Users that rest, and until when.
    resting: BTreeMap<Owner, Instant>,
    /// Attempts in vain: in which second, and how many.
    vain: HashMap<Owner, (u64, u32)>,
    started: Instant,
}

fn user(number: u64) -> Owner {
    format!("u{number}").as_str().into()
}

impl World {
    fn new(seed: u64, patience: Patience) -> World {
        let mut random = Random(seed * 2 + 0x9e37_79b9_7f4a_7c15);
        // The first numbers of like seeds are alike.
        for _ in 0..8 {
            random.below(2);
        }
        let bounds = Bounds {
            in_flight: 1 + random.below(5) as usize,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            patience,
            jitter: if random.one_in(2) { Jitter::Off } else { Jitter::Seeded(seed) },
        };
        let now = Instant::now();
        let skip_locked = random.one_in(2);
        World {
            random,
            queue: WorkQueue::new(Backlog::new(NameRules::default()), bounds),
            patience,
            skip_locked,
            now,
            attempts: Vec::new(),
            waits: Vec::new(),
            others: BTreeMap::new(),
            skipped: HashSet::new(),
            moved: BTreeSet::new(),
            calm: false,
            stopped: false,
            log: HashMap::new(),
            added: 0,
            open: BTreeSet::new(),
            ended: Vec::new(),
            resting: BTreeMap::new(),
            vain: HashMap::new(),
            started: now,
        }
    }

    fn listed(&self) -> bool {
        self.patience == Patience::ByClass
    }

    fn anybody(&mut self) -> Owner {
        user(self.random.below(USERS))
    }

    fn add(&mut self) {
        let (one, other) = (self.anybody(), self.anybody());
        let name = |owner: &Owner, number| MailboxName::new(format!("user.{owner}.b{number}"));
        let number = self.random.below(3);
        let entry = match self.random.below(8) {
            0 => LogEntry::User(one.name().into()),
            1 => LogEntry::Meta(one.name().into()),
            2 => LogEntry::Rename(name(&one, number), name(&other, number)),
            _ => LogEntry::Mailbox(name(&one, number)),
        };
        self.queue.add(std::slice::from_ref(&entry), self.now);
        self.added += 1;
        let is_moved = matches!(entry, LogEntry::Rename(..)) && one != other;
        if is_moved && self.random.one_in(2) {
            self.moved.insert((one.clone(), other.clone()));
        }
        match entry {
            LogEntry::Rename(from, to) => {
                self.log.insert(LogEntry::Mailbox(from), self.added);
                self.log.insert(LogEntry::Mailbox(to), self.added);
            }
            entry => {
                self.log.insert(entry, self.added);
            }
        }
    }

    fn give_list(&mut self) {
        for number in 0..USERS {
            if self.random.one_in(3) {
                let (one, other) = (user(number), self.anybody());
                if one != other {
                    self.moved.insert((one, other));
                }
            }
            let owner = user(number);
            self.queue.give(&whole(owner.clone()), self.now);
            self.open.insert(owner);
        }
    }

    /// Who, of ours, holds this lock.
    fn is_held(&self, owner: &Owner) -> bool {
        let holds = |job: &WorkJob<()>| job.locks.iter().any(|(held, ())| held == owner);
        self.attempts.iter().any(|attempt| holds(&attempt.job)) || self.queue.turns.holds(owner)
    }

    fn start(&mut self) {
        let mut count = 0;
        while let Some(mut job) = self.queue.start(self.now) {
            count += 1;
            assert!(count < 1000, "starts for ever");
            assert!(!self.stopped, "started after a stop");
            self.resting.remove(&job.owner);
            if self.begin(&mut job) {
                let long = self.random.one_in(20);
                let time = if long { 2_000 } else { 1 + self.random.below(40) };
                let ends = self.now + Duration::from_millis(time);
                self.attempts.push(Attempt { job, ends, began: self.added });
            }
        }
        self.check();
    }

    /// Takes the locks; false if that ends it.
    fn begin(&mut self, job: &mut WorkJob<()>) -> bool {
        let users: Vec<Owner> = job.work.users.iter().map(|(owner, _)| owner.clone()).collect();
        for owner in users {
            if job.locks.iter().any(|(held, ())| *held == owner) {
                continue;
            }
            if self.skipped.contains(&owner) {
                job.locks.clear();
                self.skip(job);
                return false;
            }
            let ours = self.is_held(&owner);
            assert!(!(ours && self.skip_locked), "{owner}: our own lock is called somebody else's");
            if ours || self.others.contains_key(&owner) {
                job.locks.clear();
                self.busy(job, owner);
                return false;
            }
            job.locks.push((owner, ()));
        }
        true
    }

    fn taken(job: &mut WorkJob<()>) -> WorkJob<()> {
        let work = job.work.clone();
        let again = WorkJob { owner: job.owner.clone(), ..WorkJob::new(work, job.since) };
        std::mem::replace(job, again)
    }

    fn busy(&mut self, job: &mut WorkJob<()>, owner: Owner) {
        let job = World::taken(job);
        if job.work.owners().count() > 1 {
            self.queue.split(&job, self.now);
        } else if self.skip_locked {
            self.queue.deferred(&job, Kind::Locked, "locked", self.now);
            self.end_in_a_list(&job);
        } else if self.queue.waits_for_lock(&job) {
            self.waits.push((job, owner));
        }
    }

    fn skip(&mut self, job: &WorkJob<()>) {
        if job.work.owners().count() > 1 {
            self.queue.split(job, self.now);
            return;
        }
        self.queue.deferred(job, Kind::Skipped, "skipped", self.now);
        self.end_in_a_list(job);
    }

    fn end_in_a_list(&mut self, job: &WorkJob<()>) {
        if self.listed() {
            assert!(self.open.remove(&job.owner), "{} ended twice", job.owner);
            self.ended.push(job.owner.clone());
        }
    }

    /// An attempt has come to its end.
    fn finish(&mut self, at: usize) {
        let Attempt { mut job, began, .. } = self.attempts.swap_remove(at);
        job.locks.clear();
        let sent = Sent { messages: self.random.below(3), ..Sent::default() };
        self.queue.note(&job, sent, Vec::new());
        let locked: HashSet<Owner> =
            job.work.users.iter().map(|(owner, _)| owner.clone()).collect();
        let needs = |(one, other): &&(Owner, Owner)| {
            job.work.owners().any(|owner| owner == one) && !locked.contains(other)
        };
        if let Some((one, other)) = self.moved.iter().find(needs).cloned() {
            self.look_in_vain(&job, &one, &other);
            return;
        }
        let dice = if self.calm { 99 } else { self.random.below(100) };
        match dice {
            0..10 => self.queue.not_begun(&job),
            10..20 => self.fail(&job, Class::Transient),
            20..25 => self.fail(&job, Class::Permanent),
            25..30 if !self.listed() => self.done_but_for_one(&job, began),
            _ => self.done(&job, Vec::new(), began),
        }
    }

    fn look_in_vain(&mut self, job: &WorkJob<()>, one: &Owner, other: &Owner) {
        let second = (self.now - self.started).as_secs();
        let vain = self.vain.entry(one.clone()).or_default();
        *vain = if vain.0 == second { (second, vain.1 + 1) } else { (second, 1) };
        assert!(vain.1 <= VAIN, "{one} is looked at again and again for want of {other}'s lock");
        if !self.queue.linked(job, one, other, self.now) {
            self.fail(job, Class::Transient);
        }
    }

    fn fail(&mut self, job: &WorkJob<()>, class: Class) {
        if job.work.owners().count() > 1 && !self.queue.was_split(job, self.now) {
            self.queue.split(job, self.now);
            return;
        }
        let whole = !self.listed() && self.random.one_in(4);
        let reason = Reason { words: "no", class, links_fault: self.random.one_in(2) };
        let (pause, _) = self.queue.failed(job, reason, whole, self.now);
        match pause {
            Some(pause) => drop(self.resting.insert(job.owner.clone(), self.now + pause)),
            None => self.end_in_a_list(job),
        }
    }

    fn done_but_for_one(&mut self, job: &WorkJob<()>, began: usize) {
        let mut mailboxes = job.work.users.iter().flat_map(|(owner, tasks)| {
            tasks.mailboxes.iter().map(move |name| (owner.clone(), name.clone()))
        });
        let Some((owner, name)) = mailboxes.next() else {
            return self.done(job, Vec::new(), began);
        };
        let entry = LogEntry::Mailbox(name);
        self.done(job, vec![Failure { owner, entry, reason: "bad".into() }], began);
    }

    fn done(&mut self, job: &WorkJob<()>, failures: Vec<Failure>, began: usize) {
        let failed: Vec<LogEntry> = failures.iter().map(|failure| failure.entry.clone()).collect();
        self.queue.done(job, failures, self.now);
        self.end_in_a_list(job);
        for (owner, tasks) in job.work.own() {
            let covers = |entry: &LogEntry| match entry {
                LogEntry::User(user) => tasks.whole && user == owner.name(),
                LogEntry::Meta(user) => (tasks.whole || tasks.meta) && user == owner.name(),
                LogEntry::Mailbox(name) => {
                    let is_its = name.owner(&NameRules::default()) == *owner;
                    is_its && (tasks.whole || tasks.mailboxes.contains(name))
                }
                _ => false,
            };
            self.log
                .retain(|entry, added| !covers(entry) || *added > began || failed.contains(entry));
            self.moved.retain(|(one, other)| {
                let both = [one, other].map(|of| job.work.users.iter().any(|(user, _)| user == of));
                both != [true, true]
            });
        }
    }

    /// What must be true at any time, after everything that can start was started.
    fn check(&self) {
        let mut in_flight = BTreeSet::new();
        for attempt in &self.attempts {
            for (owner, _) in &attempt.job.work.users {
                assert!(in_flight.insert(owner), "{owner} is in flight twice");
            }
        }
        assert_eq!(self.queue.in_flight(), self.attempts.len());
        if !self.listed() {
            self.check_entries();
        } else if self.queue.turns.has_room() {
            self.open.iter().for_each(|owner| self.check_rule(owner));
        }
    }

    /// The entries of the queue cover all that is not done.
    fn check_entries(&self) {
        let entries: HashSet<LogEntry> = self.queue.backlog.entries().collect();
        for entry in self.log.keys() {
            let owner = match entry {
                LogEntry::Mailbox(name) => name.owner(&NameRules::default()),
                LogEntry::Meta(user) | LogEntry::User(user) => user.as_str().into(),
                _ => Owner::Shared,
            };
            let of_user = LogEntry::User(owner.name().into());
            assert!(entries.contains(entry) || entries.contains(&of_user), "{entry} is struck out");
        }
    }

    /// A user waits for nothing but its own rest, and locks that it needs.
    fn check_rule(&self, owner: &Owner) {
        let others = self.moved.iter().filter(|(one, _)| one == owner).map(|(_, other)| other);
        let mut locks = others.chain([owner]);
        let is_taken = locks.any(|lock| self.others.contains_key(lock) || self.is_held(lock));
        let flies = self.attempts.iter().any(|attempt| attempt.job.owner == *owner);
        let waits = self.waits.iter().any(|(job, _)| job.owner == *owner);
        let rests = self.resting.contains_key(owner);
        assert!(is_taken || flies || waits || rests, "{owner} waits for nothing");
    }

    /// Goes to the next moment at which something happens; false if nothing will.
    fn pass_time(&mut self) -> bool {
        let ends = self.attempts.iter().map(|attempt| attempt.ends);
        let others = self.others.values().copied();
        let polled = (!self.waits.is_empty()).then(|| self.now + Duration::from_millis(20));
        let Some(next) = ends.chain(others).chain(polled).chain(self.queue.wakes_at()).min() else {
            return false;
        };
        self.now = self.now.max(next);
        let now = self.now;
        self.others.retain(|_, until| *until > now);
        while let Some(at) = self.attempts.iter().position(|attempt| attempt.ends <= now) {
            self.finish(at);
        }
        let mut at = 0;
        while let Some((_, owner)) = self.waits.get(at) {
            if self.is_held(owner) || self.others.contains_key(owner) {
                at += 1;
                continue;
            }
            let (mut job, owner) = self.waits.remove(at);
            if self.skipped.contains(&owner) {
                self.queue.waited_in_vain(&job, Kind::Skipped, "skipped", now);
                self.end_in_a_list(&job);
            } else {
                job.locks = vec![(owner, ())];
                self.queue.got_lock(job);
            }
        }
        true
    }

    /// Something from outside happens.
    fn disturb(&mut self) {
        let owner = self.anybody();
        match self.random.below(6) {
            0 if !self.is_held(&owner) => {
                let time = Duration::from_millis(self.random.below(4_000));
                self.others.insert(owner, self.now + time);
            }
            1 => {
                self.skipped.insert(owner);
            }
            2 => self.skipped.clear(),
            _ if !self.listed() => self.add(),
            _ => {}
        }
    }

    fn stop(&mut self) {
        self.stopped = true;
        self.queue.stop();
        self.waits.clear();
    }

    /// Runs until nothing happens any more.
    fn run(&mut self, disturbances: u64, stop_after: Option<u64>) {
        for step in 0.. {
            assert!(step < 60_000, "there is no end");
            if step < disturbances {
                self.disturb();
            } else if self.patience == Patience::Endless {
                self.calm = true;
                self.skipped.clear();
            }
            if stop_after == Some(step) {
                self.stop();
            }
            self.start();
            let nothing_comes = !self.pass_time();
            if nothing_comes && step >= disturbances {
                break;
            }
        }
        self.start();
        assert!(self.queue.is_at_rest(), "it hangs");
    }
}

#[test]
fn every_user_of_a_list_ends_once_and_waits_for_nobody() {
    for seed in 0..150 {
        let mut world = World::new(seed, Patience::ByClass);
        world.give_list();
        world.run(60, None);
        assert!(world.open.is_empty(), "seed {seed}: {:?}", world.open);
        assert!(world.queue.is_empty() && world.queue.troubles().is_empty(), "seed {seed}");
        assert!(world.queue.sent.is_empty() && world.ended.len() as u64 == USERS, "seed {seed}");
    }
}

#[test]
fn after_a_stop_each_user_of_a_list_has_ended_once_or_not_at_all() {
    for seed in 0..150 {
        let mut world = World::new(seed, Patience::ByClass);
        world.give_list();
        let after = world.random.below(60);
        world.run(60, Some(after));
        let tried: BTreeSet<Owner> = world.queue.troubles.keys().cloned().collect();
        assert!(tried.is_subset(&world.open), "seed {seed}");
        let failed = world.queue.never_tried_again(world.now);
        let failed: BTreeSet<Owner> = failed.into_iter().map(|user| user.owner).collect();
        assert_eq!(failed, tried, "seed {seed}");
    }
}

#[test]
fn everything_in_a_log_is_done_in_the_end() {
    for seed in 0..60 {
        let mut world = World::new(seed, Patience::Endless);
        world.run(150, None);
        assert!(world.log.is_empty(), "seed {seed}: {:?}", world.log);
        assert!(world.queue.is_empty() && world.queue.troubles().is_empty(), "seed {seed}");
        assert!(world.queue.sent.is_empty(), "seed {seed}");
    }
}

#[test]
fn one_pass_over_a_log_ends_and_keeps_what_is_not_done() {
    for seed in 0..60 {
        let mut world = World::new(seed, Patience::Pass);
        let after = world.random.below(200);
        world.run(100, (seed % 3 == 0).then_some(after));
        world.check_entries();
        assert!(world.stopped || world.log.is_empty() || !world.queue.troubles().is_empty());
    }
}
