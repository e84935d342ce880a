//! The `conversations` module (being written).
