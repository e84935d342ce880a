//! The UserSync actor: replicates one user at a time: look, plan, apply.
//!
//! ```text
//!                 .--ReadUser, ReadSome--> StoreReader (threads) ----> what the master has --.
//!   SyncUser,  --> look                                                                     plan --> apply
//!   SyncTasks     '--GET USER, MAILBOXES-> replica ----------------------> what it has -------'
//!
//!   apply: RESERVE, UNMAILBOX, RENAME (then look again), MAILBOX with its messages, QUOTA, SUB,
//!          SIEVE, SEEN, RESTART; each sent ahead of the answers to those before it.
//! ```
//! A mailbox that fails does not stop the user's others; the user then counts as failed, naming all failed mailboxes. The
//! shared mailboxes are one more user, without a name: they are asked for by name and by unique id instead of by GET USER.
//! Interleaving: a UserSync works on one user, or on users that belong together, at a time (its sender waits for the
//! reply), so its state is that of one user.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use actix::prelude::*;
use cyrus_types::Owner;
use sync_plan::backlog;
use tracing::Instrument;

use crate::monitor::spans;
use crate::replica::lease::Lease;
use crate::user::context::UserContext;
use crate::user::look::Scope;
use crate::user::tasks::{parts, scripts_as_meta};
use crate::user::user_work::{Synced, UserWork};

/// Replicates users, one at a time.
pub(crate) struct UserSync {
    context: UserContext,
}

impl UserSync {
    pub(crate) fn new(context: UserContext) -> UserSync {
        UserSync { context }
    }
}

impl Actor for UserSync {
    type Context = Context<Self>;
}

/// Replicates this user, whose sync lock the sender holds.
#[derive(Message)]
#[rtype(result = "Synced")]
pub(crate) struct SyncUser {
    pub(crate) owner: Owner,
    /// A connection to look on.
    pub(crate) lease: Lease,
    /// Becomes true when a change on the replica is started.
    pub(crate) begun: Arc<AtomicBool>,
}

/// Carries out the log's tasks for these users, whose sync locks the sender holds.
#[derive(Message)]
#[rtype(result = "Synced")]
pub(crate) struct SyncTasks {
    pub(crate) work: Arc<backlog::WorkUnit>,
    /// A connection to look on.
    pub(crate) lease: Lease,
}

impl Handler<SyncUser> for UserSync {
    type Result = ResponseFuture<Synced>;

    fn handle(&mut self, msg: SyncUser, _: &mut Context<Self>) -> Self::Result {
        let context = self.context.clone();
        let span = spans::user(&msg.owner, context.settings.run.channel.as_deref());
        let working = async move {
            let locked = Arc::new(BTreeSet::from([msg.owner.clone()]));
            let mut work = UserWork::new(context, msg.owner, locked, msg.begun);
            let result = work.run(&Scope::Whole, msg.lease).await;
            let result = work.with_only_there(result);
            work.complain_of(&result);
            work.synced(result)
        };
        Box::pin(working.instrument(span))
    }
}

impl Handler<SyncTasks> for UserSync {
    type Result = ResponseFuture<Synced>;

    fn handle(&mut self, msg: SyncTasks, _: &mut Context<Self>) -> Self::Result {
        let context = self.context.clone();
        let span = spans::channel(context.settings.run.channel.as_deref());
        let working = async move {
            let locked = msg.work.users.iter().map(|(owner, _)| owner.clone()).collect();
            let mut work = UserWork::new(context, msg.work.key(), Arc::new(locked), Arc::default());
            work.no_foreign_mailboxes = true;
            let mut parts = parts(&msg.work);
            if !msg.lease.client.features().sieve_mailbox {
                let context = &work.context;
                parts = scripts_as_meta(&context.rules, &context.sieve_folder, parts);
            }
            let result = work.run_parts(parts, msg.lease).await;
            work.synced(result)
        };
        Box::pin(working.instrument(span))
    }
}
