//! One attempt at one user, or at users that are worked on together: looks at both sides, applies the plan, and returns the
//! result.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::prelude::MessageResponse;
use csync::ReplicaMailbox;
use cyrus_types::{MailboxName, Owner};
use sync_plan::{MailboxUpdate, PlanError, UserPlan};
use tracing::{error, info, warn};

use crate::error::{Interrupt, ReplicaError, UserError};
use crate::monitor::in_flight::WAITING;
use crate::monitor::report::{Outcome, Sent};
use crate::replica::acquire::{acquire_exclusive, acquire_shared};
use crate::replica::asked::PendingCommand;
use crate::replica::command_error::CommandError;
use crate::replica::lease::{Lease, Purpose};
use crate::user::apply::{Applied, Apply, Settled};
use crate::user::context::UserContext;
use crate::user::look::{Look, Scope, View, look};
use crate::user::look_partial::NO_TOMBSTONE;
use crate::user::plan::Plan;
use crate::user::refused_mailboxes::Refused;

/// How often renames and changes meanwhile may make us look again: as often as the C client, and once more for a user that
/// was removed and made again.
const LOOKS: u32 = 4;

/// The result.
#[derive(Debug, MessageResponse)]
pub(crate) struct Synced {
    /// What was sent, even if the attempt failed in the end.
    pub(crate) sent: Sent,
    pub(crate) result: Result<Outcome, Interrupt>,
    /// How many mailboxes were looked at, on the side that has more.
    pub(crate) mailboxes: usize,
    /// Everything that failed did so alone: all other work is done.
    pub(crate) all_else_done: bool,
    /// Users of which something outside mailboxes failed alone.
    pub(crate) failed_meta_of: BTreeSet<Arc<str>>,
    /// Present names of mailboxes that were looked for under others: another try must look for them, too.
    pub(crate) followed: BTreeSet<MailboxName>,
}

impl Synced {
    /// It failed before anything was tried.
    pub(crate) fn nothing(e: Interrupt) -> Synced {
        Synced {
            sent: Sent::default(),
            result: Err(e),
            mailboxes: 0,
            all_else_done: false,
            failed_meta_of: BTreeSet::new(),
            followed: BTreeSet::new(),
        }
    }
}

/// One user's work.
pub(crate) struct UserWork {
    pub(crate) context: UserContext,
    pub(crate) owner: Owner,
    /// Users whose locks are held.
    locked: Arc<BTreeSet<Owner>>,
    begun: Arc<AtomicBool>,
    sent: Sent,
    mailboxes: usize,
    /// Whether a mailbox that came from another user ends the work: both users must be locked first.
    pub(crate) no_foreign_mailboxes: bool,
    /// Present names of mailboxes that were looked for under others: once they are renamed there, nothing leads to them.
    followed: BTreeSet<MailboxName>,
    /// Mailboxes to look at once more in the end.
    pub(crate) taken_in: BTreeSet<MailboxName>,
    /// Mailboxes, as of the last look, that only the replica has and that stay there.
    pub(crate) only_there: Vec<MailboxName>,
    /// Mailboxes that were named, and that were on neither side when they were first looked at.
    pub(crate) nowhere: Vec<MailboxName>,
    /// Users whose subscriptions may be lost on the replica, to be looked at in the end.
    pub(crate) meta_of: BTreeSet<Arc<str>>,
    /// Quota roots of a removed user of the same name, to be looked at in the end.
    pub(crate) roots_of_before: BTreeSet<Arc<str>>,
    /// Each user's own quota roots that the replica told of so far.
    roots_there: BTreeSet<(Owner, Arc<str>)>,
    /// The last RESTART, whose answer shows that all answers before it belonged to their commands.
    restarted: Option<PendingCommand>,
    /// The last returned error is one of those that failed alone, while everything else was done.
    pub(crate) all_else_done: bool,
    /// Users of which something outside mailboxes failed alone.
    failed_meta_of: BTreeSet<Arc<str>>,
    /// Mailboxes that the replica refused in this attempt.
    refused: Refused,
}

impl UserWork {
    pub(crate) fn new(
        context: UserContext,
        owner: Owner,
        locked: Arc<BTreeSet<Owner>>,
        begun: Arc<AtomicBool>,
    ) -> UserWork {
        let sent = Sent::default();
        let (taken_in, meta_of) = (BTreeSet::new(), BTreeSet::new());
        UserWork {
            context,
            owner,
            locked,
            begun,
            sent,
            mailboxes: 0,
            no_foreign_mailboxes: false,
            followed: BTreeSet::new(),
            taken_in,
            only_there: Vec::new(),
            nowhere: Vec::new(),
            meta_of,
            roots_of_before: BTreeSet::new(),
            roots_there: BTreeSet::new(),
            restarted: None,
            all_else_done: false,
            failed_meta_of: BTreeSet::new(),
            refused: Refused::default(),
        }
    }

    pub(crate) fn synced(self, result: Result<Outcome, Interrupt>) -> Synced {
        let UserWork { sent, mailboxes, all_else_done, failed_meta_of, followed, .. } = self;
        Synced { sent, result, mailboxes, all_else_done, failed_meta_of, followed }
    }

    /// The result, unless something failed alone.
    pub(crate) fn but_for(
        &mut self,
        failures: Vec<UserError>,
        outcome: Outcome,
    ) -> Result<Outcome, UserError> {
        if let Owner::User(userid) = &self.owner
            && failures.iter().flat_map(UserError::each).any(UserError::is_of_meta)
        {
            self.failed_meta_of.insert(userid.clone());
        }
        let Some(e) = UserError::all_of(failures) else { return Ok(outcome) };
        self.all_else_done = true;
        Err(e)
    }

    /// Whether this owner's sync lock is held.
    pub(crate) fn holds_lock_of(&self, owner: &Owner) -> bool {
        self.locked.contains(owner)
    }

    /// Looks and, if the sides differ, applies the plan.
    pub(crate) async fn run(
        &mut self,
        scope: &Scope,
        to_look: Lease,
    ) -> Result<Outcome, Interrupt> {
        let owner = self.owner.clone();
        if !owner.is_shared() && matches!(scope, Scope::Whole) {
            self.context.events.action(|| format!("USER {owner}")).await;
        }
        let result = match self.look(scope, &to_look, false).await {
            Ok(None) => {
                self.context.events.action(|| format!("Does not exist locally {owner}")).await;
                Ok(Outcome::Absent)
            }
            Ok(Some(seen)) => {
                drop(to_look);
                let mut result = self.after_look(scope, seen).await;
                while let Err(Interrupt::Failed(e)) = &result
                    && self.refused.note(e)
                {
                    self.complain_of(&result);
                    match self.again_without(scope).await {
                        // What failed before counts as a try.
                        Err(Interrupt::NotStarted) => break,
                        again => result = again,
                    }
                }
                result
            }
            Err(e) => Err(e),
        };
        if result.is_err()
            && let Some(cache) = &self.context.cache
        {
            cache.forget_user(&owner).await;
        }
        result
    }

    /// Once more, without what the replica refused.
    async fn again_without(&mut self, scope: &Scope) -> Result<Outcome, Interrupt> {
        let mut scope = scope.clone();
        if let Scope::Some(names) = &mut scope {
            Arc::make_mut(names).mailboxes.extend(self.followed.iter().cloned());
        }
        let scope = &scope;
        let lease = acquire_shared(&self.context.pool).await?;
        let seen = self.look(scope, &lease, true).await?.ok_or(Interrupt::CameOrWent)?;
        drop(lease);
        self.after_look(scope, seen).await
    }

    /// Applies the plan, if there is anything to do.
    pub(crate) async fn after_look(
        &mut self,
        scope: &Scope,
        seen: Look,
    ) -> Result<Outcome, Interrupt> {
        if seen.plan.is_empty() {
            self.remember(&seen, &HashSet::new(), Vec::new()).await;
            return Ok(self.but_for(seen.plan.failures(), Outcome::Unchanged)?);
        }
        self.context.in_flight.set(&self.owner, WAITING);
        let mut lease = acquire_exclusive(&self.context.pool).await?;
        self.begun.store(true, Ordering::Relaxed);
        let worked = self.work(scope, seen, &mut lease).await;
        if worked.is_err() {
            self.note_fading(&lease);
        }
        if worked.is_err() && !self.all_else_done {
            return worked;
        }
        // The connection need not wait for it: its next user's commands come behind.
        drop(lease);
        if let Some(restarted) = self.restarted.take()
            && let Err(e) = restarted.done().await
        {
            self.all_else_done = false;
            return Err(e.into());
        }
        worked
    }

    /// What was sent on this connection was not answered: if it fell silent, its users wait for its end.
    pub(crate) fn note_fading(&self, lease: &Lease) {
        for owner in self.locked.iter() {
            self.context.fading.note(owner, lease.client.end());
        }
    }

    pub(crate) async fn look(
        &mut self,
        scope: &Scope,
        lease: &Lease,
        again: bool,
    ) -> Result<Option<Look>, Interrupt> {
        self.context.in_flight.set(&self.owner, "looking at both sides");
        let roots = self.roots_there.iter().filter(|(owner, _)| *owner == self.owner);
        let roots = &roots.map(|(_, root)| root.clone()).collect();
        let view = View { owner: &self.owner, scope, locked: &self.locked, again, roots };
        let mut seen = look(&self.context, view, lease).await.map_err(|e| of_look(e, lease))?;
        if let Some(seen) = &mut seen {
            let partition = self.context.settings.sync.partition.as_deref();
            let Plan { changes, refused, .. } = &mut seen.plan;
            *refused = self.refused.leave_out(changes, &seen.read.entries, partition);
        }
        if let Some(seen) = &seen {
            let rules = &self.context.rules;
            let roots = seen.replica.quotas.iter().map(|quota| quota.root.as_str());
            let own = roots.filter(|root| rules.parse_internal(root).owner() == self.owner);
            self.roots_there.extend(own.map(|root| (self.owner.clone(), root.into())));
            let (here, there) = (seen.read.master.folders.len(), seen.replica.mailboxes.len());
            self.mailboxes = self.mailboxes.max(here).max(there);
            if self.no_foreign_mailboxes
                && let Some(other) = seen.elsewhere.first()
            {
                let (owner, other) = (self.owner.clone(), other.clone());
                return Err(Interrupt::Linked { owner, other });
            }
            self.report_orphans(scope, seen);
            self.note_one_sided(scope, seen, again);
        }
        Ok(seen)
    }

    /// Applies the plan, and looks again when names changed.
    async fn work(
        &mut self,
        scope: &Scope,
        mut seen: Look,
        lease: &mut Lease,
    ) -> Result<Outcome, Interrupt> {
        self.restarted = None;
        let mut scope = scope.clone();
        let mut moved = HashMap::new();
        let mut deleted_there = HashMap::new();
        for _ in 0..LOOKS {
            self.go_on_with(&mut scope, &mut seen);
            let plan = std::mem::take(&mut seen.plan);
            let left_out = plan.failures();
            let anew = self.is_made_anew(&seen, &plan.changes);
            let touched = self.forget_touched(&plan.changes).await;
            let apply = Apply::new(&self.context, &self.owner, lease, &seen, self.sent);
            let Applied { settled, sent, states, failed, restarted } = apply.run(plan).await;
            self.sent.add(sent);
            // The replica forgets what it was sent for this user.
            if settled.is_err() || !restarted {
                self.restarted = restart(lease).await;
            }
            match settled? {
                Settled::Done if !anew => {
                    let deleted_there = deleted_there.into_values();
                    let failed = failed.into_iter().chain(left_out).chain(deleted_there);
                    let done = self.but_for(failed.collect(), Outcome::Done)?;
                    self.remember(&seen, &touched, states).await;
                    return Ok(done);
                }
                Settled::Done => {}
                Settled::LookAgain { moved: now } => {
                    let unique_ids = lease.client.features().unique_ids;
                    deleted_there.extend(self.deleted_there(&seen, &moved, &now, unique_ids));
                    moved = now;
                }
            }
            match self.look(&scope, lease, true).await? {
                Some(again) => seen = again,
                None => return Err(Interrupt::CameOrWent),
            }
            // Asked for twice in vain.
            seen.plan.changes.updates.retain(|update| !deleted_there.contains_key(update.name()));
            if seen.plan.is_empty() {
                let deleted_there = deleted_there.into_values();
                let failed = seen.plan.failures().into_iter().chain(deleted_there);
                return Ok(self.but_for(failed.collect(), Outcome::Done)?);
            }
        }
        Err(UserError::Unsettled { tries: LOOKS }.into())
    }

    /// A mailbox that the replica does not have, although it says twice in a row that it has it elsewhere, was deleted
    /// there: its unique id is known, but only as a deleted mailbox's (`imap/sync_support.c:sync_apply_mailbox` of
    /// cyrus-imapd 3.6.1). A replica that can't be asked by unique id may have it under any other name as well.
    fn deleted_there(
        &self,
        seen: &Look,
        before: &HashMap<MailboxName, String>,
        now: &HashMap<MailboxName, String>,
        unique_ids: bool,
    ) -> Vec<(MailboxName, UserError)> {
        let twice = now.iter().filter(|(mailbox, _)| before.contains_key(*mailbox));
        let failure = |(mailbox, text): (&MailboxName, &String)| {
            let (name, text) = (mailbox.clone(), text.clone());
            let e = if unique_ids {
                let uniqueid = seen.read.uniqueid_of(mailbox).cloned().unwrap_or_default();
                ReplicaError::DeletedThere { mailbox: name.clone(), uniqueid, text }
            } else {
                ReplicaError::ElsewhereThere { mailbox: name.clone(), text }
            };
            (name, e.into())
        };
        twice.map(failure).collect()
    }

    /// Whether this makes an INBOX for a user of which the replica knows something. Subscriptions, seen state and quota
    /// must then be compared again: the replica's answers were about another INBOX, of a removed user of the same name.
    fn is_made_anew(&self, seen: &Look, plan: &UserPlan) -> bool {
        let there = &seen.replica;
        let unknown = there.mailboxes.is_empty()
            && there.quotas.is_empty()
            && there.subscriptions.is_empty()
            && there.seen.is_empty();
        !unknown
            && plan.updates.iter().any(|update| match update {
                MailboxUpdate::Send { uniqueid, replica: None, .. } => {
                    Some(uniqueid) == seen.read.inbox_id.as_ref()
                }
                _ => false,
            })
    }

    /// Mailboxes that were added must be looked at again with the others: once they are renamed nothing leads to them any
    /// more. Another user's mailboxes are a part of their own if all of one user is looked at.
    fn go_on_with(&mut self, scope: &mut Scope, seen: &mut Look) {
        let taken_in = std::mem::take(&mut seen.taken_in);
        match scope {
            Scope::Some(names) => {
                self.followed.extend(taken_in.iter().cloned());
                Arc::make_mut(names).mailboxes.extend(taken_in);
            }
            Scope::Whole | Scope::Gone => self.taken_in.extend(taken_in),
        }
    }

    /// Stores the replica's state in the cache: what it reported, and what it has been sent since.
    async fn remember(
        &self,
        seen: &Look,
        touched: &HashSet<MailboxName>,
        sent: Vec<ReplicaMailbox>,
    ) {
        let Some(cache) = &self.context.cache else { return };
        let said = seen.replica.mailboxes.iter().filter(|m| !touched.contains(&m.name));
        cache.remember(said.cloned().chain(sent).collect()).await;
    }

    /// What is about to change must not be in the cache if we end in the middle. Returns the names.
    async fn forget_touched(&self, plan: &UserPlan) -> HashSet<MailboxName> {
        let Some(cache) = &self.context.cache else { return HashSet::new() };
        let moved = plan.renames.iter().flat_map(|r| [r.from.clone(), r.to.clone()]);
        let updated = plan.updates.iter().map(|update| update.name().clone());
        let contested = plan.contests.iter().map(|contest| contest.mailbox.clone());
        let deleted = plan.deletes.iter().cloned().chain(contested);
        let touched: HashSet<MailboxName> = deleted.chain(moved).chain(updated).collect();
        cache.forget(touched.iter().cloned().collect()).await;
        touched
    }

    /// Mailboxes on the replica that we must not delete. Those that the log called removed and that have no tombstone at
    /// all were reported before.
    fn report_orphans(&self, scope: &Scope, look: &Look) {
        let tombstones = &look.read.master.tombstone_names;
        let told = |name: &MailboxName| match scope {
            Scope::Some(names) => {
                names.removed.contains(name) && !tombstones.iter().any(|known| known == name)
            }
            Scope::Whole | Scope::Gone => false,
        };
        for name in look.plan.changes.orphans.iter().filter(|name| !told(name)) {
            warn!("{NO_TOMBSTONE}: mailbox=<{name}>");
        }
        for left_out in &look.plan.changes.left_out {
            if let PlanError::NameHeld { mailbox, .. } = left_out {
                info!(
                    "SYNCNOTICE: MAILBOX not sent, as the replica would refuse it with IMAP_MAILBOX_MOVED: mailbox=<{mailbox}>"
                );
            }
        }
    }

    pub(crate) fn complain_of(&self, result: &Result<Outcome, Interrupt>) {
        let Err(interrupt) = result else { return };
        let Some(e) = interrupt.failure().filter(|_| !interrupt.is_stop()) else { return };
        let settings = &self.context.settings;
        error!(
            "IOERROR: user replication failed: error=<{e}> userid=<{}> channel=<{}> servername=<{}>",
            self.owner,
            settings.run.channel.as_deref().unwrap_or(""),
            settings.replica.server,
        );
    }
}

/// Makes the replica forget the messages it was sent for this user. Sent ahead: the connection's next user comes after it,
/// and a connection that breaks tells its next user.
async fn restart(lease: &Lease) -> Option<PendingCommand> {
    lease.client.restart().await.ok()
}

/// The failure of a question on this lease. If others ask on it as well and one of their answers was due when the
/// connection ended, this user counts as not started.
pub(crate) fn of_look(e: UserError, lease: &Lease) -> Interrupt {
    let behind = match &e {
        UserError::Replica(ReplicaError::Command(CommandError::Lost { behind, .. })) => *behind,
        _ => false,
    };
    if behind && lease.purpose == Purpose::Shared { Interrupt::NotStarted } else { e.into() }
}
