//! The plan for one user.

use std::collections::{HashMap, HashSet};
use std::fmt;

use csync::{ReplicaMailbox, ReplicaUser};
use cyrus_types::{MailboxName, Uid, UidValidity, UniqueId};

use crate::compare::{CopybackReason, Verdict, compare_mailbox};
use crate::folders::{Rename, order_renames};
use crate::lost_quota::{self, Uncounted};
use crate::master::{Folder, Intermediate, MasterMailbox, MasterSeen, MasterUser};
use crate::meta::{
    QuotaChange, SieveChange, SubChange, plan_quota, plan_seen, plan_sieve, plan_subs,
};
use crate::missing::{self, Kept};

/// The settings of the command line and the replica's features for planning.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// -O: overwrite the replica, copy nothing back from it.
    pub one_way: bool,
    /// -p: the partition on the replica, for all mailboxes.
    pub partition: Option<String>,
    /// The peer accepts #sieve mailboxes as mailboxes; else scripts go one by one.
    pub sieve_mailbox: bool,
    /// The peer does not report names without a mailbox, and does not get them.
    pub without_intermediates: bool,
    /// The replica was asked for everything of the user just now, not only for some names, and no cache was used.
    pub all_asked: bool,
}

/// What is known here of the replica's mailboxes that match none of the user's: found by unique id, never by name
/// (`imap/sync_support.c:do_folders` of cyrus-imapd 3.12; in older versions the name of a tombstone was enough).
#[derive(Debug, Clone, Default)]
pub struct Tombstones {
    /// Unique ids whose entry in mailboxes.db is a tombstone: these mailboxes were deleted here.
    pub uniqueids: HashSet<UniqueId>,
    /// Unique ids of mailboxes that exist here all the same: under another user's name, or unreadable.
    pub alive: HashSet<UniqueId>,
    /// Those with names at which the user's mailboxes were not looked for, by unique id: given to another user, or removed
    /// by cyr_expire from below DELETED. cyr_expire leaves no tombstone; the entry by unique id stays as if the mailbox
    /// lived (`imap/mboxlist.c:mboxlist_deletemailbox_full` of cyrus-imapd 3.6.1).
    pub moved: HashMap<UniqueId, Moved>,
}

/// Where a mailbox is now here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Its name here, or its last one if it has expired.
    pub name: MailboxName,
    /// Its UIDVALIDITY here.
    pub uidvalidity: UidValidity,
}

/// How well the difference between both sides of a mailbox is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// Modseqs tell which records to send.
    None,
    /// Everything except the checksums is equal: recompute ours first, it may be unchanged.
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
        name: MailboxName,
        /// Unique id, to notice a mailbox that was replaced meanwhile.
        uniqueid: UniqueId,
        /// The replica's state; `None` if it lacks the mailbox.
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
    pub fn name(&self) -> &MailboxName {
        match self {
            MailboxUpdate::Send { name, .. } => name,
            MailboxUpdate::Intermediate(i) => &i.name,
        }
    }
}

/// A name that one mailbox has here, and another, unknown one on the replica. With -O ours replaces it if nothing is lost
/// by that. Until that is known the mailbox is in no other list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contest {
    /// The name.
    pub mailbox: MailboxName,
    /// The unique id here.
    pub ours: UniqueId,
    /// The unique id there.
    pub theirs: UniqueId,
}

impl Contest {
    /// The error if the replica's mailbox must stay.
    #[must_use]
    pub fn lost(self) -> PlanError {
        PlanError::NameHeld { mailbox: self.mailbox, uniqueid: self.theirs, alive: false }
    }
}

/// What is not removed on the replica while something of the user can't be read here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Withheld {
    /// Mailboxes, by their names there, that have a tombstone here.
    pub mailboxes: Vec<MailboxName>,
    /// Quota roots.
    pub quotas: Vec<String>,
    /// How many subscriptions and Sieve scripts.
    pub meta: usize,
}

impl Withheld {
    /// Whether it is empty.
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
    /// Mailboxes to delete on the replica, children first. Each one's unique id has a tombstone here, or it never held
    /// anything and is in the way.
    pub deletes: Vec<MailboxName>,
    /// Mailboxes on the replica that neither exist nor were deleted here, and are in nobody's way: left alone and reported.
    pub orphans: Vec<MailboxName>,
    /// Mailboxes here that this plan can't make equal: each is left out of the updates, the user's others go on, and the
    /// user ends as failed, naming these.
    pub left_out: Vec<PlanError>,
    /// Names that ours replace there, with -O, if nothing is lost by that. Look again afterwards.
    pub contests: Vec<Contest>,
    /// What would be removed on the replica if everything of the user could be read here.
    pub withheld: Withheld,
    /// What only the replica has and was kept, because it is merely missing here: the user ends as failed, naming it.
    pub kept: Vec<Kept>,
    /// Mailboxes that the replica does not count against their quota root: the user ends as failed, naming them.
    pub uncounted: Vec<Uncounted>,
    /// Renames in order. If there are any, carry them out and look again before everything that follows.
    pub renames: Vec<Rename>,
    /// Mailboxes to send, in the master's order.
    pub updates: Vec<MailboxUpdate>,
    /// How many mailboxes are equal on both sides.
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
    /// Whether there is nothing to do: both sides are equal, except for what is left out.
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
        mailbox: MailboxName,
        /// What the replica has that we lack.
        reason: CopybackReason,
    },
    /// The replica has another mailbox with this name, which was not deleted here. Cyrus keeps no trace by name of a
    /// mailbox that was deleted at once (`delete_mode: immediate`) once its name is used again: the new entry replaces its
    /// tombstone.
    #[error(
        "mailbox {mailbox}: the replica has another mailbox of this name (unique id {uniqueid}), and {}",
        if *alive { "that one is here, too, under another name" } else { "nothing here shows that it was deleted" }
    )]
    NameHeld {
        /// The mailbox here.
        mailbox: MailboxName,
        /// The unique id of the replica's.
        uniqueid: UniqueId,
        /// Whether a mailbox with that unique id exists here: it can't be read, is another user's, or can't be renamed yet.
        alive: bool,
    },
    /// The replica lacks the user's INBOX, and makes no other mailbox before it has one (seen with 3.6.1).
    #[error(
        "mailbox {mailbox}: the replica takes it after the user's INBOX, which can't be read here"
    )]
    NeedsInbox {
        /// The mailbox here.
        mailbox: MailboxName,
    },
}

impl PlanError {
    /// The mailbox that is left out.
    #[must_use]
    pub fn mailbox(&self) -> &MailboxName {
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
    let here: HashSet<&UniqueId> = master.folders.iter().map(Folder::uniqueid).collect();
    replica.mailboxes.iter().filter(|r| !here.contains(&r.uniqueid)).collect()
}

/// Plans one user. A mailbox that can't be made equal is left out and named ([`UserPlan::left_out`]); all others go on.
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
    let there: HashMap<&UniqueId, &ReplicaMailbox> =
        replica.mailboxes.iter().map(|r| (&r.uniqueid, r)).collect();

    let mut plan = UserPlan::default();
    let mut staying = HashSet::new();
    let mut renames = Vec::new();
    let names_there: HashSet<&MailboxName> = replica.mailboxes.iter().map(|r| &r.name).collect();
    let ours: HashSet<&MailboxName> = master.folders.iter().map(Folder::name).collect();
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
        let free = |to: &&Moved| !names_there.contains(&to.name);
        if let Some(moved) = moved.filter(free).filter(|_| !gone.partition.is_empty()) {
            if !master.incomplete {
                renames.push(follow(moved, gone));
                continue;
            }
            plan.withheld.mailboxes.push(gone.name.clone());
        }
        staying.insert(&gone.name);
        if !goes && !alive && !ours.contains(&gone.name) {
            plan.orphans.push(gone.name.clone());
        }
    }

    // Children first: a mailbox with children would only become a name without a mailbox there.
    plan.deletes.sort_unstable_by(|a, b| b.cmp(a));
    let held = held_names(master, replica, &staying);
    for folder in &master.folders {
        let found = there.get(folder.uniqueid()).copied();
        if let Some(uniqueid) = held.get(folder.name()).copied().cloned() {
            let mailbox = folder.name().clone();
            let alive = tombstones.alive.contains(&uniqueid) || is_ours(master, &uniqueid);
            if options.one_way && !alive && !master.incomplete {
                let ours = folder.uniqueid().clone();
                plan.contests.push(Contest { mailbox, ours, theirs: uniqueid });
            } else {
                plan.left_out.push(PlanError::NameHeld { mailbox, uniqueid, alive });
            }
            continue;
        }
        match folder {
            Folder::Intermediate(i) => {
                if !options.without_intermediates && found.is_none_or(|r| r.name != i.name) {
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
        let taken = names.chain(replica.mailboxes.iter().map(|r| &r.name)).collect();
        plan.renames = order_renames(renames, &taken);
    }

    plan.quotas = plan_quota(&master.quotas, &replica.quotas);
    if options.all_asked {
        plan.uncounted = lost_quota::find(master, replica);
    }
    plan.subscriptions = plan_subs(&master.subscriptions, &replica.subscriptions);
    plan.seen = plan_seen(&master.seen, &replica.seen);
    if !options.sieve_mailbox {
        plan.sieve = plan_sieve(&master.sieve, &replica.sieve);
    }
    if master.incomplete {
        withhold_removals(&mut plan);
    }
    plan.kept = missing::keep(&mut plan.quotas, &mut plan.subscriptions, master, replica);
    plan
}

/// The plan for a user without a usable INBOX on both sides: nothing can be done.
fn without_inbox(master: &MasterUser) -> UserPlan {
    let needs = |folder: &Folder| PlanError::NeedsInbox { mailbox: folder.name().clone() };
    UserPlan { left_out: master.folders.iter().map(needs).collect(), ..UserPlan::default() }
}

/// Takes all removals out of a plan.
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

/// Whether the replica made this mailbox by itself, when it was sent one below it: its name is one of ours, it never held a
/// message or an annotation, and its unique id is unknown here. A server that is sent ours replaces such a mailbox, too
/// (`imap/sync_support.c:sync_apply_mailbox` of cyrus-imapd 3.6.1). Among shared mailboxes, which may be another master's,
/// one of ours must be below it to prove that.
fn is_filler(
    r: &ReplicaMailbox,
    master: &MasterUser,
    replica: &ReplicaUser,
    ours: &HashSet<&MailboxName>,
) -> bool {
    let empty = r.last_uid == Uid::NONE && r.annotations.is_empty();
    let below = |other: &&ReplicaMailbox| other.name.is_below(&r.name);
    empty
        && ours.contains(&r.name)
        && (!master.owner.is_shared()
            || replica.mailboxes.iter().filter(below).any(|m| is_ours(master, &m.uniqueid)))
}

fn is_ours(master: &MasterUser, uniqueid: &UniqueId) -> bool {
    master.folders.iter().any(|folder| folder.uniqueid() == uniqueid)
}

/// Names on the replica that do not become free: of mailboxes that stay, and of those that can't be renamed to their own
/// names because of them. With the unique id of the mailbox that has the name.
fn held_names<'a>(
    master: &MasterUser,
    replica: &'a ReplicaUser,
    staying: &HashSet<&MailboxName>,
) -> HashMap<&'a MailboxName, &'a UniqueId> {
    let mut held = HashMap::new();
    if staying.is_empty() {
        return held;
    }
    let here: HashMap<&UniqueId, &MailboxName> =
        master.folders.iter().map(|folder| (folder.uniqueid(), folder.name())).collect();
    loop {
        let before = held.len();
        for r in &replica.mailboxes {
            let stays = match here.get(&r.uniqueid) {
                Some(name) => **name != r.name && held.contains_key(name),
                None => staying.contains(&r.name),
            };
            if stays {
                held.insert(&r.name, &r.uniqueid);
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

/// A mailbox that is found here by unique id, but not among those looked at, gets the name that it has here, as in
/// do_folders of 3.12. It stays on its partition: only its name is known to have changed. An expired one is then removed by
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
#[path = "plan_tests.rs"]
mod tests;
