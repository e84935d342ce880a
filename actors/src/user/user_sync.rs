//! The UserSync actor: replicates one user at a time: look, plan, apply.
//!
//! ```text
//!              .--ReadUser, ReadSome--> StoreReader (threads) ----> what the master has --.
//!   SyncWork --> look                                                                    plan --> apply
//!              '--GET USER, MAILBOXES-> replica ----------------------> what it has -------'
//!
//!   apply: RESERVE, UNMAILBOX, RENAME (then look again), MAILBOX with its messages, QUOTA, SUB,
//!          SIEVE, SEEN, RESTART; each sent ahead of the answers to those before it.
//! ```
//! A mailbox that fails does not stop the user's others; the user then counts as failed, naming all failed mailboxes. The
//! shared mailboxes are one more user, without a name: they are asked for by name and by unique id instead of by GET USER.
//! Interleaving: a UserSync works on one user, or on users that belong together, at a time (its sender waits for the
//! reply), so its state is that of one user.

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
use crate::user::tasks::{Feeder, parts, scripts_as_meta, scripts_with_meta};
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

/// Carries out a work, with the sync locks of all its users held by the sender.
#[derive(Message)]
#[rtype(result = "Synced")]
pub(crate) struct SyncWork {
    /// For whom it is reported.
    pub(crate) owner: Owner,
    pub(crate) work: Arc<backlog::WorkUnit>,
    pub(crate) feeder: Feeder,
    /// A connection to look on.
    pub(crate) lease: Lease,
    /// Becomes true when a change on the replica is started.
    pub(crate) begun: Arc<AtomicBool>,
}

impl Handler<SyncWork> for UserSync {
    type Result = ResponseFuture<Synced>;

    fn handle(&mut self, msg: SyncWork, _: &mut Context<Self>) -> Self::Result {
        let context = self.context.clone();
        let channel = context.settings.run.channel.clone();
        let locked = msg.work.users.iter().map(|(owner, _)| owner.clone()).collect();
        let mut work = UserWork::new(context, msg.owner.clone(), Arc::new(locked), msg.begun);
        match whole_of_one(&msg.work).filter(|_| msg.feeder == Feeder::List) {
            Some(owner) => {
                let span = spans::user(owner, channel.as_deref());
                let working = async move {
                    let result = work.run(&Scope::Whole, msg.lease).await;
                    let result = work.with_only_there(result);
                    work.complain_of(&result);
                    work.synced(result)
                };
                Box::pin(working.instrument(span))
            }
            None => {
                let span = spans::channel(channel.as_deref());
                let working = async move {
                    work.no_foreign_mailboxes = true;
                    let mut parts = parts(&msg.owner, &msg.work, msg.feeder);
                    let (rules, folder) = (&work.context.rules, &work.context.sieve_folder);
                    if !msg.lease.client.features().sieve_mailbox {
                        parts = scripts_as_meta(rules, folder, parts);
                    } else if msg.feeder == Feeder::List {
                        parts = scripts_with_meta(rules, folder, parts);
                    }
                    let result = work.run_parts(parts, msg.feeder, msg.lease).await;
                    work.synced(result)
                };
                Box::pin(working.instrument(span))
            }
        }
    }
}

/// The user, if the work is everything of one user.
fn whole_of_one(work: &backlog::WorkUnit) -> Option<&Owner> {
    match work.users.as_slice() {
        [(owner, tasks)] if tasks.whole => Some(owner),
        _ => None,
    }
}
