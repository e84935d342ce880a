//! What is known about a mailbox's message files: if one is missing or damaged only that message is left out, unless the
//! replica has it in another mailbox.

use std::collections::{HashSet, VecDeque};

use cyrus_types::{Guid, Uid};

use crate::error::MasterError;
use crate::replica::asked::PendingCommand;

/// How many bad files of one batch are named.
pub(crate) const NAMED: usize = 100;

/// What is known about the message files of a batch.
#[derive(Default)]
pub(crate) struct Files {
    /// UIDs, ascending, of messages that are left out.
    pub(crate) without: Vec<Uid>,
    pub(crate) bad: Vec<BadFile>,
    pub(crate) uploads: VecDeque<PendingCommand>,
    /// The replica was asked whether it has the messages with bad files.
    pub(crate) asked: bool,
}

/// A message whose file is missing or damaged.
pub(crate) struct BadFile {
    pub(crate) uid: Uid,
    pub(crate) guid: Guid,
    /// What is wrong with it; `None` if enough of them are named.
    pub(crate) why: Option<MasterError>,
}

impl Files {
    /// The messages with bad files.
    pub(crate) fn lacking(&self) -> impl Iterator<Item = Guid> {
        self.bad.iter().map(|bad| bad.guid)
    }

    /// The replica has all messages with bad files that are not in `missing`.
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
