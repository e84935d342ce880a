//! Typed commands to the replica. Each is encoded here, reported where the C client reports it, and sent. Its answer is
//! typed ([`Asked`], [`PendingCommand`]); `refusal.rs` decides what a NO means.
//!
//! ```text
//!   look, apply --get_user, rename …--> Client --Frame--> connection
//!   threads of the master --CommandStream (MESSAGE, MAILBOX)--^
//! ```
//! Commands go out in the order of the calls, ahead of their answers.

use std::collections::HashSet;
use std::sync::Arc;

use csync::{Command, CommandKind, Framing, OwnedAnnotation, ReplicaMailbox, Seen, command};
use cyrus_types::{Guid, MailboxName, ModSeq, NameRules, UidValidity, UniqueId};
use sync_plan::FullReplica;

use crate::monitor::events::EventSink;
use crate::replica::answer::{Held, Said};
use crate::replica::ask::{About, Asker};
use crate::replica::asked::{Asked, PendingCommand};
use crate::replica::command_error::CommandError;
use crate::replica::command_stream::CommandStream;
use crate::replica::features::Features;
use crate::replica::frames::{End, FrameSender};

/// How many mailboxes are asked for in one command.
const NAMES: usize = 500;

/// The commands of one lease. A clone belongs to the same lease.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    frames: FrameSender,
    events: EventSink,
    /// -L: the replica does not tell mupdate.
    local_only: bool,
    features: Features,
}

/// One of the replica's mailboxes with all its records.
#[derive(Debug)]
pub(crate) struct FullAnswer {
    pub(crate) mailbox: ReplicaMailbox,
    pub(crate) records: FullReplica,
    /// The room that they take in memory.
    pub(crate) held: Held,
}

impl Client {
    pub(super) fn new(
        frames: FrameSender,
        asker: Asker,
        events: EventSink,
        local_only: bool,
        features: Features,
    ) -> Client {
        Client { frames: FrameSender { asker, ..frames }, events, local_only, features }
    }

    /// What the replica's Cyrus can do.
    pub(crate) fn features(&self) -> &Features {
        &self.features
    }

    /// How the connection ended, and whether the replica may still carry out what was sent on it.
    pub(crate) fn end(&self) -> &End {
        &self.frames.end
    }

    // Questions.

    /// The replica's data of a user. Only the user's work as a whole is reported to the admin, not this command.
    pub(crate) async fn get_user(
        &self,
        userid: &Arc<str>,
        rules: &Arc<NameRules>,
    ) -> Result<Asked<Said>, CommandError> {
        let about = About::User { userid: userid.clone(), rules: rules.clone() };
        self.ask(command::get_user(userid), about, Ok).await
    }

    /// A user's seen state, subscriptions and scripts.
    pub(crate) async fn get_meta(&self, userid: &str) -> Result<Asked<Said>, CommandError> {
        self.report(|| format!("META {userid}")).await;
        self.ask(command::get_meta(userid), About::Anything, Ok).await
    }

    /// A quota root.
    pub(crate) async fn get_quota(&self, root: &str) -> Result<Asked<Said>, CommandError> {
        self.ask(command::get_quota(root), About::Root(root.to_string()), Ok).await
    }

    /// Mailboxes by name, in as many commands as it takes.
    pub(crate) async fn get_mailboxes<'n>(
        &self,
        names: impl IntoIterator<Item = &'n MailboxName>,
    ) -> Result<Vec<Asked<Said>>, CommandError> {
        let names: Vec<_> = names.into_iter().collect();
        let mut asked = Vec::new();
        for names in names.chunks(NAMES) {
            let text = || names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" ");
            self.report(|| format!("MAILBOXES {}", text())).await;
            asked.push(self.get_sample(names).await?);
        }
        Ok(asked)
    }

    /// A few mailboxes by name, in one command and without a report: to find out whether this replica is the one that the
    /// cache remembers is not part of any user's work.
    pub(crate) async fn get_sample(
        &self,
        names: &[&MailboxName],
    ) -> Result<Asked<Said>, CommandError> {
        let about = About::Names(names.iter().copied().cloned().collect());
        self.ask(command::get_mailboxes(names.iter().copied()), about, Ok).await
    }

    /// Mailboxes by unique id, in as many commands as it takes; empty if the replica can't be asked by unique id.
    pub(crate) async fn get_unique_ids(
        &self,
        ids: &[&UniqueId],
    ) -> Result<Vec<Asked<Said>>, CommandError> {
        let mut asked = Vec::new();
        let ids = if self.features.unique_ids { ids } else { &[] };
        for ids in ids.chunks(NAMES) {
            let about = About::Ids(ids.iter().map(ToString::to_string).collect());
            let question = command::get_uniqueids(ids.iter().copied());
            asked.push(self.ask(question, about, Ok).await?);
        }
        Ok(asked)
    }

    /// A mailbox with all its records.
    pub(crate) async fn get_full_mailbox(
        &self,
        name: &MailboxName,
    ) -> Result<Asked<Option<FullAnswer>>, CommandError> {
        self.report(|| format!("FULLMAILBOX {name}")).await;
        let about = About::Names(HashSet::from([name.clone()]));
        self.ask(command::get_fullmailbox(name), about, |said| Ok(full_answer(said))).await
    }

    /// The annotations of the server itself.
    pub(crate) async fn get_server_annotations(
        &self,
    ) -> Result<Asked<Vec<OwnedAnnotation>>, CommandError> {
        self.ask(command::get_annotation(&MailboxName::default()), About::Anything, annotations)
            .await
    }

    /// Asks which of these messages the replica lacks in these mailboxes. It keeps the others until RESTART.
    pub(crate) async fn reserve(
        &self,
        partition: &str,
        mailboxes: &[MailboxName],
        guids: &[Guid],
    ) -> Result<Asked<HashSet<Guid>>, CommandError> {
        let question = command::reserve(partition, mailboxes, guids);
        self.ask(question, About::Anything, missing).await
    }

    // Changes.

    /// Gives a mailbox another name or partition.
    pub(crate) async fn rename(
        &self,
        from: &MailboxName,
        to: &MailboxName,
        partition: &str,
        uidvalidity: UidValidity,
    ) -> Result<PendingCommand, CommandError> {
        let word = self.local("RENAME", "LOCAL_RENAME");
        self.report(|| format!("{word} {from} -> {to} ({partition})")).await;
        self.send(command::rename(self.local_only, from, to, partition, uidvalidity)).await
    }

    /// Removes a mailbox: only this one and no other of that name, if the replica supports that.
    pub(crate) async fn unmailbox(
        &self,
        name: &MailboxName,
        theirs: Option<&ReplicaMailbox>,
    ) -> Result<PendingCommand, CommandError> {
        let word = self.local("UNMAILBOX", "LOCAL_UNMAILBOX");
        self.report(|| format!("{word} {name}")).await;
        self.send(match theirs.filter(|_| self.features.unmailbox_id) {
            Some(r) => command::unmailbox_id(self.local_only, name, &r.uniqueid, r.uidvalidity),
            None => command::unmailbox(self.local_only, name),
        })
        .await
    }

    /// Removes a user with all mailboxes.
    pub(crate) async fn unuser(&self, userid: &str) -> Result<PendingCommand, CommandError> {
        let word = self.local("UNUSER", "LOCAL_UNUSER");
        self.report(|| format!("{word} {userid}")).await;
        self.send(command::unuser(self.local_only, userid)).await
    }

    /// Reports that a mailbox is about to be sent.
    pub(crate) async fn report_mailbox(&self, name: &MailboxName) {
        let word = self.local("MAILBOX", "LOCAL_MAILBOX");
        self.report(|| format!("{word} {name}")).await;
    }

    /// A mailbox's head and records, already encoded, all at once. Longer ones go through [`stream`](Client::stream).
    pub(crate) async fn mailbox(
        &self,
        bytes: bytes::Bytes,
    ) -> Result<PendingCommand, CommandError> {
        self.frames.command(CommandKind::Mailbox, bytes, About::Anything).await
    }

    /// Any change that is already encoded and belongs to one that is reported.
    pub(crate) async fn send(&self, command: Command) -> Result<PendingCommand, CommandError> {
        let Command { kind, bytes } = command;
        self.frames.command(kind, bytes, About::Anything).await
    }

    /// A command that is sent in pieces, from a thread.
    pub(crate) fn stream(&self, kind: CommandKind) -> CommandStream<'_> {
        CommandStream::new(&self.frames, kind)
    }

    /// Sets a quota root's limits.
    pub(crate) async fn quota(
        &self,
        root: &str,
        limits: &[(String, u64)],
        modseq: ModSeq,
    ) -> Result<PendingCommand, CommandError> {
        self.report(|| format!("QUOTA {root}")).await;
        let limits = limits.iter().map(|(name, limit)| (name.as_str(), *limit));
        self.send(command::quota(root, limits, modseq)).await
    }

    /// Removes a quota root.
    pub(crate) async fn unquota(&self, root: &str) -> Result<PendingCommand, CommandError> {
        self.report(|| format!("UNQUOTA {root}")).await;
        self.send(command::unquota(root)).await
    }

    /// Subscribes a user to a mailbox, or unsubscribes.
    pub(crate) async fn subscription(
        &self,
        subscribed: bool,
        userid: &str,
        mailbox: &MailboxName,
    ) -> Result<PendingCommand, CommandError> {
        let command = command::subscription(subscribed, userid, mailbox);
        self.report(|| format!("{} {userid} {mailbox}", command.kind)).await;
        self.send(command).await
    }

    /// A user's seen state in one mailbox.
    pub(crate) async fn seen(&self, seen: &Seen<'_>) -> Result<PendingCommand, CommandError> {
        self.report(|| format!("SEEN {} {}", seen.userid, seen.uniqueid)).await;
        self.send(command::seen(seen)).await
    }

    /// Uploads a Sieve script. `last_update` in Unix seconds.
    pub(crate) async fn sieve(
        &self,
        userid: &str,
        file: &str,
        last_update: i64,
        content: &[u8],
    ) -> Result<PendingCommand, CommandError> {
        self.report(|| format!("SIEVE {userid} {file}")).await;
        self.send(command::sieve(userid, file, last_update, content)).await
    }

    /// Removes a Sieve script.
    pub(crate) async fn unsieve(
        &self,
        userid: &str,
        file: &str,
    ) -> Result<PendingCommand, CommandError> {
        self.report(|| format!("UNSIEVE {userid} {file}")).await;
        self.send(command::unsieve(userid, file)).await
    }

    /// Makes a script the active one; none if no `file` is given.
    pub(crate) async fn activate_sieve(
        &self,
        userid: &str,
        file: Option<&str>,
    ) -> Result<PendingCommand, CommandError> {
        match file {
            Some(file) => {
                self.report(|| format!("ACTIVATE_SIEVE {userid} {file}")).await;
                self.send(command::activate_sieve(userid, file)).await
            }
            None => {
                self.report(|| format!("UNACTIVATE_SIEVE {userid}")).await;
                self.send(command::unactivate_sieve(userid)).await
            }
        }
    }

    /// Sets one of the server's own annotations, or removes it.
    pub(crate) async fn server_annotation(
        &self,
        entry: &str,
        userid: &str,
        value: Option<&[u8]>,
    ) -> Result<PendingCommand, CommandError> {
        self.report(|| "ANNOTATION \"\"".into()).await;
        let none = MailboxName::default();
        self.send(match value {
            Some(value) => command::annotation(&none, entry, userid, value),
            None => command::unannotation(&none, entry, userid),
        })
        .await
    }

    /// Makes the replica forget the messages that it keeps for this connection.
    pub(crate) async fn restart(&self) -> Result<PendingCommand, CommandError> {
        self.send(command::restart()).await
    }

    /// Finds out whether the connection is alive.
    ///
    /// # Errors
    /// As of any command.
    pub(crate) async fn noop(&self) -> Result<(), CommandError> {
        self.send(command::noop()).await?.done().await.map(drop)
    }

    /// Makes sure that the answers so far belonged to their commands; ends the connection if they did not. An empty answer
    /// looks like any other command's OK, but the answer to NOOP has a text of its own. imapd's answers have tags, which
    /// are enough.
    ///
    /// # Errors
    /// [`CommandError::Lost`] when the connection ends.
    pub(crate) async fn prove_in_step(&self) -> Result<(), CommandError> {
        if self.features.framing == Framing::Csync { self.noop().await } else { Ok(()) }
    }

    /// Asks for compression, and waits until the replica has said yes or no.
    ///
    /// # Errors
    /// As of any command; a refusal is not an error.
    pub(super) async fn compress(&self) -> Result<(), CommandError> {
        self.frames.compress().await
    }

    async fn ask<T>(
        &self,
        command: Command,
        about: About,
        decode: fn(Said) -> Result<T, CommandError>,
    ) -> Result<Asked<T>, CommandError> {
        let Command { kind, bytes } = command;
        Ok(Asked { pending: self.frames.command(kind, bytes, about).await?, decode })
    }

    async fn report(&self, line: impl FnOnce() -> String) {
        self.events.action(line).await;
    }

    fn local(&self, plain: &'static str, local: &'static str) -> &'static str {
        if self.local_only { local } else { plain }
    }
}

fn full_answer(said: Said) -> Option<FullAnswer> {
    let Said { user, records, held, .. } = said;
    let mailbox = user.mailboxes.into_iter().next()?;
    Some(FullAnswer { mailbox, records, held })
}

fn annotations(said: Said) -> Result<Vec<OwnedAnnotation>, CommandError> {
    let command = CommandKind::GetAnnotation;
    let invalid = |problem: String| CommandError::InvalidAnswer { command, problem };
    let one = |item| csync::annotation(item).map_err(|e| invalid(e.to_string()));
    said.items.iter().map(one).collect()
}

fn missing(said: Said) -> Result<HashSet<Guid>, CommandError> {
    let command = CommandKind::Reserve;
    let mut missing = HashSet::new();
    for item in &said.items {
        let invalid = |problem: String| CommandError::InvalidAnswer { command, problem };
        missing.extend(csync::missing(item).map_err(|e| invalid(e.to_string()))?);
    }
    Ok(missing)
}
