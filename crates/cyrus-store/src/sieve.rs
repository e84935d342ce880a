//! The `sieve` module (being written).
