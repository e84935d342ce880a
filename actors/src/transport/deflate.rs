//! COMPRESS DEFLATE: raw deflate (RFC 1951) in both directions.

use async_compression::Level;
use async_compression::tokio::bufread::DeflateDecoder;
use async_compression::tokio::write::DeflateEncoder;
use tokio::io::BufReader;

use super::{ReadHalf, WriteHalf};

/// How much compressed input is read at once, in bytes.
const READ_BYTES: usize = 32 * 1024;

/// Inflates what is received.
pub(crate) fn inflated(read: ReadHalf) -> ReadHalf {
    Box::new(DeflateDecoder::new(BufReader::with_capacity(READ_BYTES, read)))
}

/// Deflates what is sent. Flushing ends a deflate block, so that the replica can read all of it. The fastest
/// level: mail is mostly base64, which better levels hardly shrink further.
pub(crate) fn deflated(write: WriteHalf) -> WriteHalf {
    Box::new(DeflateEncoder::with_quality(write, Level::Fastest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn wrap(read: ReadHalf, write: WriteHalf) -> (ReadHalf, WriteHalf) {
        (inflated(read), deflated(write))
    }

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

    /// Bytes that no encoder makes fewer.
    fn noise(seed: u64, count: usize) -> Vec<u8> {
        let mut x = seed | 1;
        let mut next = || {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x
        };
        (0..count).map(|_| next() as u8).collect()
    }

    // Shows that nothing stays behind in the encoder, wherever its buffers happen to be full. With the miniz_oxide
    // backend a command's last bytes did, and so did its answer: about these sizes, when a block had ended with the
    // input and was not yet out.
    #[tokio::test]
    async fn nothing_flushed_stays_behind() {
        for capacity in [300, 100_000] {
            let (near, far) = tokio::io::duplex(capacity);
            let (near_read, near_write) = tokio::io::split(near);
            let (far_read, far_write) = tokio::io::split(far);
            let (_, mut write) = wrap(Box::new(near_read), Box::new(near_write));
            let (mut read, _) = wrap(Box::new(far_read), Box::new(far_write));
            for round in 0..80 {
                let sent = noise(round, 58_210 + round as usize);
                let mut got = vec![0; sent.len()];
                let writing = async {
                    write.write_all(&sent).await.unwrap();
                    write.flush().await.unwrap();
                };
                let reading = async { tokio::join!(writing, read.read_exact(&mut got)).1 };
                let limit = std::time::Duration::from_secs(5);
                let in_time = tokio::time::timeout(limit, reading).await;
                assert!(in_time.is_ok(), "round {round}: some of {} bytes never came", sent.len());
                assert_eq!(got, sent);
            }
        }
    }
}
