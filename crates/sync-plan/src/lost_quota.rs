//! Mailboxes that the replica does not count against their quota root.
//!
//! A server that gets a new quota root writes its limits first, then its name into the header of each mailbox below it. If
//! that fails, as on a full disk, it dies or says OK all the same (`imap/mboxlist.c:mboxlist_changequota` of cyrus-imapd
//! 3.6.1: a line LOSTQUOTA in syslog), and does not try again, because the root exists. Only the headers show it, so they
//! are compared. No command repairs that safely: to remove the root and set it again takes it from all mailboxes first, and
//! the server may die in between. So the user fails. Roots of whole domains are not checked: no server writes these into
//! existing headers.

use std::collections::HashMap;

use csync::{ReplicaMailbox, ReplicaUser};
use cyrus_types::{MailboxName, UniqueId};

use crate::master::{Folder, MasterMailbox, MasterQuota, MasterUser};

/// A quota root that is on both sides, and mailboxes that count against it only here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("mailbox {mailbox}{}: the replica does not count it against quota root {root}", and_more(*.others))]
pub struct Uncounted {
    /// The quota root.
    pub root: String,
    /// One of the mailboxes.
    pub mailbox: MailboxName,
    /// How many others there are.
    pub others: usize,
}

fn and_more(others: usize) -> String {
    if others == 0 { String::new() } else { format!(" (and {others} more)") }
}

/// Finds such quota roots.
pub(crate) fn find(master: &MasterUser, replica: &ReplicaUser) -> Vec<Uncounted> {
    let there: HashMap<&UniqueId, &ReplicaMailbox> =
        replica.mailboxes.iter().map(|r| (&r.uniqueid, r)).collect();
    let mut found = Vec::new();
    for quota in &master.quotas {
        if !replica.quotas.iter().any(|r| r.root == quota.root) {
            // It is about to be set, and then in all mailboxes.
            continue;
        }
        let mailboxes = master.folders.iter().filter_map(|folder| match folder {
            Folder::Mailbox(m) => there.get(&m.uniqueid).map(|r| (&**m, *r)),
            Folder::Intermediate(_) => None,
        });
        let mut lost = mailboxes.filter(|(m, r)| is_lost(m, r, quota, master));
        if let Some((mailbox, _)) = lost.next() {
            let (root, mailbox) = (quota.root.clone(), mailbox.name.clone());
            found.push(Uncounted { root, mailbox, others: lost.count() });
        }
    }
    found
}

/// Whether this mailbox belongs to the root here, and there to none or to one above it. After renames a header may name a
/// root that no longer applies, a different one on each side: so the mailbox's name must confirm it.
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
        Some(root) => *root != quota.root && is_at_or_below(&quota.root, root),
    };
    is_its
        && lacks
        && theirs.name == ours.name
        && !theirs.partition.is_empty()
        && !master.quotas.iter().any(below)
}

/// Whether a mailbox is at or below a root.
fn covers(root: &str, name: &MailboxName) -> bool {
    is_at_or_below(name.as_str(), root)
}

/// The same for any name, such as another root's.
fn is_at_or_below(name: &str, root: &str) -> bool {
    name.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use csync::ReplicaQuota;
    use cyrus_types::ModSeq;

    use super::*;

    fn ours(name: &str, root: Option<&str>) -> Folder {
        Folder::Mailbox(Box::new(MasterMailbox {
            name: MailboxName::new(name),
            uniqueid: UniqueId::new(name),
            quotaroot: root.map(str::to_string),
            ..MasterMailbox::default()
        }))
    }

    fn theirs(name: &str, root: Option<&str>) -> ReplicaMailbox {
        ReplicaMailbox {
            name: MailboxName::new(name),
            uniqueid: UniqueId::new(name),
            partition: "default".into(),
            quotaroot: root.map(str::to_string),
            ..ReplicaMailbox::default()
        }
    }

    fn quota(root: &str) -> MasterQuota {
        MasterQuota { root: root.into(), limits: vec![("STORAGE".into(), 9)], modseq: ModSeq(1) }
    }

    fn found(ours: Vec<Folder>, roots: &[&str], theirs: Vec<ReplicaMailbox>) -> Vec<String> {
        let quotas: Vec<MasterQuota> = roots.iter().map(|root| quota(root)).collect();
        let master = MasterUser { folders: ours, quotas, ..MasterUser::default() };
        let quotas = roots.iter().map(|root| ReplicaQuota {
            root: (*root).into(),
            limits: vec![("STORAGE".into(), 9)],
            modseq: ModSeq(1),
        });
        let replica =
            ReplicaUser { mailboxes: theirs, quotas: quotas.collect(), ..ReplicaUser::default() };
        find(&master, &replica).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn mailboxes_that_lack_a_root_are_named() {
        let here = ["user.a", "user.a.b", "user.a.c"].map(|name| ours(name, Some("user.a")));
        let there = [("user.a", Some("user.a")), ("user.a.b", None), ("user.a.c", None)];
        let there = there.map(|(name, root)| theirs(name, root)).to_vec();
        let wanted = "mailbox user.a.b (and 1 more): the replica does not count it against quota root user.a";
        assert_eq!(found(here.to_vec(), &["user.a"], there), [wanted]);
    }

    #[test]
    fn one_above_it_is_not_enough_and_one_below_it_is_the_replicas_own() {
        let here = || vec![ours("user.a.b", Some("user.a.b"))];
        let roots = ["user.a", "user.a.b"];
        let above = found(here(), &roots, vec![theirs("user.a.b", Some("user.a"))]);
        assert_eq!(above.len(), 1);
        assert!(found(here(), &roots, vec![theirs("user.a.b", Some("user.a.b"))]).is_empty());
        let stale = vec![ours("user.a.b", Some("user.a"))];
        assert!(found(stale, &roots, vec![theirs("user.a.b", None)]).is_empty());
    }

    #[test]
    fn what_renames_left_behind_and_what_is_a_domains_is_no_fault() {
        let stale = vec![ours("user.b.x", Some("user.a"))];
        assert!(found(stale, &["user.a"], vec![theirs("user.b.x", None)]).is_empty());
        let elsewhere = vec![ours("user.a.x", Some("user.a"))];
        let mut there = theirs("user.a.old", None);
        there.uniqueid = UniqueId::new("user.a.x");
        assert!(found(elsewhere, &["user.a"], vec![there]).is_empty());
        let other = vec![ours("user.a.x", Some("user.a"))];
        assert!(found(other, &["user.a"], vec![theirs("user.a.x", Some("user.z"))]).is_empty());
        let domain = vec![ours("x.org!user.a", Some("x.org!"))];
        assert!(found(domain, &["x.org!"], vec![theirs("x.org!user.a", None)]).is_empty());
    }
}
