//! Compares one mailbox on both sides: the same, to be sent, or needing copyback.
//!
//! The comparison is `is_unchanged` of `imap/sync_support.c` (3.6.1); the reasons for copyback are the places where that
//! client would write to its own store, which ours never does by itself.

use std::fmt;

use csync::ReplicaMailbox;
use cyrus_types::{ModSeq, SyncCrcs, Uid, UidValidity};

use crate::master::{MailboxAnnotation, MasterMailbox};

/// Why a mailbox can't be sent without first copying something back from the replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopybackReason {
    /// The replica has a higher UIDVALIDITY.
    UidValidity {
        /// Ours.
        master: UidValidity,
        /// The replica's.
        replica: UidValidity,
    },
    /// The replica has newer changes.
    HighestModseq {
        /// Ours.
        master: ModSeq,
        /// The replica's.
        replica: ModSeq,
    },
    /// The replica has messages with UIDs that were never assigned here.
    LastUid {
        /// Ours.
        master: Uid,
        /// The replica's.
        replica: Uid,
    },
    /// Records newer than the replica's state were already cleaned up here, so only a record-by-record comparison can show
    /// what happened to them.
    CleanedUp {
        /// Modseq up to which records were removed here.
        deletedmodseq: ModSeq,
        /// The replica's state.
        replica: ModSeq,
    },
    /// The checksums still differ after both were computed again.
    Checksum {
        /// Ours, recomputed.
        master: SyncCrcs,
        /// The replica's.
        replica: SyncCrcs,
    },
    /// A message that does not exist here and was not cleaned up here either.
    OnlyOnReplica {
        /// Its UID there.
        uid: Uid,
    },
    /// A message that is live here was expunged there, or never arrived although the replica's LAST_UID is past its UID.
    GoneOnReplica {
        /// Its UID.
        uid: Uid,
    },
    /// One UID with two messages.
    OtherMessage {
        /// The UID.
        uid: Uid,
    },
    /// A message was changed there after its last change here.
    NewerOnReplica {
        /// Its UID.
        uid: Uid,
    },
    /// The replica refused the change although it was sent in full.
    Refused {
        /// The code of its answer.
        code: String,
    },
}

impl fmt::Display for CopybackReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use CopybackReason::*;
        match self {
            UidValidity { master, replica } => {
                write!(f, "UIDVALIDITY is {replica} on the replica and {master} here")
            }
            HighestModseq { master, replica } => {
                write!(f, "HIGHESTMODSEQ is {replica} on the replica and {master} here")
            }
            LastUid { master, replica } => {
                write!(f, "the last UID is {replica} on the replica and {master} here")
            }
            CleanedUp { deletedmodseq, replica } => write!(
                f,
                "the replica stands at modseq {replica}, records up to {deletedmodseq} are already cleaned up here"
            ),
            Checksum { master, replica } => write!(
                f,
                "checksums differ: {}/{} here, {}/{} on the replica",
                master.basic, master.annot, replica.basic, replica.annot
            ),
            OnlyOnReplica { uid } => write!(f, "uid {uid} exists only on the replica"),
            GoneOnReplica { uid } => write!(f, "uid {uid} is live here and gone on the replica"),
            OtherMessage { uid } => {
                write!(f, "uid {uid} is one message here and another on the replica")
            }
            NewerOnReplica { uid } => write!(f, "uid {uid} was changed on the replica"),
            Refused { code } => write!(f, "the replica refused the full change with {code}"),
        }
    }
}

/// The result of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Both sides are equal.
    Unchanged,
    /// Something changed here: send it.
    Changed,
    /// Everything except the stored checksums is equal: recompute ours before deciding.
    ChecksumDoubt,
    /// Only a record-by-record comparison can show; the reason.
    Full(CopybackReason),
    /// The replica has something that we lack.
    Copyback(CopybackReason),
}

/// Compares a mailbox with what the replica has under the same unique id.
///
/// `one_way` is -O: what the replica has beyond ours is overwritten, never copied back.
pub fn compare_mailbox(master: &MasterMailbox, replica: &ReplicaMailbox, one_way: bool) -> Verdict {
    if let Some(reason) = copyback_reason(master, replica) {
        return if one_way { Verdict::Full(reason) } else { Verdict::Copyback(reason) };
    }
    if master.deletedmodseq > replica.highestmodseq && replica.last_uid > Uid::NONE {
        return Verdict::Full(CopybackReason::CleanedUp {
            deletedmodseq: master.deletedmodseq,
            replica: replica.highestmodseq,
        });
    }
    if header_differs(master, replica) {
        return Verdict::Changed;
    }
    if master.crcs.agree(replica.crcs) { Verdict::Unchanged } else { Verdict::ChecksumDoubt }
}

fn copyback_reason(m: &MasterMailbox, r: &ReplicaMailbox) -> Option<CopybackReason> {
    if r.uidvalidity > m.uidvalidity {
        return Some(CopybackReason::UidValidity { master: m.uidvalidity, replica: r.uidvalidity });
    }
    if r.last_uid > m.last_uid {
        return Some(CopybackReason::LastUid { master: m.last_uid, replica: r.last_uid });
    }
    if r.highestmodseq > m.highestmodseq {
        return Some(CopybackReason::HighestModseq {
            master: m.highestmodseq,
            replica: r.highestmodseq,
        });
    }
    None
}

/// Whether one of the three counters that no record depends on is higher here: XCONVMODSEQ, FOLDERMODSEQ and RACLMODSEQ.
/// The C client raises the master's if the replica's is higher (`imap/sync_support.c`: update_mailbox_once,
/// mailbox_full_update), and the replica never lowers its own; so a lower one here is not a difference to be sent. It can
/// be lower for good reasons: cyr_expire -X during other work, a mailbox that came from another user. 0 means unknown on
/// both sides.
fn counters_rose(m: &MasterMailbox, r: &ReplicaMailbox) -> bool {
    m.xconvmodseq.is_some_and(|ours| ours > r.xconvmodseq)
        || (!r.foldermodseq.is_zero() && m.foldermodseq > r.foldermodseq)
        || (!r.raclmodseq.is_zero() && m.raclmodseq > r.raclmodseq)
}

fn header_differs(m: &MasterMailbox, r: &ReplicaMailbox) -> bool {
    m.mboxtype.as_deref().unwrap_or("") != r.mboxtype
        || m.last_uid != r.last_uid
        || m.highestmodseq != r.highestmodseq
        || m.uidvalidity != r.uidvalidity
        || m.recentuid != r.recentuid
        || m.recenttime != r.recenttime
        || m.pop3_last_login != r.pop3_last_login
        || m.pop3_show_after != r.pop3_show_after
        || m.options != r.options
        || m.acl != r.acl
        || counters_rose(m, r)
        || annotations_differ(&m.annotations, r)
}

/// Order is not compared: each side lists in the order of its own database.
fn annotations_differ(ours: &[MailboxAnnotation], r: &ReplicaMailbox) -> bool {
    ours.len() != r.annotations.len()
        || ours.iter().any(|a| {
            !r.annotations
                .iter()
                .any(|b| a.entry == b.entry && a.userid == b.userid && a.value == b.value)
        })
}

#[cfg(test)]
mod tests {
    use cyrus_types::{MailboxName, UniqueId};

    use super::*;

    fn pair() -> (MasterMailbox, ReplicaMailbox) {
        let m = MasterMailbox {
            name: MailboxName::new("user.anna"),
            uniqueid: UniqueId::new("u1"),
            acl: "anna\tlrs\t".into(),
            last_uid: Uid(7),
            highestmodseq: ModSeq(20),
            uidvalidity: UidValidity(5),
            crcs: SyncCrcs { basic: 1, annot: 2 },
            foldermodseq: ModSeq(3),
            ..Default::default()
        };
        let r = ReplicaMailbox {
            name: MailboxName::new("user.anna"),
            uniqueid: UniqueId::new("u1"),
            acl: "anna\tlrs\t".into(),
            last_uid: Uid(7),
            highestmodseq: ModSeq(20),
            uidvalidity: UidValidity(5),
            crcs: SyncCrcs { basic: 1, annot: 2 },
            foldermodseq: ModSeq(3),
            ..Default::default()
        };
        (m, r)
    }

    #[test]
    fn equal_sides_are_unchanged_and_a_zero_crc_is_no_doubt() {
        let (m, mut r) = pair();
        assert_eq!(compare_mailbox(&m, &r, false), Verdict::Unchanged);
        r.crcs.basic = 0;
        assert_eq!(compare_mailbox(&m, &r, false), Verdict::Unchanged);
        r.crcs.basic = 9;
        assert_eq!(compare_mailbox(&m, &r, false), Verdict::ChecksumDoubt);
    }

    #[test]
    fn each_header_field_counts() {
        let edits: [fn(&mut ReplicaMailbox); 11] = [
            |r| r.last_uid = Uid(6),
            |r| r.highestmodseq = ModSeq(19),
            |r| r.uidvalidity = UidValidity(4),
            |r| r.recentuid = Uid(1),
            |r| r.recenttime = 1,
            |r| r.pop3_last_login = 1,
            |r| r.pop3_show_after = 1,
            |r| r.options = "P".into(),
            |r| r.foldermodseq = ModSeq(2),
            |r| r.acl = "anna\tlrswipkxtecda\t".into(),
            |r| r.mboxtype = "c".into(),
        ];
        for (n, edit) in edits.iter().enumerate() {
            let (m, mut r) = pair();
            edit(&mut r);
            assert_eq!(compare_mailbox(&m, &r, false), Verdict::Changed, "edit {n}");
        }
    }

    #[test]
    fn what_only_the_replica_has_needs_copyback_unless_one_way() {
        let edits: [fn(&mut ReplicaMailbox); 3] = [
            |r| r.uidvalidity = UidValidity(6),
            |r| r.highestmodseq = ModSeq(21),
            |r| r.last_uid = Uid(8),
        ];
        for (n, edit) in edits.iter().enumerate() {
            let (m, mut r) = pair();
            edit(&mut r);
            assert!(matches!(compare_mailbox(&m, &r, false), Verdict::Copyback(_)), "edit {n}");
            assert!(matches!(compare_mailbox(&m, &r, true), Verdict::Full(_)), "edit {n}");
        }
    }

    #[test]
    fn counters_are_sent_when_they_rose_here_and_never_a_reason_for_more() {
        let (mut m, mut r) = pair();
        (m.xconvmodseq, m.foldermodseq, m.raclmodseq) = (Some(ModSeq(30)), ModSeq(30), ModSeq(30));
        (r.xconvmodseq, r.foldermodseq, r.raclmodseq) = (ModSeq(30), ModSeq(30), ModSeq(30));
        let edits: [fn(&mut ReplicaMailbox, ModSeq); 3] = [
            |r, value| r.xconvmodseq = value,
            |r, value| r.foldermodseq = value,
            |r, value| r.raclmodseq = value,
        ];
        for (n, edit) in edits.iter().enumerate() {
            for one_way in [false, true] {
                let mut there = r.clone();
                edit(&mut there, ModSeq(29));
                assert_eq!(compare_mailbox(&m, &there, one_way), Verdict::Changed, "edit {n}");
                edit(&mut there, ModSeq(31));
                assert_eq!(compare_mailbox(&m, &there, one_way), Verdict::Unchanged, "edit {n}");
            }
        }
        // Nothing is known of them here.
        (m.xconvmodseq, m.foldermodseq, m.raclmodseq) = (None, ModSeq::ZERO, ModSeq::ZERO);
        assert_eq!(compare_mailbox(&m, &r, false), Verdict::Unchanged);
    }

    #[test]
    fn records_cleaned_up_before_the_replica_saw_it_need_a_full_comparison() {
        let (mut m, mut r) = pair();
        m.deletedmodseq = ModSeq(15);
        r.highestmodseq = ModSeq(14);
        for one_way in [false, true] {
            assert!(matches!(compare_mailbox(&m, &r, one_way), Verdict::Full(_)));
        }
        r.last_uid = Uid(0);
        assert_eq!(compare_mailbox(&m, &r, false), Verdict::Changed);
    }
}
