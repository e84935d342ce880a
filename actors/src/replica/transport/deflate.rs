//! COMPRESS DEFLATE: raw deflate (RFC 1951) in both directions.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_compression::Level;
use async_compression::tokio::bufread::DeflateDecoder;
use async_compression::tokio::write::DeflateEncoder;
use tokio::io::{AsyncBufRead, AsyncRead, BufReader, ReadBuf};

use super::{ReadHalf, WriteHalf};

/// How much compressed input is read at once, in bytes.
const READ_BYTES: usize = 32 * 1024;

/// Inflates received bytes. It ends when the input ends: a server that closes or dies does not end its deflate stream.
pub(crate) fn inflated(read: ReadHalf) -> ReadHalf {
    let source = Source { inner: BufReader::with_capacity(READ_BYTES, read), ended: Ended::Not };
    Box::new(Inflated { decoder: DeflateDecoder::new(source) })
}

/// How the compressed bytes ended, if they have.
enum Ended {
    Not,
    Well,
    Broken(io::ErrorKind, String),
}

/// The compressed bytes; remembers their end, which the decoder would report as an error of its own.
struct Source {
    inner: BufReader<ReadHalf>,
    ended: Ended,
}

impl AsyncRead for Source {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncBufRead for Source {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let Source { inner, ended } = self.get_mut();
        let filled = ready!(Pin::new(inner).poll_fill_buf(cx));
        match &filled {
            Ok([]) => *ended = Ended::Well,
            Ok(_) => {}
            Err(e) => *ended = Ended::Broken(e.kind(), e.to_string()),
        }
        Poll::Ready(filled)
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        Pin::new(&mut self.inner).consume(amount);
    }
}

struct Inflated {
    decoder: DeflateDecoder<Source>,
}

impl AsyncRead for Inflated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.decoder).poll_read(cx, buf));
        let Err(e) = read else { return Poll::Ready(Ok(())) };
        Poll::Ready(match &self.decoder.get_ref().ended {
            Ended::Well => Ok(()),
            Ended::Broken(kind, words) => Err(io::Error::new(*kind, words.clone())),
            Ended::Not => {
                let words = format!("what it sends is compressed, and damaged ({e})");
                Err(io::Error::new(io::ErrorKind::InvalidData, words))
            }
        })
    }
}

/// Deflates sent bytes. A flush ends a deflate block, so that the replica can read all of it. The fastest level: mail is
/// mostly base64, which better levels hardly shrink further.
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

    // A server that dies on a compressed connection leaves it in the middle of a deflate block. That was reported as
    // "unexpected BufError".
    #[tokio::test]
    async fn a_stream_that_breaks_off_ends() {
        let (near, mut far) = tokio::io::duplex(1024);
        let mut packed = Vec::new();
        let mut encoder = DeflateEncoder::with_quality(&mut packed, Level::Fastest);
        encoder.write_all(b"OK all of it\r\n").await.unwrap();
        encoder.flush().await.unwrap();
        drop(encoder);
        far.write_all(&packed).await.unwrap();
        drop(far);
        let mut read = inflated(Box::new(near));
        let mut got = Vec::new();
        read.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"OK all of it\r\n");
        let (near, mut far) = tokio::io::duplex(1024);
        far.write_all(&[0xff; 100]).await.unwrap();
        let damaged = inflated(Box::new(near)).read_to_end(&mut got).await.unwrap_err();
        assert!(damaged.to_string().contains("damaged"), "{damaged}");
    }

    /// Bytes that no encoder can shorten.
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

    // Shows that nothing stays behind in the encoder, wherever its buffers happen to be full. With the miniz_oxide backend
    // the last bytes of a command did, and so its answer never came: at about these sizes, when a block ended with the
    // input and was not written yet.
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
