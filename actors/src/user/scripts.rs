//! Users whose Sieve scripts are still files.
//!
//! From 3.6 on scripts are messages in a #sieve mailbox, and a server that gets a GET USER removes from the user's Sieve
//! folder everything that its #sieve mailbox does not know (`imap/sync_support.c`: sync_get_user, 3.6.1). Scripts that are
//! only files here would not be replicated, and the question alone would remove those that the replica still has as files.
//! So the question is not sent, and the user fails.

use crate::error::UserError;
use crate::master::store_reader::CheckScripts;
use crate::user::context::UserContext;

/// Checks whether a replica may be asked about this user. Call it before the question if the replica has #sieve mailboxes.
pub(crate) async fn may_ask(
    context: &UserContext,
    userid: &std::sync::Arc<str>,
    sieve_mailbox: bool,
) -> Result<(), UserError> {
    if !sieve_mailbox {
        return Ok(());
    }
    let checking = context.reader.send(CheckScripts { userid: userid.clone() }).await;
    Ok(checking??)
}
