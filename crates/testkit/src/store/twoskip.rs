//! A twoskip database, written in one go from sorted entries.
//!
//! ```text
//!   header, 64 bytes    magic [20] version u32 generation entries repacked-size size u64 flags u32 CRC
//!   '=' at 64           level 31: where all 31 lists begin
//!   '+' …               type, level u8, key length u16, value length u32, level + 1 pointers u64,
//!                       CRC of all that, CRC of the rest, key, value, zeros up to a multiple of 8
//! ```
//! An entry of level n is on the n lowest lists; list 0 has its pointer twice. Source:
//! `lib/cyrusdb_twoskip.c` of cyrus-imapd 3.6.1.

use std::collections::BTreeMap;

use super::index::crc32;

const MAX_LEVEL: usize = 31;

/// Where each entry goes, and how high it is.
struct Place {
    offset: u64,
    level: usize,
}

/// The bytes of a database with these entries.
pub(crate) fn encode(entries: &BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<u8> {
    let dummy_len = record_len(MAX_LEVEL, 0, 0);
    let mut offset = 64 + dummy_len;
    let mut places = Vec::with_capacity(entries.len());
    for (number, (key, value)) in entries.iter().enumerate() {
        // Every second entry is one level higher than the rest, every fourth two: the ideal distribution.
        let level = ((number + 1).trailing_zeros() as usize + 1).min(MAX_LEVEL);
        places.push(Place { offset, level });
        offset += record_len(level, key.len(), value.len());
    }
    let mut file = header(entries.len() as u64, offset);
    // From the end: the next entry on each list.
    let mut next = [0u64; MAX_LEVEL];
    let mut pointers = Vec::with_capacity(places.len());
    for place in places.iter().rev() {
        let mine = next.get(..place.level).unwrap_or_default().to_vec();
        pointers.push(mine);
        for slot in next.iter_mut().take(place.level) {
            *slot = place.offset;
        }
    }
    file.extend_from_slice(&record(b'=', MAX_LEVEL, &next, b"", b""));
    for ((place, mine), (key, value)) in places.iter().zip(pointers.iter().rev()).zip(entries) {
        file.extend_from_slice(&record(b'+', place.level, mine, key, value));
    }
    file
}

fn record_len(level: usize, key: usize, value: usize) -> u64 {
    (8 + 8 * (level + 1) + 8 + (key + value).next_multiple_of(8)) as u64
}

fn header(entries: u64, size: u64) -> Vec<u8> {
    let mut header = b"\xa1\x02\x8b\x0dtwoskip file\0\0\0\0".to_vec();
    header.extend_from_slice(&1u32.to_be_bytes());
    for number in [1, entries, size, size] {
        header.extend_from_slice(&number.to_be_bytes());
    }
    header.extend_from_slice(&0u32.to_be_bytes());
    let crc = crc32(&header);
    header.extend_from_slice(&crc.to_be_bytes());
    header
}

fn record(kind: u8, level: usize, next: &[u64], key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut record = vec![kind, level as u8];
    record.extend_from_slice(&(key.len() as u16).to_be_bytes());
    record.extend_from_slice(&(value.len() as u32).to_be_bytes());
    // List 0 has two pointers; the higher one is valid.
    for pointer in next.first().into_iter().chain(next) {
        record.extend_from_slice(&pointer.to_be_bytes());
    }
    let mut tail = [key, value].concat();
    tail.resize(tail.len().next_multiple_of(8), 0);
    let crc = crc32(&record);
    record.extend_from_slice(&crc.to_be_bytes());
    record.extend_from_slice(&crc32(&tail).to_be_bytes());
    record.extend_from_slice(&tail);
    record
}
