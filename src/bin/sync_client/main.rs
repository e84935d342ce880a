//! sync_client: replicates a Cyrus IMAP master to a replica, many users at once.
//!
//! This program only parses, resolves the configuration, starts the actors and turns the end into an exit code. What another
//! program would need, too, is in the library beside it (`src/lib.rs`); everything else lives in `actors` and the crates
//! below it.
#![forbid(unsafe_code)]

mod channel;
mod cli;
mod log_check;
mod names;
mod notify;
mod reporting;
mod resolve;
mod rolling;
mod start;

use std::process::ExitCode;
use std::sync::Arc;

use actors::{Progress, RunReport, Selection, Stopped};
use cyrus_store::Store;
use program::exit::{Exit, Failure};
use program::{metrics, privileges, process, signals, syslog, tell};
use tokio::sync::watch;

use crate::cli::{Args, Mode};
use crate::names::Named;

/// Our name in syslog, and for options of our own in imapd.conf (`sync_client_…`).
const NAME: &str = "sync_client";

fn main() -> ExitCode {
    let result = cli::parse(std::env::args_os()).and_then(run);
    let exit = match result {
        Ok(exit) => exit,
        Err(failure) => {
            failure.tell();
            failure.exit
        }
    };
    ExitCode::from(exit as u8)
}

fn run(args: Args) -> Result<Exit, Failure> {
    let mode = args.mode()?;
    let config = resolve::load(&args).map_err(|e| start::as_master_bears(&args, e))?;
    if mode == Mode::Rolling {
        return rolling::run(&args, config);
    }
    process::hold_signals();
    syslog::start(&config, NAME)?;
    let port = metrics::bind(args.metrics_listen.as_deref())?;
    privileges::become_cyrus(&config)?;
    process::allow_many_files();
    resolve::warn_of_channel(&args, &config);
    let settings = resolve::settings(&args, &config, args.channel.first().map(String::as_str))?;
    process::wait_for_debugger(args.delayed_startup);
    let mut reporting = reporting::of(&args)?;
    let channel = settings.run.channel.clone();
    let system = actix_rt::System::new();
    let report = system.block_on(async move {
        let progress = Progress::default();
        metrics::start(port)?.show(vec![(channel, progress.clone())]);
        let mut stop = signals::watch(progress.clone());
        process::let_signals_in();
        let work = match mode {
            Mode::AllUsers | Mode::Rolling => {
                Selection::AllUsers { prefix: args.objects.first().cloned() }
            }
            Mode::Users | Mode::Mailboxes | Mode::Meta => {
                let Named { names, left_to_do } = read_names(args, &mut stop).await?;
                reporting.leave(left_to_do);
                match mode {
                    Mode::Mailboxes => Selection::Mailboxes(names),
                    Mode::Meta => Selection::Meta(names),
                    _ => Selection::Users(names),
                }
            }
        };
        Ok({
            let store = Arc::new(Store::open(config));
            actors::replicate(settings, store, work, reporting, stop, progress).await
        })
    })?;
    if report.finished() > 0 || report.stopped.is_none() {
        tell(&report.to_string());
    }
    if let Some(text) = report.interruption() {
        tell(&text);
    }
    report.unwritten.iter().for_each(|problem| tell(problem));
    Ok(verdict(&report))
}

/// The users or mailboxes that -u, -m and -s name. Reading standard input may take long, and a signal must not wait for it.
async fn read_names(args: Args, stop: &mut watch::Receiver<bool>) -> Result<Named, Failure> {
    let what = if args.mailboxes { "mailboxes" } else { "users" };
    let reading = actix_rt::task::spawn_blocking(move || names::named(&args));
    tokio::select! {
        names = reading => names.unwrap_or_else(|e| {
            Err(Failure::new(Exit::Failed, format!("internal error: {e}; please report this")))
        }),
        Ok(()) = stop.changed() => {
            tell(&format!(
                "interrupted before the list of {what} was read; run the same command again"
            ));
            // The thread may wait for standard input for ever.
            std::process::exit(Exit::TempFail as i32);
        }
    }
}

/// Turns the end of the run into an exit code.
fn verdict(report: &RunReport) -> Exit {
    match &report.stopped {
        // The signal came when everything was done already.
        Some(Stopped::Signal) if report.is_complete() => well(report),
        Some(Stopped::Signal) => Exit::TempFail,
        Some(why) => Exit::of_stop(why),
        None => well(report),
    }
}

fn well(report: &RunReport) -> Exit {
    if report.all_well() && report.unwritten.is_empty() { Exit::Done } else { Exit::Failed }
}
