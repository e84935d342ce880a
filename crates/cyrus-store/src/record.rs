//! The `record` module (being written).
