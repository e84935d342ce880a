//! The `annotations` module (being written).
