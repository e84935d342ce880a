//! The database files Cyrus keeps (being written).
