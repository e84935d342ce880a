//! The `mailbox` module (being written).
