//! The UserLister actor: says which users there are, largest first, the shared mailboxes last.
//!
//! The users come out through a bounded channel, so a list of any length waits for those who work
//! on it.

use std::collections::HashSet;
use std::sync::Arc;

use actix::prelude::*;
use cyrus_store::{Store, StoreError};
use tokio::sync::mpsc;

use crate::report::SHARED;

/// How many users may wait in the channel.
const USERS_WAITING: usize = 256;

/// Which users to replicate.
#[derive(Debug, Clone)]
pub enum Work {
    /// These, in this order (-u).
    Users(Vec<String>),
    /// All that have a mailbox whose internal name starts so, and the shared mailboxes (-A).
    AllUsers {
        /// The prefix; none for all.
        prefix: Option<String>,
    },
}

/// Lists users.
pub(crate) struct UserLister {
    store: Arc<Store>,
}

impl UserLister {
    pub(crate) fn new(store: Arc<Store>) -> UserLister {
        UserLister { store }
    }
}

impl Actor for UserLister {
    type Context = Context<Self>;
}

/// Lists the users of this work.
#[derive(Message)]
#[rtype(result = "Result<mpsc::Receiver<Arc<str>>, StoreError>")]
pub(crate) struct ListUsers(pub(crate) Work);

impl Handler<ListUsers> for UserLister {
    type Result = ResponseFuture<Result<mpsc::Receiver<Arc<str>>, StoreError>>;

    fn handle(&mut self, ListUsers(work): ListUsers, _: &mut Context<Self>) -> Self::Result {
        let store = self.store.clone();
        Box::pin(async move {
            let reading = move || users(&store, work);
            let users = match actix_rt::task::spawn_blocking(reading).await {
                Ok(users) => users?,
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            };
            let (sender, receiver) = mpsc::channel(USERS_WAITING);
            actix_rt::spawn(async move {
                for user in users {
                    if sender.send(user).await.is_err() {
                        // The run was stopped.
                        return;
                    }
                }
            });
            Ok(receiver)
        })
    }
}

/// Each user once.
fn users(store: &Store, work: Work) -> Result<Vec<Arc<str>>, StoreError> {
    match work {
        Work::Users(names) => {
            let mut seen = HashSet::new();
            Ok(names
                .into_iter()
                .map(Arc::from)
                .filter(|n: &Arc<str>| seen.insert(n.clone()))
                .collect())
        }
        Work::AllUsers { prefix } => {
            let list = store.mailboxes()?;
            let mut sized: Vec<(u64, Arc<str>)> = list
                .all_users(prefix.as_deref())?
                .into_iter()
                .map(|user| (quota_used(store, &user), Arc::from(user)))
                .collect();
            sized.sort_by(|(a, _), (b, _)| b.cmp(a));
            let mut users: Vec<Arc<str>> = sized.into_iter().map(|(_, user)| user).collect();
            if !list.shared_tree(prefix.as_deref())?.is_empty() {
                users.push(SHARED.into());
            }
            Ok(users)
        }
    }
}

/// Bytes used by the user's quota root, 0 where none is kept: users of unknown size keep their
/// order at the end.
fn quota_used(store: &Store, userid: &str) -> u64 {
    let root = store.config().names().user_inbox(userid);
    match store.quota(&root) {
        Ok(Some(quota)) => quota.used.first().map_or(0, |bytes| bytes.max(&0).unsigned_abs()),
        Ok(None) | Err(_) => 0,
    }
}
