//! Bytes to and from the replica: sockets, compression, and the way from "connected" to "ready".
//!
//! `csync` has the protocol itself, without I/O; this module moves its bytes.

mod address;
mod deflate;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use csync::{Handshake, HandshakeError, HandshakeOptions, HandshakeStep, Session, Spoken, TlsWish};
use futures_util::future::LocalBoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::Instant;

pub(crate) use address::Endpoint;
pub use address::{server_options, unknown_port};
pub(crate) use deflate::{deflated, inflated};

use crate::monitor::events::{Direction, Event, EventSink};
use crate::monitor::words::without_number;
use crate::settings::{Settings, SocketOptions};

/// The half of a connection that is read from.
pub(crate) type ReadHalf = Box<dyn AsyncRead + Unpin + Send>;
/// The half that is written to. Flushing it puts all that was written on the wire.
pub(crate) type WriteHalf = Box<dyn AsyncWrite + Unpin + Send>;

/// How long the replica may take for one step of the login. A wrong password alone costs `failedloginpause` (3 seconds)
/// there.
const LOGIN_WAIT: Duration = Duration::from_secs(60);
/// How long the login may take as a whole, in such steps, however its bytes arrive.
const LOGIN_STEPS: u32 = 3;

/// How long to wait before reporting a connection attempt.
const SILENCE: Duration = Duration::from_secs(3);

/// A connection that is logged in and ready for commands.
pub(crate) struct Ready {
    pub(crate) read: ReadHalf,
    pub(crate) write: WriteHalf,
    /// Bytes that arrived after the last answer of the login.
    pub(crate) unread: BytesMut,
    /// The result of the handshake or, if early, the expected one.
    pub(crate) session: Session,
    /// Early: the receiver of the answers that are still to come.
    pub(crate) opening: Option<Handshake>,
    /// When these must have arrived.
    pub(crate) until: Instant,
}

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address.
    #[error("can't find the address of {host}: {problem}")]
    Unresolved {
        /// The host.
        host: String,
        /// The resolver's words.
        problem: String,
    },
    /// Nothing accepts.
    #[error("{address}: {problem}")]
    Unreachable {
        /// Host and port, or the socket's path.
        address: String,
        /// The system's words.
        problem: String,
    },
    /// The connection broke during the login.
    #[error("{address}: the connection broke during login: {problem}")]
    Broken {
        /// Host and port, or the socket's path.
        address: String,
        /// What happened.
        problem: String,
    },
    /// The login failed.
    #[error("{address}: {problem}")]
    Handshake {
        /// Host and port, or the socket's path.
        address: String,
        /// What went wrong.
        problem: String,
        /// Whether another try would end the same.
        fatal: bool,
        /// Whether the peer is not a replication server.
        wrong_service: bool,
        /// Whether the login was refused.
        refused: bool,
    },
    /// -z, and the replica does not compress.
    #[error("Failed to enable compression to server '{address}': {problem}")]
    NotCompressed {
        /// Host and port, or the socket's path.
        address: String,
        /// Why not.
        problem: String,
    },
}

impl ConnectError {
    /// What went wrong, without the address.
    pub(crate) fn problem(&self) -> &str {
        match self {
            ConnectError::Unresolved { problem, .. }
            | ConnectError::Unreachable { problem, .. }
            | ConnectError::Broken { problem, .. }
            | ConnectError::Handshake { problem, .. }
            | ConnectError::NotCompressed { problem, .. } => problem,
        }
    }

    /// Whether another try would end the same, as far as one try can show.
    pub fn is_fatal(&self) -> bool {
        match self {
            ConnectError::Handshake { fatal, .. } => *fatal,
            ConnectError::NotCompressed { .. } => true,
            _ => false,
        }
    }

    /// Whether the login itself was refused: by a wrong password or by a busy saslauthd, which give the same answer.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self, ConnectError::Handshake { refused: true, .. })
    }
}

/// Makes the connections of a run.
pub(crate) trait Dial: Send + Sync {
    /// Connects and logs in, see [`connect`].
    fn dial(
        &self,
        connection: u64,
        early: bool,
        announce: bool,
    ) -> LocalBoxFuture<'static, Result<Ready, ConnectError>>;
}

/// Over the network or a Unix socket, according to the settings.
pub(crate) struct Dialer {
    pub(crate) settings: Arc<Settings>,
    pub(crate) events: EventSink,
}

impl Dial for Dialer {
    fn dial(
        &self,
        connection: u64,
        early: bool,
        announce: bool,
    ) -> LocalBoxFuture<'static, Result<Ready, ConnectError>> {
        let (settings, events) = (self.settings.clone(), self.events.clone());
        Box::pin(async move { connect(&settings, &events, connection, early, announce).await })
    }
}

/// Connects, logs in and enables what both sides know.
///
/// The addresses are tried in order: with sync_try_imap and no port, imapd's comes before csync's. `early` is
/// [`HandshakeOptions::early`], unless compression is required; `announce` reports it if it takes long.
///
/// # Errors
/// The [`ConnectError`] of the last address, or the first fatal one.
pub(crate) async fn connect(
    settings: &Settings,
    events: &EventSink,
    connection: u64,
    early: bool,
    announce: bool,
) -> Result<Ready, ConnectError> {
    // Looking up a service's name reads a file.
    let settings_there = settings.clone();
    let looking = move || address::endpoints(&settings_there);
    let endpoints = match actix_rt::task::spawn_blocking(looking).await {
        Ok(endpoints) => endpoints?,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    };
    let (mut fatal, mut last) = (None, None);
    for endpoint in endpoints {
        let connecting = connect_to(&endpoint, settings, events, connection, early);
        match announced(connecting, &endpoint, events, announce).await {
            Ok(ready) => return Ok(ready),
            Err(e @ ConnectError::Handshake { wrong_service: true, .. }) => last = Some(e),
            // An imapd may require TLS where the csync port does not.
            Err(e) if e.is_fatal() => drop(fatal.get_or_insert(e)),
            Err(e) => last = Some(e),
        }
    }
    Err(fatal.or(last).unwrap_or_else(|| ConnectError::Unresolved {
        host: settings.replica.server.clone(),
        problem: "no address".into(),
    }))
}

/// Reports what we wait for if it takes long, so that a silent run does not look dead.
async fn announced<T>(
    connecting: impl Future<Output = T>,
    endpoint: &Endpoint,
    events: &EventSink,
    announce: bool,
) -> T {
    let mut connecting = std::pin::pin!(connecting);
    if announce {
        match tokio::time::timeout(SILENCE, &mut connecting).await {
            Ok(ended) => return ended,
            Err(_) => events.tell(Event::Remark(format!("connecting to {endpoint} …"))).await,
        }
    }
    connecting.await
}

async fn connect_to(
    endpoint: &Endpoint,
    settings: &Settings,
    events: &EventSink,
    connection: u64,
    early: bool,
) -> Result<Ready, ConnectError> {
    let (read, write) = dial(endpoint, &settings.replica.socket).await?;
    let options = HandshakeOptions {
        authname: settings.replica.authname.clone(),
        password: settings.replica.password.clone(),
        realm: settings.replica.realm.clone(),
        try_imap: settings.replica.try_imap,
        want_compress: true,
        require_compress: settings.replica.require_compression,
        early: early && !settings.replica.require_compression && !settings.sync.stage_to_archive,
        tls: TlsWish::Never,
        already_authenticated: matches!(endpoint, Endpoint::Unix(_)),
        want_sieve_mailbox: settings.replica.sieve_mailbox,
        want_archive: settings.sync.stage_to_archive,
        force: settings.sync.one_way,
    };
    let wait = LOGIN_WAIT.min(settings.replica.timeout);
    let until = Instant::now() + wait * LOGIN_STEPS;
    let mut login = Login {
        address: endpoint.to_string(),
        read,
        write,
        unread: BytesMut::with_capacity(8 * 1024),
        events,
        connection,
        wait,
    };
    let handshake = Handshake::new(options);
    let whole = tokio::time::timeout_at(until, login.run(handshake)).await;
    let Ok(ended) = whole else {
        return Err(login.too_slow("was not through with our login", wait * LOGIN_STEPS));
    };
    let (session, opening) = ended?;
    Ok(Ready {
        read: login.read,
        write: login.write,
        unread: login.unread,
        session,
        opening,
        until,
    })
}

async fn dial(
    endpoint: &Endpoint,
    options: &SocketOptions,
) -> Result<(ReadHalf, WriteHalf), ConnectError> {
    let unreachable = |problem: &str| {
        let problem = without_number(problem).to_string();
        ConnectError::Unreachable { address: endpoint.to_string(), problem }
    };
    let dialing = async {
        match endpoint {
            Endpoint::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                let (read, write) = stream.map_err(|e| unreachable(&e.to_string()))?.into_split();
                Ok((Box::new(read) as ReadHalf, Box::new(write) as WriteHalf))
            }
            Endpoint::Tcp { host, port } => {
                let addresses = addresses(host, *port).await?;
                let stream = connect_any(&addresses, options).await;
                let stream = stream.map_err(|e| unreachable(&e.to_string()))?;
                keep_alive(&stream, options);
                let (read, write) = stream.into_split();
                Ok((Box::new(read) as ReadHalf, Box::new(write) as WriteHalf))
            }
        }
    };
    let wait = options.connect_wait;
    match tokio::time::timeout(wait, dialing).await {
        Ok(halves) => halves,
        Err(_) => Err(unreachable(&format!("no answer in {} seconds", wait.as_secs()))),
    }
}

/// A host's addresses with this port.
async fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
    let unresolved =
        |problem: &str| ConnectError::Unresolved { host: host.into(), problem: problem.into() };
    match tokio::net::lookup_host((host, port)).await {
        Ok(found) => {
            let found: Vec<SocketAddr> = found.collect();
            if found.is_empty() { Err(unresolved("it has none")) } else { Ok(found) }
        }
        Err(e) => {
            let text = e.to_string();
            let own = "failed to lookup address information: ";
            Err(unresolved(without_number(text.strip_prefix(own).unwrap_or(&text))))
        }
    }
}

/// A connection to the first of these addresses that accepts one, from our configured own address, if any
/// (`imap/backend.c:backend_client_bind`).
async fn connect_any(addresses: &[SocketAddr], options: &SocketOptions) -> io::Result<TcpStream> {
    let own = match &options.bind {
        Some(name) => tokio::net::lookup_host((name.as_str(), 0)).await?.collect(),
        None => Vec::new(),
    };
    let mut last = None;
    for address in addresses {
        match connect_one(*address, &own, options.bind.as_deref()).await {
            Ok(stream) => return Ok(stream),
            Err(e) => last = Some(e),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other("no address")))
}

async fn connect_one(
    address: SocketAddr,
    own: &[SocketAddr],
    bind: Option<&str>,
) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(name) = bind {
        let from = own.iter().find(|from| from.is_ipv4() == address.is_ipv4());
        let none = || io::Error::other(format!("client_bind: {name} has no address of this kind"));
        socket.bind(*from.ok_or_else(none)?)?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A dead peer must be noticed even during long silence. If keepalive can't be set, a good connection is used all the same.
fn keep_alive(stream: &TcpStream, options: &SocketOptions) {
    use nix::sys::socket::{setsockopt, sockopt};
    let _ = setsockopt(stream, sockopt::KeepAlive, &true);
    if let Some(count) = options.keepalive_count {
        let _ = setsockopt(stream, sockopt::TcpKeepCount, &count);
    }
    if let Some(seconds) = options.keepalive_idle {
        let _ = setsockopt(stream, sockopt::TcpKeepIdle, &seconds);
    }
    if let Some(seconds) = options.keepalive_interval {
        let _ = setsockopt(stream, sockopt::TcpKeepInterval, &seconds);
    }
}

/// A login in progress.
struct Login<'a> {
    address: String,
    read: ReadHalf,
    write: WriteHalf,
    unread: BytesMut,
    events: &'a EventSink,
    connection: u64,
    /// How long the replica may take for a step.
    wait: Duration,
}

impl Login<'_> {
    async fn run(
        &mut self,
        mut handshake: Handshake,
    ) -> Result<(Session, Option<Handshake>), ConnectError> {
        loop {
            let step = handshake.handle(&mut self.unread).map_err(|e| self.failed(&e))?;
            match step {
                HandshakeStep::NeedMore => self.read_more().await?,
                HandshakeStep::Send(spoken) => self.send(&spoken).await?,
                HandshakeStep::StartCompression => self.start_compression(),
                HandshakeStep::StartTls => {
                    // Never requested: TlsWish::Never.
                    return Err(self.broken("the login asked for TLS, which was not wanted"));
                }
                HandshakeStep::Early(session) => return Ok((session, Some(handshake))),
                HandshakeStep::Ready(session) => return Ok((session, None)),
            }
        }
    }

    async fn read_more(&mut self) -> Result<(), ConnectError> {
        let before = self.unread.len();
        match tokio::time::timeout(self.wait, self.read.read_buf(&mut self.unread)).await {
            Ok(Ok(0)) => Err(self.broken("the replica closed it")),
            Ok(Ok(_)) => {
                let new = self.unread.get(before..).unwrap_or_default();
                self.events.trace(self.connection, Direction::Received, new).await;
                Ok(())
            }
            Ok(Err(e)) => Err(self.broken(without_number(&e.to_string()))),
            Err(_) => Err(self.too_slow("did not answer", self.wait)),
        }
    }

    async fn send(&mut self, spoken: &Spoken) -> Result<(), ConnectError> {
        self.events.trace(self.connection, Direction::Sent, &spoken.shown()).await;
        let sending = async {
            self.write.write_all(spoken.bytes()).await?;
            self.write.flush().await
        };
        match tokio::time::timeout(self.wait, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(self.broken(&e.to_string())),
            Err(_) => Err(self.too_slow("did not take our login", self.wait)),
        }
    }

    fn start_compression(&mut self) {
        let read = std::mem::replace(&mut self.read, Box::new(tokio::io::empty()));
        let write = std::mem::replace(&mut self.write, Box::new(tokio::io::sink()));
        (self.read, self.write) = (inflated(read), deflated(write));
    }

    fn broken(&self, problem: &str) -> ConnectError {
        ConnectError::Broken { address: self.address.clone(), problem: problem.into() }
    }

    fn too_slow(&self, what: &str, wait: Duration) -> ConnectError {
        self.broken(&format!("the replica {what} for {} seconds", wait.as_secs()))
    }

    fn failed(&self, e: &HandshakeError) -> ConnectError {
        if let HandshakeError::CompressionRefused { text } = e {
            let (address, problem) = (self.address.clone(), text.clone());
            return ConnectError::NotCompressed { address, problem };
        }
        ConnectError::Handshake {
            address: self.address.clone(),
            problem: e.to_string(),
            fatal: e.is_fatal(),
            wrong_service: matches!(e, HandshakeError::NotReplication { .. }),
            refused: matches!(e, HandshakeError::LoginRefused { .. }),
        }
    }
}

#[cfg(test)]
mod login_tests;
