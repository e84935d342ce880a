//! Mailboxes that the replica does not count against their quota root.
//!
//! A server that is told of a new quota root writes its limits first, then its name into the header of each mailbox below it.
//! Where that fails, as on a full disk, it says OK all the same (`imap/mboxlist.c:mboxlist_changequota` of cyrus-imapd 3.6.1: a line
//! LOSTQUOTA in syslog), and does not come back to it, as the root is there. Nothing but the headers tells: so they are compared. A root
//! that is removed and set again is written into all of them.

use std::collections::HashMap;

use csync::{ReplicaMailbox, ReplicaUser};

use crate::master::{Folder, MasterMailbox, MasterQuota, MasterUser};
use crate::meta::QuotaChange;

/// Adds the quota roots that are to be set anew.
pub(crate) fn renew(changes: &mut Vec<QuotaChange>, master: &MasterUser, replica: &ReplicaUser) {
    let there: HashMap<&str, &ReplicaMailbox> =
        replica.mailboxes.iter().map(|r| (r.uniqueid.as_str(), r)).collect();
    for quota in &master.quotas {
        if !replica.quotas.iter().any(|r| r.root == quota.root) {
            // It is to be set, and then in all mailboxes.
            continue;
        }
        let mailboxes = master.folders.iter().filter_map(|folder| match folder {
            Folder::Mailbox(m) => there.get(m.uniqueid.as_str()).map(|r| (&**m, *r)),
            Folder::Intermediate(_) => None,
        });
        let lost = mailboxes.filter(|(m, r)| is_lost(m, r, quota, master));
        let lost: Vec<String> = lost.map(|(m, _)| m.name.clone()).collect();
        if lost.is_empty() {
            continue;
        }
        changes.retain(|change| *change != QuotaChange::Set(quota.clone()));
        changes.push(QuotaChange::Renew(quota.clone(), lost));
    }
}

/// Whether this mailbox belongs to the root here, and there to none or to one above it. A header may name a root that is no
/// longer the mailbox' own, on each side another, as renames leave them behind: what the names do not say as well is left alone.
fn is_lost(
    ours: &MasterMailbox,
    theirs: &ReplicaMailbox,
    quota: &MasterQuota,
    master: &MasterUser,
) -> bool {
    let is_its = ours.quotaroot.as_ref() == Some(&quota.root) && covers(&quota.root, &ours.name);
    let below = |other: &MasterQuota| {
        other.root.len() > quota.root.len() && covers(&other.root, &ours.name)
    };
    let lacks = match &theirs.quotaroot {
        None => true,
        Some(root) => *root != quota.root && covers(root, &quota.root),
    };
    is_its
        && lacks
        && theirs.name == ours.name
        && !theirs.partition.is_empty()
        && !master.quotas.iter().any(below)
}

/// Whether a mailbox (or a root) is at or below a root; that of a domain ends with `!`.
fn covers(root: &str, name: &str) -> bool {
    let rest = name.strip_prefix(root);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || root.ends_with('!'))
}

#[cfg(test)]
mod tests {
    use csync::ReplicaQuota;

    use super::*;

    fn ours(name: &str, root: Option<&str>) -> Folder {
        Folder::Mailbox(Box::new(MasterMailbox {
            name: name.into(),
            uniqueid: name.into(),
            quotaroot: root.map(str::to_string),
            ..MasterMailbox::default()
        }))
    }

    fn theirs(name: &str, root: Option<&str>) -> ReplicaMailbox {
        ReplicaMailbox {
            name: name.into(),
            uniqueid: name.into(),
            partition: "default".into(),
            quotaroot: root.map(str::to_string),
            ..ReplicaMailbox::default()
        }
    }

    fn quota(root: &str) -> MasterQuota {
        MasterQuota { root: root.into(), limits: vec![("STORAGE".into(), 9)], modseq: 1 }
    }

    fn renewed(ours: Vec<Folder>, roots: &[&str], theirs: Vec<ReplicaMailbox>) -> Vec<QuotaChange> {
        let quotas: Vec<MasterQuota> = roots.iter().map(|root| quota(root)).collect();
        let master = MasterUser { folders: ours, quotas, ..MasterUser::default() };
        let quotas = roots.iter().map(|root| ReplicaQuota {
            root: (*root).into(),
            limits: vec![("STORAGE".into(), 9)],
            modseq: 1,
        });
        let replica =
            ReplicaUser { mailboxes: theirs, quotas: quotas.collect(), ..ReplicaUser::default() };
        let mut changes = Vec::new();
        renew(&mut changes, &master, &replica);
        changes
    }

    #[test]
    fn a_root_that_mailboxes_lack_is_set_anew_once() {
        let here = ["user.a", "user.a.b", "user.a.c"].map(|name| ours(name, Some("user.a")));
        let there = [("user.a", Some("user.a")), ("user.a.b", None), ("user.a.c", None)];
        let there = there.map(|(name, root)| theirs(name, root)).to_vec();
        let lost = vec!["user.a.b".to_string(), "user.a.c".to_string()];
        let wanted = [QuotaChange::Renew(quota("user.a"), lost)];
        assert_eq!(renewed(here.to_vec(), &["user.a"], there), wanted);
    }

    #[test]
    fn one_above_it_is_not_enough_and_one_below_it_is_the_replicas_own() {
        let here = || vec![ours("user.a.b", Some("user.a.b"))];
        let roots = ["user.a", "user.a.b"];
        let above = renewed(here(), &roots, vec![theirs("user.a.b", Some("user.a"))]);
        assert_eq!(above, [QuotaChange::Renew(quota("user.a.b"), vec!["user.a.b".into()])]);
        assert_eq!(renewed(here(), &roots, vec![theirs("user.a.b", Some("user.a.b"))]), []);
        let stale = vec![ours("user.a.b", Some("user.a"))];
        assert_eq!(renewed(stale, &roots, vec![theirs("user.a.b", None)]), []);
    }

    #[test]
    fn what_renames_left_behind_stays() {
        let stale = vec![ours("user.b.x", Some("user.a"))];
        assert_eq!(renewed(stale, &["user.a"], vec![theirs("user.b.x", None)]), []);
        let elsewhere = vec![ours("user.a.x", Some("user.a"))];
        let mut there = theirs("user.a.old", None);
        there.uniqueid = "user.a.x".into();
        assert_eq!(renewed(elsewhere, &["user.a"], vec![there]), []);
        let other = vec![ours("user.a.x", Some("user.a"))];
        assert_eq!(renewed(other, &["user.a"], vec![theirs("user.a.x", Some("user.z"))]), []);
    }
}
