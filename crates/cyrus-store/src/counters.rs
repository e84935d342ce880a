//! The `counters` module (being written).
