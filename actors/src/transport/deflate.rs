//! COMPRESS DEFLATE: raw deflate (RFC 1951) in both directions.

use async_compression::Level;
use async_compression::tokio::bufread::DeflateDecoder;
use async_compression::tokio::write::DeflateEncoder;
use tokio::io::BufReader;

use super::{ReadHalf, WriteHalf};

/// How much compressed input is read at once, in bytes.
const READ_BYTES: usize = 32 * 1024;

/// Wraps both halves. Flushing the writer ends a deflate block, so that the replica can read all
/// of it. The fastest level: mail is mostly base64, which better levels hardly shrink further.
pub(super) fn wrap(read: ReadHalf, write: WriteHalf) -> (ReadHalf, WriteHalf) {
    let reader = DeflateDecoder::new(BufReader::with_capacity(READ_BYTES, read));
    let writer = DeflateEncoder::with_quality(write, Level::Fastest);
    (Box::new(reader), Box::new(writer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn what_is_flushed_can_be_read_at_once() {
        let (near, far) = tokio::io::duplex(1024);
        let (near_read, near_write) = tokio::io::split(near);
        let (far_read, far_write) = tokio::io::split(far);
        let (_, mut write) = wrap(Box::new(near_read), Box::new(near_write));
        let (mut read, _) = wrap(Box::new(far_read), Box::new(far_write));
        for word in ["first", "second"] {
            write.write_all(word.as_bytes()).await.unwrap();
            write.flush().await.unwrap();
            let mut got = vec![0; word.len()];
            read.read_exact(&mut got).await.unwrap();
            assert_eq!(got, word.as_bytes());
        }
    }
}
