//! An in-memory replica that speaks csync as Cyrus' sync_server does.
//!
//! ```text
//!   client --TCP--> session.rs (a thread a connection: commands in order)   login.rs  banner, login, TLS, COMPRESS
//!                      |  wire.rs   bytes, dlist values, deflate, TLS
//!                      |  get.rs    GET USER, MAILBOXES, FULLMAILBOX …
//!                      |  apply.rs  APPLY RESERVE, MESSAGE, RENAME …   apply_mailbox.rs  APPLY MAILBOX
//!                      v
//!                   state.rs (names, users, quota roots)   mailbox.rs (records, checksums)
//! ```
//! It serves the demo where no Cyrus is installed, tests that need a replica to fail at a chosen command (`faults.rs`), and
//! benchmarks without the replica's cost ([`Keep::Count`]: message files are counted and thrown away). It shares nothing
//! with the client except the wire's values: it interprets commands with code of its own, written after
//! `imap/sync_support.c`, `imap/sync_server.c` and `imap/mailbox.c` of cyrus-imapd 3.6.1, and tests compare it with a real
//! sync_server. It plays other versions, too: `version.rs` has a table of the differences ([`Version`]).
//!
//! Where it differs from Cyrus: it keeps nothing on disk; a record whose message was never sent is refused and the mailbox
//! stays unchanged (Cyrus aborts); scripts are not compiled, and of their bytecode only the active one is named, as in 3.6;
//! deleted mailboxes vanish at once; ACLs have no effect, since every login is an administrator's.
#![forbid(unsafe_code)]

mod apply;
mod apply_mailbox;
mod faults;
mod get;
mod login;
mod mailbox;
mod names;
mod new_mailbox;
mod parse;
mod quota;
mod refusal;
mod server;
mod session;
mod staged;
mod state;
mod stats;
mod tls;
mod version;
mod wire;

use std::sync::Arc;

use cyrus_types::{MailboxName, Uid};

pub use faults::{Fault, Faults};
pub use server::{ServeError, Server};
pub use stats::Stats;
pub use version::Version;

/// What happens to message files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// They are kept, checked against their GUIDs, and can be fetched.
    Bodies,
    /// They are counted and thrown away as they arrive, whatever their size.
    Count,
}

/// What a replica offers.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which Cyrus it plays.
    pub version: Version,
    /// What happens to message files.
    pub keep: Keep,
    /// Its partitions; a mailbox on any other is refused.
    pub partitions: Vec<String>,
    /// Who may log in, and with which password; `None` lets anybody in.
    pub login: Option<(String, String)>,
    /// Whether COMPRESS DEFLATE is offered.
    pub compress: bool,
    /// Whether a login needs STARTTLS first, with a certificate made at the start.
    pub starttls: bool,
    /// Whether SIEVE-MAILBOX is offered, if the version knows it; without it scripts go one by one.
    pub sieve_mailbox: bool,
    /// Whether there are archive partitions (`archive_enabled`), so that REPLICATION-ARCHIVE is offered if the version
    /// knows it.
    pub archive: bool,
    /// Whether UNMAILBOX-ID is offered; only with [`Version::Head`].
    pub unmailbox_id: bool,
    /// Whether mailboxes have conversations, so that XCONVMODSEQ is kept and reported.
    pub conversations: bool,
}

impl Options {
    /// The capabilities that the banner names and APPLY CAPABILITIES switches on.
    pub(crate) fn capabilities(&self) -> Vec<&'static str> {
        let all = [
            (self.sieve_mailbox && self.version.has_capabilities(), "SIEVE-MAILBOX"),
            (self.archive && self.version.has_archive(), "REPLICATION-ARCHIVE"),
            (self.offers_unmailbox_id(), "UNMAILBOX-ID"),
        ];
        all.iter().filter(|(has, _)| *has).map(|(_, name)| *name).collect()
    }

    /// Whether UNMAILBOX may name a mailbox by its unique id.
    pub(crate) fn offers_unmailbox_id(&self) -> bool {
        self.unmailbox_id && self.version == Version::Head
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            version: Version::default(),
            keep: Keep::Bodies,
            partitions: vec!["default".into()],
            login: None,
            compress: true,
            starttls: false,
            sieve_mailbox: true,
            archive: false,
            unmailbox_id: false,
            conversations: true,
        }
    }
}

/// A replica. Clones share their mailboxes; serve it on as many addresses as you like.
#[derive(Debug, Clone)]
pub struct Replica(Arc<Shared>);

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) state: state::State,
    pub(crate) faults: Faults,
    pub(crate) stats: stats::Counters,
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
}

impl Replica {
    /// An empty replica.
    ///
    /// # Errors
    /// No certificate could be made for STARTTLS.
    pub fn new(options: Options) -> Result<Replica, ServeError> {
        let tls = if options.starttls { Some(tls::config()?) } else { None };
        Ok(Replica(Arc::new(Shared {
            options,
            state: state::State::default(),
            faults: Faults::default(),
            stats: stats::Counters::default(),
            tls,
        })))
    }

    /// Serves on this address (`127.0.0.1:0` takes a free port) until the server is dropped.
    ///
    /// # Errors
    /// The address can't be bound.
    pub fn serve(&self, address: &str) -> Result<Server, ServeError> {
        Server::start(self.0.clone(), address)
    }

    /// Where to plan failures.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// The commands and messages it received so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.0.stats.read()
    }

    /// Forgets all mailboxes, users and quota roots. Connections stay.
    pub fn wipe(&self) {
        self.0.state.wipe();
    }

    /// The body of a message, if it is kept.
    #[must_use]
    pub fn body(&self, mailbox: &MailboxName, uid: Uid) -> Option<Arc<[u8]>> {
        let mailbox = self.0.state.mailbox(mailbox)?;
        let mailbox = state::lock(&mailbox);
        mailbox.record(uid)?.body.clone()
    }
}
