//! The `paths` module (being written).
