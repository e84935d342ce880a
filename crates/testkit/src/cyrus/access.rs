//! How clients reach an instance: the parts of a [`Cyrus`] that a thread needs, without borrowing it.

use std::path::PathBuf;

use super::{ADMIN, Cyrus};
use crate::error::{Error, Result};
use crate::saslauthd::PASSWORD;
use crate::{imap, lmtp, sieve};

/// The addresses of an instance. It can be cloned and kept; after the instance has ended, connections fail.
#[derive(Debug, Clone)]
pub struct Access {
    imap_port: Option<u16>,
    sieve_port: Option<u16>,
    lmtp_socket: Option<PathBuf>,
    separator: char,
}

impl Cyrus {
    /// The addresses for threads that must not borrow the instance.
    #[must_use]
    pub fn access(&self) -> Access {
        Access {
            imap_port: self.files.imap_port,
            sieve_port: self.files.sieve_port,
            lmtp_socket: self.lmtp_socket().ok(),
            separator: self.separator(),
        }
    }
}

impl Access {
    /// The separator in mailbox names that clients see: `/` or `.`.
    #[must_use]
    pub fn separator(&self) -> char {
        self.separator
    }

    /// Turns an external admin name's parts into a name: `name(&["user", "anna", "Sent"])`.
    #[must_use]
    pub fn name(&self, parts: &[&str]) -> String {
        parts.join(&self.separator.to_string())
    }

    /// Connects to the imapd without logging in.
    ///
    /// # Errors
    /// When there is none, or it cannot be reached.
    pub fn connect(&self) -> Result<imap::Client> {
        Ok(imap::Client::connect(self.imap_port.ok_or(Error::NoService("imap"))?)?)
    }

    /// An IMAP session of the admin.
    ///
    /// # Errors
    /// When the login fails.
    pub fn admin(&self) -> Result<imap::Client> {
        let mut client = self.connect()?;
        client.login(ADMIN, PASSWORD)?;
        Ok(client)
    }

    /// An IMAP session of a user (the admin's password, the user's rights).
    ///
    /// # Errors
    /// When the login fails.
    pub fn login(&self, user: &str) -> Result<imap::Client> {
        let mut client = self.connect()?;
        client.authenticate_as(user, ADMIN, PASSWORD)?;
        Ok(client)
    }

    /// Whether it runs an lmtpd.
    #[must_use]
    pub fn has_lmtp(&self) -> bool {
        self.lmtp_socket.is_some()
    }

    /// Connects to the lmtpd.
    ///
    /// # Errors
    /// When there is none, or it cannot be reached.
    pub fn lmtp(&self) -> Result<lmtp::Client> {
        lmtp::Client::connect(self.lmtp_socket.as_ref().ok_or(Error::NoService("lmtp"))?)
    }

    /// Whether it runs a timsieved.
    #[must_use]
    pub fn has_sieve(&self) -> bool {
        self.sieve_port.is_some()
    }

    /// A ManageSieve session of a user. End it soon: while it is open, timsieved holds a lock on the user's `#sieve`, and a
    /// deletion of that user waits for it, and with it all other work on that user (with `delete_mode: immediate`).
    ///
    /// # Errors
    /// When there is no timsieved, or the login fails.
    pub fn sieve(&self, user: &str) -> Result<sieve::Client> {
        let port = self.sieve_port.ok_or(Error::NoService("sieve"))?;
        sieve::Client::login(port, user, ADMIN, PASSWORD)
    }
}
