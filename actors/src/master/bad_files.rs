//! What was found out about a mailbox' message files: one that is missing or damaged costs that message, unless the replica
//! has it in another mailbox.

use std::collections::{HashSet, VecDeque};

use cyrus_types::{Guid, Uid};

use crate::error::MasterError;
use crate::replica::asked::PendingCommand;

/// How many bad files of one step are named.
pub(crate) const NAMED: usize = 100;

/// What was found out about the message files of a step.
#[derive(Default)]
pub(crate) struct Files {
    /// UIDs, rising, of messages that are left out.
    pub(crate) without: Vec<Uid>,
    pub(crate) bad: Vec<BadFile>,
    pub(crate) uploads: VecDeque<PendingCommand>,
    /// The replica was asked whether it has those with bad files.
    pub(crate) asked: bool,
}

/// A message whose file is missing or damaged.
pub(crate) struct BadFile {
    pub(crate) uid: Uid,
    pub(crate) guid: Guid,
    /// What is wrong with it; none where enough of them are named.
    pub(crate) why: Option<MasterError>,
}

impl Files {
    /// The messages whose files are bad.
    pub(crate) fn lacking(&self) -> impl Iterator<Item = Guid> {
        self.bad.iter().map(|bad| bad.guid)
    }

    /// The replica has those messages with bad files that are not `missing` there, too.
    pub(crate) fn found_there(&mut self, missing: &HashSet<Guid>) {
        self.asked = true;
        self.bad.retain(|bad| missing.contains(&bad.guid));
    }

    pub(crate) fn take_errors(&mut self) -> Vec<MasterError> {
        std::mem::take(&mut self.bad).into_iter().filter_map(|bad| bad.why).collect()
    }

    pub(crate) fn leave_out(&mut self, uids: Vec<Uid>) {
        self.without.extend(uids);
        self.without.sort_unstable();
        self.without.dedup();
    }
}
