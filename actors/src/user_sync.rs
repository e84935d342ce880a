//! The UserSync actor: replicates one user at a time: look, plan, act.
//!
//! ```text
//!                 .--ReadUser----> MailboxPlanner (threads) --> what the master has --.
//!   SyncUser --> look                                                               plan --> act
//!                 '--GET USER----> replica -------------------> what it has ----------'
//!
//!   act: RESERVE, UNMAILBOX, RENAME (then look again), MAILBOX with its messages, QUOTA, SUB,
//!        SIEVE, SEEN, RESTART; each sent ahead of the answers to those before it.
//! ```
//! A mailbox that fails does not stop the user's others; the user then counts as failed with the
//! first reason. The shared mailboxes are one more user, without a name: they are asked for by name
//! and by unique id instead of by GET USER. Interleaving: a UserSync works on one user at a time (its sender, the Dispatcher,
//! waits for the reply), so its state is that of one user.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::prelude::*;
use csync::command;
use sync_plan::UserPlan;
use tracing::{error, warn};

use crate::act::{Acting, Settled};
use crate::board::WAITING;
use crate::error::UserError;
use crate::frames::encode;
use crate::hands::Hands;
use crate::look::{Look, look};
use crate::pool::{Lease, PoolError, acquire_work};
use crate::report::{Outcome, Sent, is_shared};
use crate::staged::Staged;

/// How often renames and changes under our hands may make us look again, as in the C client.
const LOOKS: u32 = 3;

/// Replicates users, one at a time.
pub(crate) struct UserSync {
    hands: Hands,
}

impl UserSync {
    pub(crate) fn new(hands: Hands) -> UserSync {
        UserSync { hands }
    }
}

impl Actor for UserSync {
    type Context = Context<Self>;
}

/// Replicates this user, whose sync lock the sender holds.
#[derive(Message)]
#[rtype(result = "Synced")]
pub(crate) struct SyncUser {
    pub(crate) userid: Arc<str>,
    /// A connection to look on.
    pub(crate) lease: Lease,
    /// Turned true when it is begun to change something on the replica.
    pub(crate) begun: Arc<AtomicBool>,
}

/// How it went.
#[derive(Debug, MessageResponse)]
pub(crate) struct Synced {
    /// What was sent, even where it failed in the end.
    pub(crate) sent: Sent,
    pub(crate) result: Result<Outcome, UserError>,
}

impl Handler<SyncUser> for UserSync {
    type Result = ResponseFuture<Synced>;

    fn handle(&mut self, msg: SyncUser, _: &mut Context<Self>) -> Self::Result {
        let hands = self.hands.clone();
        Box::pin(async move {
            let mut work = UserWork { hands, userid: msg.userid, sent: Sent::default() };
            let result = work.run(msg.lease, &msg.begun).await;
            match &result {
                Err(UserError::Pool(PoolError::NotBegun)) | Ok(_) => {}
                Err(e) => work.complain(e),
            }
            Synced { sent: work.sent, result }
        })
    }
}

/// One user's work.
struct UserWork {
    hands: Hands,
    userid: Arc<str>,
    sent: Sent,
}

impl UserWork {
    async fn run(&mut self, to_look: Lease, begun: &AtomicBool) -> Result<Outcome, UserError> {
        let userid = self.userid.clone();
        if !is_shared(&userid) {
            self.hands.events.action(|| format!("USER {userid}")).await;
        }
        let Some(seen) = self.look(&to_look).await? else {
            self.hands.events.action(|| format!("Does not exist locally {userid}")).await;
            return Ok(Outcome::Absent);
        };
        drop(to_look);
        if seen.plan.is_empty() {
            return ended(&seen, Outcome::Unchanged);
        }
        self.hands.board.set(&userid, WAITING);
        let mut lease = acquire_work(&self.hands.pool).await?;
        begun.store(true, Ordering::Relaxed);
        self.work(seen, &mut lease).await
    }

    async fn look(&self, lease: &Lease) -> Result<Option<Look>, UserError> {
        self.hands.board.set(&self.userid, "looking at both sides");
        let seen = look(&self.hands, &self.userid, lease).await?;
        if let Some(seen) = &seen {
            self.report_orphans(seen);
        }
        Ok(seen)
    }

    /// Carries out what was seen to be done, and looks again when names changed.
    async fn work(&mut self, mut seen: Look, lease: &mut Lease) -> Result<Outcome, UserError> {
        let mut staged = Staged::default();
        for _ in 0..LOOKS {
            let plan = std::mem::take(&mut seen.plan);
            let held = name_held(&plan);
            let acting = Acting::new(&self.hands, &self.userid, lease, &seen.read);
            let settled = acting.run(&seen.replica, plan, &mut staged, &mut self.sent).await;
            restart(lease).await;
            // The replica forgets what it was sent for this user.
            staged.clear();
            if let Settled::Done = settled? {
                if let Some(e) = held {
                    return Err(e);
                }
                return ended(&seen, Outcome::Done);
            }
            match self.look(lease).await? {
                Some(again) => seen = again,
                None => return Ok(Outcome::Absent),
            }
            if seen.plan.is_empty() {
                return ended(&seen, Outcome::Done);
            }
        }
        Err(UserError::Unsettled { tries: LOOKS })
    }

    /// Mailboxes on the replica that we must not delete; those we only could not read are none.
    fn report_orphans(&self, look: &Look) {
        for name in &look.plan.orphans {
            if !look.read.is_broken(name) {
                warn!("SYNCNOTICE: attempt to UNMAILBOX without a tombstone: mailbox=<{name}>");
            }
        }
    }

    fn complain(&self, e: &UserError) {
        let settings = &self.hands.settings;
        error!(
            "IOERROR: user replication failed: error=<{e}> userid=<{}> channel=<{}> servername=<{}>",
            self.userid,
            settings.channel.as_deref().unwrap_or(""),
            settings.server,
        );
    }
}

/// The outcome, unless something stands against it.
fn ended(seen: &Look, outcome: Outcome) -> Result<Outcome, UserError> {
    match seen.read.first_broken().or(name_held(&seen.plan)) {
        Some(e) => Err(e),
        None => Ok(outcome),
    }
}

/// The first name that the replica can't give to its mailbox of ours.
fn name_held(plan: &UserPlan) -> Option<UserError> {
    let first = plan.conflicts.first()?;
    Some(UserError::NameHeld { mailbox: first.mailbox.clone(), uniqueid: first.uniqueid.clone() })
}

/// Lets the replica forget the messages it was sent for this user. Sent ahead: whoever uses the
/// connection next comes after it, and a connection that broke tells its next user.
async fn restart(lease: &Lease) {
    let _ = lease.send("RESTART", encode(command::restart)).await;
}
