//! The `mboxlist` module (being written).
