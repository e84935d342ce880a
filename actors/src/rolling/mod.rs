//! Rolling replication (-R): the sync log is read, and what it says is worked off.

pub(crate) mod log_handle;
pub(crate) mod log_reader;
pub(crate) mod report;
pub(crate) mod request;
pub(crate) mod roll;
pub(crate) mod roller;
pub(crate) mod status;
