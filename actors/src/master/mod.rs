//! The master's side: what is read from its store, and what of it is encoded and sent.

pub(crate) mod bad_files;
pub(crate) mod batches;
pub mod encode;
pub(crate) mod encode_batch;
pub(crate) mod full_update;
pub(crate) mod mailbox_command;
pub(crate) mod mailbox_streamer;
pub(crate) mod message_files;
pub(crate) mod plan_mailbox;
pub(crate) mod quota_roots;
pub(crate) mod read_partial;
pub(crate) mod read_user;
pub(crate) mod record_buffer;
pub(crate) mod reserve;
pub(crate) mod script_files;
pub(crate) mod send_mailbox;
pub mod source;
pub(crate) mod stale;
pub(crate) mod store_mailbox;
pub(crate) mod store_reader;
mod store_source;
pub(crate) mod threads;
pub(crate) mod upload;
pub mod user_read;

#[cfg(test)]
mod plan_mailbox_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod upload_tests;
