//! The replica's address: from sync_host and sync_port to addresses, in the order to try them.

use std::fmt;
use std::path::PathBuf;

use dns_lookup::{AddrInfoHints, SockType, getaddrinfo};

use super::ConnectError;
use crate::settings::Settings;

/// imapd's port, if neither sync_port nor sync_host names one.
const IMAP_PORT: u16 = 143;
/// csync's port by Cyrus' documentation; few systems list it in /etc/services.
const CSYNC_PORT: u16 = 2005;

/// One address to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// Host and port.
    Tcp { host: String, port: u16 },
    /// A socket in the file system, whose peer is logged in already.
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Endpoint::Tcp { host, port } => write!(f, "{host}:{port}"),
            Endpoint::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The addresses of the replica.
///
/// # Errors
/// [`ConnectError::Unresolved`] for an unknown service name.
pub(crate) fn endpoints(settings: &Settings) -> Result<Vec<Endpoint>, ConnectError> {
    if settings.replica.server.starts_with('/') {
        return Ok(vec![Endpoint::Unix(PathBuf::from(&settings.replica.server))]);
    }
    let (host, own_port) = split_host(&settings.replica.server);
    let named = own_port.map(str::to_string).or_else(|| settings.replica.port.clone());
    let ports = match named {
        Some(name) => vec![port_of(&name).ok_or_else(|| ConnectError::Unresolved {
            host: settings.replica.server.clone(),
            problem: format!("{name} is neither a port nor a known service"),
        })?],
        None if settings.replica.try_imap => {
            vec![port_of("imap").unwrap_or(IMAP_PORT), port_of("csync").unwrap_or(CSYNC_PORT)]
        }
        None => vec![port_of("csync").unwrap_or(CSYNC_PORT)],
    };
    Ok(ports.into_iter().map(|port| Endpoint::Tcp { host: host.to_string(), port }).collect())
}

/// The text given as a port, in the server's name or beside it (sync_port), if it is neither a number nor a known service.
pub fn unknown_port(server: &str, port: Option<&str>) -> Option<String> {
    if server.starts_with('/') {
        return None;
    }
    let named = split_host(server).1.or(port)?;
    port_of(named).is_none().then(|| named.to_string())
}

/// The options after a slash behind the port, such as `tls/noauth` in `host:port/tls/noauth`, with which Cyrus' client
/// starts TLS or skips the login (`imap/backend.c:backend_connect`); `None` if there are none.
pub fn server_options(server: &str) -> Option<&str> {
    if server.starts_with('/') {
        return None;
    }
    server.split_once(':')?.1.split_once('/').map(|(_, options)| options)
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`, or a bare IPv6 address; [`server_options`] are left out.
fn split_host(server: &str) -> (&str, Option<&str>) {
    if let Some((v6, rest)) = server.strip_prefix('[').and_then(|s| s.split_once(']')) {
        return (v6, rest.strip_prefix(':').filter(|p| !p.is_empty()));
    }
    match server.split_once(':') {
        Some((_, rest)) if rest.contains(':') => (server, None),
        Some((host, port)) => (host, Some(port.split('/').next().unwrap_or(port))),
        None => (server, None),
    }
}

/// A port by number, by the system's table of services (for Cyrus, getaddrinfo looks there, too), or by the two names that
/// replication uses.
fn port_of(name: &str) -> Option<u16> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    // Every service's name has a letter. Of what has none, getaddrinfo makes a port: 4464 of 70000.
    if !name.contains(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let stream = AddrInfoHints { socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    let known = getaddrinfo(None, Some(name), Some(stream)).ok().and_then(|mut all| all.next());
    match (known, name) {
        (Some(Ok(known)), _) => Some(known.sockaddr.port()),
        (_, "imap") => Some(IMAP_PORT),
        (_, "csync") => Some(CSYNC_PORT),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_split_from_ports() {
        assert_eq!(split_host("replica"), ("replica", None));
        assert_eq!(split_host("replica:2005"), ("replica", Some("2005")));
        assert_eq!(split_host("replica:2005/tls"), ("replica", Some("2005")));
        assert_eq!(split_host("[::1]:2005"), ("::1", Some("2005")));
        assert_eq!(split_host("[::1]"), ("::1", None));
        assert_eq!(split_host("fe80::1"), ("fe80::1", None));
    }

    #[test]
    fn options_are_found() {
        assert_eq!(server_options("replica:2005/tls/noauth"), Some("tls/noauth"));
        assert_eq!(server_options("[::1]:2005/tls"), Some("tls"));
        assert_eq!(server_options("replica:2005"), None);
        assert_eq!(server_options("replica"), None);
        assert_eq!(server_options("/run/cyrus:x/socket"), None);
    }

    #[test]
    fn services_have_ports() {
        assert_eq!(port_of("4711"), Some(4711));
        assert_eq!(port_of("csync"), Some(2005));
        assert_eq!(port_of("imap"), Some(143));
        assert_eq!(port_of("no-such-service"), None);
        assert_eq!([port_of(""), port_of("70000"), port_of("-1"), port_of(" 143")], [None; 4]);
        assert_eq!(unknown_port("replica", Some("banana")).as_deref(), Some("banana"));
        assert_eq!(unknown_port("replica:kiwi", Some("2005")).as_deref(), Some("kiwi"));
        assert_eq!(unknown_port("replica:2005", Some("banana")), None);
        assert_eq!(unknown_port("/run/socket", Some("banana")), None);
        assert_eq!(unknown_port("replica", None), None);
    }
}
