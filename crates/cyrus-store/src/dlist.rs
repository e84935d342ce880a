//! The `dlist` module (being written).
