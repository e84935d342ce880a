//! The `store` module (being written).
