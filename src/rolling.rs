//! Rolling replication: into the background, then one or several channels until somebody asks us to stop.
//!
//! ```text
//!   start --> all channels roll --SIGTERM, SIGINT, shutdown file--> each ends; exit
//!               ^        |SIGHUP: what is in flight is finished
//!               '--------' the configuration is read again
//! ```

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use actors::{Ask, Board, RollReport, RollSettings, RollStatus, Settings};
use cyrus_store::Config;
use futures_util::future::join_all;
use tokio::sync::watch;
use tracing::{error, info};

use crate::cli::Args;
use crate::exit::{Exit, Failure};
use crate::notify::Notifier;
use crate::signals::{Heard, Signals, show_on_request};
use crate::{privileges, resolve, syslog, tell, verbosity, wait_before_start};

/// A channel, ready to roll.
struct Channel {
    name: Option<String>,
    settings: Settings,
    rolling: RollSettings,
    board: Board,
    status: RollStatus,
}

impl Channel {
    /// How its lines begin where there are several.
    fn prefix(&self) -> String {
        self.name.as_ref().map_or_else(String::new, |name| format!("channel {name}: "))
    }
}

/// Rolls until the end.
///
/// # Errors
/// Configuration, or a process that can't be made.
pub(crate) fn run(args: &Args, config: Arc<Config>) -> Result<Exit, Failure> {
    // Before anything else, so that what is wrong is told to who started us.
    channels(args, &config)?;
    if args.rolling && args.input_file.is_none() && std::env::var_os("CYRUS_ISDAEMON").is_none() {
        // There are no threads yet. As with the C client, working folder and terminal stay what they are.
        nix::unistd::daemon(true, true).map_err(|e| {
            Failure::new(Exit::Failed, format!("can't go into the background: {e}"))
        })?;
    }
    syslog::start(&config)?;
    privileges::become_cyrus(config.cyrus_user())?;
    wait_before_start(args);
    actix_rt::System::new().block_on(roll_all(args, config))
}

fn channels(args: &Args, config: &Config) -> Result<Vec<Channel>, Failure> {
    let channel = |name: Option<&str>| -> Result<Channel, Failure> {
        let (settings, rolling) = resolve::rolling(args, config, name)?;
        let (board, status) = (Board::default(), RollStatus::default());
        Ok(Channel { name: name.map(str::to_string), settings, rolling, board, status })
    };
    args.channels().into_iter().map(channel).collect()
}

/// What is shown of all channels, on request and to systemd. It changes with the configuration.
type Shown = Rc<RefCell<Vec<(String, Board, RollStatus)>>>;

async fn roll_all(args: &Args, mut config: Arc<Config>) -> Result<Exit, Failure> {
    let shown = Shown::default();
    let on_request = shown.clone();
    show_on_request(move || text(&on_request));
    let notifier = Notifier::start({
        let shown = shown.clone();
        move || shown.borrow().iter().map(|(_, _, status)| status.clone()).collect()
    });
    let mut signals = Signals::new(true);
    let mut all = channels(args, &config)?;
    loop {
        let rows = all.iter().map(|c| (c.prefix(), c.board.clone(), c.status.clone()));
        *shown.borrow_mut() = rows.collect();
        let (ask, asked) = watch::channel(Ask::Go);
        let rolling =
            join_all(all.into_iter().map(|c| roll_one(args, config.clone(), c, asked.clone())));
        let mut rolling = std::pin::pin!(rolling);
        let mut reload = false;
        let exits = loop {
            tokio::select! {
                exits = &mut rolling => break exits,
                heard = next_signal(&mut signals) => {
                    reload = heard == Heard::Hangup;
                    info!("asked to {}: finishing what is in flight", if reload { "begin anew" } else { "stop" });
                    if !reload {
                        notifier.stopping();
                    }
                    // Whoever rolls holds the other end.
                    let _ = ask.send(if reload { Ask::Finish } else { Ask::Stop });
                }
            }
        };
        let worst = exits.into_iter().max_by_key(|exit| *exit as u8).unwrap_or(Exit::Done);
        // That there is no replica just now is no reason to end when nobody wants us to.
        if !reload || !matches!(worst, Exit::Done | Exit::TempFail) {
            return Ok(worst);
        }
        config = reread(args, config);
        all = channels(args, &config)?;
    }
}

/// The configuration as it is now; if it can't be used, as it was.
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
    asked: watch::Receiver<Ask>,
) -> Exit {
    let prefix = channel.prefix();
    let once = channel.rolling.once;
    let Channel { settings, rolling, board, status, .. } = channel;
    let report =
        actors::roll(settings, rolling, config, verbosity(args), asked, board, status).await;
    if let Some(why) = &report.stopped {
        tell(&format!("{prefix}{why}"));
    }
    if once || report.left > 0 || args.verbose > 0 {
        tell(&format!("{prefix}{report}"));
    }
    verdict(&report)
}

fn verdict(report: &RollReport) -> Exit {
    match &report.stopped {
        Some(why) => Exit::of_stop(why),
        None if report.failed() > 0 => Exit::Failed,
        None => Exit::Done,
    }
}

fn text(shown: &Shown) -> String {
    let now = Instant::now();
    let rows = shown.borrow();
    let texts = rows.iter().map(|(prefix, board, status)| {
        format!("{prefix}{}\n{}", status.text(now), board.status(now))
    });
    texts.collect::<Vec<_>>().join("\n")
}
