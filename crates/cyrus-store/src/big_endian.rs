//! Numbers in Cyrus' files: big-endian, at a place that depends on the version of the format.
//!
//! With structs laid over the bytes we would need one for each of the index's ten versions, and code to unify them; one
//! place for each number is shorter, and costs nothing.

/// A big-endian 32-bit number; 0 beyond the end (callers check lengths first).
pub(crate) fn be32(buf: &[u8], at: usize) -> u32 {
    buf.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// A big-endian 64-bit number; 0 beyond the end (callers check lengths first).
pub(crate) fn be64(buf: &[u8], at: usize) -> u64 {
    buf.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes)
}

/// A time of 32 unsigned bits, in seconds.
pub(crate) fn be_time(buf: &[u8], at: usize) -> i64 {
    i64::from(be32(buf, at))
}

/// A time of 64 bits in nanoseconds, as (seconds, nanoseconds).
pub(crate) fn be_nanotime(buf: &[u8], at: usize) -> (i64, u32) {
    let nanos = be64(buf, at);
    // Both always fit: 2^64 / 10^9 is far below 2^63, and the rest is below 10^9.
    ((nanos / 1_000_000_000) as i64, (nanos % 1_000_000_000) as u32)
}
