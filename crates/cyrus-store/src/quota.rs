//! The `quota` module (being written).
