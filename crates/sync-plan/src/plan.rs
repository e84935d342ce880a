//! The plan for one user.

use std::collections::{HashMap, HashSet};
use std::fmt;

use csync::{ReplicaMailbox, ReplicaUser};

use crate::compare::{CopybackReason, Verdict, compare_mailbox};
use crate::folders::{Rename, order_renames};
use crate::master::{Folder, Intermediate, MasterMailbox, MasterSeen, MasterUser};
use crate::meta::{
    QuotaChange, SieveChange, SubChange, plan_quota, plan_seen, plan_sieve, plan_subs,
};
use crate::missing::{self, Kept};

/// What the command line and the replica's capabilities say about planning.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// -O: overwrite the replica, take nothing over from it.
    pub one_way: bool,
    /// -p: the partition on the replica, for all mailboxes.
    pub partition: Option<String>,
    /// The peer takes #sieve mailboxes as mailboxes; else scripts go one by one.
    pub sieve_mailbox: bool,
}

/// What is known here of the replica's mailboxes that match none of the user's: found by unique id, never by name
/// (`imap/sync_support.c:do_folders` of cyrus-imapd 3.12; before, the name of a tombstone was enough).
#[derive(Debug, Clone, Default)]
pub struct Tombstones {
    /// Unique ids whose entry in mailboxes.db is a tombstone: these mailboxes were deleted here.
    pub uniqueids: HashSet<String>,
    /// Unique ids of mailboxes that are here all the same: under another user's name, or not readable.
    pub alive: HashSet<String>,
    /// Those that are under names at which the user's mailboxes were not looked for, by unique id: given to another user, or
    /// removed by cyr_expire from below DELETED. The latter leaves no tombstone; the entry by unique id goes on as if
    /// the mailbox lived (`imap/mboxlist.c:mboxlist_deletemailbox_full` of cyrus-imapd 3.6.1).
    pub moved: HashMap<String, Moved>,
}

/// What became of a mailbox here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Its name here, the last one if it has expired.
    pub name: String,
    /// Its UIDVALIDITY here.
    pub uidvalidity: u32,
}

/// How well the difference between both sides of a mailbox is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// Modseqs tell which records to send.
    None,
    /// All but the checksums agree: recompute ours first, it may be unchanged after all.
    Checksum,
    /// Compare record by record before anything is changed.
    Full,
}

/// One mailbox to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailboxUpdate {
    /// Its header or records differ, or the replica lacks it.
    Send {
        /// Internal name.
        name: String,
        /// Unique id, to notice a mailbox that was replaced meanwhile.
        uniqueid: String,
        /// What the replica has, none where it lacks the mailbox.
        replica: Option<Box<ReplicaMailbox>>,
        /// What is known of the difference.
        doubt: Doubt,
    },
    /// A name without a mailbox.
    Intermediate(Intermediate),
}

impl MailboxUpdate {
    /// Its internal name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            MailboxUpdate::Send { name, .. } => name,
            MailboxUpdate::Intermediate(i) => &i.name,
        }
    }
}

/// A name that one mailbox has here, and another one, of which nothing is known here, on the replica; with -O, where ours
/// takes its place if nothing is lost by that. Until that is known it is in no other list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contest {
    /// The name.
    pub mailbox: String,
    /// The unique id here.
    pub ours: String,
    /// The unique id there.
    pub theirs: String,
}

impl Contest {
    /// What it comes to if the replica's mailbox must stay.
    #[must_use]
    pub fn lost(self) -> PlanError {
        PlanError::NameHeld { mailbox: self.mailbox, uniqueid: self.theirs, alive: false }
    }
}

/// What is not taken away on the replica as long as something of the user can't be read here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Withheld {
    /// Mailboxes, by their names there, that have a tombstone here.
    pub mailboxes: Vec<String>,
    /// Quota roots.
    pub quotas: Vec<String>,
    /// How many subscriptions and Sieve scripts.
    pub meta: usize,
}

impl Withheld {
    /// Whether there is no such thing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Withheld::default()
    }
}

/// In words: `mailbox user.anna.x, quota root user.anna, 2 subscriptions or scripts`.
impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mailboxes = self.mailboxes.iter().map(|name| format!("mailbox {name}"));
        let quotas = self.quotas.iter().map(|root| format!("quota root {root}"));
        let mut words: Vec<String> = mailboxes.chain(quotas).collect();
        match self.meta {
            0 => {}
            1 => words.push("a subscription or script".into()),
            n => words.push(format!("{n} subscriptions or scripts")),
        }
        f.write_str(&words.join(", "))
    }
}

/// What to do for one user, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserPlan {
    /// Mailboxes to delete on the replica, children first; each one's unique id has a tombstone here, or it never held
    /// anything and is in the way.
    pub deletes: Vec<String>,
    /// Mailboxes on the replica that are neither here nor deleted here, and in nobody's way: left alone and reported.
    pub orphans: Vec<String>,
    /// Mailboxes here that this plan can't make equal: each is left out of the updates, the user's others go on, and
    /// the user ends as failed, naming these.
    pub left_out: Vec<PlanError>,
    /// Names that ours take there, with -O, where nothing is lost by that. Look again afterwards.
    pub contests: Vec<Contest>,
    /// What would be taken away on the replica if everything of the user could be read here.
    pub withheld: Withheld,
    /// What only the replica has and was kept, since it is merely missing here: the user ends as failed, naming it.
    pub kept: Vec<Kept>,
    /// Renames in order. When there are any, act on them and look again before all that follows.
    pub renames: Vec<Rename>,
    /// Mailboxes to send, in the master's order.
    pub updates: Vec<MailboxUpdate>,
    /// How many mailboxes are the same on both sides.
    pub unchanged: usize,
    /// Quota roots.
    pub quotas: Vec<QuotaChange>,
    /// Subscriptions.
    pub subscriptions: Vec<SubChange>,
    /// Sieve scripts.
    pub sieve: Vec<SieveChange>,
    /// Seen state.
    pub seen: Vec<MasterSeen>,
}

impl UserPlan {
    /// Whether there is nothing to be done: both sides agree, but for what is left out.
    pub fn is_empty(&self) -> bool {
        self.deletes.is_empty()
            && self.contests.is_empty()
            && self.renames.is_empty()
            && self.updates.is_empty()
            && self.quotas.is_empty()
            && self.subscriptions.is_empty()
            && self.sieve.is_empty()
            && self.seen.is_empty()
    }
}

/// Why a mailbox is left out of a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Something would have to be copied back to the master first.
    #[error("mailbox {mailbox} needs copyback: {reason}")]
    Copyback {
        /// The mailbox.
        mailbox: String,
        /// What the replica has that we lack.
        reason: CopybackReason,
    },
    /// The replica has another mailbox, which nobody deleted here, under this name. Cyrus keeps no trace by name of a
    /// mailbox that was deleted at once (`delete_mode: immediate`) when its name is used again: the new entry takes the
    /// place of its tombstone.
    #[error(
        "mailbox {mailbox}: the replica has another mailbox of this name (unique id {uniqueid}), and {}",
        if *alive { "that one is here, too, under another name" } else { "nothing here tells that it was deleted" }
    )]
    NameHeld {
        /// The mailbox here.
        mailbox: String,
        /// The unique id of the replica's.
        uniqueid: String,
        /// Whether a mailbox of that unique id is here: it can't be read, is another user's, or can't be renamed yet.
        alive: bool,
    },
    /// The replica has no INBOX of the user, and makes no other mailbox before it has (seen with 3.6.1).
    #[error(
        "mailbox {mailbox}: the replica takes it after the user's INBOX, which can't be read here"
    )]
    NeedsInbox {
        /// The mailbox here.
        mailbox: String,
    },
}

impl PlanError {
    /// The mailbox that is left out.
    #[must_use]
    pub fn mailbox(&self) -> &str {
        match self {
            PlanError::Copyback { mailbox, .. }
            | PlanError::NameHeld { mailbox, .. }
            | PlanError::NeedsInbox { mailbox } => mailbox,
        }
    }
}

/// Names and unique ids of replica mailboxes that match nothing here: the ones for which
/// [`Tombstones`] must be looked up.
pub fn unmatched_folders<'a>(
    master: &MasterUser,
    replica: &'a ReplicaUser,
) -> Vec<&'a ReplicaMailbox> {
    let here: HashSet<&str> = master.folders.iter().map(Folder::uniqueid).collect();
    replica.mailboxes.iter().filter(|r| !here.contains(r.uniqueid.as_str())).collect()
}

/// Plans one user. A mailbox that can't be made equal is left out by name ([`UserPlan::left_out`]); all others go on.
pub fn plan_user(
    master: &MasterUser,
    replica: &ReplicaUser,
    tombstones: &Tombstones,
    options: &Options,
) -> UserPlan {
    if let Some(inbox) = &master.unread_inbox
        && !replica.mailboxes.iter().any(|r| r.name == *inbox)
    {
        return without_inbox(master);
    }
    let there: HashMap<&str, &ReplicaMailbox> =
        replica.mailboxes.iter().map(|r| (r.uniqueid.as_str(), r)).collect();

    let mut plan = UserPlan::default();
    let mut staying = HashSet::new();
    let mut renames = Vec::new();
    let names_there: HashSet<&str> = replica.mailboxes.iter().map(|r| r.name.as_str()).collect();
    let ours: HashSet<&str> = master.folders.iter().map(Folder::name).collect();
    for gone in unmatched_folders(master, replica) {
        let alive = tombstones.alive.contains(&gone.uniqueid);
        let goes = !alive
            && (tombstones.uniqueids.contains(&gone.uniqueid)
                || is_filler(gone, master, replica, &ours));
        if goes && !master.incomplete {
            plan.deletes.push(gone.name.clone());
            continue;
        }
        if goes {
            plan.withheld.mailboxes.push(gone.name.clone());
        }
        let moved = tombstones.moved.get(&gone.uniqueid);
        let free = |to: &&Moved| !names_there.contains(to.name.as_str());
        if let Some(moved) = moved.filter(free).filter(|_| !gone.partition.is_empty()) {
            if !master.incomplete {
                renames.push(follow(moved, gone));
                continue;
            }
            plan.withheld.mailboxes.push(gone.name.clone());
        }
        staying.insert(gone.name.as_str());
        if !goes && !alive && !ours.contains(gone.name.as_str()) {
            plan.orphans.push(gone.name.clone());
        }
    }

    // Children first: a mailbox with children would only become a name without a mailbox there.
    plan.deletes.sort_unstable_by(|a, b| b.cmp(a));
    let held = held_names(master, replica, &staying);
    for folder in &master.folders {
        let found = there.get(folder.uniqueid()).copied();
        if let Some(uniqueid) = held.get(folder.name()) {
            let (mailbox, uniqueid) = (folder.name().to_string(), uniqueid.to_string());
            let alive = tombstones.alive.contains(&uniqueid) || is_ours(master, &uniqueid);
            if options.one_way && !alive && !master.incomplete {
                let ours = folder.uniqueid().to_string();
                plan.contests.push(Contest { mailbox, ours, theirs: uniqueid });
            } else {
                plan.left_out.push(PlanError::NameHeld { mailbox, uniqueid, alive });
            }
            continue;
        }
        match folder {
            Folder::Intermediate(i) => {
                if found.is_none_or(|r| r.name != i.name) {
                    plan.updates.push(MailboxUpdate::Intermediate(i.clone()));
                }
            }
            Folder::Mailbox(m) => {
                let rename = found.and_then(|r| rename_of(m, r, options));
                plan_mailbox(&mut plan, m, found, options);
                renames.extend(rename);
            }
        }
    }
    if !renames.is_empty() {
        let names = master.folders.iter().map(Folder::name);
        let taken = names.chain(replica.mailboxes.iter().map(|r| r.name.as_str())).collect();
        plan.renames = order_renames(renames, &taken);
    }

    plan.quotas = plan_quota(&master.quotas, &replica.quotas);
    plan.subscriptions = plan_subs(&master.subscriptions, &replica.subscriptions);
    plan.seen = plan_seen(&master.seen, &replica.seen);
    if !options.sieve_mailbox {
        plan.sieve = plan_sieve(&master.sieve, &replica.sieve);
    }
    if master.incomplete {
        withhold_removals(&mut plan);
    }
    missing::keep(&mut plan, master);
    plan
}

/// The plan of a user of whom neither side has an INBOX that could be used: nothing can be done.
fn without_inbox(master: &MasterUser) -> UserPlan {
    let needs = |folder: &Folder| PlanError::NeedsInbox { mailbox: folder.name().to_string() };
    UserPlan { left_out: master.folders.iter().map(needs).collect(), ..UserPlan::default() }
}

/// Takes out of a plan what would take something away.
fn withhold_removals(plan: &mut UserPlan) {
    let withheld = &mut plan.withheld;
    plan.quotas.retain(|change| match change {
        QuotaChange::Set(_) => true,
        QuotaChange::Remove(root) => {
            withheld.quotas.push(root.clone());
            false
        }
    });
    let before = plan.subscriptions.len() + plan.sieve.len();
    plan.subscriptions.retain(|change| !matches!(change, SubChange::Remove(_)));
    plan.sieve.retain(|change| !matches!(change, SieveChange::Delete(_)));
    withheld.meta = before - plan.subscriptions.len() - plan.sieve.len();
}

/// Whether the replica made this mailbox by itself, when it was sent one below it: its name is one of ours, it never held
/// a message or an annotation, and nobody here knows its unique id. A server that is sent ours replaces such a one, too
/// (`imap/sync_support.c:sync_apply_mailbox` of cyrus-imapd 3.6.1). Among shared mailboxes, which may be another master's, one
/// of ours must be below it to prove that.
fn is_filler(
    r: &ReplicaMailbox,
    master: &MasterUser,
    replica: &ReplicaUser,
    ours: &HashSet<&str>,
) -> bool {
    let empty = r.last_uid == 0 && r.annotations.is_empty();
    let below = |other: &&ReplicaMailbox| {
        other.name.strip_prefix(r.name.as_str()).is_some_and(|rest| rest.starts_with('.'))
    };
    empty
        && ours.contains(r.name.as_str())
        && (!master.userid.is_empty()
            || replica.mailboxes.iter().filter(below).any(|m| is_ours(master, &m.uniqueid)))
}

fn is_ours(master: &MasterUser, uniqueid: &str) -> bool {
    master.folders.iter().any(|folder| folder.uniqueid() == uniqueid)
}

/// Names on the replica that do not get free: of those that stay, and of mailboxes that can't be
/// renamed to their own names because of them. With the unique id of who holds each.
fn held_names<'a>(
    master: &MasterUser,
    replica: &'a ReplicaUser,
    staying: &HashSet<&str>,
) -> HashMap<&'a str, &'a str> {
    let mut held = HashMap::new();
    if staying.is_empty() {
        return held;
    }
    let here: HashMap<&str, &str> =
        master.folders.iter().map(|folder| (folder.uniqueid(), folder.name())).collect();
    loop {
        let before = held.len();
        for r in &replica.mailboxes {
            let stays = match here.get(r.uniqueid.as_str()) {
                Some(name) => *name != r.name && held.contains_key(name),
                None => staying.contains(r.name.as_str()),
            };
            if stays {
                held.insert(r.name.as_str(), r.uniqueid.as_str());
            }
        }
        if held.len() == before {
            return held;
        }
    }
}

/// A mailbox with another name or on another partition is moved; an intermediate that the replica
/// has under this unique id has no partition and is filled in by the mailbox itself.
fn rename_of(m: &MasterMailbox, r: &ReplicaMailbox, options: &Options) -> Option<Rename> {
    let partition = options.partition.as_ref().unwrap_or(&m.partition);
    let moved = !r.partition.is_empty() && r.partition != *partition;
    (m.name != r.name || moved).then(|| Rename {
        from: r.name.clone(),
        to: m.name.clone(),
        partition: partition.clone(),
        // Never lower than there.
        uidvalidity: m.uidvalidity.max(r.uidvalidity),
    })
}

/// A mailbox that is found here by unique id, but not among those looked at, goes where it went here, as do_folders of 3.12 has
/// it. It stays on its partition: more than its name is not known to have changed. What expired here is then removed by
/// the replica's own cyr_expire.
fn follow(moved: &Moved, gone: &ReplicaMailbox) -> Rename {
    Rename {
        from: gone.name.clone(),
        to: moved.name.clone(),
        partition: gone.partition.clone(),
        uidvalidity: moved.uidvalidity.max(gone.uidvalidity),
    }
}

fn plan_mailbox(
    plan: &mut UserPlan,
    m: &MasterMailbox,
    found: Option<&ReplicaMailbox>,
    options: &Options,
) {
    let verdict = match found {
        Some(r) => compare_mailbox(m, r, options.one_way),
        None => Verdict::Changed,
    };
    let doubt = match verdict {
        Verdict::Unchanged => {
            plan.unchanged += 1;
            return;
        }
        Verdict::Copyback(reason) => {
            plan.left_out.push(PlanError::Copyback { mailbox: m.name.clone(), reason });
            return;
        }
        Verdict::Changed => Doubt::None,
        Verdict::ChecksumDoubt => Doubt::Checksum,
        Verdict::Full(_) => Doubt::Full,
    };
    plan.updates.push(MailboxUpdate::Send {
        name: m.name.clone(),
        uniqueid: m.uniqueid.clone(),
        replica: found.cloned().map(Box::new),
        doubt,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(name: &str, id: &str) -> Folder {
        Folder::Mailbox(Box::new(MasterMailbox {
            name: name.into(),
            uniqueid: id.into(),
            partition: "default".into(),
            highestmodseq: 5,
            ..Default::default()
        }))
    }

    fn there(name: &str, id: &str) -> ReplicaMailbox {
        ReplicaMailbox {
            name: name.into(),
            uniqueid: id.into(),
            partition: "default".into(),
            highestmodseq: 5,
            ..Default::default()
        }
    }

    fn held(mailbox: &str, uniqueid: &str) -> PlanError {
        PlanError::NameHeld { mailbox: mailbox.into(), uniqueid: uniqueid.into(), alive: false }
    }

    fn filled(name: &str, id: &str) -> ReplicaMailbox {
        ReplicaMailbox { last_uid: 1, ..there(name, id) }
    }

    fn sides(folders: Vec<Folder>, mailboxes: Vec<ReplicaMailbox>) -> (MasterUser, ReplicaUser) {
        (
            MasterUser { userid: "a".into(), folders, ..Default::default() },
            ReplicaUser { mailboxes, ..Default::default() },
        )
    }

    #[test]
    fn equal_users_need_nothing() {
        let (m, r) = sides(vec![here("user.a", "1")], vec![there("user.a", "1")]);
        let plan = plan_user(&m, &r, &Tombstones::default(), &Options::default());
        assert!(plan.is_empty());
        assert_eq!(plan.unchanged, 1);
    }

    #[test]
    fn nothing_is_deleted_without_a_tombstone() {
        let (m, r) = sides(
            vec![here("user.a", "1")],
            vec![
                there("user.a", "1"),
                there("user.a.x", "2"),
                there("user.a.y", "3"),
                there("user.a.z", "4"),
            ],
        );
        let uniqueids = HashSet::from(["3".to_string()]);
        let tombstones = Tombstones { uniqueids, ..Tombstones::default() };
        let mut m = MasterUser { tombstone_names: vec!["user.a.x".into()], ..m };
        let plan = plan_user(&m, &r, &tombstones, &Options::default());
        assert_eq!(plan.deletes, ["user.a.y"], "a name proves nothing");
        assert_eq!(plan.orphans, ["user.a.x", "user.a.z"]);
        // What was deleted with delay and has expired here goes below DELETED there, once.
        let moved = Moved { name: "DELETED.user.a.z.1".into(), uidvalidity: 7 };
        let moved = HashMap::from([("4".to_string(), moved)]);
        let alive = HashSet::from(["4".to_string()]);
        let mut r = r;
        let tombstones = Tombstones { moved, alive, ..tombstones };
        let plan = plan_user(&m, &r, &tombstones, &Options::default());
        let renames: Vec<_> = plan.renames.iter().map(|r| (&*r.from, &*r.to)).collect();
        assert_eq!(renames, [("user.a.z", "DELETED.user.a.z.1")]);
        r.mailboxes[3].name = "DELETED.user.a.z.1".into();
        let plan = plan_user(&m, &r, &tombstones, &Options::default());
        assert!(plan.renames.is_empty() && plan.orphans == ["user.a.x"], "{plan:?}");
        r.mailboxes[3].name = "user.a.z".into();
        // While anything can't be read, nothing goes.
        m.incomplete = true;
        let plan = plan_user(&m, &r, &tombstones, &Options::default());
        assert!(plan.deletes.is_empty() && plan.renames.is_empty(), "{plan:?}");
        assert_eq!(plan.withheld.mailboxes, ["user.a.y", "user.a.z"]);
    }

    #[test]
    fn what_lives_here_is_never_deleted_nor_reported() {
        let (m, r) = sides(
            vec![here("user.a", "1")],
            vec![there("user.a", "1"), there("user.a.x", "2"), there("user.a.y", "3")],
        );
        let alive = HashSet::from(["2".to_string(), "3".to_string()]);
        let uniqueids = HashSet::from(["2".to_string()]);
        let tombstones = Tombstones { uniqueids, alive, ..Tombstones::default() };
        let plan = plan_user(&m, &r, &tombstones, &Options::default());
        assert!(plan.is_empty() && plan.orphans.is_empty(), "{plan:?}");
    }

    #[test]
    fn nothing_of_a_user_is_taken_away_while_something_can_not_be_read() {
        let (m, r) = sides(vec![here("user.a", "1")], vec![there("user.a", "1")]);
        let quota = csync::ReplicaQuota { root: "user.a".into(), limits: vec![], modseq: 1 };
        let r = ReplicaUser { quotas: vec![quota], subscriptions: vec!["user.a".into()], ..r };
        let plan = plan_user(&m, &r, &Tombstones::default(), &Options::default());
        assert_eq!((plan.quotas.len(), plan.subscriptions.len()), (1, 1));
        let m = MasterUser { incomplete: true, ..m };
        let plan = plan_user(&m, &r, &Tombstones::default(), &Options::default());
        assert!(plan.is_empty(), "{plan:?}");
        let said = plan.withheld.to_string();
        assert_eq!(said, "quota root user.a, a subscription or script");
    }

    #[test]
    fn a_name_held_by_an_orphan_is_a_conflict_also_for_who_needs_it_in_turn() {
        let (m, r) = sides(
            vec![here("user.a.x", "new"), here("user.a.y", "4"), here("user.a.z", "5")],
            vec![filled("user.a.x", "old"), there("user.a.w", "4"), filled("user.a.y", "3")],
        );
        let plan = plan_user(&m, &r, &Tombstones::default(), &Options::default());
        assert_eq!(plan.left_out, [held("user.a.x", "old"), held("user.a.y", "3")]);
        assert!(plan.renames.is_empty());
        assert_eq!(plan.updates.len(), 1, "user.a.z goes on: {plan:?}");
    }

    #[test]
    fn a_held_name_is_contested_with_one_way_alone() {
        let (m, r) = sides(
            vec![here("user.a.x", "new"), here("user.a.y", "4")],
            vec![filled("user.a.x", "old"), filled("user.a.y", "3"), there("user.a.w", "4")],
        );
        let one_way = Options { one_way: true, ..Options::default() };
        let alive = HashSet::from(["3".to_string()]);
        let tombstones = Tombstones { alive, ..Tombstones::default() };
        let plan = plan_user(&m, &r, &tombstones, &one_way);
        let contest =
            Contest { mailbox: "user.a.x".into(), ours: "new".into(), theirs: "old".into() };
        assert_eq!(plan.contests, std::slice::from_ref(&contest));
        assert!(!plan.is_empty() && plan.deletes.is_empty(), "{plan:?}");
        assert_eq!(plan.left_out.len(), 1, "what lives here is not contested");
        assert_eq!(contest.lost(), held("user.a.x", "old"));
        let m = MasterUser { incomplete: true, ..m };
        let plan = plan_user(&m, &r, &tombstones, &one_way);
        assert_eq!((plan.contests.len(), plan.left_out.len()), (0, 2));
    }

    #[test]
    fn a_name_held_by_what_never_held_a_message_is_freed() {
        let (m, r) = sides(
            vec![here("user.a.x", "new"), here("user.a.y", "4")],
            vec![there("user.a.x", "made up"), there("user.a.y", "4"), there("user.a.z", "5")],
        );
        let plan = plan_user(&m, &r, &Tombstones::default(), &Options::default());
        assert_eq!(plan.deletes, ["user.a.x"]);
        assert_eq!((plan.orphans, plan.left_out), (vec!["user.a.z".to_string()], vec![]));
        assert_eq!(plan.updates.len(), 1);
        // Unless it is here all the same.
        let alive = HashSet::from(["made up".to_string()]);
        let tombstones = Tombstones { alive, ..Tombstones::default() };
        let plan = plan_user(&m, &r, &tombstones, &Options::default());
        assert_eq!((plan.deletes.len(), plan.left_out.len()), (0, 1));
        // Shared mailboxes may be another master's: one of ours must be below it.
        let mut m = MasterUser { userid: String::new(), ..m };
        let plan = plan_user(&m, &r, &Tombstones::default(), &Options::default());
        assert_eq!((plan.deletes.len(), plan.left_out.len()), (0, 1));
        m.folders.push(here("user.a.x.below", "6"));
        let mut r = r;
        r.mailboxes.push(there("user.a.x.below", "6"));
        let plan = plan_user(&m, &r, &Tombstones::default(), &Options::default());
        assert_eq!((plan.deletes.len(), plan.left_out.len()), (1, 0));
    }

    #[test]
    fn another_name_or_partition_is_a_rename() {
        let (m, r) = sides(
            vec![here("user.a", "1"), here("user.a.new", "2")],
            vec![there("user.a", "1"), there("user.a.old", "2")],
        );
        let plan = plan_user(&m, &r, &Tombstones::default(), &Options::default());
        assert_eq!(plan.renames.len(), 1);
        assert_eq!(plan.renames[0].from, "user.a.old");
        let options = Options { partition: Some("big".into()), ..Default::default() };
        let plan = plan_user(&m, &r, &Tombstones::default(), &options);
        assert_eq!(plan.renames.len(), 2);
        assert!(plan.renames.iter().all(|r| r.partition == "big"));
    }

    #[test]
    fn a_mailbox_that_needs_copyback_is_left_out_and_the_others_go_on() {
        let mut ahead = there("user.a", "1");
        ahead.highestmodseq = 6;
        let (m, r) = sides(vec![here("user.a", "1"), here("user.a.new", "2")], vec![ahead]);
        let plan = plan_user(&m, &r, &Tombstones::default(), &Options::default());
        assert_eq!(plan.left_out.len(), 1);
        let said = plan.left_out[0].to_string();
        assert!(said.starts_with("mailbox user.a needs copyback"), "{said}");
        assert_eq!(plan.left_out[0].mailbox(), "user.a");
        let names: Vec<&str> = plan.updates.iter().map(MailboxUpdate::name).collect();
        assert_eq!(names, ["user.a.new"]);
        let one_way = Options { one_way: true, ..Default::default() };
        let plan = plan_user(&m, &r, &Tombstones::default(), &one_way);
        assert_eq!((plan.updates.len(), plan.left_out.len()), (2, 0));
    }

    #[test]
    fn a_user_whose_inbox_is_nowhere_to_be_had_waits_for_it() {
        let (mut m, mut r) = sides(vec![here("user.a.x", "2")], vec![]);
        m.unread_inbox = Some("user.a".into());
        let plan = plan_user(&m, &r, &Tombstones::default(), &Options::default());
        assert!(plan.is_empty());
        assert_eq!(plan.left_out, [PlanError::NeedsInbox { mailbox: "user.a.x".into() }]);
        // With one there, the others go on.
        r.mailboxes.push(there("user.a", "1"));
        let plan = plan_user(&m, &r, &Tombstones::default(), &Options::default());
        assert_eq!((plan.updates.len(), plan.left_out.len()), (1, 0));
    }

    #[test]
    fn what_needs_copyback_is_renamed_all_the_same_and_keeps_its_uidvalidity() {
        let mut ahead = there("user.a.old", "1");
        ahead.uidvalidity = 9;
        let (m, r) = sides(vec![here("user.a.new", "1")], vec![ahead]);
        let plan = plan_user(&m, &r, &Tombstones::default(), &Options::default());
        assert_eq!((plan.left_out.len(), plan.updates.len()), (1, 0));
        let [rename] = &plan.renames[..] else { panic!("{plan:?}") };
        assert_eq!((rename.to.as_str(), rename.uidvalidity), ("user.a.new", 9));
    }
}
