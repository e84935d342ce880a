//! A user's IMAP session and what is known of the user's mailboxes, for random work.

use crate::cyrus::Access;
use crate::error::Result;
use crate::imap::{Client, ImapError};

/// A rename must not make a short name longer than this: a quota root's name is a file's name, and imapd 3.6.1 dies when
/// that is longer than 255 bytes.
const SHORT_NAME_BYTES: usize = 200;

/// A user's connection, an admin's once it is needed, and the mailboxes that the user has.
#[derive(Debug)]
pub(super) struct Session {
    access: Access,
    user: String,
    pub(super) client: Client,
    admin: Option<Client>,
    pub(super) mailboxes: Vec<String>,
}

impl Session {
    pub(super) fn open(access: &Access, user: &str) -> Result<Self> {
        let client = access.login(user)?;
        let mut session = Self {
            access: access.clone(),
            user: user.to_owned(),
            client,
            admin: None,
            mailboxes: Vec::new(),
        };
        session.list()?;
        Ok(session)
    }

    /// Asks which mailboxes the user has.
    pub(super) fn list(&mut self) -> std::result::Result<(), ImapError> {
        let below = format!("INBOX{}*", self.separator());
        let mut names = self.client.list("", &below)?;
        names.push("INBOX".to_owned());
        // The server's order is its own; only the seed must decide.
        names.sort();
        self.mailboxes = names;
        Ok(())
    }

    /// The admin's connection.
    pub(super) fn admin(&mut self) -> Result<&mut Client> {
        let admin = match self.admin.take() {
            Some(admin) => admin,
            None => self.access.admin()?,
        };
        Ok(self.admin.insert(admin))
    }

    pub(super) fn separator(&self) -> char {
        self.access.separator()
    }

    /// Whether a rename would make a short name long, the mailbox's own or one below it.
    pub(super) fn grows_too_long(&self, from: &str, to: &str) -> bool {
        let below = format!("{from}{}", self.separator());
        self.mailboxes.iter().filter(|name| *name == from || name.starts_with(&below)).any(|name| {
            let before = self.full(name).len();
            before <= SHORT_NAME_BYTES && before - from.len() + to.len() > SHORT_NAME_BYTES
        })
    }

    /// The admin's name of a mailbox of this user.
    pub(super) fn full(&self, mailbox: &str) -> String {
        let inbox = self.access.name(&["user", &self.user]);
        format!("{inbox}{}", mailbox.strip_prefix("INBOX").unwrap_or_default())
    }
}
