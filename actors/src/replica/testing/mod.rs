//! Support for tests of connections and their users: a peer that follows a script, paused time, and settings.

pub(crate) mod dial;
pub(crate) mod frames;
pub(crate) mod given;
pub(crate) mod peer;
mod script;
