//! Files that are missing here although they should exist: their absence proves nothing, so nothing is removed on the
//! replica for it.
//!
//! Cyrus' own client treats missing files as deletions: without a subscription file it cancels all subscriptions, without
//! its quota files it removes all roots.

use csync::ReplicaUser;
use cyrus_types::MailboxName;

use crate::master::{MasterUser, Missing};
use crate::meta::{QuotaChange, SubChange};

/// Something on the replica that was kept, because nothing proves that it was removed here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Kept {
    /// A quota root.
    #[error(
        "quota root {root} is named by mailbox {mailbox}, but {path} (option quota_db_path) does not hold it, so the replica's was kept; if it is gone for good, `quota -f` takes it out of the mailboxes"
    )]
    QuotaRoot {
        /// Its name.
        root: String,
        /// The mailbox that names it.
        mailbox: MailboxName,
        /// Where it should be.
        path: String,
    },
    /// Subscriptions.
    #[error(
        "subscriptions: {path} does not exist, so those that only the replica has ({count}) were kept; if there are to be none, make it an empty file of the Cyrus user"
    )]
    Subscriptions {
        /// The file.
        path: String,
        /// How many were not cancelled.
        count: usize,
    },
}

/// Takes removals out of a plan whose only reason is that something is missing here.
pub(crate) fn keep(
    quotas: &mut Vec<QuotaChange>,
    subscriptions: &mut Vec<SubChange>,
    master: &MasterUser,
    replica: &ReplicaUser,
) -> Vec<Kept> {
    let mut kept = Vec::new();
    for missing in &master.missing {
        match missing {
            Missing::QuotaRoot { root, mailbox, path } => {
                let before = quotas.len();
                quotas.retain(|change| *change != QuotaChange::Remove(root.clone()));
                if quotas.len() < before {
                    let (root, mailbox, path) = (root.clone(), mailbox.clone(), path.clone());
                    kept.push(Kept::QuotaRoot { root, mailbox, path });
                }
            }
            Missing::Subscriptions { path, inbox } => {
                let before = subscriptions.len();
                subscriptions.retain(|change| matches!(change, SubChange::Add(_)));
                let count = before - subscriptions.len();
                if count > 0 && !is_another_users(inbox, master, replica) {
                    kept.push(Kept::Subscriptions { path: path.clone(), count });
                }
            }
        }
    }
    kept
}

/// Whether the replica does not have our INBOX yet: then its data belongs to a removed user of the same name, and is
/// removed with that user's INBOX.
fn is_another_users(inbox: &MailboxName, master: &MasterUser, replica: &ReplicaUser) -> bool {
    let ours = master.folders.iter().find(|folder| folder.name() == inbox);
    ours.is_some_and(|ours| !replica.mailboxes.iter().any(|r| r.uniqueid == *ours.uniqueid()))
}

#[cfg(test)]
mod tests {
    use csync::ReplicaMailbox;
    use cyrus_types::UniqueId;

    use super::*;
    use crate::master::{Folder, MasterMailbox};

    #[test]
    fn only_what_is_missing_is_kept() {
        let remove = |root: &str| QuotaChange::Remove(root.to_string());
        let planned = || {
            let quotas = vec![remove("user.a"), remove("user.a.b")];
            (
                quotas,
                vec![
                    SubChange::Add(MailboxName::new("x")),
                    SubChange::Remove(MailboxName::new("y")),
                ],
            )
        };
        let (mut quotas, mut subs) = planned();
        let none = (MasterUser::default(), ReplicaUser::default());
        assert!(keep(&mut quotas, &mut subs, &none.0, &none.1).is_empty());
        assert_eq!((quotas, subs), planned());
        let lost = |root: &str, mailbox: &str, path: &str| Missing::QuotaRoot {
            root: root.into(),
            mailbox: MailboxName::new(mailbox),
            path: path.into(),
        };
        let missing = vec![
            lost("user.a", "user.a.c", "/q"),
            lost("user.z", "user.a", "/z"),
            Missing::Subscriptions { path: "/s".into(), inbox: MailboxName::new("user.a") },
        ];
        let inbox = MasterMailbox {
            name: MailboxName::new("user.a"),
            uniqueid: UniqueId::new("1"),
            ..MasterMailbox::default()
        };
        let folders = vec![Folder::Mailbox(Box::new(inbox))];
        let master = MasterUser { missing, folders, ..MasterUser::default() };
        let mut replica = ReplicaUser::default();
        // The replica's subscriptions belong to another INBOX.
        let (mut quotas, mut subs) = planned();
        let kept = keep(&mut quotas, &mut subs, &master, &replica);
        assert_eq!((subs.len(), kept.len()), (1, 1));
        let there = ReplicaMailbox { uniqueid: UniqueId::new("1"), ..ReplicaMailbox::default() };
        replica.mailboxes.push(there);
        let (mut quotas, mut subs) = planned();
        let kept = keep(&mut quotas, &mut subs, &master, &replica);
        assert_eq!(quotas, [remove("user.a.b")]);
        assert_eq!(subs, [SubChange::Add(MailboxName::new("x"))]);
        let words: Vec<String> = kept.iter().map(ToString::to_string).collect();
        assert_eq!(words.len(), 2, "{words:?}");
        assert!(
            words[0].starts_with("quota root user.a is named by mailbox user.a.c, but /q "),
            "{words:?}"
        );
        assert!(words[1].starts_with("subscriptions: /s does not exist"), "{words:?}");
    }
}
