//! A listening address and its connections, a thread each.

use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::Shared;
use crate::session;
use crate::state::lock;

/// Why a replica can't be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address can't be bound.
    #[error("can't listen on {address}: {source}; choose another address")]
    Listen {
        /// The address.
        address: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// No certificate for STARTTLS.
    #[error("can't make a certificate for STARTTLS: {0}")]
    Certificate(String),
}

/// A served replica. Dropping it closes the address and all connections, and waits until they have ended.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    open: Arc<Open>,
    accepting: Option<JoinHandle<()>>,
}

/// The open connections, to be closed at the end.
#[derive(Debug, Default)]
struct Open {
    stopping: AtomicBool,
    connections: Mutex<HashMap<u64, TcpStream>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Server {
    pub(crate) fn start(shared: Arc<Shared>, address: &str) -> Result<Server, ServeError> {
        let failed = |source| ServeError::Listen { address: address.to_string(), source };
        let listener = TcpListener::bind(address).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let open = Arc::new(Open::default());
        let accepting = {
            let open = open.clone();
            std::thread::spawn(move || accept(&listener, &shared, &open))
        };
        Ok(Server { address, open, accepting: Some(accepting) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes all open connections; new ones are accepted as before.
    pub fn disconnect(&self) {
        for connection in lock(&self.open.connections).values() {
            // One that is closed already needs no shutdown.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.open.stopping.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        self.disconnect();
        let threads = std::mem::take(&mut *lock(&self.open.threads));
        for thread in threads {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, open: &Arc<Open>) {
    let mut next = 0;
    for tcp in listener.incoming() {
        if open.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(tcp) = tcp else { continue };
        let Ok(kept) = tcp.try_clone() else { continue };
        next += 1;
        let number = next;
        lock(&open.connections).insert(number, kept);
        shared.stats.connection();
        let (shared, closing) = (shared.clone(), open.clone());
        let thread = std::thread::spawn(move || {
            session::run(&shared, tcp, &closing.stopping);
            if let Some(tcp) = lock(&closing.connections).remove(&number) {
                let _ = tcp.shutdown(Shutdown::Both);
            }
        });
        let mut threads = lock(&open.threads);
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
    }
}
