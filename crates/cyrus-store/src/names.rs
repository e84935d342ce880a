//! The `names` module (being written).
