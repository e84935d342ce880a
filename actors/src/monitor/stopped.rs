//! Why a run stopped before its last user.

use std::fmt;

/// Why a run stopped early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// Login, certificate or configuration: trying again would not help.
    Fatal(String),
    /// The replica can't be reached, and -o forbids to wait.
    NoConnection(String),
    /// The same in rolling replication, after the replica said BYE.
    SaidBye(String),
    /// Asked to stop (SIGTERM, SIGINT) while the replica could not be reached.
    WhileConnecting,
    /// Asked to stop (SIGTERM, SIGINT); the users in flight were finished.
    Signal,
    /// The users could not be listed.
    Listing(String),
    /// No user was selected; with the text of the request.
    Nobody(String),
    /// A bug of ours.
    Internal(String),
    /// The sync log can't be processed.
    Log(String),
    /// Asked to stop by the shutdown file; the users in flight were finished.
    ShutdownFile,
}

impl Stopped {
    /// A word for it, for programs.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Stopped::Fatal(_) => "fatal",
            Stopped::NoConnection(_) => "no_connection",
            Stopped::SaidBye(_) => "said_bye",
            Stopped::WhileConnecting => "signal_while_connecting",
            Stopped::Signal => "signal",
            Stopped::Listing(_) => "listing",
            Stopped::Nobody(_) => "no_users",
            Stopped::Internal(_) => "internal",
            Stopped::Log(_) => "log",
            Stopped::ShutdownFile => "shutdown_file",
        }
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stopped::Fatal(why) => write!(f, "stopped: {why}"),
            Stopped::NoConnection(why) => f.write_str(why),
            Stopped::SaidBye(why) => write!(f, "the replica said BYE: {why}"),
            Stopped::WhileConnecting => {
                f.write_str("interrupted while the replica could not be reached")
            }
            Stopped::Signal => f.write_str("interrupted"),
            Stopped::Log(why) => write!(f, "the sync log can't be replicated: {why}"),
            Stopped::ShutdownFile => f.write_str("stopped by the shutdown file"),
            Stopped::Listing(why) => write!(f, "the users can't be listed: {why}"),
            Stopped::Nobody(why) => write!(f, "nobody was selected: {why}"),
            Stopped::Internal(why) => write!(f, "internal error: {why}; please report this"),
        }
    }
}
