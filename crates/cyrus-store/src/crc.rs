//! The `crc` module (being written).
