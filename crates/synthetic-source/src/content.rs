//! The bytes of messages: a function of the message's number and size, so that none has to be kept.
//!
//! ```text
//!   From: …  Subject: …  Message-ID: <number@synthetic>  empty line      (the first HEADER bytes or so)
//!   lines of 78 printable letters                                        to the end
//! ```

use std::io::{self, Read};

use cyrus_types::Guid;
use sha1::{Digest, Sha1};

use crate::random;

/// Bytes of a line, with CR and LF.
const LINE: u64 = 80;
/// Bytes of one random number.
const WORD: usize = 8;

/// A message, read from its beginning.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    number: u64,
    size: u64,
    header: Vec<u8>,
    /// How many bytes were read.
    at: u64,
}

impl Content {
    pub(crate) fn new(number: u64, size: u64) -> Content {
        let header = format!(
            "From: synthetic@example.com\r\nTo: synthetic@example.com\r\nSubject: message {number:016x}\r\n\
             Date: Tue, 14 Nov 2023 22:13:20 +0000\r\nMessage-ID: <{number:016x}@synthetic>\r\n\r\n"
        );
        Content { number, size, header: header.into_bytes(), at: 0 }
    }

    /// Fills this with the body from `at` on, which counts from the end of the header.
    fn body(&self, mut at: u64, mut out: &mut [u8]) {
        // First the rest of a word, so that whole words follow.
        let within = (at % WORD as u64) as usize;
        if within > 0 {
            let word = self.word(at / WORD as u64);
            let rest = word.get(within..).unwrap_or_default();
            let length = rest.len().min(out.len());
            let (first, others) = out.split_at_mut(length);
            first.copy_from_slice(rest.get(..length).unwrap_or_default());
            out = others;
            at += length as u64;
        }
        let mut index = at / WORD as u64;
        let (words, last) = out.as_chunks_mut::<WORD>();
        for word in words {
            *word = self.word(index);
            index += 1;
        }
        let word = self.word(index);
        last.copy_from_slice(word.get(..last.len()).unwrap_or_default());
    }

    /// Eight letters, or the end of a line.
    fn word(&self, index: u64) -> [u8; WORD] {
        // Each byte becomes one of 64 letters from '0' on.
        let letters = (random::nth(self.number, index) & 0x3f3f_3f3f_3f3f_3f3f)
            .wrapping_add(0x3030_3030_3030_3030);
        let mut word = letters.to_le_bytes();
        if index % (LINE / WORD as u64) == LINE / WORD as u64 - 1 {
            let [.., cr, lf] = &mut word;
            (*cr, *lf) = (b'\r', b'\n');
        }
        word
    }
}

impl Read for Content {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = self.size - self.at;
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(out.len());
        let out = out.get_mut(..length).unwrap_or_default();
        let header = usize::try_from(self.at).ok().and_then(|at| self.header.get(at..));
        let header = header.unwrap_or_default();
        let of_header = header.len().min(length);
        let (first, rest) = out.split_at_mut(of_header);
        first.copy_from_slice(header.get(..of_header).unwrap_or_default());
        self.at += of_header as u64;
        if !rest.is_empty() {
            self.body(self.at - self.header.len() as u64, rest);
            self.at += rest.len() as u64;
        }
        Ok(length)
    }
}

/// The GUID of a message; `buffer` is only used.
pub(crate) fn guid(number: u64, size: u64, buffer: &mut Vec<u8>) -> Guid {
    const BUFFER: usize = 64 * 1024;
    buffer.resize(BUFFER, 0);
    let mut content = Content::new(number, size);
    let mut hash = Sha1::new();
    // Reading never fails, and ends with 0.
    while let Ok(length @ 1..) = content.read(buffer) {
        hash.update(buffer.get(..length).unwrap_or_default());
    }
    Guid(hash.finalize().into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on fails by panicking")]
mod tests {
    use super::*;

    fn whole(number: u64, size: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        Content::new(number, size).read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_message_is_the_same_in_pieces_of_any_size() {
        let bytes = whole(7, 3001);
        assert_eq!(bytes.len(), 3001);
        for piece in [1, 3, 7, 8, 9, 80, 1000] {
            let mut content = Content::new(7, 3001);
            let mut found = Vec::new();
            let mut buffer = vec![0; piece];
            loop {
                let length = content.read(&mut buffer).unwrap();
                if length == 0 {
                    break;
                }
                found.extend_from_slice(&buffer[..length]);
            }
            assert_eq!(found, bytes, "{piece}");
        }
    }

    #[test]
    fn a_message_is_text_in_lines_and_has_its_sha1_as_guid() {
        let bytes = whole(7, 200_000);
        let text = std::str::from_utf8(&bytes).unwrap();
        assert!(text.starts_with("From: ") && text.contains("\r\n\r\n"));
        assert!(text.lines().all(|line| line.len() <= 78 && line.bytes().all(|b| b >= b' ')));
        assert_eq!(guid(7, 200_000, &mut Vec::new()).0, <[u8; 20]>::from(Sha1::digest(&bytes)));
        assert_ne!(whole(8, 200_000), bytes);
        assert_eq!(whole(7, 10), &bytes[..10]);
        assert!(whole(7, 0).is_empty());
    }
}
