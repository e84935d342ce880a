//! The settings of a run: the resolved command line and configuration.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Everything the actors need to know for one run against one replica.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Which replica, and how to reach it.
    pub replica: ReplicaSettings,
    /// What is sent there, and what may be removed.
    pub sync: SyncSettings,
    /// How the run works.
    pub run: RunSettings,
}

/// Which replica, and how to reach it.
#[derive(Clone)]
pub struct ReplicaSettings {
    /// The replica as -S or sync_host names it: `host`, `host:port` or a Unix socket's path. The name of the sync lock
    /// contains exactly this string, so that we and the C client exclude each other.
    pub server: String,
    /// sync_port: a number or a service's name.
    pub port: Option<String>,
    /// The user that logs in at the replica (sync_authname).
    pub authname: String,
    /// The password (sync_password).
    pub password: String,
    /// The realm (sync_realm).
    pub realm: Option<String>,
    /// Whether csync over IMAP is used if the replica answers as imapd (sync_try_imap).
    pub try_imap: bool,
    /// Whether #sieve mailboxes are sent as mailboxes if the replica accepts that; else scripts go one by one, as they do
    /// to replicas before 3.6.
    pub sieve_mailbox: bool,
    /// -o: one try to connect, no waiting.
    pub connect_once: bool,
    /// Whether the run goes on until it is told to end (-R): no answer of the replica ends it.
    pub for_ever: bool,
    /// -z: no compression is an error.
    pub require_compression: bool,
    /// Longest wait between tries to connect (sync_reconnect_maxwait); zero means no bound.
    pub reconnect_maxwait: Duration,
    /// How a connection is made.
    pub socket: SocketOptions,
    /// How long to wait for a silent replica (sync_timeout), at least 3 seconds.
    pub timeout: Duration,
}

/// What is sent to the replica, and what may be removed there.
#[derive(Debug, Clone, Default)]
pub struct SyncSettings {
    /// -O: nothing is ever copied back from the replica.
    pub one_way: bool,
    /// --overwrite: what only the replica has may be removed if it is in the way.
    pub overwrite: bool,
    /// --max-deletes: how many mailboxes and messages of one user may be removed on the replica.
    pub max_deletes: Option<u64>,
    /// -A's prefix, for the shared mailboxes.
    pub prefix: Option<String>,
    /// -p: the partition on the replica.
    pub partition: Option<String>,
    /// -L: the replica does not tell mupdate.
    pub local_only: bool,
    /// -a: the replica stages messages on its archive partition, if it can.
    pub stage_to_archive: bool,
    /// Most new messages in one APPLY MAILBOX (sync_batchsize); 0 means no bound.
    pub batch_messages: u32,
    /// Where the replica's state of each mailbox is kept between runs (sync_cache_db_path), if set.
    pub cache: Option<PathBuf>,
}

/// How a run works.
#[derive(Debug, Clone)]
pub struct RunSettings {
    /// The channel (-n), for messages only; its settings are resolved already.
    pub channel: Option<String>,
    /// Users in flight at once (--jobs), at least 1.
    pub jobs: usize,
    /// -N: a user whose sync lock is held is skipped.
    pub skip_locked: bool,
    /// Whether commands are reported (-v or -l).
    pub narrate: bool,
    /// Whether protocol traffic is reported (-v -v).
    pub trace: bool,
    /// Longest pause before a failed user's second try; later ones double up to a minute.
    pub retry_pause: Duration,
    /// Whether pauses are cut at random.
    pub jitter: Jitter,
}

/// Whether the pauses are cut at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Jitter {
    /// Not at all: for tests that measure them.
    #[default]
    Off,
    /// By up to a half.
    On,
    /// The same, as this seed has it.
    Seeded(u64),
}

/// Without the password.
impl fmt::Debug for ReplicaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicaSettings")
            .field("server", &self.server)
            .field("port", &self.port)
            .field("authname", &self.authname)
            .finish_non_exhaustive()
    }
}

/// A replica without a name, reached with imapd.conf's defaults.
impl Default for ReplicaSettings {
    fn default() -> ReplicaSettings {
        ReplicaSettings {
            server: String::new(),
            port: None,
            authname: String::new(),
            password: String::new(),
            realm: None,
            try_imap: true,
            sieve_mailbox: true,
            connect_once: false,
            for_ever: false,
            require_compression: false,
            reconnect_maxwait: Duration::from_secs(20 * 60),
            socket: SocketOptions::default(),
            timeout: Duration::from_secs(30 * 60),
        }
    }
}

/// One user at a time, in silence.
impl Default for RunSettings {
    fn default() -> RunSettings {
        RunSettings {
            channel: None,
            jobs: 1,
            skip_locked: false,
            narrate: false,
            trace: false,
            retry_pause: Duration::from_secs(1),
            jitter: Jitter::Off,
        }
    }
}

/// How a connection is made and kept: `lib/util.c:tcp_enable_keepalive` and `imap/backend.c:backend_connect` of 3.6.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketOptions {
    /// How long an address may take to accept a connection (client_timeout).
    pub connect_wait: Duration,
    /// The name whose address we bind to (client_bind with client_bind_name or servername), if the system does not choose.
    pub bind: Option<String>,
    /// Probes without an answer before a connection counts as dead (tcp_keepalive_cnt); `None`: the system's number.
    pub keepalive_count: Option<u32>,
    /// Seconds of silence before the first probe (tcp_keepalive_idle); `None`: the system's.
    pub keepalive_idle: Option<u32>,
    /// Seconds between probes (tcp_keepalive_intvl); `None`: the system's.
    pub keepalive_interval: Option<u32>,
}

impl Default for SocketOptions {
    fn default() -> SocketOptions {
        SocketOptions {
            connect_wait: Duration::from_secs(10),
            bind: None,
            keepalive_count: None,
            keepalive_idle: None,
            keepalive_interval: None,
        }
    }
}

impl Settings {
    /// The replica for people: host and port as configured, or the socket's path.
    pub(crate) fn replica(&self) -> String {
        match &self.replica.port {
            Some(port) if !self.replica.server.contains([':', '/']) => {
                format!("{}:{port}", self.replica.server)
            }
            _ => self.replica.server.clone(),
        }
    }

    /// How many users' entries of a log may be in work at once: those worked on, and those looked at ahead of them.
    pub(crate) fn works_in_flight(&self) -> usize {
        self.run.jobs + (4 * self.run.jobs).min(LOOKED_AT_AHEAD)
    }
}

/// The most users that are looked at ahead. Both sides' headers of each are in memory.
const LOOKED_AT_AHEAD: usize = 64;
