//! Orders renames so that they do not conflict (`imap/sync_support.c:do_folders`, 3.6.1).
//!
//! ```text
//!   chain  a -> b -> c         ring  a -> b -> a
//!     b -> c, then a -> b        a -> a.renaming, b -> a, a.renaming -> b
//! ```
//! The C client gives up at a ring (mailboxes that swapped names since the last run): it fails the same way in every later
//! run. Here one member is first renamed to a name that neither side uses.

use std::collections::HashSet;

use cyrus_types::{MailboxName, UidValidity};

/// One mailbox to be renamed, or moved to another partition, on the replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// Its name on the replica.
    pub from: MailboxName,
    /// Its name here.
    pub to: MailboxName,
    /// The partition it belongs on.
    pub partition: String,
    /// Its UIDVALIDITY here.
    pub uidvalidity: UidValidity,
}

/// Orders renames so that each target name is free when its turn comes. `taken` are all names on both sides: a mailbox that
/// leaves a ring gets another name.
///
/// A run that ends between the two renames leaves a mailbox under its temporary name; the next run sees that as one more
/// rename.
pub fn order_renames(mut todo: Vec<Rename>, taken: &HashSet<&MailboxName>) -> Vec<Rename> {
    let mut ordered = Vec::with_capacity(todo.len());
    while !todo.is_empty() {
        let sources: HashSet<MailboxName> = todo.iter().map(|r| r.from.clone()).collect();
        let is_free = |r: &Rename| r.from == r.to || !sources.contains(&r.to);
        let (free, mut waiting): (Vec<_>, Vec<_>) = todo.into_iter().partition(is_free);
        if free.is_empty()
            && let Some(member) = waiting.first_mut()
        {
            let aside = name_aside(&member.from, taken);
            ordered.push(Rename { to: aside.clone(), ..member.clone() });
            member.from = aside;
        }
        ordered.extend(free);
        todo = waiting;
    }
    ordered
}

/// A name similar to this one that is not used.
fn name_aside(name: &MailboxName, taken: &HashSet<&MailboxName>) -> MailboxName {
    let mut aside = MailboxName::new(format!("{name}-renaming"));
    let mut number = 1u32;
    while taken.contains(&aside) {
        number += 1;
        aside = MailboxName::new(format!("{name}-renaming{number}"));
    }
    aside
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rename(from: &str, to: &str) -> Rename {
        Rename {
            from: MailboxName::new(from),
            to: MailboxName::new(to),
            partition: "default".into(),
            uidvalidity: UidValidity(1),
        }
    }

    fn ordered(todo: Vec<Rename>, taken: &[&str]) -> Vec<(MailboxName, MailboxName)> {
        let taken: Vec<_> = taken.iter().copied().map(MailboxName::new).collect();
        order_renames(todo, &taken.iter().collect()).into_iter().map(|r| (r.from, r.to)).collect()
    }

    fn pairs(of: &[(&str, &str)]) -> Vec<(MailboxName, MailboxName)> {
        of.iter().map(|(from, to)| (MailboxName::new(*from), MailboxName::new(*to))).collect()
    }

    #[test]
    fn a_chain_is_renamed_from_its_free_end() {
        let got = ordered(vec![rename("a", "b"), rename("b", "c"), rename("x", "x")], &[]);
        assert_eq!(got, pairs(&[("b", "c"), ("x", "x"), ("a", "b")]));
    }

    #[test]
    fn a_ring_is_broken_by_a_member_that_steps_aside() {
        let got = ordered(vec![rename("a", "b"), rename("b", "a")], &["a-renaming"]);
        assert_eq!(got, pairs(&[("a", "a-renaming2"), ("b", "a"), ("a-renaming2", "b")]));
    }

    #[test]
    fn two_rings_and_a_chain_all_come_to_their_end() {
        let todo = [("a", "b"), ("b", "c"), ("c", "a"), ("p", "q"), ("q", "p"), ("x", "y")];
        let got = ordered(todo.iter().map(|(f, t)| rename(f, t)).collect(), &[]);
        let mut names: Vec<_> = todo.iter().map(|(from, _)| MailboxName::new(*from)).collect();
        let before = names.clone();
        for (from, to) in &got {
            assert!(!names.contains(to), "{to} is still there in {got:?}");
            let at = names.iter().position(|name| name == from).unwrap();
            names[at] = to.clone();
        }
        let ends: Vec<&str> = todo.iter().map(|(_, to)| *to).collect();
        assert_eq!(names, ends, "from {before:?} by {got:?}");
    }
}
