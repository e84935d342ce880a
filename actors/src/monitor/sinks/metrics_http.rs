//! `--metrics-listen`: HTTP for the metrics, on a thread and an event loop of its own.
//!
//! ```text
//!   GET /metrics   all numbers (metrics.rs)
//!   GET /healthz   200: the process lives
//!   GET /readyz    200: each replica has accepted a login, and we are not asked to stop; else 503
//! ```
//! Nobody is trusted: a connection is for one request with a short header, lasts some seconds, and the oldest one gives way
//! if there are too many.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::prometheus_text;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tracing::{info, warn};

use crate::monitor::sinks::metrics::MetricsSource;

/// Connections at a time. Prometheus makes one.
const MOST: usize = 16;
/// How long a request's header may take.
const HEADER: Duration = Duration::from_secs(3);
/// How long a connection lasts.
const LONGEST: Duration = Duration::from_secs(10);
/// The longest header, in bytes: the least that hyper allows.
const HEADER_BYTES: usize = 8192;
/// The pause if no connection can be accepted: there may be no file descriptor left.
const PAUSE: Duration = Duration::from_millis(200);

/// A port for metrics, where nobody is answered yet.
#[derive(Debug)]
pub struct MetricsPort {
    listener: TcpListener,
    address: SocketAddr,
}

impl MetricsPort {
    /// Listens at `host:port`, or at a port of loopback. No thread is needed for it.
    ///
    /// # Errors
    /// It is no address, or somebody else listens there.
    pub fn bind(address: &str) -> io::Result<MetricsPort> {
        let listener = match address.parse::<u16>() {
            Ok(port) => TcpListener::bind(("127.0.0.1", port)),
            Err(_) => TcpListener::bind(address),
        }?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(MetricsPort { listener, address })
    }

    /// Answers from now on, for as long as the process lives.
    ///
    /// # Errors
    /// No thread or event loop can be made.
    pub fn start(self, source: MetricsSource) -> io::Result<()> {
        let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listening = async move {
            match tokio::net::TcpListener::from_std(self.listener) {
                Ok(listener) => answer_all(listener, source).await,
                Err(e) => warn!("no metrics: {e}"),
            }
        };
        let thread = std::thread::Builder::new().name("metrics".into());
        thread.spawn(move || event_loop.block_on(listening))?;
        info!("metrics are at http://{}/metrics", self.address);
        Ok(())
    }
}

async fn answer_all(listener: tokio::net::TcpListener, source: MetricsSource) {
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    let mut warned = false;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                open.retain(|connection| !connection.is_finished());
                if open.len() >= MOST
                    && let Some(oldest) = open.pop_front()
                {
                    oldest.abort();
                }
                let answering = tokio::spawn(answer(stream, source.clone()));
                open.push_back(answering.abort_handle());
            }
            Err(e) => {
                if !std::mem::replace(&mut warned, true) {
                    warn!("can't accept a connection for metrics: {e}");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn answer(stream: TcpStream, source: MetricsSource) {
    let service = service_fn(move |request| {
        let response = respond(&request, &source);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER);
    http.keep_alive(false).max_buf_size(HEADER_BYTES);
    let answering = http.serve_connection(TokioIo::new(stream), service);
    // A client that goes, or sends nonsense, is its own problem.
    let _ = tokio::time::timeout(LONGEST, answering).await;
}

fn respond<B>(request: &Request<B>, source: &MetricsSource) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    }
    match request.uri().path() {
        "/metrics" => {
            let Ok(text) = source.text() else {
                return plain(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n");
            };
            let mut response = Response::new(Full::from(text));
            let of_metrics = HeaderValue::from_static(prometheus_text::CONTENT_TYPE);
            response.headers_mut().insert(CONTENT_TYPE, of_metrics);
            response
        }
        "/healthz" => plain(StatusCode::OK, "alive\n"),
        "/readyz" if source.is_ready() => plain(StatusCode::OK, "ready\n"),
        "/readyz" => plain(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        _ => plain(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n"),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::progress::Progress;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::Instant;

    fn server() -> (SocketAddr, MetricsSource) {
        let port = MetricsPort::bind("0").unwrap();
        let (address, source) = (port.address, MetricsSource::default());
        port.start(source.clone()).unwrap();
        (address, source)
    }

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn get(address: SocketAddr, path: &str) -> String {
        ask(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
    }

    #[test]
    fn the_port_is_of_loopback_and_its_own() {
        let port = MetricsPort::bind("0").unwrap();
        assert!(port.address.ip().is_loopback());
        let taken = MetricsPort::bind(&port.address.port().to_string()).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        assert!(MetricsPort::bind("[::1").is_err() && MetricsPort::bind("70000").is_err());
        assert!(MetricsPort::bind("127.0.0.1:0").is_ok());
    }

    #[test]
    fn each_path_has_its_answer() {
        let (address, source) = server();
        assert!(get(address, "/healthz").starts_with("HTTP/1.1 200 "));
        assert!(get(address, "/readyz").starts_with("HTTP/1.1 503 "));
        let progress = Progress::default();
        source.show(vec![(None, progress.clone())]);
        progress.replica().connected(1);
        assert!(get(address, "/readyz").starts_with("HTTP/1.1 200 "));
        progress.stopping();
        assert!(get(address, "/readyz").starts_with("HTTP/1.1 503 "));
        let metrics = get(address, "/metrics");
        assert!(metrics.contains("content-type: text/plain; version=0.0.4"), "{metrics}");
        assert!(metrics.contains("\nsync_client_connections 1.0\n"), "{metrics}");
        assert!(get(address, "/").starts_with("HTTP/1.1 404 "));
        assert!(ask(address, "POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
    }

    // Shows that silent clients, more than there may be connections, and endless headers keep nobody from being answered,
    // and that they are sent away.
    #[test]
    fn hostile_clients_keep_nobody_waiting() {
        let (address, _source) = server();
        let silent: Vec<TcpStream> =
            (0..MOST * 4).map(|_| TcpStream::connect(address).unwrap()).collect();
        let since = Instant::now();
        assert!(get(address, "/healthz").starts_with("HTTP/1.1 200 "));
        assert!(since.elapsed() < HEADER, "{:?}", since.elapsed());
        for mut stream in silent {
            stream.set_read_timeout(Some(LONGEST * 3)).unwrap();
            // An end, or a reset; what it never is: silence.
            let gone = stream.read(&mut [0; 4096]);
            let timed_out = |e: &io::Error| e.kind() == io::ErrorKind::WouldBlock;
            assert!(!gone.as_ref().is_err_and(timed_out), "{gone:?}");
        }
        let mut endless = TcpStream::connect(address).unwrap();
        let line = format!("X: {}\r\n", "x".repeat(1000));
        endless.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
        let mut sent = 0;
        while sent < 10 << 20 && endless.write_all(line.as_bytes()).is_ok() {
            sent += line.len();
        }
        assert!(sent < 10 << 20, "it reads all of it");
        assert!(get(address, "/healthz").starts_with("HTTP/1.1 200 "));
    }
}
