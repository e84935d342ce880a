//! sync_client: replicates a Cyrus IMAP master to a replica, many users at once.
//!
//! This package only parses, resolves the configuration, starts the actors and turns the end into
//! an exit code; everything else lives in `actors` and the crates below it.
#![forbid(unsafe_code)]

mod cli;
mod exit;
mod privileges;
mod resolve;
mod signals;
mod syslog;
mod users;

use std::process::ExitCode;
use std::time::Duration;

use actors::{Board, RunReport, Work};

use crate::cli::{Args, Mode};
use crate::exit::{Exit, Failure};

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
    let config = resolve::load(&args)?;
    syslog::start(&config)?;
    privileges::become_cyrus(config.cyrus_user())?;
    let settings = resolve::settings(&args, &config)?;
    if args.delayed_startup > 0 {
        tell(&format!("Waiting for {} seconds for gdb attach...", args.delayed_startup));
        std::thread::sleep(Duration::from_secs(args.delayed_startup));
    }
    let work = match args.mode()? {
        Mode::Users => Work::Users(users::named(&args)?),
        Mode::AllUsers => Work::AllUsers { prefix: args.objects.first().cloned() },
    };
    let verbosity = actors::Verbosity {
        actions_on_stdout: args.verbose > 0,
        actions_in_syslog: args.verbose_logging,
    };
    let system = actix_rt::System::new();
    let report = system.block_on(async move {
        let board = Board::default();
        let stop = signals::watch(board.clone());
        actors::replicate(settings, config, work, verbosity, stop, board).await
    });
    if !report.users.is_empty() || report.stopped.is_none() {
        tell(&report.to_string());
    }
    Ok(verdict(&report))
}

/// What the run's end means to who started us.
fn verdict(report: &RunReport) -> Exit {
    use actors::Stopped;
    if let Some(why) = &report.stopped {
        tell(&why.to_string());
    }
    match &report.stopped {
        Some(Stopped::Fatal(_)) => Exit::Config,
        Some(Stopped::WhileConnecting) => Exit::TempFail,
        Some(Stopped::NoConnection(_) | Stopped::Listing(_)) => Exit::Failed,
        // Asked to stop: users that were not reached are no failure of ours.
        Some(Stopped::Signal) | None if report.failed() == 0 => Exit::Done,
        Some(Stopped::Signal) | None => Exit::Failed,
    }
}

/// A line for the admin; a closed stderr is no reason to fail.
pub(crate) fn tell(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
