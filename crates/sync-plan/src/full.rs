//! One mailbox compared record by record, when modseqs and checksums can't tell what differs.
//!
//! It happens when records that the replica may still hold were cleaned up here already, when
//! checksums differ for no visible reason, and with -O when the replica is ahead. The outcome is
//! one way: messages that the replica must expunge before it is sent all records; or the first
//! thing that only the replica knows, for which something would have to be copied back
//! (`imap/sync_support.c:mailbox_update_loop`, `compare_one_record`, `copyback_one_record`, 3.6.1).

use csync::{FullMailbox, Guid};

use crate::compare::CopybackReason;

/// A record, as far as the comparison needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordState {
    /// Its UID.
    pub uid: u32,
    /// Its modseq.
    pub modseq: u64,
    /// Its message's SHA-1.
    pub guid: Guid,
    /// Whether it is expunged.
    pub expunged: bool,
}

/// The replica's records by rising UID, and how far its UIDs went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FullReplica {
    /// Highest UID ever given out there.
    pub last_uid: u32,
    /// All records, expunged ones too.
    pub records: Vec<RecordState>,
}

impl From<&FullMailbox> for FullReplica {
    fn from(full: &FullMailbox) -> FullReplica {
        let state = |r: &csync::ReplicaRecord| RecordState {
            uid: r.uid,
            modseq: r.modseq,
            guid: r.guid,
            expunged: r.flags.iter().any(|f| f.eq_ignore_ascii_case("\\Expunged")),
        };
        FullReplica {
            last_uid: full.mailbox.last_uid,
            records: full.records.iter().map(state).collect(),
        }
    }
}

/// What the master's index header says for the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FullMaster {
    /// Highest UID ever given out here.
    pub last_uid: u32,
    /// Records up to this modseq may have been cleaned up.
    pub deletedmodseq: u64,
}

/// Finds the messages that the replica must expunge before it is sent all of our records.
///
/// `ours` are the master's records by rising UID. `one_way` is -O: what only the replica has goes.
///
/// # Errors
/// The reader's error, or the first [`CopybackReason`] met.
pub fn plan_full<E>(
    master: FullMaster,
    ours: impl Iterator<Item = Result<RecordState, E>>,
    replica: &FullReplica,
    one_way: bool,
) -> Result<Result<Vec<u32>, CopybackReason>, E> {
    let mut expunge = Vec::new();
    let mut theirs = replica.records.iter().copied().peekable();
    for mine in ours {
        let mine = mine?;
        while let Some(extra) = theirs.next_if(|r| r.uid < mine.uid) {
            if let Err(reason) = replica_only(master, extra, one_way, &mut expunge) {
                return Ok(Err(reason));
            }
        }
        let both = theirs.next_if(|r| r.uid == mine.uid);
        if let Err(reason) = master_has(mine, both, replica.last_uid) {
            return Ok(Err(reason));
        }
    }
    for extra in theirs {
        if let Err(reason) = replica_only(master, extra, one_way, &mut expunge) {
            return Ok(Err(reason));
        }
    }
    Ok(Ok(expunge))
}

/// A record that only the replica has: cleaned up here, so expunged there; or new there.
fn replica_only(
    master: FullMaster,
    theirs: RecordState,
    one_way: bool,
    expunge: &mut Vec<u32>,
) -> Result<(), CopybackReason> {
    if theirs.expunged {
        return Ok(());
    }
    let cleaned_up = theirs.uid <= master.last_uid && theirs.modseq < master.deletedmodseq;
    if !cleaned_up && !one_way {
        return Err(CopybackReason::OnlyOnReplica { uid: theirs.uid });
    }
    expunge.push(theirs.uid);
    Ok(())
}

/// A record of ours, and the replica's under the same UID.
fn master_has(
    mine: RecordState,
    theirs: Option<RecordState>,
    replica_last_uid: u32,
) -> Result<(), CopybackReason> {
    let uid = mine.uid;
    let Some(theirs) = theirs else {
        // A UID that was given out there can't be appended any more.
        let lost = !mine.expunged && uid <= replica_last_uid;
        return if lost { Err(CopybackReason::GoneOnReplica { uid }) } else { Ok(()) };
    };
    if mine.expunged && theirs.expunged {
        return Ok(());
    }
    if mine.guid != theirs.guid {
        return Err(CopybackReason::OtherMessage { uid });
    }
    if theirs.expunged {
        return Err(CopybackReason::GoneOnReplica { uid });
    }
    // Even with FORCE: 3.6.1 aborts on a record whose modseq would go down
    // (`mailbox.c:mailbox_rewrite_index_record`).
    if theirs.modseq > mine.modseq {
        return Err(CopybackReason::NewerOnReplica { uid });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASTER: FullMaster = FullMaster { last_uid: 10, deletedmodseq: 50 };

    fn record(uid: u32, modseq: u64) -> RecordState {
        RecordState { uid, modseq, guid: Guid([uid as u8; 20]), expunged: false }
    }

    fn plan(
        ours: &[RecordState],
        theirs: &[RecordState],
        one_way: bool,
    ) -> Result<Vec<u32>, CopybackReason> {
        let replica = FullReplica { last_uid: 8, records: theirs.to_vec() };
        let ours = ours.iter().copied().map(Ok::<_, ()>);
        plan_full(MASTER, ours, &replica, one_way).unwrap()
    }

    #[test]
    fn what_was_cleaned_up_here_is_expunged_there() {
        let theirs = [record(1, 5), record(2, 5), RecordState { expunged: true, ..record(3, 5) }];
        assert_eq!(plan(&[record(1, 5), record(9, 60)], &theirs, false), Ok(vec![2]));
    }

    #[test]
    fn what_only_the_replica_knows_needs_copyback_unless_one_way() {
        let late = record(2, 50);
        let reason = CopybackReason::OnlyOnReplica { uid: 2 };
        assert_eq!(plan(&[record(1, 5)], &[record(1, 5), late], false), Err(reason));
        assert_eq!(plan(&[record(1, 5)], &[record(1, 5), late], true), Ok(vec![2]));
    }

    #[test]
    fn what_no_change_can_mend_is_an_error_either_way() {
        for one_way in [false, true] {
            let other = RecordState { guid: Guid([77; 20]), ..record(1, 5) };
            let reason = CopybackReason::OtherMessage { uid: 1 };
            assert_eq!(plan(&[record(1, 5)], &[other], one_way), Err(reason));
            let gone = RecordState { expunged: true, ..record(1, 5) };
            let reason = CopybackReason::GoneOnReplica { uid: 1 };
            assert_eq!(plan(&[record(1, 5)], &[gone], one_way), Err(reason.clone()));
            assert_eq!(plan(&[record(1, 5)], &[], one_way), Err(reason));
            let reason = CopybackReason::NewerOnReplica { uid: 1 };
            assert_eq!(plan(&[record(1, 5)], &[record(1, 6)], one_way), Err(reason));
        }
    }
}
