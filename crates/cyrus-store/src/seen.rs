//! The `seen` module (being written).
