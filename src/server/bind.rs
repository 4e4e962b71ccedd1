// SPDX-License-Identifier: Apache-2.0
//! Addresses as Go programs take them, and listeners on them.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// Where to listen, if at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// Nowhere.
    Off,
    /// On `host:port`; an empty host means all interfaces, of both families where there are both.
    On(String),
}

impl Bind {
    /// Reads `--metrics-bind-address`: `0` is off, empty is `:8080`.
    pub fn metrics(address: &str) -> Self {
        match address {
            "0" => Self::Off,
            "" => Self::On(":8080".to_owned()),
            address => Self::On(address.to_owned()),
        }
    }

    /// Reads `--health-probe-bind-address`: `0` and empty are off.
    pub fn probes(address: &str) -> Self {
        match address {
            "0" | "" => Self::Off,
            address => Self::On(address.to_owned()),
        }
    }

    /// The address, if there is one.
    pub fn address(&self) -> Option<&str> {
        match self {
            Self::Off => None,
            Self::On(address) => Some(address),
        }
    }
}

/// Why an endpoint cannot be offered: the process ends with 1.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindError {
    /// Not an address.
    #[error("error listening on {address}")]
    Address {
        /// As given.
        address: String,
        /// What is wrong with it.
        #[source]
        source: AddressError,
    },
    /// The system refuses.
    #[error("error listening on {address}")]
    Listen {
        /// As given.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No certificate to serve with.
    #[error("no certificate for the listener on {address}")]
    Certificate {
        /// As given.
        address: String,
        /// Why.
        #[source]
        source: super::tls::CertificateError,
    },
}

/// Why a text is no `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    /// No colon.
    #[error("address {0}: missing port in address")]
    MissingPort(String),
    /// An IPv6 address without brackets.
    #[error("address {0}: too many colons in address")]
    TooManyColons(String),
    /// Not a number of 16 bits.
    #[error("address {address}: invalid port {port}")]
    Port {
        /// The whole.
        address: String,
        /// The part behind the last colon.
        port: String,
    },
    /// The host has no address.
    #[error("lookup {0}: no such host")]
    NoSuchHost(String),
}

/// Host (without brackets) and port of `host:port`. An empty port is 0: any free one.
///
/// # Errors
/// The text is something else.
pub(crate) fn split_host_port(address: &str) -> Result<(&str, u16), AddressError> {
    let missing = || AddressError::MissingPort(address.to_owned());
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(missing)?;
            (host, port.strip_prefix(':').ok_or_else(missing)?)
        }
        None => address.rsplit_once(':').ok_or_else(missing)?,
    };
    if host.contains(':') && !address.starts_with('[') {
        return Err(AddressError::TooManyColons(address.to_owned()));
    }
    if port.is_empty() {
        return Ok((host, 0));
    }
    let invalid = |_| AddressError::Port { address: address.to_owned(), port: port.to_owned() };
    Ok((host, port.parse().map_err(invalid)?))
}

/// A listener on `host:port`.
///
/// # Errors
/// [`BindError::Address`] or [`BindError::Listen`], with the address as given.
pub(super) async fn listen(address: &str) -> Result<TcpListener, BindError> {
    let refused = |source| BindError::Listen { address: address.to_owned(), source };
    let wrong = |source| BindError::Address { address: address.to_owned(), source };
    let (host, port) = split_host_port(address).map_err(wrong)?;
    let literal = host.parse::<IpAddr>().ok();
    // Go takes any unspecified literal for all interfaces of both families.
    if host.is_empty() || literal.is_some_and(|ip| ip.is_unspecified()) {
        return listen_everywhere(port).map_err(refused);
    }
    let socket = match literal {
        Some(ip) => SocketAddr::new(ip, port),
        None => look_up(host, port).await.map_err(wrong)?,
    };
    TcpListener::bind(socket).await.map_err(refused)
}

/// The first address of a host, of the older family if there is a choice, as Go chooses.
async fn look_up(host: &str, port: u16) -> Result<SocketAddr, AddressError> {
    let found: Vec<_> =
        tokio::net::lookup_host((host, port)).await.map(Iterator::collect).unwrap_or_default();
    let older = found.iter().find(|address| address.is_ipv4());
    older.or_else(|| found.first()).copied().ok_or_else(|| AddressError::NoSuchHost(host.to_owned()))
}

/// One socket for both families; the older family alone where the system lacks the newer.
fn listen_everywhere(port: u16) -> io::Result<TcpListener> {
    match dual_stack(port) {
        Ok(listener) => Ok(listener),
        Err(error) if lacks_ipv6(&error) => {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
            bound(socket, (Ipv4Addr::UNSPECIFIED, port).into())
        }
        Err(error) => Err(error),
    }
}

fn dual_stack(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_only_v6(false)?;
    bound(socket, (Ipv6Addr::UNSPECIFIED, port).into())
}

fn bound(socket: Socket, address: SocketAddr) -> io::Result<TcpListener> {
    // As for every listener of the standard library: a restart need not wait for old connections.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn lacks_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL | libc::ENOPROTOOPT))
}
