//! The `subs` module (being written).
