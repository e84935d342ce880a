//! Turns the command line and imapd.conf into settings.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actors::{EarlyClaim, Jitter, LogSource, RollSettings, RunSettings, Settings, SyncSettings};
use cyrus_store::Config;
use cyrus_store::sync_log::LogFile;
use program::config::{self, ReplicaOptions};
use program::exit::Failure;

use crate::NAME;
use crate::cli::Args;

/// Users in flight if neither the command line nor imapd.conf says otherwise.
const JOBS: usize = 4;
/// Defaults of `lib/imapoptions` (3.6.1).
const BATCH_MESSAGES: u32 = 8192;
const REPEAT_INTERVAL: Duration = Duration::from_secs(1);
/// The longest pause of a user that fails again and again.
const RETRY_MAXWAIT: Duration = Duration::from_secs(10 * 60);
/// The pause before a failed user's second try.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Reads imapd.conf.
///
/// # Errors
/// `Exit::Config`, naming the file and line.
pub(crate) fn load(args: &Args) -> Result<Arc<Config>, Failure> {
    config::load(&args.config, NAME)
}

/// Everything the run needs to know, using the settings of a channel.
///
/// # Errors
/// `Exit::Config` for a missing or bad option.
pub(crate) fn settings(
    args: &Args,
    config: &Config,
    channel: Option<&str>,
) -> Result<Settings, Failure> {
    let options = ReplicaOptions {
        server: args.server.clone(),
        connect_once: args.connect_once,
        require_compression: args.require_compression,
    };
    let replica = config::replica(config, channel, options)?;
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
    cyrus_store::databases::check(config).map_err(config::bad)?;
    Ok(Settings { replica, sync, run })
}

/// Warns if a channel is named (-n) that has no option of its own: a typing error may lead to another replica.
pub(crate) fn warn_of_channel(args: &Args, config: &Config) {
    for channel in &args.channel {
        let prefixes = [format!("{channel}_sync_"), format!("sync_client_{channel}_sync_")];
        if !prefixes.iter().any(|prefix| config.has_prefix(prefix)) {
            let path = args.config.display();
            program::tell(&format!(
                "warning: channel {channel:?} has no options of its own ({channel}_sync_host and so on) in {path}"
            ));
        }
    }
}

/// The further settings for rolling replication of a channel.
///
/// # Errors
/// `Exit::Config` for a bad option.
pub(crate) fn rolling(
    args: &Args,
    config: &Config,
    channel: Option<&str>,
) -> Result<(Settings, RollSettings), Failure> {
    let mut settings = settings(args, config, channel)?;
    let path = |name: &str| config.channel(channel, name).map(PathBuf::from);
    let duration = |name: &str, default: Duration| -> Result<Duration, Failure> {
        let set = config.channel_duration(channel, name, 's').map_err(config::bad)?;
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

fn jobs(args: &Args, config: &Config, channel: Option<&str>) -> Result<usize, Failure> {
    if let Some(jobs) = args.jobs {
        return Ok(jobs.into());
    }
    let Some(text) = config.channel(channel, "sync_jobs") else { return Ok(JOBS) };
    match text.parse() {
        Ok(jobs) if (1..=1024).contains(&jobs) => Ok(jobs),
        _ => Err(config::bad(
            config.bad(&config.channel_key(channel, "sync_jobs"), "a number from 1 to 1024"),
        )),
    }
}

fn batch(config: &Config) -> Result<u32, Failure> {
    let set = config.int("sync_batchsize").map_err(config::bad)?;
    Ok(set.map_or(BATCH_MESSAGES, |n| u32::try_from(n.max(0)).unwrap_or(u32::MAX)))
}
