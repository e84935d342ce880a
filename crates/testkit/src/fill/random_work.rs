//! Random IMAP work on existing users: the seed decides what is tried; a server's NO is counted and the work goes on.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::Composer;
use super::session::Session;
use crate::cyrus::Cyrus;
use crate::error::Result;
use crate::imap::{Client, ImapError};

/// What was done and what was refused, by kind of operation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Operations the server did.
    pub done: BTreeMap<&'static str, usize>,
    /// Operations it answered with NO or BAD.
    pub refused: BTreeMap<&'static str, usize>,
    /// Why connections broke (another session deleted the selected mailbox, say); the next operation opens a new one.
    pub dropped: Vec<String>,
}

impl Tally {
    /// All operations that were done.
    #[must_use]
    pub fn total_done(&self) -> usize {
        self.done.values().sum()
    }

    /// All operations that were refused.
    #[must_use]
    pub fn total_refused(&self) -> usize {
        self.refused.values().sum()
    }
}

/// A source of random work; each call continues where the last one ended.
#[derive(Debug)]
pub struct RandomWork {
    rng: StdRng,
    composer: Composer,
    next_name: u64,
}

/// Quota roots are set on names up to this long (bytes, the admin's spelling); see `SHORT_NAME_BYTES`.
const QUOTA_NAME_BYTES: usize = 120;

/// An operation and its share of the work.
pub(super) const OPERATIONS: [(&str, u32); 14] = [
    ("append", 22),
    ("flag", 20),
    ("copy", 8),
    ("move", 8),
    ("expunge", 8),
    ("create", 7),
    ("rename", 5),
    ("delete", 3),
    ("acl", 4),
    ("quota", 3),
    ("annotation", 4),
    ("message annotation", 4),
    ("subscribe", 3),
    ("unsubscribe", 1),
];

impl RandomWork {
    /// Work that follows from the seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), composer: Composer::new(!seed), next_name: 0 }
    }

    /// Numbers the mailboxes it makes from here on, so that those of several clients differ.
    #[must_use]
    pub(super) fn numbered_from(mut self, number: u64) -> Self {
        self.next_name = number;
        self
    }

    /// Tries `count` operations on the mailboxes of `users`.
    ///
    /// # Errors
    /// When a server cannot be reached any more; refusals are counted.
    pub fn run<S: AsRef<str>>(
        &mut self,
        cyrus: &Cyrus,
        users: &[S],
        count: usize,
    ) -> Result<Tally> {
        let mut tally = Tally::default();
        let access = cyrus.access();
        let mut sessions: BTreeMap<String, Session> = BTreeMap::new();
        for _ in 0..count {
            let Some(user) = self.pick(users) else { break };
            let user = user.as_ref();
            let operation = self.operation();
            let mut session = match sessions.remove(user) {
                Some(session) => session,
                None => Session::open(&access, user)?,
            };
            match self.perform(operation, &mut session) {
                Ok(()) => *tally.done.entry(operation).or_default() += 1,
                Err(refusal) if refusal.is_refusal() => {
                    *tally.refused.entry(operation).or_default() += 1
                }
                Err(broken) => {
                    tally.dropped.push(broken.to_string());
                    continue;
                }
            }
            sessions.insert(user.to_owned(), session);
        }
        Ok(tally)
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { from.get(self.rng.random_range(0..from.len())) }
    }

    fn operation(&mut self) -> &'static str {
        let all: u32 = OPERATIONS.iter().map(|(_, share)| share).sum();
        let mut drawn = self.rng.random_range(0..all);
        for (name, share) in OPERATIONS {
            if drawn < share {
                return name;
            }
            drawn -= share;
        }
        "append"
    }

    /// Tries one operation on a user's mailboxes; one of [`OPERATIONS`].
    pub(super) fn perform(&mut self, operation: &str, session: &mut Session) -> Result<()> {
        let mailbox = self.pick(&session.mailboxes).cloned().unwrap_or_else(|| "INBOX".to_owned());
        let other = self.pick(&session.mailboxes).cloned().unwrap_or_else(|| "INBOX".to_owned());
        match operation {
            "append" => {
                let flags: Vec<&str> = ["\\Seen", "\\Flagged", "$random", "work"]
                    .into_iter()
                    .filter(|_| self.rng.random())
                    .collect();
                let size = self.rng.random_range(10..3000);
                let (date, message) = (self.composer.date(), self.composer.message(size));
                session.client.append(&mailbox, &flags, Some(&date), &message)?;
                Ok(())
            }
            "flag" => self.with_uids(session, &mailbox, |client, uids, how, flags| {
                client.store(uids, how, flags)
            }),
            "copy" => {
                self.with_uids(session, &mailbox, |client, uids, _, _| client.copy(uids, &other))
            }
            "move" => {
                self.with_uids(session, &mailbox, |client, uids, _, _| client.move_to(uids, &other))
            }
            "expunge" => {
                self.with_uids(session, &mailbox, |client, uids, _, _| client.remove(uids))
            }
            "message annotation" => self.with_uids(session, &mailbox, |client, uids, how, _| {
                let attribute = if how == "FLAGS" { "value.shared" } else { "value.priv" };
                client.annotate(
                    uids,
                    "/comment",
                    attribute,
                    (how != "-FLAGS").then_some("random note"),
                )
            }),
            "create" => {
                let name = self.fresh_name(session, &mailbox);
                session.client.create(&name)?;
                session.mailboxes.push(name);
                Ok(())
            }
            "rename" => {
                // Not the INBOX: imapd 3.6.1 sometimes dies of a segmentation fault when it is renamed.
                let movable: Vec<String> =
                    session.mailboxes.iter().filter(|name| *name != "INBOX").cloned().collect();
                let Some(from) = self.pick(&movable).cloned() else { return Ok(()) };
                let mut name = self.fresh_name(session, &other);
                if session.grows_too_long(&from, &name) {
                    name = self.fresh_name(session, "INBOX");
                }
                if session.grows_too_long(&from, &name) {
                    return Ok(());
                }
                session.client.rename(&from, &name)?;
                session.list()?;
                Ok(())
            }
            "delete" => {
                session.client.delete(&mailbox)?;
                session.list()?;
                Ok(())
            }
            "acl" => {
                let who = ["anyone", "guest", "-nobody", "reader"][self.rng.random_range(0..4)];
                let rights = ["lrs", "lr", "lrswipte", ""][self.rng.random_range(0..4)];
                session.client.set_acl(&mailbox, who, rights)?;
                Ok(())
            }
            "quota" => {
                let full = session.full(&mailbox);
                let root = if full.len() > QUOTA_NAME_BYTES { session.full("INBOX") } else { full };
                let limits =
                    [("STORAGE", self.rng.random_range(500_000..900_000)), ("MESSAGE", 100_000)];
                let used = self.rng.random_range(0..=limits.len());
                session.admin()?.set_quota(&root, limits.get(..used).unwrap_or_default())?;
                Ok(())
            }
            "annotation" => {
                let entry =
                    ["/private/comment", "/shared/comment", "/shared/vendor/testkit/colour"]
                        [self.rng.random_range(0..3)];
                let value = format!("value {}", self.rng.random_range(0..1000));
                let keep = self.rng.random_ratio(3, 4);
                session.client.set_metadata(&mailbox, entry, keep.then_some(value.as_str()))?;
                Ok(())
            }
            "subscribe" => Ok(session.client.subscribe(&mailbox)?),
            _ => Ok(session.client.unsubscribe(&mailbox)?),
        }
    }

    /// Runs something on one to four random messages of a mailbox; an empty one gets a message instead.
    fn with_uids(
        &mut self,
        session: &mut Session,
        mailbox: &str,
        work: impl FnOnce(&mut Client, &str, &str, &[&str]) -> std::result::Result<(), ImapError>,
    ) -> Result<()> {
        session.client.select(mailbox)?;
        let uids = session.client.uids()?;
        if uids.is_empty() {
            session.client.append(mailbox, &[], None, &self.composer.message(100))?;
            return Ok(());
        }
        let chosen: Vec<String> = (0..self.rng.random_range(1..=4))
            .filter_map(|_| self.pick(&uids).map(ToString::to_string))
            .collect();
        let how = ["+FLAGS", "-FLAGS", "FLAGS"][self.rng.random_range(0..3)];
        let flags: Vec<&str> = ["\\Seen", "\\Answered", "\\Flagged", "$random", "work", "later"]
            .into_iter()
            .filter(|_| self.rng.random())
            .collect();
        work(&mut session.client, &chosen.join(","), how, &flags)?;
        Ok(())
    }

    /// A new name below the INBOX or below another mailbox, at most about 120 bytes long.
    fn fresh_name(&mut self, session: &Session, below: &str) -> String {
        self.next_name += 1;
        let parent = if below.len() < 100 && self.rng.random_ratio(1, 3) { below } else { "INBOX" };
        let kind = ["r", "with space ", "&U,BTFw-"][self.rng.random_range(0..3)];
        format!("{parent}{}{kind}{}", session.separator(), self.next_name)
    }
}
