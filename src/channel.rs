//! A channel of rolling replication, before it rolls.

use actors::{RollSettings, RollStatus, Settings};

use crate::log_check::Warning;

/// A channel, ready to roll.
pub(crate) struct Channel {
    pub(crate) name: Option<String>,
    pub(crate) settings: Settings,
    pub(crate) rolling: RollSettings,
    pub(crate) status: RollStatus,
    /// It seems that nothing is logged to it.
    pub(crate) warning: Option<Warning>,
}

impl Channel {
    /// How its lines begin where there are several.
    pub(crate) fn prefix(&self) -> String {
        self.name.as_ref().map_or_else(String::new, |name| format!("channel {name}: "))
    }
}
