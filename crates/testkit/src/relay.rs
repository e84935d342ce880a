//! A TCP relay on loopback that delays, stalls or cuts the traffic.
//!
//! ```text
//!  client --> [relay port] --delay--> server      each direction: a reading thread stamps what came,
//!         <--delay--                              a writing thread sends it when its time has come
//! ```
//! The delay is latency, not bandwidth: bytes keep flowing while others are on their way.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Result, io};

/// Chunks in flight in one direction; with 64 KiB chunks at most 64 MiB for each connection.
const CHUNKS_UNDER_WAY: usize = 1024;

const CHUNK_BYTES: usize = 64 * 1024;

/// A running relay; connections through it end when it is dropped.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    rules: Arc<Rules>,
}

#[derive(Debug)]
struct Rules {
    target: u16,
    delay: Mutex<Duration>,
    stall: AtomicBool,
    stop: AtomicBool,
    /// Bytes that clients may still send (all connections together) until the next cut; `u64::MAX` = no cut.
    allowance: AtomicU64,
    /// As `allowance`, until the next stall.
    until_stall: AtomicU64,
    cut_at: Mutex<Option<Vec<u8>>>,
    hidden: Mutex<Option<Vec<u8>>>,
    refuse: AtomicBool,
    connections: AtomicUsize,
    cuts: AtomicUsize,
    sockets: Mutex<Vec<TcpStream>>,
}

impl Relay {
    /// Starts a relay to a loopback port; it changes nothing yet.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn start(target_port: u16) -> Result<Self> {
        let listener =
            TcpListener::bind(("127.0.0.1", 0)).map_err(io("bind a port of", "127.0.0.1"))?;
        let port = listener.local_addr().map_err(io("read a port of", "127.0.0.1"))?.port();
        let rules = Arc::new(Rules {
            target: target_port,
            delay: Mutex::new(Duration::ZERO),
            stall: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            allowance: AtomicU64::new(u64::MAX),
            until_stall: AtomicU64::new(u64::MAX),
            cut_at: Mutex::new(None),
            hidden: Mutex::new(None),
            refuse: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            cuts: AtomicUsize::new(0),
            sockets: Mutex::new(Vec::new()),
        });
        let shared = Arc::clone(&rules);
        std::thread::spawn(move || accept(&listener, &shared));
        Ok(Self { port, rules })
    }

    /// The port to connect to instead of the server's.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Delays every byte by this much in each direction; a round trip takes twice as long.
    pub fn set_delay(&self, one_way: Duration) {
        *self.rules.delay.lock().unwrap_or_else(PoisonError::into_inner) = one_way;
    }

    /// Lets nothing pass in either direction (`true`) until it is switched off; connections stay. The relay does not read
    /// either, so a client that sends much has to wait, as on a dead link.
    pub fn stall(&self, stall: bool) {
        self.rules.stall.store(stall, Ordering::SeqCst);
    }

    /// Stalls after the clients have sent `bytes` more (counted over all connections, to the end of the read that passes
    /// the limit). It happens once.
    pub fn stall_after(&self, bytes: u64) {
        self.rules.until_stall.store(bytes, Ordering::SeqCst);
    }

    /// Whether nothing passes now.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.rules.stall.load(Ordering::SeqCst)
    }

    /// Ends new connections at once (`true`), as if the server were down.
    pub fn refuse(&self, refuse: bool) {
        self.rules.refuse.store(refuse, Ordering::SeqCst);
    }

    /// Cuts the connection on which the client sends the byte after the next `bytes` (counted over all connections);
    /// the bytes before it pass. It happens once.
    pub fn cut_after(&self, bytes: u64) {
        self.rules.allowance.store(bytes, Ordering::SeqCst);
    }

    /// Cuts the connection on which the client sends `words` (in one read of the relay: best the beginning of a command),
    /// before they pass. It happens once.
    pub fn cut_at(&self, words: &str) {
        *self.rules.cut_at.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(words.as_bytes().to_vec());
    }

    /// Replaces these words with `x` wherever the server sends them (in one read of the relay): without its `DEFLATE` no
    /// client compresses, and [`Relay::cut_at`] can see what it sends.
    pub fn hide(&self, words: &str) {
        *self.rules.hidden.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(words.as_bytes().to_vec());
    }

    /// Cuts all connections there are now.
    pub fn cut_all(&self) {
        for socket in self.rules.sockets.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// How many connections were accepted so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.rules.connections.load(Ordering::SeqCst)
    }

    /// How many were cut by [`Relay::cut_after`] and [`Relay::cut_at`].
    #[must_use]
    pub fn cuts(&self) -> usize {
        self.rules.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.rules.stop.store(true, Ordering::SeqCst);
        self.cut_all();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Rules {
    /// How many of the client's bytes may pass, and whether the connection ends after them.
    fn judge(&self, bytes: &[u8]) -> (usize, bool) {
        let mut words = self.cut_at.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wanted) = words.as_deref()
            && let Some(at) = bytes.windows(wanted.len().max(1)).position(|window| window == wanted)
        {
            *words = None;
            return (at, true);
        }
        drop(words);
        let mut pass = bytes.len();
        let mut cut = false;
        let _ = self.allowance.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            let length = bytes.len() as u64;
            (pass, cut) = (bytes.len(), false);
            if left == u64::MAX {
                return None;
            }
            if left >= length {
                return Some(left - length);
            }
            (pass, cut) = (usize::try_from(left).unwrap_or(usize::MAX), true);
            Some(u64::MAX)
        });
        (pass, cut)
    }

    /// Hides the words of [`Relay::hide`].
    fn mask(&self, bytes: &mut [u8]) {
        let words = self.hidden.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(words) = words.as_deref().filter(|words| !words.is_empty()) else { return };
        while let Some(at) = bytes.windows(words.len()).position(|window| window == words) {
            bytes.iter_mut().skip(at).take(words.len()).for_each(|byte| *byte = b'x');
        }
    }

    /// Counts the client's bytes towards [`Relay::stall_after`].
    fn count(&self, bytes: usize) {
        let counted = self.until_stall.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            (left != u64::MAX).then(|| left.saturating_sub(bytes as u64))
        });
        if counted.is_ok_and(|before| before <= bytes as u64) {
            self.until_stall.store(u64::MAX, Ordering::SeqCst);
            self.stall.store(true, Ordering::SeqCst);
        }
    }

    /// Waits until a stall is over.
    fn wait_while_stalled(&self) {
        while self.stall.load(Ordering::SeqCst) && !self.stop.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn delay(&self) -> Duration {
        *self.delay.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept(listener: &TcpListener, rules: &Arc<Rules>) {
    for client in listener.incoming() {
        if rules.stop.load(Ordering::SeqCst) {
            return;
        }
        let Ok(client) = client else { continue };
        rules.connections.fetch_add(1, Ordering::SeqCst);
        if rules.refuse.load(Ordering::SeqCst) {
            continue;
        }
        // A server that is down ends the client's connection at once: the client is dropped here.
        let _ = connect(client, rules);
    }
}

fn connect(client: TcpStream, rules: &Arc<Rules>) -> std::io::Result<()> {
    let server = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], rules.target)))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let mut sockets = rules.sockets.lock().unwrap_or_else(PoisonError::into_inner);
    sockets.push(client.try_clone()?);
    sockets.push(server.try_clone()?);
    drop(sockets);
    pump(client.try_clone()?, server.try_clone()?, rules, true);
    pump(server, client, rules, false);
    Ok(())
}

/// Moves one direction's bytes.
fn pump(mut from: TcpStream, mut to: TcpStream, rules: &Arc<Rules>, from_client: bool) {
    let (sender, receiver) = mpsc::sync_channel::<(Instant, Vec<u8>)>(CHUNKS_UNDER_WAY);
    let writing = Arc::clone(rules);
    std::thread::spawn(move || {
        while let Ok((due, bytes)) = receiver.recv() {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            writing.wait_while_stalled();
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        // Everything before a cut or an orderly end has passed; the other side now sees the end.
        let _ = to.shutdown(Shutdown::Write);
    });
    let reading = Arc::clone(rules);
    std::thread::spawn(move || {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let Ok(length @ 1..) = from.read(&mut buffer) else {
                return;
            };
            let bytes = buffer.get_mut(..length).unwrap_or_default();
            if !from_client {
                reading.mask(bytes);
            }
            let (pass, cut) = if from_client { reading.judge(bytes) } else { (length, false) };
            if from_client {
                reading.count(pass);
            }
            let due = Instant::now() + reading.delay();
            if sender.send((due, bytes.get(..pass).unwrap_or(bytes).to_vec())).is_err() {
                return;
            }
            if cut {
                reading.cuts.fetch_add(1, Ordering::SeqCst);
                let _ = from.shutdown(Shutdown::Both);
                return;
            }
            reading.wait_while_stalled();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends everything back.
    fn echo() -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                std::thread::spawn(move || {
                    std::io::copy(&mut stream.try_clone().unwrap(), &mut &stream)
                });
            }
        });
        port
    }

    fn open(relay: &Relay) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", relay.port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        stream
    }

    #[test]
    fn delay_is_latency_not_bandwidth() {
        let relay = Relay::start(echo()).unwrap();
        relay.set_delay(Duration::from_millis(30));
        let mut stream = open(&relay);
        let started = Instant::now();
        for _ in 0..10 {
            stream.write_all(b"0123456789").unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut back = [0; 100];
        stream.read_exact(&mut back).unwrap();
        let took = started.elapsed();
        assert!(took >= Duration::from_millis(60) && took < Duration::from_millis(300), "{took:?}");
    }

    #[test]
    fn stall_holds_and_lets_go() {
        let relay = Relay::start(echo()).unwrap();
        let mut stream = open(&relay);
        relay.stall(true);
        stream.write_all(b"x").unwrap();
        let mut back = [0; 1];
        assert!(stream.read_exact(&mut back).is_err());
        relay.stall(false);
        stream.read_exact(&mut back).unwrap();
    }

    #[test]
    fn a_stall_after_some_bytes_holds_the_sender_back() {
        let relay = Relay::start(echo()).unwrap();
        relay.stall_after(1000);
        let mut stream = open(&relay);
        stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        // More than all the buffers on the way hold.
        assert!(stream.write_all(&vec![0; 64 * 1024 * 1024]).is_err());
        assert!(relay.is_stalled());
    }

    #[test]
    fn cuts_happen_once_where_they_should() {
        let relay = Relay::start(echo()).unwrap();
        relay.cut_after(4);
        let mut stream = open(&relay);
        stream.write_all(b"123456").unwrap();
        let mut back = Vec::new();
        let _ = stream.read_to_end(&mut back);
        assert!(b"1234".starts_with(&back), "{back:?}");
        assert_eq!(relay.cuts(), 1);
        relay.cut_at("APPLY MAILBOX");
        let mut stream = open(&relay);
        stream.write_all(b"GET x\r\nAPPLY MAILBOX %(").unwrap();
        let mut back = Vec::new();
        let _ = stream.read_to_end(&mut back);
        assert_eq!((relay.cuts(), relay.connections()), (2, 2));
        let mut stream = open(&relay);
        stream.write_all(b"123456APPLY MAILBOX").unwrap();
        let mut back = [0; 19];
        stream.read_exact(&mut back).unwrap();
    }
}
