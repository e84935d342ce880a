//! Combines the replica's answers about a user.

use std::collections::HashSet;
use std::sync::Arc;

use crate::master::user_read::UserRead;
use crate::replica::answer::{Said, Theirs};
use crate::replica::asked::Asked;
use crate::replica::command_error::CommandError;

/// What is here, and what is there.
pub(crate) type Sides = (Arc<UserRead>, Theirs);

/// A mailbox that was asked for twice, by name and by unique id, is one.
pub(crate) fn once_each(replica: &mut Theirs) {
    let mut seen = HashSet::new();
    replica.mailboxes.retain(|m| seen.insert(m.uniqueid.clone()));
}

/// Adds answers. A mailbox that the replica does not know is not there.
pub(crate) async fn take_all(
    asked: Vec<Asked<Said>>,
    replica: &mut Theirs,
) -> Result<(), CommandError> {
    for asked in asked {
        replica.add(asked.answer().await?);
    }
    Ok(())
}
