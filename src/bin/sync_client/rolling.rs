//! Rolling replication: checked, then into the background, then one or several channels until a signal or a file stops it.
//!
//! ```text
//!   checks --> (fork) --> all channels roll --SIGTERM, SIGINT, shutdown file--> each ends; exit
//!                           ^      |SIGHUP: what is in flight is finished
//!                           '------' the configuration is read again
//! ```

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use actors::{MetricsPort, MetricsSource, RollReport, RollStatus, StopRequest, Stopped};
use cyrus_store::{Config, Store};
use futures_util::future::join_all;
use program::exit::{Exit, Failure};
use program::signals::{Heard, Signals, show_on_request};
use program::{metrics, privileges, process, syslog, tell};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::channel::Channel;
use crate::cli::Args;
use crate::log_check;
use crate::notify::Notifier;
use crate::reporting::verbosity;
use crate::{NAME, resolve, start};

/// Runs until the end.
///
/// # Errors
/// The errors of [`start::check`], a wrong configuration, or a process that can't be made.
pub(crate) fn run(args: &Args, config: Arc<Config>) -> Result<Exit, Failure> {
    process::hold_signals();
    let (all, port) = ready(args, &config).map_err(|e| start::as_master_bears(args, e))?;
    if start::goes_into_background(args) {
        // There are no threads yet. As with the C client, working folder and terminal do not change.
        nix::unistd::daemon(true, true).map_err(|e| {
            Failure::new(Exit::Failed, format!("can't go into the background: {e}"))
        })?;
        all.iter().for_each(|channel| channel.rolling.claim.renew());
    }
    process::wait_for_debugger(args.delayed_startup);
    let metrics = metrics::start(port)?;
    actix_rt::System::new().block_on(roll_all(args, config, all, &metrics))
}

/// The channels, checked, and the port for metrics: the person who starts us sees the errors.
fn ready(args: &Args, config: &Config) -> Result<(Vec<Channel>, Option<MetricsPort>), Failure> {
    // This comes first, since under Cyrus' master stderr is /dev/null.
    syslog::start(config, NAME)?;
    let mut all = channels(args, config)?;
    let port = metrics::bind(args.metrics_listen.as_deref())?;
    privileges::become_cyrus(config)?;
    process::allow_many_files();
    start::check(&mut all)?;
    Ok((all, port))
}

fn channels(args: &Args, config: &Config) -> Result<Vec<Channel>, Failure> {
    let channel = |name: Option<&str>| -> Result<Channel, Failure> {
        let (settings, rolling) = resolve::rolling(args, config, name)?;
        let status = RollStatus::default();
        let warning = log_check::check(config, name, &rolling.source)?;
        if let Some(warning) = &warning {
            status.warn(warning.short.clone());
        }
        Ok(Channel { name: name.map(str::to_string), settings, rolling, status, warning })
    };
    args.channels().into_iter().map(channel).collect()
}

/// The status of all channels, on request and for systemd. It changes with the configuration.
type Shown = Rc<RefCell<Vec<(String, RollStatus)>>>;

async fn roll_all(
    args: &Args,
    mut config: Arc<Config>,
    mut all: Vec<Channel>,
    metrics: &MetricsSource,
) -> Result<Exit, Failure> {
    let shown = Shown::default();
    let on_request = shown.clone();
    show_on_request(move || text(&on_request));
    let notifier = Notifier::start({
        let shown = shown.clone();
        move || shown.borrow().iter().map(|(_, status)| status.clone()).collect()
    });
    let mut signals = Signals::new(true);
    process::let_signals_in();
    loop {
        let rows = all.iter().map(|c| (c.prefix(), c.status.clone()));
        *shown.borrow_mut() = rows.collect();
        let progress = |c: &Channel| (c.name.clone(), c.status.progress().clone());
        metrics.show(all.iter().map(progress).collect());
        let (ask, asked) = watch::channel(StopRequest::Go);
        let rolling =
            join_all(all.into_iter().map(|c| roll_one(args, config.clone(), c, asked.clone())));
        let mut rolling = std::pin::pin!(rolling);
        let (mut reload, mut stopping) = (false, false);
        let exits = loop {
            tokio::select! {
                exits = &mut rolling => break exits,
                heard = next_signal(&mut signals) => {
                    // A request to stop wins over a SIGHUP at the same time.
                    stopping |= heard == Heard::Stop;
                    reload = !stopping;
                    info!("asked to {}: finishing what is in flight", if reload { "read the configuration again" } else { "stop" });
                    if !reload {
                        notifier.stopping();
                        let shown = shown.borrow();
                        shown.iter().for_each(|(_, status)| status.progress().stopping());
                    }
                    // The running channels hold the other end.
                    let _ = ask.send(if reload { StopRequest::Finish } else { StopRequest::Stop });
                }
            }
        };
        let worst = exits.into_iter().max_by_key(|exit| *exit as u8).unwrap_or(Exit::Done);
        // A replica that is down is not a reason to end, except if -o is given.
        if !reload || !matches!(worst, Exit::Done | Exit::TempFail) {
            return Ok(worst);
        }
        config = reread(args, config);
        all = channels(args, &config)?;
        start::warnings(&all).iter().for_each(|warning| warn!("{warning}"));
    }
}

/// The configuration as it is now; if it can't be used, the previous one.
fn reread(args: &Args, before: Arc<Config>) -> Arc<Config> {
    let read = resolve::load(args).and_then(|config| channels(args, &config).map(|_| config));
    match read {
        Ok(config) => {
            info!("{} was read again", args.config.display());
            config
        }
        Err(e) => {
            error!("the configuration can't be used, going on with the one before: {}", e.text);
            before
        }
    }
}

async fn next_signal(signals: &mut Option<Signals>) -> Heard {
    match signals {
        Some(signals) => signals.next().await,
        None => std::future::pending().await,
    }
}

async fn roll_one(
    args: &Args,
    config: Arc<Config>,
    channel: Channel,
    asked: watch::Receiver<StopRequest>,
) -> Exit {
    let prefix = channel.prefix();
    let once = channel.rolling.once;
    let Channel { settings, rolling, status, .. } = channel;
    let store = Arc::new(Store::open(config));
    let report =
        actors::roll(settings, rolling, store, verbosity(args), asked.clone(), status).await;
    let goes_on = *asked.borrow() == StopRequest::Finish
        && matches!(report.stopped, Some(Stopped::Signal | Stopped::WhileConnecting));
    if goes_on {
        // SIGHUP does not end it.
        return verdict(&report);
    }
    match &report.stopped {
        // Rolling replication normally ends by a signal.
        Some(Stopped::Signal) if !once => {}
        Some(why) => tell(&format!("{prefix}{why}")),
        None => {}
    }
    let nothing_read = matches!(report.stopped, Some(Stopped::Log(_))) && report.done == 0;
    if once && !nothing_read || report.left > 0 || args.verbose > 0 {
        tell(&format!("{prefix}{report}"));
    }
    if once { verdict_of_a_pass(&report) } else { verdict(&report) }
}

fn verdict(report: &RollReport) -> Exit {
    report.stopped.as_ref().map_or(Exit::Done, Exit::of_stop)
}

/// A single pass should have done everything in the log.
fn verdict_of_a_pass(report: &RollReport) -> Exit {
    let cut_short = report.unread || report.left > 0;
    match &report.stopped {
        Some(Stopped::Signal | Stopped::ShutdownFile) if cut_short => Exit::TempFail,
        Some(Stopped::SaidBye(_)) => Exit::Failed,
        Some(Stopped::Signal | Stopped::ShutdownFile) | None if !report.all_well() => Exit::Failed,
        _ => verdict(report),
    }
}

fn text(shown: &Shown) -> String {
    let now = Instant::now();
    let rows = shown.borrow();
    let texts = rows.iter().map(|(prefix, status)| format!("{prefix}{}", status.text(now)));
    texts.collect::<Vec<_>>().join("\n")
}
