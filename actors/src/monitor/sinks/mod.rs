//! The sinks: what becomes of events. Each is a file of its own and knows none of the others.

pub(crate) mod failed_users;
pub(crate) mod json;
pub(crate) mod lines;
pub(crate) mod metrics;
pub(crate) mod metrics_http;
pub(crate) mod terminal;
