//! The annotations of the server itself (`ANNOTATION ""` in the log).
//!
//! Source: `imap/sync_support.c:sync_do_annotation` of cyrus-imapd 3.6.1.

use std::collections::BTreeMap;

use crate::error::UserError;
use crate::master::store_reader::ReadServer;
use crate::monitor::report::Outcome;
use crate::replica::lease::Lease;
use crate::user::context::UserContext;

/// The owner of each annotation, and its value, by entry.
type Annotations = BTreeMap<(String, String), Vec<u8>>;

pub(crate) async fn run(context: &UserContext, lease: &Lease) -> Result<Outcome, UserError> {
    let asked = lease.client.get_server_annotations().await?;
    let reading = context.reader.send(ReadServer).await;
    let read = reading??;
    let ours: Annotations = read.into_iter().map(|a| ((a.entry, a.userid), a.value)).collect();
    let theirs = asked.answer().await?.into_iter();
    let theirs: Annotations = theirs.map(|a| ((a.entry, a.userid), a.value)).collect();
    let mut sent = Vec::new();
    for ((entry, userid), value) in &ours {
        if theirs.get(&(entry.clone(), userid.clone())) != Some(value) {
            sent.push(lease.client.server_annotation(entry, userid, Some(value)).await?);
        }
    }
    for (entry, userid) in theirs.keys().filter(|key| !ours.contains_key(key)) {
        sent.push(lease.client.server_annotation(entry, userid, None).await?);
    }
    let outcome = if sent.is_empty() { Outcome::Unchanged } else { Outcome::Done };
    for in_flight in sent {
        in_flight.done().await?;
    }
    Ok(outcome)
}
