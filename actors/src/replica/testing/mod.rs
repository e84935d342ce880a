//! What tests of connections and of what uses them stand on: a peer that follows a script, time that stands still, and
//! settings.

pub(crate) mod dial;
pub(crate) mod frames;
pub(crate) mod given;
pub(crate) mod peer;
mod script;
