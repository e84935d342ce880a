//! The annotations of the server itself (`ANNOTATION ""` in the log).
//!
//! Source: `imap/sync_support.c:sync_do_annotation` of cyrus-imapd 3.6.1.

use std::collections::BTreeMap;

use csync::{Code, command};

use crate::error::UserError;
use crate::master::store_reader::ReadServer;
use crate::monitor::report::Outcome;
use crate::replica::command_error::CommandError;
use crate::replica::frames::encode;
use crate::replica::lease::Lease;
use crate::user::context::UserContext;

/// Whose annotation it is, and its value, by entry.
type Annotations = BTreeMap<(String, String), Vec<u8>>;

pub(crate) async fn run(context: &UserContext, lease: &Lease) -> Result<Outcome, UserError> {
    let asked = lease.send("ANNOTATION", encode(|out| command::get_annotation(out, ""))).await?;
    let reading = context.reader.send(ReadServer).await;
    let read = reading.map_err(|e| UserError::Internal(e.to_string()))??;
    let ours: Annotations = read.into_iter().map(|a| ((a.entry, a.userid), a.value)).collect();
    let mut theirs = Annotations::new();
    let items = match asked.answer().await {
        Err(CommandError::Refused { code: Some(Code::MailboxNonexistent), .. }) => Vec::new(),
        answer => answer?,
    };
    for item in items {
        let a = csync::annotation(&item).map_err(|e| CommandError::InvalidAnswer {
            command: "ANNOTATION",
            problem: e.to_string(),
        })?;
        theirs.insert((a.entry, a.userid), a.value);
    }
    let mut changes = Vec::new();
    for ((entry, userid), value) in &ours {
        if theirs.get(&(entry.clone(), userid.clone())) != Some(value) {
            changes.push(encode(|out| command::annotation(out, "", entry, userid, value)));
        }
    }
    for (entry, userid) in theirs.keys().filter(|key| !ours.contains_key(key)) {
        changes.push(encode(|out| command::unannotation(out, "", entry, userid)));
    }
    let outcome = if changes.is_empty() { Outcome::Unchanged } else { Outcome::Done };
    let mut sent = Vec::new();
    for bytes in changes {
        context.events.action(|| "ANNOTATION \"\"".into()).await;
        sent.push(lease.send("ANNOTATION", bytes).await?);
    }
    for in_flight in sent {
        in_flight.answer().await?;
    }
    Ok(outcome)
}
