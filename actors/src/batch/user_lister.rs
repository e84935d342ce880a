//! The UserLister actor: lists the users, largest first, the shared mailboxes last.
//!
//! The users go out through a bounded channel, so a list of any length waits for the Dispatcher.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use actix::prelude::*;
use cyrus_store::StoreError;
use cyrus_types::{MailboxName, Owner};
use sync_plan::backlog::WorkUnit;
use tokio::sync::mpsc;

use crate::batch::names::{Names, Selected, Wanted};
use crate::batch::spelling::spelt;
use crate::master::source::Source;
use crate::monitor::outlook::Sizes;

/// How many users may wait in the channel.
const USERS_WAITING: usize = 256;

/// Which users to replicate.
#[derive(Debug, Clone)]
pub enum Selection {
    /// These, in this order (-u).
    Users(Vec<String>),
    /// These mailboxes, as an admin spells them (-m).
    Mailboxes(Vec<String>),
    /// What these users have outside mailboxes, and their Sieve scripts (-s).
    Meta(Vec<String>),
    /// All users with a mailbox whose internal name begins with the prefix, and the shared mailboxes (-A).
    AllUsers {
        /// The prefix; empty for all. If no user's internal name begins with it, it is used as the beginning of user names.
        prefix: Option<String>,
    },
}

/// Lists users.
pub(crate) struct UserLister {
    source: Arc<dyn Source>,
}

impl UserLister {
    pub(crate) fn new(source: Arc<dyn Source>) -> UserLister {
        UserLister { source }
    }
}

impl Actor for UserLister {
    type Context = Context<Self>;
}

/// Lists the users of this selection.
#[derive(Message)]
#[rtype(result = "Result<Listed, StoreError>")]
pub(crate) struct ListUsers(pub(crate) Selection);

/// The selected users.
#[derive(Debug)]
pub(crate) struct Listed {
    /// All of them, each once, in the order in which they are replicated.
    pub(crate) all: Arc<Selected>,
    /// The same, one after the other.
    pub(crate) works: mpsc::Receiver<Arc<WorkUnit>>,
    /// How the request was interpreted, if that is not obvious.
    pub(crate) note: Option<String>,
    /// Texts that no mailbox could have as its name.
    pub(crate) no_names: Vec<String>,
    /// How large the users are.
    pub(crate) sizes: Sizes,
}

#[derive(Default)]
struct Found {
    all: Selected,
    note: Option<String>,
    no_names: Vec<String>,
    sizes: Sizes,
}

impl Handler<ListUsers> for UserLister {
    type Result = ResponseFuture<Result<Listed, StoreError>>;

    fn handle(&mut self, ListUsers(work): ListUsers, _: &mut Context<Self>) -> Self::Result {
        let source = self.source.clone();
        Box::pin(async move {
            let reading = move || users(&*source, work);
            let found = actix_rt::task::spawn_blocking(reading).await;
            let Found { all, note, no_names, sizes } = match found {
                Ok(users) => users?,
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            };
            let all = Arc::new(all);
            let (sender, works) = mpsc::channel(USERS_WAITING);
            let to_send = all.clone();
            actix_rt::spawn(async move {
                for owner in to_send.iter() {
                    if sender.send(to_send.work(owner)).await.is_err() {
                        // The run was stopped.
                        return;
                    }
                }
            });
            Ok(Listed { all, works, note, no_names, sizes })
        })
    }
}

/// Each name once.
fn once(names: &[String]) -> Names {
    let mut seen = HashSet::new();
    let mut once = Names::default();
    for name in names.iter().filter(|name| seen.insert(name.as_str())) {
        once.push(name);
    }
    once.shrink();
    once
}

/// The owners of the named mailboxes, in the order in which they come up.
fn mailboxes(source: &dyn Source, texts: &[String]) -> Result<Found, StoreError> {
    let rules = source.rules();
    let mut found = Found::default();
    let mut of: HashMap<Owner, HashSet<MailboxName>> = HashMap::new();
    for text in texts {
        let Some(name) = spelt(source, rules, text)? else {
            found.no_names.push(text.clone());
            continue;
        };
        let owner = name.owner(rules);
        let names = of.entry(owner.clone()).or_default();
        match owner.userid().filter(|_| names.is_empty()) {
            Some(userid) => found.all.users.push(userid),
            None => found.all.shared |= owner.is_shared(),
        }
        names.insert(name);
    }
    found.all.wanted = Wanted::Mailboxes(of);
    Ok(found)
}

/// Each user once.
fn users(source: &dyn Source, work: Selection) -> Result<Found, StoreError> {
    match work {
        Selection::Users(names) => {
            let all = Selected { users: once(&names), ..Selected::default() };
            Ok(Found { all, ..Found::default() })
        }
        Selection::Meta(names) => {
            let all = Selected { users: once(&names), wanted: Wanted::Meta, ..Selected::default() };
            Ok(Found { all, ..Found::default() })
        }
        Selection::Mailboxes(texts) => mailboxes(source, &texts),
        Selection::AllUsers { prefix } => {
            let (mut names, shared) = named(source, prefix.as_deref())?;
            let mut note = None;
            if let Some(prefix) = &prefix {
                if names.is_empty() {
                    (names, _) = named(source, None)?;
                    let begin_so = names.iter().filter(|user| user.starts_with(prefix.as_str()));
                    names = begin_so.fold(Names::default(), |mut names, user| {
                        names.push(user);
                        names
                    });
                    note = (!names.is_empty()).then(|| understood(prefix));
                } else if !prefix.is_empty() && "user".starts_with(prefix.as_str()) {
                    note = Some(format!(
                        "all users' internal names begin with {prefix:?} (user.NAME): replicating all of them"
                    ));
                }
            }
            let mut sized: Vec<(u64, &str)> =
                names.iter().map(|user| (source.bytes_of(user), user)).collect();
            // Users of unknown size keep their order at the end.
            sized.sort_by(|(a, _), (b, _)| b.cmp(a));
            let mut users = Names::default();
            sized.iter().for_each(|(_, user)| users.push(user));
            users.shrink();
            let sizes = Sizes::of(&sized);
            let all = Selected { users, shared, ..Selected::default() };
            Ok(Found { all, note, sizes, ..Found::default() })
        }
    }
}

/// The users whose internal names begin with the prefix, and whether there are such shared mailboxes.
fn named(source: &dyn Source, prefix: Option<&str>) -> Result<(Names, bool), StoreError> {
    let mut names = Names::default();
    let shared = source.users(prefix, &mut |user| names.push(user))?;
    Ok((names, shared))
}

/// A prefix that matches no user's internal name, but matches user names.
fn understood(prefix: &str) -> String {
    format!(
        "no user's internal name begins with {prefix:?}: replicating the users whose names begin so"
    )
}
