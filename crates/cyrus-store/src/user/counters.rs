//! A user's counters: the highest modseqs and UIDVALIDITY that were assigned.
//!
//! ```text
//! 0 generation u32   4 version u32   8 modseqs, u64 each   then the last UIDVALIDITY u32, CRC-32 of all before it u32
//! version (length):  0 (48)  1 (56)  2 (64)  3 (88)  4 (104)  5 (120)  6 (200)  7 (232)  8 (264)  9 (296)
//! modseqs: highest, mail, caldav, carddav, notes, mail folders, caldav folders, carddav folders, notes folders (3), quota,
//!          racl (4), …
//! ```
//!
//! All numbers are big-endian. A file of 48 bytes has version 0 whatever its version field. Source: `imap/mboxname.c`
//! (mboxname_buf_to_counters, mboxname_readraclmodseq) of cyrus-imapd 3.6.1.

use std::path::{Path, PathBuf};

use cyrus_types::{ModSeq, UidValidity};

use crate::big_endian::{be32, be64};
use crate::config::Config;
use crate::error::StoreError;
use crate::mboxlist::MboxList;
use crate::paths::{self, UserFile};
use crate::regular;

/// Lengths of the file by version.
const LENGTHS: [usize; 10] = [48, 56, 64, 88, 104, 120, 200, 232, 264, 296];
/// The longest file that is read.
const MAX_LEN: u64 = 4096;
/// A change is a single write; a reader that sees half of it reads again this often.
const TRIES: u32 = 3;

/// A user's counters, as far as replication needs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Version of the file.
    pub version: u32,
    /// The highest modseq of all.
    pub highestmodseq: ModSeq,
    /// The highest modseq of a mail mailbox.
    pub mailmodseq: ModSeq,
    /// The last change of the list of mail folders; 0 before version 2.
    pub mailfoldersmodseq: ModSeq,
    /// The last change of a quota root; 0 before version 4.
    pub quotamodseq: ModSeq,
    /// The last change of who may see what; 0 before version 4.
    pub raclmodseq: ModSeq,
    /// The last UIDVALIDITY given to a mailbox.
    pub uidvalidity: UidValidity,
}

/// Reads a user's counters; all zero without a file.
///
/// # Errors
/// The file is damaged or of an unknown version.
pub fn counters(conf: &Config, list: &MboxList, userid: &str) -> Result<Counters, StoreError> {
    read_patiently(&counters_path(conf, list, userid)?)
}

/// The `RACLMODSEQ` of a user's INBOX: 0 unless conversations are on. A file that cannot be used counts as 0, as in Cyrus.
///
/// # Errors
/// The mailbox list is damaged.
pub fn raclmodseq(conf: &Config, list: &MboxList, userid: &str) -> Result<ModSeq, StoreError> {
    if !conf.conversations() {
        return Ok(ModSeq::ZERO);
    }
    let path = counters_path(conf, list, userid)?;
    Ok(read_patiently(&path).unwrap_or_default().raclmodseq)
}

fn counters_path(conf: &Config, list: &MboxList, userid: &str) -> Result<PathBuf, StoreError> {
    paths::user_file(conf, userid, list.inbox_id(userid)?.as_ref(), UserFile::Counters)
}

/// Reads again what a writer had half written: Cyrus does not lock this file for reading either.
fn read_patiently(path: &Path) -> Result<Counters, StoreError> {
    for _ in 1..TRIES {
        match read(path) {
            Err(StoreError::Damaged { .. }) => {}
            result => return result,
        }
    }
    read(path)
}

fn read(path: &Path) -> Result<Counters, StoreError> {
    let bytes = match regular::read(path, MAX_LEN) {
        Ok(bytes) => bytes,
        Err(StoreError::MissingFile { .. }) => return Ok(Counters::default()),
        Err(error) => return Err(error),
    };
    if bytes.len() < 8 {
        return Ok(Counters::default());
    }
    parse(path, &bytes)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Counters, StoreError> {
    let version = if bytes.len() == LENGTHS[0] { 0 } else { be32(bytes, 4) };
    let Some(len) = LENGTHS.get(version as usize) else {
        return Err(StoreError::unsupported(
            path,
            format!("counters of version {version} are not known"),
        ));
    };
    if bytes.len() != *len {
        return Err(StoreError::damaged(
            path,
            format!("its {} bytes do not fit version {version}", bytes.len()),
        ));
    }
    if crc32fast::hash(bytes.get(..len - 4).unwrap_or_default()) != be32(bytes, len - 4) {
        return Err(StoreError::damaged(path, "the checksum is wrong"));
    }
    let since = |first: u32, at: usize| ModSeq(if version >= first { be64(bytes, at) } else { 0 });
    // Cyrus reads only half of it in version 2, and so gets 0; so do we, to agree.
    let mailfoldersmodseq = since(3, 48);
    Ok(Counters {
        version,
        highestmodseq: ModSeq(be64(bytes, 8)),
        mailmodseq: ModSeq(be64(bytes, 16)),
        mailfoldersmodseq,
        quotamodseq: since(4, 80),
        raclmodseq: since(4, 88),
        uidvalidity: UidValidity(be32(bytes, len - 8)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(version: u32, len: usize) -> Vec<u8> {
        let mut bytes = vec![0u8; len];
        bytes[4..8].copy_from_slice(&version.to_be_bytes());
        for (place, chunk) in bytes[8..len - 8].chunks_exact_mut(8).enumerate() {
            chunk.copy_from_slice(&(100 + place as u64).to_be_bytes());
        }
        let uidvalidity_at = match version {
            0 => 40,
            _ => len - 8,
        };
        bytes[uidvalidity_at..uidvalidity_at + 4].copy_from_slice(&77u32.to_be_bytes());
        let crc = crc32fast::hash(&bytes[..len - 4]);
        bytes[len - 4..].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    #[test]
    fn every_version() {
        for (version, len) in LENGTHS.iter().enumerate() {
            let bytes = made(version as u32, *len);
            let counters = parse(Path::new("/c"), &bytes).unwrap();
            assert_eq!(
                (counters.highestmodseq, counters.mailmodseq, counters.uidvalidity),
                (ModSeq(100), ModSeq(101), UidValidity(77))
            );
            let racl = if version >= 4 { 110 } else { 0 };
            assert_eq!(counters.raclmodseq, ModSeq(racl));
            let mut torn = bytes.clone();
            torn[9] ^= 1;
            assert!(matches!(parse(Path::new("/c"), &torn), Err(StoreError::Damaged { .. })));
        }
        assert!(matches!(
            parse(Path::new("/c"), &made(10, 304)),
            Err(StoreError::Unsupported { .. })
        ));
        assert!(parse(Path::new("/c"), &made(9, 288)).is_err());
    }
}
