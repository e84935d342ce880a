//! The parts of a twoskip file (`twoskip.rs` has a diagram).

/// Bytes of its header.
pub(super) const HEADER_LEN: u64 = 64;
/// The highest level. A record of level n is on n lists and has n + 1 pointers.
pub(super) const MAX_LEVEL: u8 = 31;

/// The head of a record.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) offset: u64,
    pub(super) kind: u8,
    pub(super) next: Vec<u64>,
    pub(super) key_len: u64,
    pub(super) value_len: u64,
    pub(super) tail_crc: u32,
    pub(super) body: u64,
}

impl Record {
    /// Stands for the first record of an empty file.
    pub(super) fn nothing() -> Record {
        Record {
            offset: 0,
            kind: b'=',
            next: Vec::new(),
            key_len: 0,
            value_len: 0,
            tail_crc: 0,
            body: 0,
        }
    }

    pub(super) fn level(&self) -> u8 {
        u8::try_from(self.next.len().saturating_sub(1)).unwrap_or(MAX_LEVEL)
    }
}

/// A record with its key.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) record: Record,
    pub(super) key: Vec<u8>,
}
