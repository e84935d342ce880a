//! What rests alone while everything else of its user goes on: a mailbox that needs copyback, one that can't be read, and
//! so on. A plain value beside the [`crate::work::queue::WorkQueue`], which asks it when to try again.
//!
//! Each rests 1, 2, 4 … seconds; from the fourth failure in a row it is in quarantine, and reported. A single pass over a
//! log gives it up then.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use cyrus_types::{LogEntry, Owner};
use sync_plan::backlog::Tasks;

use crate::error::{Class, NAMED};
use crate::work::trouble::{Bounds, Kind, QUARANTINE, Trouble};

/// A part of a user that failed alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The user.
    pub(crate) owner: Owner,
    /// The log entry for it.
    pub(crate) entry: LogEntry,
    /// The failure in words for an admin.
    pub(crate) reason: String,
}

/// A part that is in quarantine from now on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Quarantined {
    pub(crate) failure: Failure,
    /// When it is tried again, if ever.
    pub(crate) pause: Option<Duration>,
}

#[derive(Debug)]
struct Aside {
    owner: Owner,
    trouble: Trouble,
    /// When it is tried again; `None` while it is being tried, or if it was given up.
    wake: Option<Instant>,
}

/// Everything that rests alone.
#[derive(Debug, Default)]
pub(crate) struct Asides {
    all: HashMap<LogEntry, Aside>,
    /// What rests of each user. There may be very many, and each work that ends asks for its own users'.
    of: HashMap<Owner, HashSet<LogEntry>>,
    /// When the next one is due.
    next: Option<Instant>,
}

impl Asides {
    /// It failed, perhaps again. Returns whether it is in quarantine from now on.
    pub(crate) fn failed(
        &mut self,
        failure: Failure,
        bounds: &Bounds,
        now: Instant,
    ) -> Option<Quarantined> {
        let Failure { owner, entry, reason } = failure.clone();
        let times = self.all.get(&entry).map_or(0, |aside| aside.trouble.times) + 1;
        // The class does not matter in the log.
        let pause = bounds.retry().pause(times, Class::Permanent, false);
        let trouble = Trouble { kind: Kind::Failed, times, reason, links_fault: false, since: now };
        let wake = pause.map(|pause| now + pause);
        self.of.entry(owner.clone()).or_default().insert(entry.clone());
        let before = self.all.insert(entry.clone(), Aside { owner: owner.clone(), trouble, wake });
        let was_next =
            before.as_ref().and_then(|before| before.wake).is_some_and(|at| Some(at) == self.next);
        if let Some(before) = before.filter(|before| before.owner != owner) {
            self.leave(&before.owner, &entry);
        }
        self.next = if was_next { self.soonest() } else { self.next.into_iter().chain(wake).min() };
        (times == QUARANTINE).then_some(Quarantined { failure, pause })
    }

    /// What is due to be tried now: of a user everything that rests, since what one part of it lost may be in another, and
    /// is kept on the replica only as long as both are looked at together.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<LogEntry> {
        if self.next.is_none_or(|next| next > now) {
            return Vec::new();
        }
        let is_due = |aside: &Aside| aside.wake.is_some_and(|at| at <= now);
        let owners = self.all.values().filter(|aside| is_due(aside));
        let owners: HashSet<Owner> = owners.map(|aside| aside.owner.clone()).collect();
        let mut due = Vec::new();
        for (entry, aside) in &mut self.all {
            if aside.wake.is_some() && owners.contains(&aside.owner) {
                aside.wake = None;
                due.push(entry.clone());
            }
        }
        self.next = self.soonest();
        due
    }

    /// When the next one is due.
    pub(crate) fn wakes_at(&self) -> Option<Instant> {
        self.next
    }

    /// This user's tasks were carried out: those that are not among `failures` have succeeded. Returns these, and whether
    /// each was in quarantine.
    pub(crate) fn done(
        &mut self,
        owner: &Owner,
        tasks: &Tasks,
        failures: &[Failure],
    ) -> Vec<(LogEntry, bool)> {
        let all_of_user = tasks.whole || tasks.unuser;
        let is_well = |entry: &LogEntry| {
            (all_of_user || covers(tasks, entry))
                && !failures.iter().any(|failure| failure.entry == *entry)
        };
        let of_user = self.of.get(owner).into_iter().flatten();
        let well: Vec<LogEntry> = of_user.filter(|entry| is_well(entry)).cloned().collect();
        if well.is_empty() {
            return Vec::new();
        }
        let mut healed = Vec::with_capacity(well.len());
        for entry in well {
            self.leave(owner, &entry);
            let aside = self.all.remove(&entry);
            healed.push((entry, aside.is_some_and(|aside| aside.trouble.is_quarantined())));
        }
        self.next = self.soonest();
        healed
    }

    fn soonest(&self) -> Option<Instant> {
        self.all.values().filter_map(|aside| aside.wake).min()
    }

    fn leave(&mut self, owner: &Owner, entry: &LogEntry) {
        if let Some(entries) = self.of.get_mut(owner) {
            entries.remove(entry);
            if entries.is_empty() {
                self.of.remove(owner);
            }
        }
    }

    /// The worst trouble of each user, and the user's other resting parts.
    pub(crate) fn troubles(&self) -> HashMap<Owner, Trouble> {
        let mut by_owner: HashMap<Owner, Vec<(&LogEntry, &Trouble)>> = HashMap::new();
        for (entry, aside) in &self.all {
            by_owner.entry(aside.owner.clone()).or_default().push((entry, &aside.trouble));
        }
        let worded = |(owner, mut of): (Owner, Vec<(&LogEntry, &Trouble)>)| {
            of.sort_by_key(|(_, trouble)| Reverse((trouble.times, &trouble.reason)));
            let ((_, worst), others) = of.split_first()?;
            let mut names: Vec<String> = others.iter().map(|(entry, _)| name_of(entry)).collect();
            names.sort();
            if let Some(more) = names.len().checked_sub(NAMED).filter(|more| *more > 0) {
                names.truncate(NAMED);
                names.push(format!("{more} more"));
            }
            let others = match names.as_slice() {
                [] => String::new(),
                names => format!(" (and {})", names.join(", ")),
            };
            let reason = format!("{}{others}", worst.reason);
            Some((owner, Trouble { reason, ..(*worst).clone() }))
        };
        by_owner.into_iter().filter_map(worded).collect()
    }
}

/// The object of a log entry.
fn name_of(entry: &LogEntry) -> String {
    match entry {
        LogEntry::Mailbox(name) => name.to_string(),
        other => other.to_string(),
    }
}

/// Whether one of these tasks is about it.
fn covers(tasks: &Tasks, entry: &LogEntry) -> bool {
    match entry {
        LogEntry::Mailbox(name) => tasks.mailboxes.contains(name),
        LogEntry::Quota(root) => tasks.quotas.contains(root.as_str()),
        LogEntry::Meta(_) => tasks.meta,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use cyrus_types::MailboxName;

    use super::*;
    use crate::settings::Jitter;
    use crate::work::retry::Patience;

    fn bounds(once: bool) -> Bounds {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(5));
        Bounds {
            in_flight: 1,
            first_pause: first,
            longest_pause: longest,
            patience: if once { Patience::Pass } else { Patience::Endless },
            jitter: Jitter::Off,
        }
    }

    fn failure(name: &str) -> Failure {
        let entry = LogEntry::Mailbox(MailboxName::new(name));
        Failure { owner: "anna".into(), entry, reason: format!("mailbox {name}: no") }
    }

    fn tasks(names: &[&str]) -> Tasks {
        let mut tasks = Tasks::default();
        tasks.mailboxes.extend(names.iter().map(|name| MailboxName::new(*name)));
        tasks
    }

    #[test]
    fn it_rests_longer_each_time_and_is_reported_once() {
        let mut now = Instant::now();
        let mut asides = Asides::default();
        for (pause, quarantined) in [(1, false), (2, false), (4, false), (5, true), (5, false)] {
            let news = asides.failed(failure("a"), &bounds(false), now);
            assert_eq!(news.is_some(), quarantined);
            assert_eq!(asides.wakes_at(), Some(now + Duration::from_secs(pause)));
            assert!(asides.due(now).is_empty());
            now += Duration::from_secs(pause);
            assert_eq!(asides.due(now), [LogEntry::Mailbox(MailboxName::new("a"))]);
            assert_eq!(asides.wakes_at(), None, "it is being tried");
        }
        assert!(asides.troubles()[&"anna".into()].is_quarantined());
        let well = asides.done(&"anna".into(), &tasks(&["a"]), &[]);
        assert_eq!(well, [(LogEntry::Mailbox(MailboxName::new("a")), true)]);
        assert!(asides.troubles().is_empty());
    }

    #[test]
    fn what_rests_of_one_user_is_tried_together() {
        let now = Instant::now();
        let mut asides = Asides::default();
        let seeded = Bounds { jitter: Jitter::Seeded(3), ..bounds(false) };
        for _ in 0..3 {
            asides.failed(failure("broken"), &seeded, now);
        }
        asides.failed(failure("withheld"), &seeded, now);
        let other = Failure { owner: "bert".into(), ..failure("other") };
        for _ in 0..3 {
            asides.failed(other.clone(), &seeded, now);
        }
        let mut due = asides.due(now + Duration::from_secs(1));
        due.sort_by_key(ToString::to_string);
        assert_eq!(due, [failure("broken").entry, failure("withheld").entry]);
        assert!(asides.wakes_at().is_some(), "the other user's rests on");
    }

    #[test]
    fn a_single_pass_leaves_what_fails_four_times() {
        let now = Instant::now();
        let mut asides = Asides::default();
        for _ in 1..QUARANTINE {
            assert_eq!(asides.failed(failure("a"), &bounds(true), now), None);
        }
        let news = asides.failed(failure("a"), &bounds(true), now).unwrap();
        assert_eq!((news.pause, asides.wakes_at()), (None, None));
    }

    #[test]
    fn what_was_done_is_well_and_what_was_not_looked_at_is_not() {
        let now = Instant::now();
        let mut asides = Asides::default();
        for name in ["a", "b", "c"] {
            asides.failed(failure(name), &bounds(false), now);
        }
        let anna = Owner::from("anna");
        assert_eq!(asides.done(&"bert".into(), &tasks(&["a", "b"]), &[]), []);
        let well = asides.done(&anna, &tasks(&["a", "b"]), &[failure("b")]);
        assert_eq!(well, [(LogEntry::Mailbox(MailboxName::new("a")), false)]);
        let said = &asides.troubles()[&"anna".into()].reason;
        assert_eq!(said, "mailbox c: no (and b)");
        let mut whole = Tasks::default();
        whole.whole = true;
        assert_eq!(asides.done(&anna, &whole, &[failure("c")]).len(), 1);
        assert_eq!(asides.done(&anna, &whole, &[]).len(), 1);
    }
}
