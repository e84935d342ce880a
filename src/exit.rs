//! Exit codes, and failures that end the program before it starts its work.

use std::io::Write;

use actors::Stopped;

use crate::tell;

/// The exit code of the program: the same as the C client's where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Success.
    Done = 0,
    /// A user failed, is locked or does not exist, no user was selected, or no connection with -o.
    Failed = 1,
    /// The command line is wrong (EX_USAGE).
    Usage = 64,
    /// Interrupted before everything was done (EX_TEMPFAIL).
    TempFail = 75,
    /// Configuration, login or certificate (EX_CONFIG).
    Config = 78,
}

impl Exit {
    /// The exit code of a run that was stopped.
    pub fn of_stop(why: &Stopped) -> Exit {
        match why {
            Stopped::Fatal(_) => Exit::Config,
            Stopped::WhileConnecting => Exit::TempFail,
            Stopped::NoConnection(_)
            | Stopped::Listing(_)
            | Stopped::Log(_)
            | Stopped::Nobody(_)
            | Stopped::Internal(_) => Exit::Failed,
            // As the C client ends when the replica is shut down.
            Stopped::Signal | Stopped::ShutdownFile | Stopped::SaidBye(_) => Exit::Done,
        }
    }
}

/// A failure before any work was done.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What an admin reads: the problem, and what to do about it.
    pub text: String,
}

impl Failure {
    /// With this text.
    pub fn new(exit: Exit, text: impl Into<String>) -> Failure {
        Failure { exit, text: text.into() }
    }

    /// Reports it on stderr and in syslog.
    pub fn tell(&self) {
        if self.text.is_empty() {
            return;
        }
        match self.text.split_once('\n') {
            // The rest shows how to use the program.
            Some((first, usage)) if self.exit == Exit::Usage => {
                tell(first);
                let _ = writeln!(std::io::stderr().lock(), "{usage}");
            }
            _ => tell(&self.text),
        }
        if self.exit != Exit::Usage && self.exit != Exit::Done {
            tracing::error!("Fatal error: {}", self.text);
        }
    }
}
