//! Renames in an order without conflicts (`imap/sync_support.c:do_folders`, 3.6.1).

/// One mailbox to be renamed, or moved to another partition, on the replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// Its name on the replica.
    pub from: String,
    /// Its name here.
    pub to: String,
    /// The partition it belongs on.
    pub partition: String,
    /// Its UIDVALIDITY here.
    pub uidvalidity: u32,
}

/// Renames that can't be ordered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenameError {
    /// The renames form a ring.
    #[error("can't order the renames: {from} -> {to} waits for itself through other mailboxes")]
    Ring {
        /// A member's name on the replica.
        from: String,
        /// That member's name here.
        to: String,
    },
}

/// Orders renames so that no target still exists under that name when its turn comes.
///
/// # Errors
/// [`RenameError::Ring`] where mailboxes swapped names: no order works.
pub fn order_renames(mut todo: Vec<Rename>) -> Result<Vec<Rename>, RenameError> {
    let mut ordered = Vec::with_capacity(todo.len());
    while !todo.is_empty() {
        let sources: std::collections::HashSet<String> =
            todo.iter().map(|r| r.from.clone()).collect();
        let is_free = |r: &Rename| r.from == r.to || !sources.contains(&r.to);
        let (free, waiting): (Vec<_>, Vec<_>) = todo.into_iter().partition(is_free);
        if free.is_empty() {
            let Some(Rename { from, to, .. }) = waiting.into_iter().next() else { break };
            return Err(RenameError::Ring { from, to });
        }
        ordered.extend(free);
        todo = waiting;
    }
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rename(from: &str, to: &str) -> Rename {
        Rename { from: from.into(), to: to.into(), partition: "default".into(), uidvalidity: 1 }
    }

    #[test]
    fn a_chain_is_renamed_from_its_free_end() {
        let got =
            order_renames(vec![rename("a", "b"), rename("b", "c"), rename("x", "x")]).unwrap();
        let names: Vec<_> = got.iter().map(|r| r.from.as_str()).collect();
        assert_eq!(names, ["b", "x", "a"]);
    }

    #[test]
    fn a_ring_is_an_error_that_names_a_member() {
        let err = order_renames(vec![rename("a", "b"), rename("b", "a")]).unwrap_err();
        assert_eq!(err, RenameError::Ring { from: "a".into(), to: "b".into() });
    }
}
