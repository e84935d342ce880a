//! imapd.conf, and what it says about the replica and the connections to it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actors::{ReplicaSettings, SocketOptions};
use cyrus_store::{Config, MboxList, StoreError};

use crate::exit::{Exit, Failure};

/// Defaults of `lib/imapoptions` (3.6.1).
const RECONNECT_MAXWAIT: Duration = Duration::from_secs(20 * 60);
const TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// The least sync_timeout that Cyrus accepts.
const LEAST_TIMEOUT: Duration = Duration::from_secs(3);

/// Reads imapd.conf, with the options for a program of this name (`NAME_…`).
///
/// # Errors
/// [`Exit::Config`], naming the file and line.
pub fn load(path: &Path, program: &str) -> Result<Arc<Config>, Failure> {
    let config = Config::load_as(path, program).map_err(bad)?;
    Ok(Arc::new(config))
}

/// What the command line says about the replica.
#[derive(Debug, Clone, Default)]
pub struct ReplicaOptions {
    /// The server, instead of sync_host.
    pub server: Option<String>,
    /// Whether to try to connect only once.
    pub connect_once: bool,
    /// Whether to fail if the replica offers no compression.
    pub require_compression: bool,
}

/// Where the replica is, and how to reach it, using the settings of a channel.
///
/// # Errors
/// [`Exit::Config`] for a missing or bad option.
pub fn replica(
    config: &Config,
    channel: Option<&str>,
    options: ReplicaOptions,
) -> Result<ReplicaSettings, Failure> {
    let option = |name: &str| config.channel(channel, name).map(str::to_string);
    let undefined = |name: &str, advice: &str| {
        let (name, path) = (config.channel_key(channel, name), config.path().display());
        Failure::new(Exit::Config, format!("{name} not defined in {path}: {advice}"))
    };
    let server = options
        .server
        .or_else(|| option("sync_host"))
        .ok_or_else(|| undefined("sync_host", "name the replica there or with -S"))?;
    if let Some(options) = actors::server_options(&server) {
        let text = format!(
            "server {server}: '/{options}' is not possible yet; leave it out, and go to a replica that wants TLS through a tunnel"
        );
        return Err(Failure::new(Exit::Config, text));
    }
    let port = option("sync_port");
    if let Some(name) = actors::unknown_port(&server, port.as_deref()) {
        let known = "a port or the name of a service in /etc/services";
        return Err(match &port {
            Some(port) if *port == name => {
                bad(config.bad(&config.channel_key(channel, "sync_port"), known))
            }
            _ => Failure::new(Exit::Config, format!("server {server}: '{name}' is not {known}")),
        });
    }
    // On a Unix socket the peer is the Cyrus admin without any login.
    if !server.starts_with('/') {
        if option("sync_authname").is_none() {
            return Err(undefined(
                "sync_authname",
                "name an admin of the replica who may log in there",
            ));
        }
        if option("sync_password").is_none() {
            return Err(undefined("sync_password", "give sync_authname's password on the replica"));
        }
    }
    Ok(ReplicaSettings {
        server,
        port,
        authname: option("sync_authname").unwrap_or_default(),
        password: option("sync_password").unwrap_or_default(),
        realm: option("sync_realm"),
        try_imap: switch(config, channel, "sync_try_imap", true)?,
        sieve_mailbox: !is_by_name(config),
        connect_once: options.connect_once,
        for_ever: false,
        require_compression: options.require_compression,
        reconnect_maxwait: seconds(config, "sync_reconnect_maxwait", RECONNECT_MAXWAIT)?,
        socket: socket(config)?,
        timeout: seconds(config, "sync_timeout", TIMEOUT)?.max(LEAST_TIMEOUT),
    })
}

/// Whether the store belongs to a Cyrus before 3.5, which has no #sieve mailboxes: scripts go one by one, as its own client
/// sends them. Other errors in the list are reported where it is read.
fn is_by_name(config: &Config) -> bool {
    MboxList::open(config).is_ok_and(|list| !list.has_unique_ids())
}

/// A switch that a channel may set for itself. Cyrus reads a channel's switch as a number, 1 or 0; we also accept the words
/// that it accepts elsewhere.
///
/// # Errors
/// [`Exit::Config`] for any other word.
pub fn switch(
    config: &Config,
    channel: Option<&str>,
    name: &str,
    default: bool,
) -> Result<bool, Failure> {
    match config.channel(channel, name) {
        None => Ok(default),
        Some("1" | "yes" | "on" | "true" | "t") => Ok(true),
        Some("0" | "no" | "off" | "false" | "f") => Ok(false),
        Some(_) => Err(bad(config.bad(&config.channel_key(channel, name), "yes or no"))),
    }
}

/// A time in seconds; the default if the option is not set.
///
/// # Errors
/// [`Exit::Config`] if it is no time.
pub fn seconds(config: &Config, name: &str, default: Duration) -> Result<Duration, Failure> {
    match config.duration(name, 's').map_err(bad)? {
        None => Ok(default),
        Some(seconds) => Ok(Duration::from_secs(seconds.max(0).unsigned_abs())),
    }
}

/// How connections are made.
fn socket(config: &Config) -> Result<SocketOptions, Failure> {
    let whole = |seconds: Duration| u32::try_from(seconds.as_secs()).ok().filter(|n| *n > 0);
    let mut options = SocketOptions::default();
    options.connect_wait = seconds(config, "client_timeout", options.connect_wait)?;
    if options.connect_wait.is_zero() {
        return Err(bad(config.bad("client_timeout", "a time of a second or more")));
    }
    if config.switch("client_bind").map_err(bad)? {
        let own = config.get("client_bind_name").or(config.get("servername"));
        // The machine's name, as servername's default.
        let hostname = || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        options.bind = Some(own.map_or_else(|| hostname().trim().to_string(), str::to_string));
    }
    if config.switch("tcp_keepalive").map_err(bad)? {
        let count = config.int("tcp_keepalive_cnt").map_err(bad)?;
        options.keepalive_count = count.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
        options.keepalive_idle = whole(seconds(config, "tcp_keepalive_idle", Duration::ZERO)?);
        options.keepalive_interval = whole(seconds(config, "tcp_keepalive_intvl", Duration::ZERO)?);
    }
    Ok(options)
}

/// A wrong option, as a failure of the program.
pub fn bad(e: StoreError) -> Failure {
    Failure::new(Exit::Config, e.to_string())
}
