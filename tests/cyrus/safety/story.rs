//! What happens to a user on both sides before a run: a seed makes a story, and a story can be read.
//!
//! Few names and few messages are used, so that names are used again, folders cross, and both sides touch the same objects.
//! A story does not know whether its steps succeed: a server that says NO is part of it.

use std::collections::BTreeSet;
use std::fmt;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The folders of all stories.
pub(super) const FOLDERS: [&str; 5] = ["INBOX", "INBOX/a", "INBOX/b", "INBOX/a/x", "INBOX/c"];

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Master,
    Replica,
}

/// Which of a folder's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    First,
    Last,
    All,
}

type Folder = &'static str;

/// An operation on one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Append(Folder),
    Flag(Folder, Which, &'static str),
    Expunge(Folder, Which),
    Copy(Folder, Which, Folder),
    Move(Folder, Which, Folder),
    Create(Folder),
    Delete(Folder),
    Rename(Folder, Folder),
    Subscribe(Folder),
    Unsubscribe(Folder),
    /// Sets a quota root's limit; `None` removes the limits.
    Quota(Folder, Option<u64>),
    Annotate(Folder, u32),
    Acl(Folder, &'static str),
    DeleteUser,
    CreateUser,
    /// `cyr_expire -X 0 -D 0 -E 1`
    Expire,
    /// `reconstruct` of one folder.
    Reconstruct(Folder),
    /// `reconstruct` after its cyrus.index was lost.
    ReconstructFromNothing(Folder),
    /// `ctl_conversationsdb` with this option.
    Conversations(&'static str),
    /// The folder returns to its state at the last run that ended well, as from a backup.
    GoBack(Folder),
    /// An admin gives the folder to the user's friend.
    GiveAway(Folder),
}

/// Which program replicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Ours,
    Cyrus,
}

/// One step of a story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    At(Side, Work),
    /// A run meanwhile, with `-O` or without.
    Run(By, bool),
}

/// A damage to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Missing,
    Empty,
    Half,
    Garbage,
    /// Nobody may read it.
    Closed,
}

/// The damaged object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Index(Folder),
    Header(Folder),
    Annotations(Folder),
    Message(Folder, Which),
    /// A mailbox's whole folder.
    Place(Folder),
    Subscriptions,
    Seen,
    Counters,
    QuotaRoot(Folder),
    Mboxlist,
}

/// A damage to the master.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) target: Target,
    pub(super) how: How,
}

/// How the examined run is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Plain,
    OneWay,
    Overwrite,
}

/// How the run selects its users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whom {
    /// `-u USER`
    User,
    /// `-A PREFIX`: the user and its friend.
    Prefix,
    /// `-R -f FILE`: what the master logged since the last run that ended well.
    Log,
}

/// A user's story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Story {
    pub(super) seed: u64,
    pub(super) steps: Vec<Step>,
    pub(super) damages: Vec<Damage>,
    pub(super) mode: Mode,
    pub(super) whom: Whom,
}

/// The settings of a pair of servers: a world has many stories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    pub(super) immediate: bool,
    pub(super) conversations: bool,
}

impl Kind {
    /// The kind of world that a seed's story plays in.
    pub(super) fn of(seed: u64) -> Kind {
        let world = seed / 4;
        Kind { immediate: world % 2 == 1, conversations: (world / 2).is_multiple_of(2) }
    }
}

impl Story {
    /// The story of a seed.
    pub(super) fn of(seed: u64) -> Story {
        let mut teller = Teller { rng: StdRng::seed_from_u64(seed), there: Default::default() };
        let mut steps = vec![Step::At(Side::Master, Work::CreateUser)];
        for name in &FOLDERS[1..] {
            if teller.rng.random_ratio(1, 2) {
                steps.push(teller.at(Side::Master, Work::Create(name)));
            }
        }
        for _ in 0..teller.between(3, 12) {
            let work = teller.work(Side::Master, true);
            steps.push(teller.at(Side::Master, work));
        }
        steps.push(teller.run(false));
        // Half of the stories never touch the replica: those must end well once the damage is repaired.
        let both = teller.rng.random_ratio(1, 2);
        for _ in 0..teller.between(2, 14) {
            let there = both && teller.rng.random_ratio(2, 5);
            let side = if there { Side::Replica } else { Side::Master };
            let work = teller.work(side, false);
            steps.push(teller.at(side, work));
            if teller.rng.random_ratio(1, 12) {
                let one_way = teller.rng.random_ratio(1, 4);
                steps.push(teller.run(one_way));
            }
        }
        let damages = match teller.between(0, 9) {
            0..=3 => 0,
            4..=7 => 1,
            _ => 2,
        };
        let damages = (0..damages).map(|_| teller.damage(&steps)).collect();
        let mode = match teller.between(0, 9) {
            0..=4 => Mode::Plain,
            5..=8 => Mode::OneWay,
            _ => Mode::Overwrite,
        };
        let whom = teller.one(&[Whom::User, Whom::User, Whom::User, Whom::Prefix, Whom::Log]);
        Story { seed, steps, damages, mode, whom }
    }

    /// Whether anybody but a run changed the replica, or a run may have changed the master.
    pub(super) fn is_one_way(&self) -> bool {
        !self.steps.iter().any(|step| match step {
            Step::At(Side::Replica, _) => true,
            // Lowers modseqs, so that the replica is ahead.
            Step::At(
                _,
                Work::ReconstructFromNothing(_) | Work::Conversations(_) | Work::GoBack(_),
            ) => true,
            Step::At(..) | Step::Run(..) => false,
        })
    }
}

/// Makes a story, with a rough idea of what is where: most steps should find their object.
struct Teller {
    rng: StdRng,
    /// The folders that each side is likely to have besides the INBOX.
    there: [BTreeSet<Folder>; 2],
}

impl Teller {
    fn between(&mut self, low: u32, high: u32) -> u32 {
        self.rng.random_range(low..=high)
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.rng.random_range(0..of.len())]
    }

    fn which(&mut self) -> Which {
        self.one(&[Which::First, Which::Last, Which::Last, Which::All])
    }

    /// A run of either program, after which both sides are probably equal.
    fn run(&mut self, one_way: bool) -> Step {
        self.there[1] = self.there[0].clone();
        Step::Run(self.one(&[By::Ours, By::Cyrus]), one_way)
    }

    /// A step, and its effect on the folders.
    fn at(&mut self, side: Side, work: Work) -> Step {
        let there = &mut self.there[side as usize];
        match work {
            Work::Create(name) => drop(there.insert(name)),
            Work::Delete(name) => drop(there.remove(name)),
            Work::Rename(from, to) if there.contains(from) && !there.contains(to) => {
                there.remove(from);
                there.insert(to);
                if from == "INBOX/a" {
                    there.remove("INBOX/a/x");
                }
            }
            Work::DeleteUser => there.clear(),
            Work::GiveAway(name) => drop(there.remove(name)),
            _ => {}
        }
        Step::At(side, work)
    }

    /// An existing folder, mostly.
    fn folder(&mut self, side: Side, inbox: bool) -> Folder {
        let mut names: Vec<Folder> = self.there[side as usize].iter().copied().collect();
        if inbox {
            names.push("INBOX");
        }
        if names.is_empty() || self.rng.random_ratio(1, 10) {
            return self.one(&FOLDERS[usize::from(!inbox)..]);
        }
        self.one(&names)
    }

    /// A possible operation; at the beginning there is more to make than to undo.
    fn work(&mut self, side: Side, beginning: bool) -> Work {
        let folder = self.folder(side, true);
        let below = self.folder(side, false);
        let other = self.folder(side, true);
        let any = self.one(&FOLDERS[1..]);
        let which = self.which();
        let drawn = if beginning { self.between(0, 64) } else { self.between(0, 140) };
        match drawn {
            0..=29 => Work::Append(folder),
            30..=34 => Work::Create(any),
            35..=43 => Work::Flag(folder, which, self.one(&["\\Flagged", "\\Seen", "$label"])),
            44..=49 => Work::Subscribe(folder),
            50..=54 => Work::Quota(self.one(&["INBOX", "INBOX", "INBOX/a"]), Some(100_000)),
            55..=56 => Work::Annotate(folder, self.between(1, 9)),
            57..=59 => Work::Copy(folder, which, other),
            60..=61 => Work::Acl(folder, self.one(&["lrs", "lr"])),
            62..=72 => Work::Expunge(folder, which),
            73..=82 => Work::Delete(below),
            83..=92 => Work::Rename(below, any),
            93..=98 => Work::Move(folder, which, other),
            99..=103 => Work::Unsubscribe(folder),
            104..=106 => Work::Quota(self.one(&["INBOX", "INBOX/a"]), None),
            107..=108 => Work::DeleteUser,
            109..=110 => Work::CreateUser,
            111..=118 => Work::Expire,
            119..=121 => Work::Reconstruct(folder),
            122 => Work::ReconstructFromNothing(folder),
            123..=124 => Work::Conversations(self.one(&["-b", "-R"])),
            125..=126 if side == Side::Master => Work::GoBack(folder),
            127..=128 if side == Side::Master => Work::GiveAway(below),
            _ => Work::Append(folder),
        }
    }

    /// A damage, preferably to what was renamed last.
    fn damage(&mut self, steps: &[Step]) -> Damage {
        let renamed = steps.iter().rev().find_map(|step| match step {
            Step::At(Side::Master, Work::Rename(_, to)) => Some(*to),
            _ => None,
        });
        let folder = match renamed {
            Some(to) if self.rng.random_ratio(1, 2) => to,
            _ => self.folder(Side::Master, true),
        };
        let how = self.one(&[How::Missing, How::Empty, How::Half, How::Garbage, How::Closed]);
        let target = match self.between(0, 19) {
            0..=5 => Target::Index(folder),
            6..=8 => Target::Header(folder),
            9 => Target::Annotations(folder),
            10..=12 => Target::Message(folder, self.which()),
            13..=14 => Target::Place(folder),
            15..=16 => Target::Subscriptions,
            17 => self.one(&[Target::Seen, Target::Counters]),
            18 => Target::QuotaRoot(self.one(&["INBOX", "INBOX/a"])),
            _ => Target::Mboxlist,
        };
        let how = if matches!(target, Target::Place(_)) {
            self.one(&[How::Missing, How::Closed])
        } else {
            how
        };
        Damage { target, how }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Work::Append(to) => write!(out, "append a message to {to}"),
            Work::Flag(to, which, flag) => write!(out, "flag {which} of {to} {flag}"),
            Work::Expunge(of, which) => write!(out, "expunge {which} of {of}"),
            Work::Copy(from, which, to) => write!(out, "copy {which} of {from} to {to}"),
            Work::Move(from, which, to) => write!(out, "move {which} of {from} to {to}"),
            Work::Create(name) => write!(out, "create {name}"),
            Work::Delete(name) => write!(out, "delete {name}"),
            Work::Rename(from, to) => write!(out, "rename {from} to {to}"),
            Work::Subscribe(to) => write!(out, "subscribe to {to}"),
            Work::Unsubscribe(from) => write!(out, "unsubscribe from {from}"),
            Work::Quota(root, Some(limit)) => write!(out, "set the quota of {root} to {limit} kB"),
            Work::Quota(root, None) => write!(out, "take the quota of {root} away"),
            Work::Annotate(name, value) => write!(out, "annotate {name} with {value}"),
            Work::Acl(name, rights) => write!(out, "let anyone have {rights} on {name}"),
            Work::DeleteUser => write!(out, "delete the user"),
            Work::CreateUser => write!(out, "create the user"),
            Work::Expire => write!(out, "cyr_expire -E 1 -X 0 -D 0"),
            Work::Reconstruct(name) => write!(out, "reconstruct {name}"),
            Work::ReconstructFromNothing(name) => {
                write!(out, "lose the cyrus.index of {name} and reconstruct it")
            }
            Work::Conversations(option) => write!(out, "ctl_conversationsdb {option}"),
            Work::GoBack(name) => write!(out, "{name} goes back to what it was at the last run"),
            Work::GiveAway(name) => write!(out, "an admin renames {name} to a friend's folder"),
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Which::First => "the first",
            Which::Last => "the last",
            Which::All => "all",
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::At(Side::Master, work) => write!(out, "master:  {work}"),
            Step::At(Side::Replica, work) => write!(out, "replica: {work}"),
            Step::Run(by, one_way) => {
                let program = if *by == By::Ours { "ours" } else { "Cyrus' sync_client" };
                write!(out, "run {program}{}", if *one_way { " -O" } else { "" })
            }
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.target {
            Target::Index(of) => write!(out, "cyrus.index of {of}")?,
            Target::Header(of) => write!(out, "cyrus.header of {of}")?,
            Target::Annotations(of) => write!(out, "cyrus.annotations of {of}")?,
            Target::Message(of, which) => write!(out, "the file of {which} of {of}")?,
            Target::Place(of) => write!(out, "the folder of {of}")?,
            Target::Subscriptions => write!(out, "the user's sub.db")?,
            Target::Seen => write!(out, "the user's seen.db")?,
            Target::Counters => write!(out, "the user's counters.db")?,
            Target::QuotaRoot(of) => write!(out, "the quota root's file of {of}")?,
            Target::Mboxlist => write!(out, "mailboxes.db")?,
        }
        out.write_str(match self.how {
            How::Missing => " is gone",
            How::Empty => " is empty",
            How::Half => " is cut in half",
            How::Garbage => " is garbage",
            How::Closed => " can't be read (mode 0)",
        })
    }
}

impl fmt::Display for Story {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nr, step) in self.steps.iter().enumerate() {
            writeln!(out, "  {nr:3} {step}")?;
        }
        for (nr, damage) in self.damages.iter().enumerate() {
            writeln!(out, "  d{nr:<2} damage on the master: {damage}")?;
        }
        let mode = match self.mode {
            Mode::Plain => "",
            Mode::OneWay => " -O",
            Mode::Overwrite => " -O --overwrite",
        };
        let whom = match self.whom {
            Whom::User => "-u USER",
            Whom::Prefix => "-A PREFIX",
            Whom::Log => "-R -f LOG",
        };
        writeln!(out, "  run ours {whom}{mode}")
    }
}
