//! Users that are not done: why, how many failures in a row, and how long they rest.

use std::time::{Duration, Instant};

use crate::error::Class;
use crate::settings::Jitter;
use crate::work::retry::{Patience, Retry, TRIES};

/// The number of failures in a row from which a user is in quarantine.
pub(crate) const QUARANTINE: u32 = TRIES;

/// Limits: users at once, how long to rest, and whether a failure is final.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) in_flight: usize,
    pub(crate) first_pause: Duration,
    pub(crate) longest_pause: Duration,
    /// Whether the works have an end. If they do, a user that fails too often, or can't be started, is given up.
    pub(crate) patience: Patience,
    pub(crate) jitter: Jitter,
}

impl Bounds {
    /// When a user that failed is tried again.
    pub(crate) fn retry(&self) -> Retry {
        let Bounds { patience, first_pause, longest_pause, jitter, .. } = *self;
        Retry { patience, first_pause, longest_pause, jitter }
    }
}

/// Why a user is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its last try failed.
    Failed,
    /// Somebody else holds its lock (-N).
    Locked,
    /// There is a skipuser file.
    Skipped,
}

/// A user that is not done.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    pub(crate) kind: Kind,
    /// How often in a row.
    pub(crate) times: u32,
    /// The reason in words for an admin.
    pub(crate) reason: String,
    /// Whether it may be the link's fault.
    pub(crate) links_fault: bool,
    /// When the last try began.
    pub(crate) since: Instant,
}

/// Why a try failed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reason<'a> {
    /// For an admin.
    pub(crate) words: &'a str,
    /// What it means for another try.
    pub(crate) class: Class,
    /// Whether it may be the link's fault.
    pub(crate) links_fault: bool,
}

impl Trouble {
    pub(crate) fn is_quarantined(&self) -> bool {
        self.kind == Kind::Failed && self.times >= QUARANTINE
    }
}
