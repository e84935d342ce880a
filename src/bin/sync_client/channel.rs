//! A channel of rolling replication, before it starts.

use actors::{RollSettings, RollStatus, Settings};

use crate::log_check::Warning;

/// A channel, ready to start.
pub(crate) struct Channel {
    pub(crate) name: Option<String>,
    pub(crate) settings: Settings,
    pub(crate) rolling: RollSettings,
    pub(crate) status: RollStatus,
    /// Whether it seems that Cyrus does not log to it.
    pub(crate) warning: Option<Warning>,
}

impl Channel {
    /// The prefix of its lines if there are several channels.
    pub(crate) fn prefix(&self) -> String {
        self.name.as_ref().map_or_else(String::new, |name| format!("channel {name}: "))
    }
}
