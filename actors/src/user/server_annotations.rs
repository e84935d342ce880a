//! The annotations of the server itself (`ANNOTATION ""` in the log).
//!
//! Source: `imap/sync_support.c:sync_do_annotation` of cyrus-imapd 3.6.1.

use std::collections::BTreeMap;

use crate::error::{Interrupt, UserError};
use crate::master::store_reader::ReadServer;
use crate::monitor::report::Outcome;
use crate::replica::acquire::acquire_exclusive;
use crate::replica::lease::Lease;
use crate::user::context::UserContext;
use crate::user::user_work::{UserWork, of_look};

/// The owner of each annotation, and its value, by entry.
type Annotations = BTreeMap<(String, String), Vec<u8>>;
/// The same, with no value for one that is to be removed.
type Changes = BTreeMap<(String, String), Option<Vec<u8>>>;

pub(crate) async fn run(work: &UserWork, to_look: Lease) -> Result<Outcome, Interrupt> {
    let changes = changes(&work.context, &to_look).await.map_err(|e| of_look(e, &to_look))?;
    drop(to_look);
    if changes.is_empty() {
        return Ok(Outcome::Unchanged);
    }
    let lease = acquire_exclusive(&work.context.pool).await?;
    let sent = send(&changes, &lease).await;
    if sent.is_err() {
        work.note_fading(&lease);
    }
    sent?;
    Ok(Outcome::Done)
}

/// What has to change on the replica.
async fn changes(context: &UserContext, lease: &Lease) -> Result<Changes, UserError> {
    let asked = lease.client.get_server_annotations().await?;
    let read = context.reader.send(ReadServer).await??;
    let ours: Annotations = read.into_iter().map(|a| ((a.entry, a.userid), a.value)).collect();
    let theirs = asked.answer().await?.into_iter();
    let theirs: Annotations = theirs.map(|a| ((a.entry, a.userid), a.value)).collect();
    let gone = theirs.keys().filter(|key| !ours.contains_key(key)).map(|key| (key.clone(), None));
    let gone: Changes = gone.collect();
    let new = ours.into_iter().filter(|(key, value)| theirs.get(key) != Some(value));
    Ok(new.map(|(key, value)| (key, Some(value))).chain(gone).collect())
}

async fn send(changes: &Changes, lease: &Lease) -> Result<(), UserError> {
    let mut sent = Vec::new();
    for ((entry, userid), value) in changes {
        sent.push(lease.client.server_annotation(entry, userid, value.as_deref()).await?);
    }
    for in_flight in sent {
        in_flight.done().await?;
    }
    Ok(())
}
