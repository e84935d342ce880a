//! Many names in little memory: one text for all of them, and where each ends.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cyrus_types::{MailboxName, Owner};
use sync_plan::backlog::{Tasks, WorkUnit};

use crate::user::tasks::whole;

/// A sequence of names. Each costs its bytes plus eight.
#[derive(Debug, Default)]
pub(crate) struct Names {
    text: String,
    ends: Vec<usize>,
}

impl Names {
    /// Adds a name at the end.
    pub(crate) fn push(&mut self, name: &str) {
        self.text.push_str(name);
        self.ends.push(self.text.len());
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The name at this place; none beyond the end.
    pub(crate) fn get(&self, place: usize) -> Option<&str> {
        let start = match place.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.text.get(start..*self.ends.get(place)?)
    }

    /// All of them, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|place| self.get(place))
    }

    /// Frees the memory reserved for more names.
    pub(crate) fn shrink(&mut self) {
        self.text.shrink_to_fit();
        self.ends.shrink_to_fit();
    }
}

/// Who is to be replicated: users in an order, and the shared mailboxes behind them.
#[derive(Debug, Default)]
pub(crate) struct Selected {
    pub(crate) users: Names,
    pub(crate) shared: bool,
    pub(crate) wanted: Wanted,
}

/// What of them is to be replicated.
#[derive(Debug, Default)]
pub(crate) enum Wanted {
    #[default]
    Everything,
    /// The data outside mailboxes, and the scripts.
    Meta,
    /// These mailboxes of each.
    Mailboxes(HashMap<Owner, HashSet<MailboxName>>),
}

impl Selected {
    /// How many there are; the shared mailboxes count as one.
    pub(crate) fn len(&self) -> usize {
        self.users.len() + usize::from(self.shared)
    }

    /// Whether there is nobody.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is to be done for one of them.
    pub(crate) fn work(&self, owner: Owner) -> Arc<WorkUnit> {
        let mut tasks = Tasks::default();
        match &self.wanted {
            Wanted::Everything => return whole(owner),
            Wanted::Meta => tasks.meta = true,
            Wanted::Mailboxes(of) => tasks.mailboxes = of.get(&owner).cloned().unwrap_or_default(),
        }
        Arc::new(WorkUnit { users: vec![(owner, tasks)] })
    }

    /// How many mailboxes were named; none if users were.
    pub(crate) fn mailboxes(&self) -> Option<u64> {
        match &self.wanted {
            Wanted::Mailboxes(of) => Some(of.values().map(|names| names.len() as u64).sum()),
            Wanted::Everything | Wanted::Meta => None,
        }
    }

    /// All of them, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Owner> {
        let shared = self.shared.then_some(Owner::Shared);
        self.users.iter().map(Owner::from).chain(shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_out_as_they_went_in() {
        let mut names = Names::default();
        assert!(names.is_empty() && names.get(0).is_none());
        for name in ["anna", "", "børge", ""] {
            names.push(name);
        }
        names.shrink();
        assert_eq!(names.iter().collect::<Vec<_>>(), ["anna", "", "børge", ""]);
        assert_eq!((names.len(), names.get(2), names.get(4)), (4, Some("børge"), None));
    }
}
