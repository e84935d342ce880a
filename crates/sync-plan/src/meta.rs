//! The user's data outside mailboxes: quota roots, subscriptions, seen state, Sieve scripts.

use std::collections::{BTreeMap, HashMap, HashSet};

use csync::{ReplicaQuota, ReplicaSeen, ReplicaSieve};
use cyrus_types::{MailboxName, UniqueId};

use crate::master::{MasterQuota, MasterSeen, MasterSieve};

/// A change to a quota root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuotaChange {
    /// Set these limits.
    Set(MasterQuota),
    /// The root does not exist here.
    Remove(String),
}

/// A change to the subscriptions; internal mailbox names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubChange {
    /// Subscribe.
    Add(MailboxName),
    /// Unsubscribe.
    Remove(MailboxName),
}

/// A change to the Sieve scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SieveChange {
    /// Upload this script.
    Upload(MasterSieve),
    /// Delete this file (`NAME.script`), which does not exist here.
    Delete(String),
    /// Make the script of this bytecode (`NAME.bc`) the active one.
    Activate(String),
    /// Make none active.
    Deactivate,
}

/// Quota roots whose limits differ, and those that do not exist here. The modseq is not compared: it always ends up higher
/// on a replica.
pub fn plan_quota(ours: &[MasterQuota], theirs: &[ReplicaQuota]) -> Vec<QuotaChange> {
    let mut changes = Vec::new();
    for quota in ours {
        let same = theirs.iter().any(|r| r.root == quota.root && same_limits(quota, r));
        if !same {
            changes.push(QuotaChange::Set(quota.clone()));
        }
    }
    for quota in theirs {
        if !ours.iter().any(|m| m.root == quota.root) {
            changes.push(QuotaChange::Remove(quota.root.clone()));
        }
    }
    changes
}

/// Resource by resource, as the C client compares them (`imap/sync_support.c`: sync_decode_quota_limits).
fn same_limits(ours: &MasterQuota, theirs: &ReplicaQuota) -> bool {
    let ours: BTreeMap<&str, u64> = ours.limits.iter().map(|(k, v)| (resource(k), *v)).collect();
    let limits = theirs.limits.iter();
    let theirs: BTreeMap<&str, u64> = limits.map(|(k, v)| (resource(k), *v as u64)).collect();
    ours == theirs
}

/// Since 3.10 two resources have other names, and are sent under the old and the new one.
fn resource(name: &str) -> &str {
    match name {
        "ANNOTATION-STORAGE" => "X-ANNOTATION-STORAGE",
        "MAILBOX" => "X-NUM-FOLDERS",
        name => name,
    }
}

/// Subscriptions to add, then those to remove.
pub fn plan_subs(ours: &[MailboxName], theirs: &[MailboxName]) -> Vec<SubChange> {
    let here: HashSet<&MailboxName> = ours.iter().collect();
    let there: HashSet<&MailboxName> = theirs.iter().collect();
    let added = ours.iter().filter(|n| !there.contains(n)).cloned().map(SubChange::Add);
    let removed = theirs.iter().filter(|n| !here.contains(n)).cloned().map(SubChange::Remove);
    added.chain(removed).collect()
}

/// Seen entries that are new or differ. Entries that only the replica has stay: the server has no command to delete them.
pub fn plan_seen(ours: &[MasterSeen], theirs: &[ReplicaSeen]) -> Vec<MasterSeen> {
    let there: HashMap<&UniqueId, &ReplicaSeen> = theirs.iter().map(|s| (&s.uniqueid, s)).collect();
    ours.iter()
        .filter(|m| {
            !there.get(&m.uniqueid).is_some_and(|r| {
                r.lastuid == m.lastuid
                    && r.lastread == m.lastread
                    && r.lastchange == m.lastchange
                    && r.seenuids == m.seenuids
            })
        })
        .cloned()
        .collect()
}

/// The server's names for a script's text and its compiled form.
const SCRIPT: &str = ".script";
const BYTECODE: &str = ".bc";

/// Scripts to upload and delete and which to activate (`sync_do_user_sieve`).
///
/// The replica lists every script as `NAME.script`, and the active one once more as `NAME.bc`,
/// without a GUID and marked active. Bytecode is never sent or deleted: it is the replica's own.
pub fn plan_sieve(ours: &[MasterSieve], theirs: &[ReplicaSieve]) -> Vec<SieveChange> {
    let mut changes = Vec::new();
    for script in ours {
        let found = theirs.iter().find(|r| r.filename.strip_suffix(SCRIPT) == Some(&script.name));
        let same = found.is_some_and(|r| match &r.guid {
            Some(guid) if !guid.is_null() => *guid == script.guid,
            _ => r.last_update >= script.last_update,
        });
        if !same {
            changes.push(SieveChange::Upload(script.clone()));
        }
    }
    for script in theirs {
        let Some(name) = script.filename.strip_suffix(SCRIPT) else { continue };
        if !ours.iter().any(|m| m.name == name) {
            changes.push(SieveChange::Delete(script.filename.clone()));
        }
    }
    let active_here = ours.iter().find(|s| s.active).map(|s| s.name.as_str());
    let active_there = theirs.iter().find(|s| s.active).map(|s| {
        let name = s.filename.as_str();
        name.strip_suffix(BYTECODE).or(name.strip_suffix(SCRIPT)).unwrap_or(name)
    });
    match (active_here, active_there) {
        (Some(here), there) if there != Some(here) => {
            changes.push(SieveChange::Activate(format!("{here}{BYTECODE}")));
        }
        // Deleting the active script also deactivates it.
        (None, Some(there)) if ours.iter().any(|m| m.name == there) => {
            changes.push(SieveChange::Deactivate);
        }
        _ => {}
    }
    changes
}

#[cfg(test)]
mod tests {
    use cyrus_types::{Guid, ModSeq, Uid};

    use super::*;

    fn quota(root: &str, limits: &[(&str, u64)]) -> MasterQuota {
        let limits = limits.iter().map(|(k, v)| (k.to_string(), *v)).collect();
        MasterQuota { root: root.into(), limits, modseq: ModSeq(4) }
    }

    #[test]
    fn only_limits_make_a_quota_differ() {
        let theirs = [
            ReplicaQuota {
                root: "user.a".into(),
                limits: vec![("STORAGE".into(), 10), ("LIMIT".into(), 10)],
                modseq: ModSeq(99),
            },
            ReplicaQuota { root: "user.gone".into(), limits: vec![], modseq: ModSeq(1) },
        ];
        let ours = [
            quota("user.a", &[("LIMIT", 10), ("STORAGE", 10)]),
            quota("user.b", &[("LIMIT", 5), ("STORAGE", 5)]),
        ];
        assert_eq!(
            plan_quota(&ours, &theirs),
            [QuotaChange::Set(ours[1].clone()), QuotaChange::Remove("user.gone".into())]
        );
    }

    #[test]
    fn a_resource_under_two_names_is_one() {
        let ours = [quota("user.a", &[("LIMIT", 10), ("STORAGE", 10), ("X-NUM-FOLDERS", 3)])];
        let limits = |folders| {
            [("LIMIT", 10), ("STORAGE", 10), ("MAILBOX", folders), ("X-NUM-FOLDERS", folders)]
                .map(|(name, limit)| (name.to_string(), limit))
                .to_vec()
        };
        let theirs = |folders| ReplicaQuota {
            root: "user.a".into(),
            limits: limits(folders),
            modseq: ModSeq(1),
        };
        assert_eq!(plan_quota(&ours, &[theirs(3)]), []);
        assert_eq!(plan_quota(&ours, &[theirs(4)]), [QuotaChange::Set(ours[0].clone())]);
    }

    #[test]
    fn subscriptions_are_added_then_removed() {
        let ours = ["a", "b"].map(MailboxName::new);
        let theirs = ["b", "c"].map(MailboxName::new);
        assert_eq!(
            plan_subs(&ours, &theirs),
            [SubChange::Add(MailboxName::new("a")), SubChange::Remove(MailboxName::new("c"))]
        );
    }

    fn script(name: &str, active: bool) -> MasterSieve {
        MasterSieve {
            name: name.into(),
            last_update: 5,
            guid: Guid([7; 20]),
            active,
            content: b"keep;".to_vec(),
        }
    }

    fn listed(filename: &str, active: bool) -> ReplicaSieve {
        ReplicaSieve { filename: filename.into(), last_update: 5, guid: None, active }
    }

    #[test]
    fn scripts_are_uploaded_deleted_and_activated() {
        let theirs =
            [listed("old.script", false), listed("old.bc", true), listed("same.script", false)];
        let ours = [script("same", true), script("new", false)];
        assert_eq!(
            plan_sieve(&ours, &theirs),
            [
                SieveChange::Upload(ours[1].clone()),
                SieveChange::Delete("old.script".into()),
                SieveChange::Activate("same.bc".into()),
            ]
        );
    }

    #[test]
    fn an_active_script_is_left_alone_or_deactivated() {
        let theirs = [listed("a.script", false), listed("a.bc", true)];
        assert_eq!(plan_sieve(&[script("a", true)], &theirs), []);
        assert_eq!(plan_sieve(&[script("a", false)], &theirs), [SieveChange::Deactivate]);
        assert_eq!(plan_sieve(&[], &theirs), [SieveChange::Delete("a.script".into())]);
    }

    #[test]
    fn seen_entries_that_differ_are_sent() {
        let seen = |uids: &str| MasterSeen {
            uniqueid: UniqueId::new("u"),
            lastread: 1,
            lastuid: Uid(2),
            lastchange: 3,
            seenuids: uids.into(),
        };
        let theirs = [ReplicaSeen {
            uniqueid: UniqueId::new("u"),
            lastread: 1,
            lastuid: Uid(2),
            lastchange: 3,
            seenuids: "1:2".into(),
        }];
        assert!(plan_seen(&[seen("1:2")], &theirs).is_empty());
        assert_eq!(plan_seen(&[seen("1")], &theirs), [seen("1")]);
    }
}
