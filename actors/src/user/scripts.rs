//! Users whose Sieve scripts are still files.
//!
//! From 3.6 on scripts are messages in a #sieve mailbox, and a server that is asked about a user (GET USER) removes from its
//! Sieve folder what its #sieve mailbox does not know (`imap/sync_support.c`: sync_get_user, 3.6.1). Scripts that are only
//! files here would not be replicated, and those that the replica still has as files would be lost for its being asked. So
//! nobody asks, and the user fails by name.

use crate::error::UserError;
use crate::master::store_reader::CheckScripts;
use crate::monitor::report::is_shared;
use crate::user::context::UserContext;

/// Whether a replica may be asked about this user. To be called before it is, where it has #sieve mailboxes.
pub(crate) async fn may_ask(
    context: &UserContext,
    userid: &std::sync::Arc<str>,
    sieve_mailbox: bool,
) -> Result<(), UserError> {
    if !sieve_mailbox || is_shared(userid) {
        return Ok(());
    }
    let checking = context.reader.send(CheckScripts { userid: userid.clone() }).await;
    Ok(checking??)
}
