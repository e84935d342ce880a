//! Rolling replication (-R): reads the sync log and carries it out.

pub(crate) mod log_handle;
pub(crate) mod log_reader;
pub(crate) mod report;
pub(crate) mod request;
pub(crate) mod roll;
pub(crate) mod roller;
pub(crate) mod status;
