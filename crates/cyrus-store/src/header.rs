//! The `header` module (being written).
