//! Applies a user's plan: sends commands in order, and takes their answers as they arrive.

mod ahead;
mod contest;
mod held;
mod meta;
mod names;
mod partition;
mod refused;
mod removals;
mod reserve;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use csync::{Code, CommandKind, IntermediateHead, ReplicaMailbox, ReplicaUser};
use cyrus_types::{MailboxName, Owner, UidValidity, UniqueId};
use sync_plan::{Doubt, FullReplica, MailboxUpdate};
use tracing::{Instrument, Span, debug, info, warn};

use self::ahead::{Ahead, Object};
use self::contest::Loser;
use self::held::Holding;
use self::removals::Removals;
use crate::error::{MasterError, ReplicaError, UserError};
use crate::master::bad_files::Files;
use crate::master::full_update::Found;
use crate::master::mailbox_streamer::SendMailbox;
use crate::master::plan_mailbox::{Next, SendMode};
use crate::master::send_mailbox::{MailboxSent, Ready};
use crate::master::user_read::{Host, UserRead};
use crate::monitor::report::Sent;
use crate::monitor::spans;
use crate::replica::answer::Held;
use crate::replica::asked::{Done, PendingCommand};
use crate::replica::command_error::CommandError;
use crate::replica::lease::Lease;
use crate::replica::refusal::Meaning;
use crate::replica::staged::{STAGED, Staged};
use crate::user::context::UserContext;
use crate::user::look::Look;
use crate::user::plan::Plan;

/// How many mailboxes may be ahead of their answers: enough to hide any round trip, few enough to notice a failing replica
/// soon.
const MAILBOXES_AHEAD: usize = 64;

/// If the replica keeps fewer bytes of messages than this, all of them uploaded, RESTART is sent before it has answered. If
/// it then refuses a mailbox, they are uploaded again, which costs less than a round trip for every user.
const FORGET_AHEAD: u64 = 1024 * 1024;

/// The result of applying a plan.
pub(crate) struct Applied {
    /// How it ended.
    pub(crate) settled: Result<Settled, UserError>,
    /// What the replica accepted, even if the plan failed in the end.
    pub(crate) sent: Sent,
    /// The replica's state of the mailboxes that it accepted.
    pub(crate) states: Vec<ReplicaMailbox>,
    /// What failed alone, while everything else went on.
    pub(crate) failed: Vec<UserError>,
    /// Whether RESTART was sent and answered, with nothing sent behind it.
    pub(crate) restarted: bool,
}

/// How a plan ended.
pub(crate) enum Settled {
    /// Everything is on the replica.
    Done,
    /// Names changed: look at both sides again. The mailboxes that the replica said were moved, and its words.
    LookAgain { moved: HashMap<MailboxName, String> },
}

/// A plan being applied.
pub(crate) struct Apply<'a> {
    context: &'a UserContext,
    owner: &'a Owner,
    lease: &'a mut Lease,
    read: &'a UserRead,
    /// What the replica had at the look.
    replica: &'a ReplicaUser,
    /// Something of the user can't be read here, or was refused by the replica: messages to be removed there may have moved
    /// to it.
    cautious: bool,
    ahead: VecDeque<Ahead>,
    /// Commands that wait for the answers to messages.
    holding: Holding,
    /// Mailboxes that the replica refused for a checksum or because they changed meanwhile.
    doubtful: Vec<(MailboxName, Code)>,
    /// Mailboxes that need a record-by-record comparison.
    full: Vec<MailboxName>,
    /// The replica's records of mailboxes that were compared already, by unique id.
    fulls: HashMap<UniqueId, Full>,
    /// What is to be removed there.
    removals: Removals,
    /// Mailboxes there that ours replace.
    losers: Vec<Loser>,
    look_again: bool,
    /// Mailboxes that the replica says it has elsewhere, and its words.
    moved: HashMap<MailboxName, String>,
    /// What failed alone, while everything else went on.
    failed: Vec<UserError>,
    /// The replica's state of the mailboxes that it accepted.
    states: Vec<ReplicaMailbox>,
    /// What the replica accepted.
    sent: Sent,
    /// What it had accepted of this user before.
    sent_before: Sent,
    /// The messages that the replica keeps for this connection.
    staged: Staged,
    /// Messages that the replica accepted, by the mailbox that is still to be applied.
    uploaded: HashMap<MailboxName, Sent>,
    /// Messages that were sent, and their bytes.
    messages: usize,
    bytes: u64,
    /// Nothing was sent after the last RESTART.
    restarted: bool,
}

impl<'a> Apply<'a> {
    pub(crate) fn new(
        context: &'a UserContext,
        owner: &'a Owner,
        lease: &'a mut Lease,
        seen: &'a Look,
        sent_before: Sent,
    ) -> Apply<'a> {
        Apply {
            context,
            owner,
            lease,
            read: &seen.read,
            replica: &seen.replica,
            cautious: false,
            ahead: VecDeque::new(),
            holding: Holding::default(),
            doubtful: Vec::new(),
            full: Vec::new(),
            fulls: HashMap::new(),
            removals: Removals::default(),
            losers: Vec::new(),
            look_again: false,
            moved: HashMap::new(),
            failed: Vec::new(),
            states: Vec::new(),
            sent: Sent::default(),
            sent_before,
            staged: Staged::default(),
            uploaded: HashMap::new(),
            messages: 0,
            bytes: 0,
            restarted: false,
        }
    }

    /// Applies the plan, as far as possible.
    pub(crate) async fn run(mut self, plan: Plan) -> Applied {
        let mut settled = self.carry_out(plan).await;
        if let Err(UserError::Replica(ReplicaError::Command(CommandError::Lost { .. }))) = &settled
            && let Some(refused) = self.holding.refused()
        {
            settled = Err(refused);
        }
        if settled.is_err() && self.lease.usable {
            // Commands that were sent ahead count as far as the replica accepts them.
            let _ = self.drain(0).await;
        }
        let Apply { sent, states, failed, restarted, .. } = self;
        Applied { settled, sent, states, failed, restarted }
    }

    async fn carry_out(&mut self, mut all: Plan) -> Result<Settled, UserError> {
        self.cautious = !(all.broken.is_empty() && all.refused.is_empty());
        self.settle_contests(&mut all.changes).await?;
        self.compare_in_full(&mut all).await?;
        self.weigh_removals(&mut all).await?;
        debug!("plan:\n{all}");
        self.check_removals(&all)?;
        let plan = all.changes;
        let names_stay = plan.renames.is_empty() && plan.deletes.is_empty();
        if names_stay {
            self.prove_partitions(&plan).await?;
        }
        self.reserve(&plan).await?;
        self.delete(&plan.deletes).await?;
        self.take_contested().await?;
        if self.rename(&plan).await? {
            return Ok(Settled::LookAgain { moved: HashMap::new() });
        }
        if !names_stay {
            self.drain(0).await?;
            self.prove_partitions(&plan).await?;
        }
        let mut guests = Vec::new();
        for update in plan.updates {
            match self.host_of(&update) {
                None => self.update(update).await?,
                Some(host) => guests.push((update, host)),
            }
        }
        self.release().await?;
        for (update, Host { inbox, deleted }) in guests {
            self.rename_host(&deleted.name, &inbox, &deleted).await?;
            self.update(update).await?;
            self.release().await?;
            self.rename_host(&inbox, &deleted.name, &deleted).await?;
        }
        self.meta(plan.quotas, plan.subscriptions, plan.sieve, plan.seen).await?;
        self.context.in_flight.set(self.owner, "waiting for the replica's answers");
        if self.keeps_little() && self.doubtful.is_empty() && self.full.is_empty() {
            self.restart().await?;
            self.restarted = true;
        }
        self.drain(0).await?;
        self.restarted &= self.doubtful.is_empty() && self.full.is_empty();
        self.settle_doubtful().await?;
        self.settle_in_full().await?;
        let moved = std::mem::take(&mut self.moved);
        Ok(if self.look_again { Settled::LookAgain { moved } } else { Settled::Done })
    }

    /// Whether the replica keeps so little until RESTART that it may be sent again.
    fn keeps_little(&self) -> bool {
        self.bytes < FORGET_AHEAD && self.staged.len() <= self.messages
    }

    async fn update(&mut self, update: MailboxUpdate) -> Result<(), UserError> {
        match update {
            MailboxUpdate::Intermediate(i) => {
                let head = IntermediateHead {
                    uniqueid: &i.uniqueid,
                    mboxname: &i.name,
                    mboxtype: &i.mboxtype,
                    uidvalidity: UidValidity(0),
                    partition: None,
                    acl: None,
                    createdmodseq: i.createdmodseq,
                    foldermodseq: i.foldermodseq,
                };
                let command = csync::apply_intermediate(&head);
                self.hold(&i.name, Ready::of(command.bytes)).await
            }
            MailboxUpdate::Send { name, uniqueid, replica, doubt } => {
                let how = match (doubt, self.fulls.get(&uniqueid)) {
                    (_, Some(full)) => full.how(),
                    (Doubt::Checksum, None) => SendMode::SinceIfChecksumsDiffer,
                    (Doubt::None | Doubt::Full, None) => SendMode::Since,
                };
                self.send_mailbox(&name, &uniqueid, replica, how).await
            }
        }
    }

    /// Streams one mailbox, batch by batch. An error of the mailbox alone is kept for the end; an error of the connection
    /// ends the user.
    async fn send_mailbox(
        &mut self,
        name: &MailboxName,
        uniqueid: &UniqueId,
        replica: Option<Box<ReplicaMailbox>>,
        how: SendMode,
    ) -> Result<(), UserError> {
        let span = spans::mailbox(name);
        self.stream_mailbox(name, uniqueid, replica, how).instrument(span).await
    }

    async fn stream_mailbox(
        &mut self,
        name: &MailboxName,
        uniqueid: &UniqueId,
        replica: Option<Box<ReplicaMailbox>>,
        how: SendMode,
    ) -> Result<(), UserError> {
        let Some(entry) = self.read.entries.get(uniqueid).cloned() else {
            return Err(UserError::Internal(format!("mailbox {name} was planned but never read")));
        };
        self.context.in_flight.set(self.owner, format!("sending {name}"));
        let mut next: Option<Next> = None;
        let mut files = Files::default();
        loop {
            let this = next.clone();
            let sending = self.context.streamer.send(SendMailbox {
                entry: entry.clone(),
                replica: replica.clone(),
                how: how.clone(),
                next: next.take(),
                client: self.lease.client.clone(),
                span: Span::current(),
                staged: std::mem::take(&mut self.staged),
                files: std::mem::take(&mut files),
            });
            let done = sending.await.map_err(|e| {
                // The thread may have died in the middle of a command.
                self.lease.spoil();
                UserError::Internal(e.to_string())
            })?;
            self.staged = done.staged;
            if done.broken_off {
                self.lease.spoil();
            }
            match done.result {
                Ok(MailboxSent::Unchanged) => return Ok(()),
                Ok(MailboxSent::Replaced) => {
                    self.look_again = true;
                    return Ok(());
                }
                Ok(MailboxSent::NeedsFull) => {
                    self.full.push(name.clone());
                    return Ok(());
                }
                Ok(MailboxSent::Lacking(mut lacking)) => {
                    self.ask_for_lacking(uniqueid, &mut lacking).await?;
                    (next, files) = (this, lacking);
                    continue;
                }
                Ok(MailboxSent::Bad(bad)) => {
                    self.keep_all(bad);
                    return Ok(());
                }
                Ok(MailboxSent::Ready(mut ready)) => {
                    next = ready.next.take();
                    self.keep_all(std::mem::take(&mut ready.bad));
                    self.hold(name, *ready).await?;
                }
                Err(e) if e.is_of_mailbox() => {
                    // Its uploads may be in flight; their answers are of no use any more.
                    self.keep(e);
                    return Ok(());
                }
                Err(e) => return Err(self.of_missing_partition(name, e)),
            }
            if self.staged.len() >= STAGED {
                self.restart().await?;
            }
            if next.is_none() {
                return Ok(());
            }
        }
    }

    /// Makes the replica forget the messages it was sent: they are in their mailboxes by then; later ones are uploaded
    /// again.
    async fn restart(&mut self) -> Result<(), UserError> {
        self.release().await?;
        let in_flight = self.lease.client.restart().await?;
        self.push(Object::Other(CommandKind::Restart.name().into()), vec![in_flight], None).await?;
        self.staged.clear();
        Ok(())
    }

    async fn push(
        &mut self,
        about: Object,
        commands: Vec<PendingCommand>,
        state: Option<Box<ReplicaMailbox>>,
    ) -> Result<(), UserError> {
        self.ahead.push_back(Ahead { about, commands, state });
        self.drain(MAILBOXES_AHEAD).await
    }

    /// Takes answers until at most `left` are outstanding.
    async fn drain(&mut self, left: usize) -> Result<(), UserError> {
        while self.ahead.len() > left {
            let Some(Ahead { about, commands, mut state }) = self.ahead.pop_front() else {
                break;
            };
            for in_flight in commands {
                let (kind, brings) = (in_flight.kind, in_flight.brings);
                match in_flight.done().await {
                    Ok(Done::Taken) => self.count(kind, about.mailbox(), brings),
                    Ok(Done::NothingThere) => {}
                    Err(e @ CommandError::Lost { .. }) => {
                        return Err(match about.mailbox() {
                            Some(name) => self.of_missing_partition(name, e.into()),
                            None => e.into(),
                        });
                    }
                    Err(e) => {
                        state = None;
                        self.refused(kind, &about, e);
                    }
                }
            }
            self.states.extend(state.map(|state| *state));
        }
        Ok(())
    }

    /// Messages count once their mailbox is applied: those of a failed mailbox are uploaded again by the next try.
    fn count(&mut self, kind: CommandKind, mailbox: Option<&MailboxName>, brings: Sent) {
        match (kind, mailbox) {
            (CommandKind::Message, Some(name)) => {
                self.uploaded.entry(name.clone()).or_default().add(brings)
            }
            // Messages that no mailbox has used by now are forgotten.
            (CommandKind::Restart, _) => self.uploaded.clear(),
            _ => {
                self.sent.add(brings);
                if let (CommandKind::Mailbox, Some(name)) = (kind, mailbox)
                    && let Some(uploaded) = self.uploaded.remove(name)
                {
                    self.sent.add(uploaded);
                }
            }
        }
    }

    /// Handles a refusal: the mailbox is to be looked at again, or the error is kept.
    fn refused(&mut self, kind: CommandKind, about: &Object, e: CommandError) {
        let Object::Mailbox(mailbox) = about else {
            let what = about.to_string();
            return self.keep(ReplicaError::RefusedItem { what, source: e }.into());
        };
        let of_mailbox = matches!(
            kind,
            CommandKind::Mailbox
                | CommandKind::Message
                | CommandKind::Unmailbox
                | CommandKind::Rename
        );
        match (e.meaning(), &e) {
            (Some(Meaning::CompareAfresh), CommandError::Refused { code: Some(code), .. }) => {
                info!("SYNCNOTICE: {e}: mailbox=<{mailbox}>, comparing afresh and trying again");
                if !self.doubtful.iter().any(|(m, _)| m == mailbox) {
                    self.doubtful.push((mailbox.clone(), code.clone()));
                }
            }
            (Some(Meaning::LookAgain), CommandError::Refused { code, .. }) => {
                self.look_again = true;
                if *code == Some(Code::MailboxMoved) {
                    self.moved.insert(mailbox.clone(), e.to_string());
                }
            }
            _ if of_mailbox => {
                self.keep(UserError::refused(mailbox, e));
            }
            _ => {
                let what = mailbox.to_string();
                self.keep(ReplicaError::RefusedItem { what, source: e }.into());
            }
        }
    }

    fn keep_all(&mut self, errors: Vec<MasterError>) {
        for e in errors {
            self.keep(e.into());
        }
    }

    fn keep(&mut self, e: UserError) {
        warn!("user {}: {e}", self.owner);
        self.failed.push(e);
    }
}

/// One of the replica's mailboxes with all its records.
struct Full {
    mailbox: Box<ReplicaMailbox>,
    records: Arc<FullReplica>,
    found: Found,
    /// The memory that they take.
    _held: Held,
}

impl Full {
    fn how(&self) -> SendMode {
        SendMode::Full { records: self.records.clone(), again: self.found.again }
    }
}
