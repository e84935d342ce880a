//! What a channel's rolling replication is told.

use std::path::PathBuf;
use std::time::Duration;

use crate::rolling::log_reader::{EarlyClaim, LogSource};

/// What a channel's rolling replication is told.
#[derive(Debug, Clone)]
pub struct RollSettings {
    /// Where entries come from.
    pub source: LogSource,
    /// The claim on that log, if it was made already.
    pub claim: EarlyClaim,
    /// One pass, then the end (-1, -f).
    pub once: bool,
    /// From one taking over of the log to the next (-d, sync_repeat_interval); with none it is looked for
    /// twenty times a second.
    pub delay: Duration,
    /// How often the replica is sent a RESTART (-t), if at all.
    pub restart_every: Option<Duration>,
    /// Whose being there means to stop (-F, sync_shutdown_file).
    pub shutdown_file: Option<PathBuf>,
    /// The longest pause between two tries of a user that fails (sync_retry_maxwait).
    pub longest_pause: Duration,
}

/// What the program is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopRequest {
    /// Go on.
    Go,
    /// Begin nothing more, finish what is in flight however long it takes (SIGHUP).
    Finish,
    /// Begin nothing more, and end within seconds (SIGTERM, SIGINT).
    Stop,
}
