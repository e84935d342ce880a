//! Recomputes the checksums of a damaged file, as far as its parts can still be recognised, so that damage reaches the code
//! behind the check.

fn be(bytes: &[u8], at: usize, len: usize) -> u64 {
    bytes[at..at + len].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn seal(bytes: &mut [u8], from: usize, at: usize) {
    let crc = crc32fast::hash(&bytes[from..at]);
    bytes[at..at + 4].copy_from_slice(&crc.to_be_bytes());
}

/// A twoskip file: the header with its size, and every record that can be found by walking.
pub(crate) fn twoskip(bytes: &mut [u8]) {
    let len = bytes.len();
    if len < 64 {
        return;
    }
    // Half of the inputs keep a wrong size.
    if len.is_multiple_of(16) {
        bytes[48..56].copy_from_slice(&(len as u64).to_be_bytes());
    }
    seal(bytes, 0, 60);
    let mut at = 64;
    while at + 24 <= len {
        let level = usize::from(bytes[at + 1]);
        if !b"=+-$".contains(&bytes[at]) || level > 31 {
            at += 8;
            continue;
        }
        let (mut key, mut value) = (be(bytes, at + 2, 2), be(bytes, at + 4, 4));
        let mut head = at + 8;
        for long in [(&mut key, 0xffff), (&mut value, 0xffff_ffff)] {
            if *long.0 == long.1 && head + 8 <= len {
                *long.0 = be(bytes, head, 8);
                head += 8;
            }
        }
        let crc_at = head + 8 * (level + 1);
        if crc_at + 8 > len {
            at += 8;
            continue;
        }
        let body = crc_at + 8;
        let end = (key as usize)
            .checked_add(value as usize)
            .and_then(|len| len.checked_next_multiple_of(8)?.checked_add(body))
            .filter(|end| *end <= len);
        if let Some(end) = end {
            let crc = crc32fast::hash(&bytes[body..end]);
            bytes[crc_at + 4..crc_at + 8].copy_from_slice(&crc.to_be_bytes());
        }
        seal(bytes, at, crc_at);
        at = end.unwrap_or(body);
    }
}

/// Sizes of a `cyrus.index` header and record, by version.
pub(crate) fn index_sizes(version: u64) -> Option<(usize, usize)> {
    Some(match version {
        12 => (128, 96),
        13 => (128, 104),
        14 | 15 => (160, 104),
        16..=19 => (160, 112),
        20 => (192, 144),
        _ => return None,
    })
}

/// A `cyrus.index`: the header, and the records where its numbers say they are.
pub(crate) fn index(bytes: &mut [u8]) {
    if bytes.len() < 24 {
        return;
    }
    let Some((header, record)) = index_sizes(be(bytes, 8, 4)) else { return };
    if bytes.len() < header {
        return;
    }
    seal(bytes, 0, header - 4);
    let (start, stride) = (be(bytes, 12, 4) as usize, be(bytes, 16, 4) as usize);
    let mut at = start;
    while stride >= 8 && at >= header && at + record <= bytes.len() {
        seal(bytes, at, at + record - 4);
        at += stride;
    }
}

/// A file that ends in the checksum of everything before.
pub(crate) fn last_four(bytes: &mut [u8]) {
    if bytes.len() >= 4 {
        let at = bytes.len() - 4;
        seal(bytes, 0, at);
    }
}

/// Any file of Cyrus, recognised by its first bytes.
pub(crate) fn any_database(bytes: &mut [u8]) {
    if bytes.starts_with(b"\xa1\x02\x8b\x0dtwoskip") {
        twoskip(bytes);
    }
}
