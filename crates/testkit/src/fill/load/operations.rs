//! What a client of a load does, beside what [`RandomWork`](crate::fill::RandomWork) does.

use rand::RngExt;

use super::worker::{Share, Worker, patiently};
use crate::error::Result;
use crate::fill::session::Session;
use crate::sieve;

/// Scripts; the last one files by subject into a folder that may not exist, which keeps the message in the INBOX.
const SCRIPTS: [&str; 4] = [
    "keep;\r\n",
    "require \"imap4flags\";\r\naddflag \"$sieved\";\r\nkeep;\r\n",
    "# \u{fc}mlaut\r\nif header :contains \"Subject\" \"message 13\" { discard; stop; }\r\nkeep;\r\n",
    "require \"fileinto\";\r\nif header :contains \"Subject\" \"3\" { fileinto \"INBOX/sieved\"; }\r\n",
];

/// Script names; few, so that scripts are replaced.
const SCRIPT_NAMES: [&str; 3] = ["one", "two", "number three"];

/// The rights that the admin needs to delete a user.
const ALL_RIGHTS: &str = "lrswipkxtecda";

/// Shares that a client remembers.
const MOST_SHARES: usize = 20;

impl Worker {
    /// Tries one operation.
    pub(super) fn perform(&mut self, kind: &'static str) -> Result<()> {
        match kind {
            "deliver" => self.deliver(),
            "share" => self.share(),
            "seen" | "copy between users" | "move between users" => self.use_share(kind),
            "server annotation" => self.server_annotation(),
            "sieve put" | "sieve activate" | "sieve delete" => self.scripts(kind),
            "user create" => {
                let guest = self.common.guests.fresh();
                self.create_guest(&guest)
            }
            "user delete" => match self.common.guests.take_ripe(&mut self.rng) {
                Some(guest) => self.delete_guest(guest),
                // Another client was faster.
                None => Ok(()),
            },
            "user re-create" => self.recreate_guest(),
            _ => {
                let user = self.any_user();
                self.in_session(&user, |worker, session| worker.work.perform(kind, session))
            }
        }
    }

    fn deliver(&mut self) -> Result<()> {
        let size = self.rng.random_range(10..4000);
        let message = self.composer.message(size);
        let mut user = self.any_user();
        if self.rng.random_ratio(1, 4) {
            // Into a folder; the right p is what allows anyone to post there.
            let plain = |name: &&String| {
                name.strip_prefix("INBOX").and_then(|name| name.get(1..)).is_some_and(|name| {
                    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
                })
            };
            let folder = self.in_session(&user, |worker, session| {
                let folders: Vec<String> =
                    session.mailboxes.iter().filter(plain).cloned().collect();
                let Some(folder) = worker.work.pick(&folders) else { return Ok(None) };
                session.client.set_acl(folder, "anyone", "lrp")?;
                Ok(folder.get("INBOX/".len()..).map(str::to_owned))
            })?;
            if let Some(folder) = folder {
                user = format!("{user}+{folder}");
            }
        }
        let other = self.any_user();
        let both = [user.as_str(), other.as_str()];
        let used = if other == user || self.rng.random_ratio(3, 4) { 1 } else { 2 };
        self.lmtp(both.get(..used).unwrap_or_default(), &message).map(drop)
    }

    fn share(&mut self) -> Result<()> {
        let (owner, mut reader) = (self.any_user(), self.any_user());
        // Not its own rights: it would lose those that are not given here.
        for _ in 0..10 {
            if reader == owner {
                reader = self.any_user();
            }
        }
        if reader == owner {
            return Ok(());
        }
        let mailbox = self.in_session(&owner, |worker, session| {
            let mailbox = worker.work.pick(&session.mailboxes).cloned();
            let mailbox = mailbox.unwrap_or_else(|| "INBOX".to_owned());
            session.client.set_acl(&mailbox, &reader, "lrswite")?;
            Ok(session.full(&mailbox))
        })?;
        if self.shares.len() >= MOST_SHARES {
            self.shares.remove(0);
        }
        self.shares.push(Share { reader, mailbox });
        Ok(())
    }

    /// As a user who may read a mailbox of another user.
    fn use_share(&mut self, kind: &str) -> Result<()> {
        let Some(share) = self.work.pick(&self.shares).cloned() else { return Ok(()) };
        let outcome = self.in_session(&share.reader, |worker, session| {
            worker.use_share_in(session, kind, &share.mailbox)
        });
        if outcome.is_err() {
            // Renamed, deleted, or the rights are gone.
            self.shares.retain(|had| *had != share);
        }
        outcome
    }

    fn use_share_in(&mut self, session: &mut Session, kind: &str, mailbox: &str) -> Result<()> {
        let client = &mut session.client;
        client.select(mailbox)?;
        let uids = client.uids()?;
        let Some(uid) = self.work.pick(&uids).map(ToString::to_string) else {
            return Ok(client.append(mailbox, &["\\Seen"], None, &self.composer.message(200))?);
        };
        match kind {
            "seen" if self.rng.random_ratio(1, 4) => client.store(&uid, "-FLAGS", &["\\Seen"])?,
            "seen" => client.store(&format!("{uid}:*"), "+FLAGS", &["\\Seen"])?,
            "copy between users" if self.rng.random_ratio(1, 3) => {
                client.select("INBOX")?;
                client.copy("1:*", mailbox)?;
            }
            "copy between users" => client.copy(&uid, "INBOX")?,
            _ => client.move_to(&uid, "INBOX")?,
        }
        Ok(())
    }

    fn server_annotation(&mut self) -> Result<()> {
        let entry = if self.rng.random() { "/shared/comment" } else { "/private/comment" };
        let value = format!("server {}", self.rng.random_range(0..1000));
        let keep = self.rng.random_ratio(4, 5);
        self.as_admin(|admin| admin.set_metadata("", entry, keep.then_some(value.as_str())))
    }

    /// Only for users that stay: the login of a user that was just deleted would be refused again and again.
    fn scripts(&mut self, kind: &str) -> Result<()> {
        let Some(user) = self.work.pick(&self.common.users).cloned() else { return Ok(()) };
        let name = self.work.pick(&SCRIPT_NAMES).copied().unwrap_or("one");
        let script = self.work.pick(&SCRIPTS).copied().unwrap_or("keep;\r\n");
        let mut client = patiently("sieve", || self.access.sieve(&user))?;
        if kind == "sieve put" {
            return client.put(name, script);
        }
        let mut there = client.list()?;
        if there.is_empty() {
            client.put(name, script)?;
            there.push(sieve::Script { name: name.to_owned(), active: false });
        }
        let Some(chosen) = self.work.pick(&there).cloned() else { return Ok(()) };
        if kind == "sieve delete" {
            if chosen.active {
                client.activate("")?;
            }
            return client.delete(&chosen.name);
        }
        client.activate(if self.rng.random_ratio(1, 5) { "" } else { &chosen.name })
    }

    /// Makes a guest with some mailboxes and messages; the other clients may work on it only after that.
    fn create_guest(&mut self, guest: &str) -> Result<()> {
        let inbox = self.access.name(&["user", guest]);
        self.as_admin(|admin| admin.create(&inbox))?;
        // A session of the guest from before its deletion is of no use.
        self.forget(guest);
        let outcome = self.furnish(guest, &inbox);
        self.common.guests.is_present(guest.to_owned());
        outcome
    }

    fn furnish(&mut self, guest: &str, inbox: &str) -> Result<()> {
        if self.rng.random_ratio(1, 3) {
            self.as_admin(|admin| admin.set_quota(inbox, &[("STORAGE", 100_000)]))?;
        }
        self.in_session(guest, |worker, session| {
            let below = |parts: &[&str]| worker.access.name(parts);
            let all = ["INBOX".to_owned(), below(&["INBOX", "Sent"]), below(&["INBOX", "a", "b"])];
            let used = worker.rng.random_range(1..=all.len());
            for mailbox in all.get(..used).unwrap_or_default() {
                if mailbox != "INBOX" {
                    session.client.create(mailbox)?;
                }
                for _ in 0..worker.rng.random_range(0..3) {
                    let message = worker.composer.message(300);
                    session.client.append(mailbox, &["\\Seen"], None, &message)?;
                }
            }
            if worker.rng.random() {
                session.client.subscribe("INBOX")?;
            }
            session.list()?;
            Ok(())
        })?;
        if self.access.has_sieve() && self.rng.random_ratio(1, 3) {
            let mut client = patiently("sieve", || self.access.sieve(guest))?;
            client.put("one", "keep;\r\n")?;
            client.activate("one")?;
        }
        Ok(())
    }

    fn delete_guest(&mut self, guest: String) -> Result<()> {
        let inbox = self.access.name(&["user", &guest]);
        let outcome = self.as_admin(|admin| {
            admin.set_acl(&inbox, crate::cyrus::ADMIN, ALL_RIGHTS)?;
            admin.delete(&inbox)
        });
        // After a broken connection nobody knows, so ask.
        let gone = match &outcome {
            Ok(()) => true,
            Err(_) => self.as_admin(|admin| admin.list("", &inbox))?.is_empty(),
        };
        if gone {
            self.forget(&guest);
            self.common.guests.is_deleted(guest);
        } else {
            self.common.guests.is_present(guest);
        }
        outcome
    }

    /// Makes a deleted guest again; half the time one that is being deleted at this moment.
    fn recreate_guest(&mut self) -> Result<()> {
        let now = self.rng.random();
        let mut guest = if now { None } else { self.common.guests.take_deleted(&mut self.rng) };
        if guest.is_none()
            && let Some(present) = self.common.guests.take_ripe(&mut self.rng)
        {
            self.delete_guest(present.clone())?;
            guest = self.common.guests.take_this(&present);
        }
        let Some(guest) = guest else { return Ok(()) };
        let outcome = self.create_guest(&guest);
        if outcome.is_err() && !self.common.guests.present().contains(&guest) {
            self.common.guests.is_deleted(guest);
        }
        outcome
    }
}
