//! What a run reports: events, progress, reports.

pub(crate) mod aggregate;
pub(crate) mod command_stats;
pub(crate) mod events;
pub(crate) mod in_flight;
#[expect(clippy::module_inception, reason = "the actor that gives the room its name")]
pub(crate) mod monitor;
pub(crate) mod outlook;
pub(crate) mod pace;
pub mod plain;
pub(crate) mod progress;
pub(crate) mod replica_state;
pub(crate) mod report;
pub(crate) mod reporting;
pub(crate) mod screen;
pub(crate) mod screen_queue;
pub(crate) mod sink;
pub(crate) mod sinks;
pub(crate) mod spans;
pub(crate) mod stopped;
pub(crate) mod whole_file;
pub mod words;
