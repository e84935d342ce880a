//! The replica's side: connections to it, what travels on them, and what is remembered of it.

pub(crate) mod acquire;
pub(crate) mod answer;
pub(crate) mod ask;
pub(crate) mod asked;
pub(crate) mod cached_state;
pub(crate) mod client;
pub(crate) mod command_error;
pub(crate) mod command_stream;
pub(crate) mod connection;
pub(crate) mod fading;
pub(crate) mod features;
pub(crate) mod frames;
pub(crate) mod lease;
pub(crate) mod login_check;
pub(crate) mod lookahead;
pub(crate) mod partitions;
pub(crate) mod pool;
pub(crate) mod pool_error;
pub(crate) mod pool_plan;
pub(crate) mod refusal;
pub(crate) mod staged;
pub(crate) mod state_cache;
pub(crate) mod transport;

#[cfg(test)]
mod pool_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod unreachable_tests;
