//! The settings of a channel's rolling replication, and requests to stop.

use std::path::PathBuf;
use std::time::Duration;

use crate::rolling::log_reader::{EarlyClaim, LogSource};

/// The settings of a channel's rolling replication.
#[derive(Debug, Clone)]
pub struct RollSettings {
    /// Where entries come from.
    pub source: LogSource,
    /// The claim on that log, if it was made already.
    pub claim: EarlyClaim,
    /// One pass, then the end (-1, -f).
    pub once: bool,
    /// The time between two takeovers of the log (-d, sync_repeat_interval); if zero, the log is looked for twenty times a
    /// second.
    pub delay: Duration,
    /// How often the replica is sent a RESTART (-t), if at all.
    pub restart_every: Option<Duration>,
    /// The file that asks us to stop (-F, sync_shutdown_file).
    pub shutdown_file: Option<PathBuf>,
    /// The longest pause between two tries of a user that fails (sync_retry_maxwait).
    pub longest_pause: Duration,
}

/// What the program was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopRequest {
    /// Go on.
    Go,
    /// Start nothing more, finish the work in flight however long it takes (SIGHUP).
    Finish,
    /// Start nothing more, and end within seconds (SIGTERM, SIGINT).
    Stop,
}
