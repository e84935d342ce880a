//! Questions to the replica about mailboxes, by name and by unique id, and taking in their answers.

use std::collections::HashSet;
use std::sync::Arc;

use csync::{Code, command};

use crate::master::user_read::UserRead;
use crate::replica::answer::Theirs;
use crate::replica::ask::About;
use crate::replica::command_error::CommandError;
use crate::replica::frames::{PendingCommand, encode};
use crate::replica::lease::Lease;
use crate::user::context::UserContext;

/// How many mailboxes are asked for in one command.
const NAMES: usize = 500;
/// What is here, and what is there.
pub(crate) type Sides = (Arc<UserRead>, Theirs);

/// Asks the replica for mailboxes by name.
pub(crate) async fn ask_for_mailboxes(
    context: &UserContext,
    names: impl IntoIterator<Item = impl AsRef<str>>,
    lease: &Lease,
) -> Result<Vec<PendingCommand>, CommandError> {
    let names: Vec<_> = names.into_iter().collect();
    let mut asked = Vec::new();
    for names in names.chunks(NAMES) {
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        context.events.action(|| format!("MAILBOXES {}", names.join(" "))).await;
        let bytes = encode(|out| command::get_mailboxes(out, names.iter().copied()));
        let about = About::Names(names.iter().map(|name| (*name).to_string()).collect());
        asked.push(lease.ask("MAILBOXES", bytes, about).await?);
    }
    Ok(asked)
}

pub(crate) async fn ask_for_ids(
    ids: &[&str],
    lease: &Lease,
) -> Result<Vec<PendingCommand>, CommandError> {
    let mut asked = Vec::new();
    for ids in ids.chunks(NAMES) {
        let bytes = encode(|out| command::get_uniqueids(out, ids.iter().copied()));
        let about = About::Ids(ids.iter().map(|id| (*id).to_string()).collect());
        asked.push(lease.ask("UNIQUEIDS", bytes, about).await?);
    }
    Ok(asked)
}

/// A mailbox that was asked for twice, by name and by unique id, is one.
pub(crate) fn once_each(replica: &mut Theirs) {
    let mut seen = HashSet::new();
    replica.mailboxes.retain(|m| seen.insert(m.uniqueid.clone()));
}

/// Takes in an answer. What is unknown there is not there.
pub(crate) async fn take(asked: PendingCommand, replica: &mut Theirs) -> Result<(), CommandError> {
    match asked.said().await {
        Err(CommandError::Refused { code: Some(Code::MailboxNonexistent), .. }) => {}
        answer => replica.add(answer?),
    }
    Ok(())
}
