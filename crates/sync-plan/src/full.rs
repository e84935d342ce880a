//! Compares one mailbox record by record, when modseqs and checksums can't show the differences.
//!
//! This is needed if records that the replica may still hold were cleaned up here already, if checksums differ for no
//! visible reason, and with -O if the replica is ahead. It may remove there only what was certainly removed here:
//! ```text
//!             there:  live                                     expunged          no record
//!  here
//!  live               another message: in the way              in the way        new UID: sent
//!                     higher modseq there: in the way                            UID passed there: lacking
//!                     else: sent
//!  expunged           another message: in the way              nothing           nothing
//!                     higher modseq there: EXPUNGE
//!                     else: sent
//!  no record          cleaned up here: EXPUNGE                 nothing           -
//!                     else: in the way
//! ```
//! "Cleaned up" means: the UID was assigned here and the modseq is below DELETEDMODSEQ.
//!
//! A LAST_UID or UIDVALIDITY that is higher there is in the way, too. If LAST_UID fell below one of its records, the server
//! would die at its next append. UIDVALIDITY must never fall, because clients rely on it; a server in force mode would let
//! it.
//!
//! What is in the way is left as it is, with -O too. With `--overwrite` it is expunged if that is enough; if not, the mailbox
//! is made again from ours.
//!
//! Source: `imap/sync_support.c:mailbox_update_loop`, `compare_one_record`, `copyback_one_record` and
//! `sync_mailbox_compare_update`, `imap/mailbox.c:mailbox_rewrite_index_record` of cyrus-imapd 3.6.1.

use csync::FullMailbox;
use cyrus_types::{Guid, ModSeq, Uid, UidValidity};

use crate::compare::CopybackReason;

/// A record, as far as the comparison needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordState {
    /// Its UID.
    pub uid: Uid,
    /// Its modseq.
    pub modseq: ModSeq,
    /// Its message's SHA-1.
    pub guid: Guid,
    /// Whether it is expunged.
    pub expunged: bool,
}

/// The replica's records by ascending UID, and its last UID.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FullReplica {
    /// Highest UID ever assigned there.
    pub last_uid: Uid,
    /// UIDVALIDITY there.
    pub uidvalidity: UidValidity,
    /// All records, including expunged ones.
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
            uidvalidity: full.mailbox.uidvalidity,
            records: full.records.iter().map(state).collect(),
        }
    }
}

/// The values of the master's index header for the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FullMaster {
    /// Highest UID ever assigned here.
    pub last_uid: Uid,
    /// UIDVALIDITY here.
    pub uidvalidity: UidValidity,
    /// Records below this modseq may have been cleaned up.
    pub deletedmodseq: ModSeq,
}

/// The result of a record-by-record comparison.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FullPlan {
    /// Live there and certainly removed here, if a record alone would not say so: to be expunged there first.
    pub expunge: Vec<Uid>,
    /// Live there and not here, without proof that it was removed here, although its UID was assigned here.
    pub only_there: Vec<Uid>,
    /// Live here, without a record there, and below the replica's LAST_UID: it can't be appended any more.
    pub lacking: Vec<Uid>,
    /// What is in the way: the first such record ([`FullPlan::only_there`] included), else a higher LAST_UID or UIDVALIDITY
    /// there. `None`: nothing.
    pub obstacle: Option<CopybackReason>,
    /// Something is in the way that expunging does not solve.
    pub must_be_made_again: bool,
    /// Live messages there that our records, or `expunge`, remove.
    pub removed: usize,
    /// Live messages there that are not live here and were not certainly removed here.
    pub unproven: usize,
}

impl FullPlan {
    /// The same, as far as it may be carried out. With `overwrite` what only the replica has is removed as well: by
    /// expunging if that is enough, else with its mailbox.
    ///
    /// # Errors
    /// What is in the way.
    pub fn permitted(mut self, overwrite: bool) -> Result<FullPlan, CopybackReason> {
        match self.obstacle.take() {
            Some(reason) if !overwrite => Err(reason),
            _ => {
                self.expunge.append(&mut self.only_there);
                self.expunge.sort_unstable();
                Ok(self)
            }
        }
    }

    fn in_the_way(&mut self, reason: CopybackReason) {
        self.obstacle.get_or_insert(reason);
    }

    fn beyond_mending(&mut self, reason: CopybackReason) {
        self.in_the_way(reason);
        self.must_be_made_again = true;
    }

    /// A record that only the replica has: cleaned up here, so expunged there; or new there.
    fn only_replica_has(&mut self, master: FullMaster, theirs: RecordState) {
        if theirs.expunged {
            return;
        }
        let given_out = theirs.uid <= master.last_uid;
        if given_out && theirs.modseq < master.deletedmodseq {
            self.expunge.push(theirs.uid);
            self.removed += 1;
            return;
        }
        self.unproven += 1;
        self.in_the_way(CopybackReason::OnlyOnReplica { uid: theirs.uid });
        if given_out {
            self.only_there.push(theirs.uid);
        } else {
            self.must_be_made_again = true;
        }
    }

    /// A record of ours that the replica lacks.
    fn only_master_has(&mut self, mine: RecordState, replica_last_uid: Uid) {
        if !mine.expunged && mine.uid <= replica_last_uid {
            self.lacking.push(mine.uid);
        }
    }

    fn both_have(&mut self, mine: RecordState, theirs: RecordState) {
        let uid = mine.uid;
        if theirs.expunged {
            if !mine.expunged {
                // Cyrus never makes an expunged record a live one again.
                self.beyond_mending(CopybackReason::GoneOnReplica { uid });
            }
        } else if mine.guid != theirs.guid {
            self.unproven += 1;
            self.beyond_mending(CopybackReason::OtherMessage { uid });
        } else if mine.expunged {
            self.removed += 1;
            if theirs.modseq > mine.modseq {
                self.expunge.push(uid);
            }
        } else if theirs.modseq > mine.modseq {
            // Even with FORCE the server dies of a record whose modseq would fall.
            self.beyond_mending(CopybackReason::NewerOnReplica { uid });
        }
    }
}

/// Compares a mailbox's records, `ours` by ascending UID, with the replica's.
///
/// # Errors
/// The error of the reader.
pub fn plan_full<E>(
    master: FullMaster,
    ours: impl Iterator<Item = Result<RecordState, E>>,
    replica: &FullReplica,
) -> Result<FullPlan, E> {
    let mut plan = FullPlan::default();
    let mut theirs = replica.records.iter().copied().peekable();
    let mut theirs_reach = replica.last_uid;
    for mine in ours {
        let mine = mine?;
        while let Some(extra) = theirs.next_if(|r| r.uid < mine.uid) {
            plan.only_replica_has(master, extra);
        }
        match theirs.next_if(|r| r.uid == mine.uid) {
            Some(both) => plan.both_have(mine, both),
            None => plan.only_master_has(mine, replica.last_uid),
        }
    }
    for extra in theirs {
        theirs_reach = theirs_reach.max(extra.uid);
        plan.only_replica_has(master, extra);
    }
    if theirs_reach > master.last_uid {
        let reason = CopybackReason::LastUid { master: master.last_uid, replica: theirs_reach };
        plan.beyond_mending(reason);
    }
    if replica.uidvalidity > master.uidvalidity {
        let (master, replica) = (master.uidvalidity, replica.uidvalidity);
        plan.beyond_mending(CopybackReason::UidValidity { master, replica });
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASTER: FullMaster =
        FullMaster { last_uid: Uid(10), uidvalidity: UidValidity(4), deletedmodseq: ModSeq(50) };

    fn live(uid: u32, modseq: u64) -> RecordState {
        RecordState {
            uid: Uid(uid),
            modseq: ModSeq(modseq),
            guid: Guid([uid as u8; 20]),
            expunged: false,
        }
    }

    fn expunged(uid: u32, modseq: u64) -> RecordState {
        RecordState { expunged: true, ..live(uid, modseq) }
    }

    fn other(record: RecordState) -> RecordState {
        RecordState { guid: Guid([77; 20]), ..record }
    }

    fn plan(ours: &[RecordState], theirs: &[RecordState]) -> FullPlan {
        let replica =
            FullReplica { last_uid: Uid(8), uidvalidity: UidValidity(4), records: theirs.to_vec() };
        let ours = ours.iter().copied().map(Ok::<_, ()>);
        plan_full(MASTER, ours, &replica).unwrap()
    }

    /// Every cell of the table: the records here and there with UID 5 (or 9, which the replica has not reached).
    #[test]
    fn each_pair_of_records_has_its_own_end() {
        use CopybackReason::*;
        let nothing = FullPlan::default;
        let blocked = |reason| FullPlan {
            obstacle: Some(reason),
            must_be_made_again: true,
            ..FullPlan::default()
        };
        let expunge = || FullPlan { expunge: vec![Uid(5)], removed: 1, ..FullPlan::default() };
        let cells: &[(Option<RecordState>, Option<RecordState>, FullPlan)] = &[
            // Live here.
            (Some(live(9, 60)), None, nothing()),
            (Some(live(5, 60)), None, FullPlan { lacking: vec![Uid(5)], ..nothing() }),
            (Some(live(5, 60)), Some(live(5, 60)), nothing()),
            (Some(live(5, 60)), Some(live(5, 20)), nothing()),
            (Some(live(5, 60)), Some(live(5, 61)), blocked(NewerOnReplica { uid: Uid(5) })),
            (
                Some(live(5, 60)),
                Some(other(live(5, 20))),
                FullPlan { unproven: 1, ..blocked(OtherMessage { uid: Uid(5) }) },
            ),
            (Some(live(5, 60)), Some(expunged(5, 20)), blocked(GoneOnReplica { uid: Uid(5) })),
            (
                Some(live(5, 60)),
                Some(other(expunged(5, 20))),
                blocked(GoneOnReplica { uid: Uid(5) }),
            ),
            // Expunged here.
            (Some(expunged(9, 60)), None, nothing()),
            (Some(expunged(5, 60)), None, nothing()),
            (Some(expunged(5, 60)), Some(live(5, 20)), FullPlan { removed: 1, ..nothing() }),
            (Some(expunged(5, 60)), Some(live(5, 61)), expunge()),
            (
                Some(expunged(5, 60)),
                Some(other(live(5, 20))),
                FullPlan { unproven: 1, ..blocked(OtherMessage { uid: Uid(5) }) },
            ),
            (Some(expunged(5, 60)), Some(expunged(5, 99)), nothing()),
            (Some(expunged(5, 60)), Some(other(expunged(5, 99))), nothing()),
            // Without a record here.
            (None, Some(live(5, 49)), expunge()),
            (
                None,
                Some(live(5, 50)),
                FullPlan {
                    only_there: vec![Uid(5)],
                    unproven: 1,
                    obstacle: Some(OnlyOnReplica { uid: Uid(5) }),
                    ..nothing()
                },
            ),
            (None, Some(expunged(5, 99)), nothing()),
        ];
        for (nr, (mine, theirs, wanted)) in cells.iter().enumerate() {
            assert_eq!(&plan(mine.as_slice(), theirs.as_slice()), wanted, "cell {nr}");
        }
    }

    #[test]
    fn a_uid_that_was_never_given_out_here_is_in_the_way_whatever_became_of_it() {
        let wanted = CopybackReason::LastUid { master: Uid(10), replica: Uid(11) };
        let gone = plan(&[], &[expunged(11, 5)]);
        assert_eq!((gone.obstacle, gone.must_be_made_again), (Some(wanted.clone()), true));
        assert_eq!(gone.unproven, 0);
        let new = plan(&[], &[live(11, 5)]);
        assert_eq!(new.obstacle, Some(CopybackReason::OnlyOnReplica { uid: Uid(11) }));
        assert_eq!((new.unproven, new.must_be_made_again, new.expunge.len()), (1, true, 0));
        // Its record was already removed here.
        let replica =
            FullReplica { last_uid: Uid(11), uidvalidity: UidValidity(4), records: Vec::new() };
        let ours = [live(5, 1)].into_iter().map(Ok::<_, ()>);
        let plan = plan_full(MASTER, ours, &replica).unwrap();
        assert_eq!((plan.obstacle, plan.must_be_made_again), (Some(wanted), true));
    }

    #[test]
    fn what_is_in_the_way_goes_only_where_that_is_permitted() {
        let ours = [live(1, 5)];
        let found = plan(&ours, &[live(1, 5), live(3, 60), live(4, 5)]);
        let reason = CopybackReason::OnlyOnReplica { uid: Uid(3) };
        assert_eq!(found.clone().permitted(false), Err(reason));
        let permitted = found.permitted(true).unwrap();
        assert_eq!(
            (permitted.expunge, permitted.must_be_made_again),
            (vec![Uid(3), Uid(4)], false)
        );
        let permitted = plan(&ours, &[live(1, 5), live(4, 5)]).permitted(false).unwrap();
        assert_eq!(permitted.expunge, [Uid(4)]);
    }

    #[test]
    fn the_first_obstacle_is_named_and_all_are_counted() {
        let ours = [live(1, 5), live(2, 5), live(7, 5)];
        let theirs = [live(1, 5), other(live(2, 5)), live(3, 5), live(4, 60), live(11, 70)];
        let plan = plan(&ours, &theirs);
        assert_eq!(plan.obstacle, Some(CopybackReason::OtherMessage { uid: Uid(2) }));
        assert_eq!(
            (plan.expunge, plan.only_there, plan.lacking),
            (vec![Uid(3)], vec![Uid(4)], vec![Uid(7)])
        );
        assert_eq!((plan.removed, plan.unproven), (1, 3));
    }
}
