//! The plan for one user.

use std::collections::{HashMap, HashSet};

use csync::{ReplicaMailbox, ReplicaUser};

use crate::compare::{CopybackReason, Verdict, compare_mailbox};
use crate::folders::{Rename, order_renames};
use crate::master::{Folder, Intermediate, MasterMailbox, MasterSeen, MasterUser};
use crate::meta::{
    QuotaChange, SieveChange, SubChange, plan_quota, plan_seen, plan_sieve, plan_subs,
};

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

/// Evidence that a mailbox was deleted here: without it nothing is deleted on the replica.
#[derive(Debug, Clone, Default)]
pub struct Tombstones {
    /// Names whose entry in mailboxes.db is a tombstone.
    pub names: HashSet<String>,
    /// Unique ids whose entry in mailboxes.db is a tombstone.
    pub uniqueids: HashSet<String>,
    /// Unique ids of mailboxes that are here, under other users' names.
    pub elsewhere: HashSet<String>,
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

/// What to do for one user, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserPlan {
    /// Mailboxes to delete on the replica, children first; each has a tombstone here.
    pub deletes: Vec<String>,
    /// Mailboxes on the replica that are neither here nor deleted here: left alone and reported.
    pub orphans: Vec<String>,
    /// Mailboxes here that this plan can't make equal: each is left out of the updates, the user's others go on, and
    /// the user ends as failed, naming these.
    pub left_out: Vec<PlanError>,
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
        "mailbox {mailbox}: the replica has another mailbox of this name (unique id {uniqueid}), and nothing here tells that it was deleted"
    )]
    NameHeld {
        /// The mailbox here.
        mailbox: String,
        /// The unique id of the replica's.
        uniqueid: String,
    },
}

impl PlanError {
    /// The mailbox that is left out.
    #[must_use]
    pub fn mailbox(&self) -> &str {
        match self {
            PlanError::Copyback { mailbox, .. } | PlanError::NameHeld { mailbox, .. } => mailbox,
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
    let there: HashMap<&str, &ReplicaMailbox> =
        replica.mailboxes.iter().map(|r| (r.uniqueid.as_str(), r)).collect();

    let mut plan = UserPlan::default();
    let mut orphans = HashSet::new();
    let ours: HashSet<&str> = master.folders.iter().map(Folder::name).collect();
    for gone in unmatched_folders(master, replica) {
        if tombstones.names.contains(&gone.name)
            || tombstones.uniqueids.contains(&gone.uniqueid)
            || is_filler(gone, &ours, tombstones)
        {
            plan.deletes.push(gone.name.clone());
        } else {
            plan.orphans.push(gone.name.clone());
            orphans.insert(gone.name.as_str());
        }
    }

    // Children first: a mailbox with children would only become a name without a mailbox there.
    plan.deletes.sort_unstable_by(|a, b| b.cmp(a));
    let held = held_names(master, replica, &orphans);
    let mut renames = Vec::new();
    for folder in &master.folders {
        let found = there.get(folder.uniqueid()).copied();
        if let Some(uniqueid) = held.get(folder.name()) {
            let (mailbox, uniqueid) = (folder.name().to_string(), uniqueid.to_string());
            plan.left_out.push(PlanError::NameHeld { mailbox, uniqueid });
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
    plan
}

/// Whether the replica made this mailbox by itself, when it was sent one below it: it never held a message, nobody here
/// knows its unique id, and its name is another's.
fn is_filler(r: &ReplicaMailbox, ours: &HashSet<&str>, tombstones: &Tombstones) -> bool {
    r.last_uid == 0 && ours.contains(r.name.as_str()) && !tombstones.elsewhere.contains(&r.uniqueid)
}

/// Names on the replica that never get free: the orphans', and those of mailboxes that can't be
/// renamed to their own names because of them. With the unique id of who holds each.
fn held_names<'a>(
    master: &MasterUser,
    replica: &'a ReplicaUser,
    orphans: &HashSet<&str>,
) -> HashMap<&'a str, &'a str> {
    let mut held = HashMap::new();
    if orphans.is_empty() {
        return held;
    }
    let here: HashMap<&str, &str> =
        master.folders.iter().map(|folder| (folder.uniqueid(), folder.name())).collect();
    loop {
        let before = held.len();
        for r in &replica.mailboxes {
            let stays = match here.get(r.uniqueid.as_str()) {
                Some(name) => *name != r.name && held.contains_key(name),
                None => orphans.contains(r.name.as_str()),
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
        PlanError::NameHeld { mailbox: mailbox.into(), uniqueid: uniqueid.into() }
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
        let tombstones = Tombstones {
            names: HashSet::from(["user.a.x".to_string()]),
            uniqueids: HashSet::from(["3".to_string()]),
            elsewhere: HashSet::new(),
        };
        let plan = plan_user(&m, &r, &tombstones, &Options::default());
        assert_eq!(plan.deletes, ["user.a.y", "user.a.x"]);
        assert_eq!(plan.orphans, ["user.a.z"]);
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
    fn a_name_held_by_what_never_held_a_message_is_freed() {
        let (m, r) = sides(
            vec![here("user.a.x", "new"), here("user.a.y", "4")],
            vec![there("user.a.x", "made up"), there("user.a.y", "4"), there("user.a.z", "5")],
        );
        let plan = plan_user(&m, &r, &Tombstones::default(), &Options::default());
        assert_eq!(plan.deletes, ["user.a.x"]);
        assert_eq!((plan.orphans, plan.left_out), (vec!["user.a.z".to_string()], vec![]));
        assert_eq!(plan.updates.len(), 1);
        // Unless it is another user's here.
        let elsewhere = HashSet::from(["made up".to_string()]);
        let tombstones = Tombstones { elsewhere, ..Tombstones::default() };
        let plan = plan_user(&m, &r, &tombstones, &Options::default());
        assert_eq!((plan.deletes.len(), plan.left_out.len()), (0, 1));
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
