//! The `lock` module (being written).
