//! A connection's bytes: plain, deflated, or within TLS. One thread owns it, so it needs no lock.
//!
//! Answers are collected and sent when there is no more input, as Cyrus does: a client that sends commands ahead of their
//! answers gets the answers in few packets.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use nix::sys::socket::{MsgFlags, recv};

/// How much is read at once.
const READ_BYTES: usize = 256 * 1024;
/// How many bytes of answers are collected at most before they are sent.
const WRITE_BYTES: usize = 64 * 1024;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    /// The peer is gone, or the server is stopped.
    #[error("closed")]
    Closed,
    /// The socket broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The bytes are not a command; the text goes to the peer.
    #[error("{0}")]
    Nonsense(String),
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<rustls::StreamOwned<rustls::ServerConnection, TcpStream>>),
}

impl Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(tcp) => tcp.read(buf),
            Stream::Tls(tls) => tls.read(buf),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Stream::Plain(tcp) => tcp.write_all(bytes),
            Stream::Tls(tls) => tls.write_all(bytes).and_then(|()| tls.flush()),
        }
    }
}

/// Raw deflate in both directions (RFC 1951).
struct Deflate {
    inflate: Decompress,
    compress: Compress,
    /// Compressed input not inflated yet: `raw[at..end]`.
    raw: Vec<u8>,
    at: usize,
    end: usize,
    /// The last inflation produced output: there may be more without more input.
    more: bool,
}

/// A connection's bytes, in and out.
pub(crate) struct Wire {
    stream: Stream,
    deflate: Option<Deflate>,
    /// Input not taken yet: `buf[at..end]`.
    buf: Vec<u8>,
    at: usize,
    end: usize,
    /// Answers not sent yet.
    pub(crate) out: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(tcp: TcpStream) -> Wire {
        Wire {
            stream: Stream::Plain(tcp),
            deflate: None,
            buf: vec![0; READ_BYTES],
            at: 0,
            end: 0,
            out: Vec::new(),
        }
    }

    /// The bytes that have arrived and are not taken yet, at least one.
    pub(crate) fn available(&mut self) -> Result<&[u8], End> {
        if self.at >= self.end {
            self.fill()?;
        }
        Ok(self.buf.get(self.at..self.end).unwrap_or_default())
    }

    /// Takes this many of the available bytes.
    pub(crate) fn take(&mut self, count: usize) {
        self.at = (self.at + count).min(self.end);
    }

    /// The next byte, without taking it.
    pub(crate) fn peek(&mut self) -> Result<u8, End> {
        self.available()?.first().copied().ok_or(End::Closed)
    }

    /// Takes the next byte.
    pub(crate) fn byte(&mut self) -> Result<u8, End> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    /// Hands the next `count` bytes to `taker`, as they arrive.
    pub(crate) fn pass(&mut self, count: u64, mut taker: impl FnMut(&[u8])) -> Result<(), End> {
        let mut left = count;
        while left > 0 {
            let some = self.available()?;
            let some = some.get(..some.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
            let some = some.unwrap_or_default();
            taker(some);
            let taken = some.len();
            self.at += taken;
            left -= taken as u64;
        }
        Ok(())
    }

    /// Throws the next `count` bytes away. Without TLS or deflate the kernel does it, without copying them.
    pub(crate) fn discard(&mut self, count: u64) -> Result<(), End> {
        let here = ((self.end - self.at) as u64).min(count);
        self.at += here as usize;
        let mut left = count - here;
        self.flush()?;
        if let (Stream::Plain(tcp), None) = (&self.stream, &self.deflate)
            && left > 0
        {
            let fd = tcp.as_raw_fd();
            while left > 0 {
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(self.buf.len());
                let room = self.buf.get_mut(..most).unwrap_or_default();
                match recv(fd, room, MsgFlags::MSG_TRUNC) {
                    Ok(0) => return Err(End::Closed),
                    Ok(count) => left -= (count as u64).min(left),
                    Err(nix::errno::Errno::EINTR) => {}
                    Err(errno) => return Err(io::Error::from(errno).into()),
                }
            }
            return Ok(());
        }
        self.pass(left, |_| ())
    }

    /// Sends the answers collected so far.
    pub(crate) fn flush(&mut self) -> Result<(), End> {
        if self.out.is_empty() {
            return Ok(());
        }
        match &mut self.deflate {
            None => self.stream.write_all(&self.out)?,
            Some(deflate) => {
                let packed = deflate.pack(&self.out)?;
                self.stream.write_all(&packed)?;
            }
        }
        self.out.clear();
        Ok(())
    }

    /// Sends answers when many are collected.
    pub(crate) fn flush_if_much(&mut self) -> Result<(), End> {
        if self.out.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    /// From now on both directions are deflated. Input that was read already stays as it is, as in Cyrus.
    pub(crate) fn start_deflate(&mut self) {
        self.deflate = Some(Deflate {
            inflate: Decompress::new(false),
            compress: Compress::new(Compression::fast(), false),
            raw: vec![0; READ_BYTES],
            at: 0,
            end: 0,
            more: false,
        });
    }

    /// Does the TLS handshake with the first bytes that follow.
    pub(crate) fn start_tls(
        &mut self,
        config: std::sync::Arc<rustls::ServerConfig>,
    ) -> Result<(), End> {
        let Stream::Plain(tcp) = &self.stream else { return Err(End::Closed) };
        let server = rustls::ServerConnection::new(config).map_err(io::Error::other)?;
        self.stream = Stream::Tls(Box::new(rustls::StreamOwned::new(server, tcp.try_clone()?)));
        (self.at, self.end) = (0, 0);
        Ok(())
    }

    fn fill(&mut self) -> Result<(), End> {
        self.flush()?;
        let count = match &mut self.deflate {
            None => self.stream.read(&mut self.buf)?,
            Some(deflate) => deflate.read(&mut self.stream, &mut self.buf)?,
        };
        if count == 0 {
            return Err(End::Closed);
        }
        (self.at, self.end) = (0, count);
        Ok(())
    }
}

impl Deflate {
    fn read(&mut self, stream: &mut Stream, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.at >= self.end && !self.more {
                self.end = stream.read(&mut self.raw)?;
                self.at = 0;
                if self.end == 0 {
                    return Ok(0);
                }
            }
            let (taken, made) = (self.inflate.total_in(), self.inflate.total_out());
            let raw = self.raw.get(self.at..self.end).unwrap_or_default();
            let status = self.inflate.decompress(raw, buf, FlushDecompress::None);
            let status = status.map_err(io::Error::other)?;
            self.at += (self.inflate.total_in() - taken) as usize;
            let made = (self.inflate.total_out() - made) as usize;
            self.more = made > 0;
            if made > 0 {
                return Ok(made);
            }
            if status == Status::StreamEnd {
                return Ok(0);
            }
        }
    }

    fn pack(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut packed = Vec::with_capacity(bytes.len() / 2 + 64);
        let start = self.compress.total_in();
        loop {
            let done = (self.compress.total_in() - start) as usize;
            let rest = bytes.get(done..).unwrap_or_default();
            packed.reserve(rest.len() / 2 + 64);
            let room = packed.capacity() - packed.len();
            let before = packed.len();
            let status = self.compress.compress_vec(rest, &mut packed, FlushCompress::Sync);
            status.map_err(io::Error::other)?;
            let done = (self.compress.total_in() - start) as usize;
            // Everything is out if it did not need all the room it had.
            if done >= bytes.len() && packed.len() - before < room {
                return Ok(packed);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on fails by panicking")]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use flate2::{Compress, Compression, FlushCompress};

    use super::Wire;

    // Checks that all input is handed on, also when the inflater has taken the last byte of input but still holds output:
    // its window of 32 KiB was full.
    #[test]
    fn nothing_stays_behind_in_the_inflater() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let far = listener.accept().unwrap().0;
        far.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut wire = Wire::new(far);
        wire.start_deflate();
        let mut compress = Compress::new(Compression::fast(), false);
        let (mut x, mut all) = (1_u32, 0_usize);
        for round in 0..200_usize {
            // Ends near the window's edge, with a run of bytes that compresses to a few bits.
            let wanted = 32_768 - all % 32_768 + round % 300;
            let noise = wanted.saturating_sub(round % 290);
            let sent: Vec<u8> = (0..wanted)
                .map(|at| {
                    x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    if at < noise && at % 64 == 0 { (x >> 24) as u8 } else { b'a' }
                })
                .collect();
            let mut packed = Vec::with_capacity(sent.len() + 1000);
            compress.compress_vec(&sent, &mut packed, FlushCompress::Sync).unwrap();
            near.write_all(&packed).unwrap();
            all += sent.len();
            let mut got = Vec::new();
            let read = wire.pass(sent.len() as u64, |bytes| got.extend_from_slice(bytes));
            assert!(read.is_ok(), "round {round}: {} of {} bytes came", got.len(), sent.len());
            assert!(got == sent);
        }
    }
}
