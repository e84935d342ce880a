//! Turns the command line and imapd.conf into settings.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actors::{
    EarlyClaim, Jitter, LogSource, ReplicaSettings, RollSettings, RunSettings, Settings,
    SocketOptions, SyncSettings,
};
use cyrus_store::sync_log::LogFile;
use cyrus_store::{Config, MboxList, StoreError};

use crate::cli::Args;
use crate::exit::{Exit, Failure};

/// Users in flight if neither the command line nor imapd.conf says otherwise.
const JOBS: usize = 4;
/// Defaults of `lib/imapoptions` (3.6.1).
const RECONNECT_MAXWAIT: Duration = Duration::from_secs(20 * 60);
const TIMEOUT: Duration = Duration::from_secs(30 * 60);
const BATCH_MESSAGES: u32 = 8192;
/// The least sync_timeout that Cyrus accepts.
const LEAST_TIMEOUT: Duration = Duration::from_secs(3);
const REPEAT_INTERVAL: Duration = Duration::from_secs(1);
/// The longest pause of a user that fails again and again.
const RETRY_MAXWAIT: Duration = Duration::from_secs(10 * 60);
/// The pause before a failed user's second try.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Reads imapd.conf.
///
/// # Errors
/// [`Exit::Config`], naming the file and line.
pub(crate) fn load(args: &Args) -> Result<Arc<Config>, Failure> {
    let config = Config::load_as(&args.config, "sync_client").map_err(bad_config)?;
    Ok(Arc::new(config))
}

/// Everything the run needs to know, using the settings of a channel.
///
/// # Errors
/// [`Exit::Config`] for a missing or bad option.
pub(crate) fn settings(
    args: &Args,
    config: &Config,
    channel: Option<&str>,
) -> Result<Settings, Failure> {
    let option = |name: &str| config.channel(channel, name).map(str::to_string);
    let undefined = |name: &str, advice: &str| {
        let (name, path) = (config.channel_key(channel, name), args.config.display());
        Failure::new(Exit::Config, format!("{name} not defined in {path}: {advice}"))
    };
    let server = args
        .server
        .clone()
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
                bad_config(config.bad(&config.channel_key(channel, "sync_port"), known))
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
    let replica = ReplicaSettings {
        server,
        port,
        authname: option("sync_authname").unwrap_or_default(),
        password: option("sync_password").unwrap_or_default(),
        realm: option("sync_realm"),
        try_imap: switch(config, channel, "sync_try_imap", true)?,
        sieve_mailbox: !is_by_name(config),
        connect_once: args.connect_once,
        for_ever: false,
        require_compression: args.require_compression,
        reconnect_maxwait: seconds(config, "sync_reconnect_maxwait", RECONNECT_MAXWAIT)?,
        socket: socket(config)?,
        timeout: seconds(config, "sync_timeout", TIMEOUT)?.max(LEAST_TIMEOUT),
    };
    let sync = SyncSettings {
        one_way: args.no_copyback,
        overwrite: args.overwrite,
        max_deletes: args.max_deletes,
        prefix: args.objects.first().filter(|_| args.all_users).cloned(),
        partition: args.dest_partition.clone(),
        local_only: args.local_only,
        stage_to_archive: args.stage_to_archive,
        batch_messages: batch(config)?,
        cache: None,
    };
    let run = RunSettings {
        channel: channel.map(str::to_string),
        jobs: jobs(args, config, channel)?,
        skip_locked: args.skip_locked,
        narrate: args.verbose > 0 || args.verbose_logging,
        trace: args.verbose > 1,
        retry_pause: RETRY_PAUSE,
        jitter: Jitter::On,
    };
    cyrus_store::databases::check(config).map_err(bad_config)?;
    Ok(Settings { replica, sync, run })
}

/// Warns if a channel is named (-n) that has no option of its own: a typing error may lead to another replica.
pub(crate) fn warn_of_channel(args: &Args, config: &Config) {
    for channel in &args.channel {
        let prefixes = [format!("{channel}_sync_"), format!("sync_client_{channel}_sync_")];
        if !prefixes.iter().any(|prefix| config.has_prefix(prefix)) {
            let path = args.config.display();
            crate::tell(&format!(
                "warning: channel {channel:?} has no options of its own ({channel}_sync_host and so on) in {path}"
            ));
        }
    }
}

/// The further settings for rolling replication of a channel.
///
/// # Errors
/// [`Exit::Config`] for a bad option.
pub(crate) fn rolling(
    args: &Args,
    config: &Config,
    channel: Option<&str>,
) -> Result<(Settings, RollSettings), Failure> {
    let mut settings = settings(args, config, channel)?;
    let path = |name: &str| config.channel(channel, name).map(PathBuf::from);
    let duration = |name: &str, default: Duration| -> Result<Duration, Failure> {
        let set = config.channel_duration(channel, name, 's').map_err(bad_config)?;
        Ok(set.map_or(default, |seconds| Duration::from_secs(seconds.max(0).unsigned_abs())))
    };
    let source = match &args.input_file {
        None => LogSource::Channel(LogFile::of_channel(config, channel)),
        Some(file) if file == Path::new("-") => LogSource::Stdin,
        Some(file) => LogSource::File(file.clone()),
    };
    settings.replica.for_ever = args.input_file.is_none() && !args.rolling_once;
    if args.input_file.is_none() {
        settings.sync.cache = path("sync_cache_db_path");
    }
    let rolling = RollSettings {
        source,
        claim: EarlyClaim::default(),
        once: args.rolling_once || args.input_file.is_some(),
        delay: match args.delay {
            Some(seconds) => Duration::from_secs(seconds),
            None => duration("sync_repeat_interval", REPEAT_INTERVAL)?,
        },
        restart_every: (args.timeout > 0).then(|| Duration::from_secs(args.timeout)),
        shutdown_file: args.shutdown_file.clone().or_else(|| path("sync_shutdown_file")),
        longest_pause: duration("sync_retry_maxwait", RETRY_MAXWAIT)?,
    };
    Ok((settings, rolling))
}

/// Whether the store belongs to a Cyrus before 3.5, which has no #sieve mailboxes: scripts go one by one, as its own client
/// sends them. Other errors in the list are reported where it is read.
fn is_by_name(config: &Config) -> bool {
    MboxList::open(config).is_ok_and(|list| !list.has_unique_ids())
}

fn jobs(args: &Args, config: &Config, channel: Option<&str>) -> Result<usize, Failure> {
    if let Some(jobs) = args.jobs {
        return Ok(jobs.into());
    }
    let Some(text) = config.channel(channel, "sync_jobs") else { return Ok(JOBS) };
    match text.parse() {
        Ok(jobs) if (1..=1024).contains(&jobs) => Ok(jobs),
        _ => Err(bad_config(
            config.bad(&config.channel_key(channel, "sync_jobs"), "a number from 1 to 1024"),
        )),
    }
}

/// A switch that a channel may set for itself. Cyrus reads a channel's switch as a number, 1 or 0; we also accept the words
/// that it accepts elsewhere.
fn switch(
    config: &Config,
    channel: Option<&str>,
    name: &str,
    default: bool,
) -> Result<bool, Failure> {
    match config.channel(channel, name) {
        None => Ok(default),
        Some("1" | "yes" | "on" | "true" | "t") => Ok(true),
        Some("0" | "no" | "off" | "false" | "f") => Ok(false),
        Some(_) => Err(bad_config(config.bad(&config.channel_key(channel, name), "yes or no"))),
    }
}

fn seconds(config: &Config, name: &str, default: Duration) -> Result<Duration, Failure> {
    match config.duration(name, 's').map_err(bad_config)? {
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
        return Err(bad_config(config.bad("client_timeout", "a time of a second or more")));
    }
    if config.switch("client_bind").map_err(bad_config)? {
        let own = config.get("client_bind_name").or(config.get("servername"));
        // The machine's name, as servername's default.
        let hostname = || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        options.bind = Some(own.map_or_else(|| hostname().trim().to_string(), str::to_string));
    }
    if config.switch("tcp_keepalive").map_err(bad_config)? {
        let count = config.int("tcp_keepalive_cnt").map_err(bad_config)?;
        options.keepalive_count = count.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
        options.keepalive_idle = whole(seconds(config, "tcp_keepalive_idle", Duration::ZERO)?);
        options.keepalive_interval = whole(seconds(config, "tcp_keepalive_intvl", Duration::ZERO)?);
    }
    Ok(options)
}

fn batch(config: &Config) -> Result<u32, Failure> {
    let set = config.int("sync_batchsize").map_err(bad_config)?;
    Ok(set.map_or(BATCH_MESSAGES, |n| u32::try_from(n.max(0)).unwrap_or(u32::MAX)))
}

fn bad_config(e: StoreError) -> Failure {
    Failure::new(Exit::Config, e.to_string())
}
