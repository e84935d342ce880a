//! `cyrus.index` (version 17), `cyrus.cache` and `cyrus.header` of a mailbox.
//!
//! ```text
//!   header, 160 bytes                                  record, 112 bytes
//!   0 generation  8 version 12 start 16 record size    0 uid 4 internaldate 8 sentdate 12 size
//!   20 records 24 last append 28 last uid 32 used [8]   16 header size 20 gmtime 24 cache offset
//!   44 uidvalidity 48 deleted 52 answered 56 flagged    28 last updated 32 flags 36 user flags [4 x 4]
//!   60 options 68 highestmodseq [8] 84 exists           52 savedate 56 cache version 60 guid [20]
//!   92 last repack 96 CRC of cyrus.header 100 sync CRC  80 modseq [8] 88 cid [8] 96 created modseq [8]
//!   120 its annotations' 124 unseen 128 created modseq  104 CRC of the cache record 108 CRC of all before
//!   156 CRC of all before
//! ```
//! Source: `imap/mailbox.h` and `mailbox_index_header_to_buf` of cyrus-imapd 3.6.1.

use super::message::{self, CACHE_VERSION, GMTIME, SENTDATE};
use super::model::{ANSWERED, DELETED, FLAGGED, Mailbox, Message, SEEN};

const HEADER: usize = 160;
const RECORD: usize = 112;
/// The one user flag that messages have.
pub(crate) const LABEL: &str = "$Label1";

/// A mailbox's files except its messages.
pub(crate) struct Files {
    pub(crate) index: Vec<u8>,
    pub(crate) cache: Vec<u8>,
    pub(crate) header: Vec<u8>,
}

fn put32(buf: &mut [u8], at: usize, value: u32) {
    if let Some(place) = buf.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

fn put64(buf: &mut [u8], at: usize, value: u64) {
    if let Some(place) = buf.get_mut(at..at + 8) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

/// Encodes a mailbox.
pub(crate) fn encode(mailbox: &Mailbox) -> Files {
    let header = header_file(mailbox);
    let mut cache = vec![0; 4];
    let mut index = vec![0; HEADER];
    index.reserve(mailbox.messages.len() * RECORD);
    let (mut basic, mut annot) = (0, 12_345_678);
    let (mut used, mut exists, mut unseen) = (0u64, 0, 0);
    let mut flags = [(DELETED, 48, 0u32), (ANSWERED, 52, 0), (FLAGGED, 56, 0)];
    let mut last_append = 0;
    for one in &mailbox.messages {
        let body = message::text(one.number, one.length);
        let cached = message::cache_record(one.number, &body);
        let offset = cache.len() as u32;
        index.extend_from_slice(&record(one, body.header_size as u32, offset, &cached));
        cache.extend_from_slice(&cached);
        last_append = one.time.max(last_append);
        if one.is_expunged() {
            continue;
        }
        used += u64::from(one.size);
        exists += 1;
        unseen += u32::from(one.flags & SEEN == 0);
        for (flag, _, count) in &mut flags {
            *count += u32::from(one.flags & *flag != 0);
        }
        basic ^= crc_basic(one);
        annot ^= crc_annot(one);
    }
    put32(&mut index, 8, 17);
    put32(&mut index, 12, HEADER as u32);
    put32(&mut index, 16, RECORD as u32);
    put32(&mut index, 20, mailbox.messages.len() as u32);
    put32(&mut index, 24, last_append as u32);
    put32(&mut index, 28, mailbox.last_uid);
    put64(&mut index, 32, used);
    put32(&mut index, 44, mailbox.uidvalidity);
    for (_, at, count) in flags {
        put32(&mut index, at, count);
    }
    // POP3_NEW_UIDL, as every new mailbox.
    put32(&mut index, 60, 1);
    put64(&mut index, 68, mailbox.highestmodseq);
    put32(&mut index, 84, exists);
    let expunged = mailbox.messages.iter().filter(|m| m.is_expunged());
    put32(&mut index, 88, expunged.map(|m| m.last_updated as u32).min().unwrap_or(0));
    put32(&mut index, 96, crc32(&header));
    put32(&mut index, 100, basic);
    put32(&mut index, 120, annot);
    put32(&mut index, 124, unseen);
    put64(&mut index, 128, mailbox.createdmodseq);
    let crc = crc32(index.get(..HEADER - 4).unwrap_or_default());
    put32(&mut index, HEADER - 4, crc);
    Files { index, cache, header }
}

fn record(one: &Message, header_size: u32, cache_offset: u32, cached: &[u8]) -> [u8; RECORD] {
    let mut buf = [0; RECORD];
    put32(&mut buf, 0, one.uid);
    put32(&mut buf, 4, one.time as u32);
    put32(&mut buf, 8, SENTDATE);
    put32(&mut buf, 12, one.size);
    put32(&mut buf, 16, header_size);
    put32(&mut buf, 20, GMTIME);
    put32(&mut buf, 24, cache_offset);
    put32(&mut buf, 28, one.last_updated as u32);
    put32(&mut buf, 32, one.flags);
    put32(&mut buf, 36, u32::from(one.labelled));
    put32(&mut buf, 52, one.time as u32);
    put32(&mut buf, 56, CACHE_VERSION);
    if let Some(guid) = buf.get_mut(60..80) {
        guid.copy_from_slice(&one.guid);
    }
    put64(&mut buf, 80, one.modseq);
    put64(&mut buf, 96, one.createdmodseq);
    put32(&mut buf, 104, crc32(cached));
    let crc = crc32(buf.get(..RECORD - 4).unwrap_or_default());
    put32(&mut buf, RECORD - 4, crc);
    buf
}

fn header_file(mailbox: &Mailbox) -> Vec<u8> {
    let mut header = b"\xa1\x02\x8b\x0dCyrus mailbox header\n\
        \"The best thing about this system was that it had lots of goals.\"\n\
        \t--Jim Morris on Andrew\n"
        .to_vec();
    let Mailbox { name, uniqueid, owner, .. } = mailbox;
    let list = format!("%(T e N {name} I {uniqueid} A %({owner} lrswipkxtecdan) U ({LABEL}))\n");
    header.extend_from_slice(list.as_bytes());
    header
}

/// CRC-32 of "UID MODSEQ LAST_UPDATED (FLAGS' CRC) INTERNALDATE GUID" (`imap/mailbox.c:crc_basic`).
fn crc_basic(one: &Message) -> u32 {
    let names: [(u32, &[u8]); 4] = [
        (SEEN, b"\\seen"),
        (FLAGGED, b"\\flagged"),
        (ANSWERED, b"\\answered"),
        (DELETED, b"\\deleted"),
    ];
    let mut flags = if one.labelled { crc32(LABEL.to_ascii_lowercase().as_bytes()) } else { 0 };
    for (flag, name) in names {
        if one.flags & flag != 0 {
            flags ^= crc32(name);
        }
    }
    let guid: String = one.guid.iter().map(|byte| format!("{byte:02x}")).collect();
    let Message { uid, modseq, last_updated, time, .. } = one;
    crc32(format!("{uid} {modseq} {last_updated} ({flags}) {time} {guid}").as_bytes())
}

/// The save date and the modseq of creation count as annotations (`imap/mailbox.c:crc_virtannot`).
fn crc_annot(one: &Message) -> u32 {
    let of = |name: &str, value: u64| {
        crc32(format!("{} /vendor/cmu/cyrus-imapd/{name}  {value}", one.uid).as_bytes())
    };
    of("savedate", one.time as u64) ^ of("createdmodseq", one.createdmodseq)
}

/// CRC-32 as zlib has it.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}
