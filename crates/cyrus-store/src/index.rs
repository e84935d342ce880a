//! The `index` module (being written).
