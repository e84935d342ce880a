//! Headers of indexes, of all supported versions.

use super::*;

fn put32(buf: &mut [u8], at: usize, value: u32) {
    buf[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

fn put64(buf: &mut [u8], at: usize, value: u64) {
    buf[at..at + 8].copy_from_slice(&value.to_be_bytes());
}

fn blank(version: u32) -> Vec<u8> {
    let (header_size, record_size) = layout_sizes(version).unwrap();
    let mut buf = vec![0; header_size];
    put32(&mut buf, 8, version);
    put32(&mut buf, 12, header_size as u32);
    put32(&mut buf, 16, record_size as u32);
    buf
}

fn seal(buf: &mut [u8]) {
    let end = buf.len() - 4;
    let crc = crc32fast::hash(&buf[..end]);
    put32(buf, end, crc);
}

#[test]
fn every_known_version_decodes() {
    for version in [10, 12, 13, 14, 15, 16, 17, 18, 19, 20] {
        let mut buf = blank(version);
        put32(&mut buf, 20, 3);
        match version {
            20 => put64(&mut buf, 72, 77),
            19 => put64(&mut buf, 72, 77),
            _ => put64(&mut buf, 68, 77),
        }
        if version >= 12 {
            seal(&mut buf);
        }
        let header = IndexHeader::decode(&buf).unwrap();
        assert_eq!(
            (header.minor_version, header.num_records, header.highestmodseq),
            (version, 3, ModSeq(77))
        );
        assert_eq!(
            header.file_size(),
            u64::from(header.start_offset) + 3 * u64::from(header.record_size)
        );
    }
}

#[test]
fn unknown_versions_are_refused() {
    for version in [0, 6, 9, 11, 21, u32::MAX] {
        let mut buf = vec![0; 256];
        put32(&mut buf, 8, version);
        assert_eq!(IndexHeader::decode(&buf), Err(IndexError::Version(version)));
    }
}

#[test]
fn damage_is_an_error() {
    let mut buf = blank(17);
    seal(&mut buf);
    for len in 0..buf.len() {
        assert!(matches!(IndexHeader::decode(&buf[..len]), Err(IndexError::Short { .. })));
    }
    buf[30] ^= 1;
    assert!(matches!(IndexHeader::decode(&buf), Err(IndexError::HeaderCrc { .. })));

    let mut buf = blank(17);
    put32(&mut buf, 16, 0);
    seal(&mut buf);
    assert!(matches!(IndexHeader::decode(&buf), Err(IndexError::Sizes { .. })));
}

#[test]
fn options_and_normalising() {
    let mut buf = blank(17);
    put32(&mut buf, 60, OPT_IMAP_SHAREDSEEN | OPT_IMAP_HAS_ALARMS | 1 << 29);
    seal(&mut buf);
    let header = IndexHeader::decode(&buf).unwrap();
    assert_eq!(header.options_str(), "PSA"); // P because the mailbox is empty
    assert_eq!(header.highestmodseq, ModSeq(1));
    put32(&mut buf, 84, 1);
    seal(&mut buf);
    assert_eq!(IndexHeader::decode(&buf).unwrap().options_str(), "SA");
}

#[test]
fn version_20_times_are_nanoseconds() {
    let mut buf = blank(20);
    put64(&mut buf, 24, 1_700_000_000_000_000_005);
    seal(&mut buf);
    assert_eq!(IndexHeader::decode(&buf).unwrap().last_appenddate, 1_700_000_000);
}
