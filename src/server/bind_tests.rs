// SPDX-License-Identifier: Apache-2.0
use std::{error::Error as _, net::Ipv4Addr};

use tokio::net::TcpStream;

use super::bind::{AddressError, Bind, BindError, listen, split_host_port};

#[test]
fn words_for_off_differ_between_the_endpoints() {
    let on = |address: &str| Bind::On(address.to_owned());
    for (address, metrics, probes) in [
        ("0", Bind::Off, Bind::Off),
        ("", on(":8080"), Bind::Off),
        (":0", on(":0"), on(":0")),
        ("localhost:1", on("localhost:1"), on("localhost:1")),
    ] {
        assert_eq!(Bind::metrics(address), metrics, "{address:?}");
        assert_eq!(Bind::probes(address), probes, "{address:?}");
    }
    assert_eq!(Bind::Off.address(), None);
    assert_eq!(on(":1").address(), Some(":1"));
}

#[test]
fn host_and_port_are_taken_apart_as_in_go() {
    for (address, host, port) in [
        (":8080", "", 8080),
        ("localhost:1", "localhost", 1),
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("[::1]:8080", "::1", 8080),
        ("[::]:8080", "::", 8080),
        ("host:", "host", 0),
    ] {
        assert_eq!(split_host_port(address), Ok((host, port)), "{address}");
    }
    for (address, want) in [
        ("8080", "address 8080: missing port in address"),
        ("[::1]", "address [::1]: missing port in address"),
        ("[::1", "address [::1: missing port in address"),
        ("::1:8080", "address ::1:8080: too many colons in address"),
        (":http", "address :http: invalid port http"),
        (":65536", "address :65536: invalid port 65536"),
        (":-1", "address :-1: invalid port -1"),
    ] {
        assert_eq!(split_host_port(address).unwrap_err().to_string(), want);
    }
}

#[tokio::test]
async fn an_empty_host_means_every_interface() {
    for address in [":0", "0.0.0.0:0", "[::]:0"] {
        let listener = listen(address).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .unwrap_or_else(|error| panic!("{address}: {error}"));
        if listener.local_addr().unwrap().is_ipv6() {
            TcpStream::connect(("::1", port)).await.unwrap_or_else(|error| panic!("{address}: {error}"));
        }
    }
}

#[tokio::test]
async fn an_address_in_use_is_named_with_the_cause() {
    let first = listen("127.0.0.1:0").await.unwrap();
    let address = first.local_addr().unwrap().to_string();
    let error = listen(&address).await.unwrap_err();
    assert_eq!(error.to_string(), format!("error listening on {address}"));
    assert!(error.source().unwrap().to_string().contains("in use"), "{error:?}");
    let everywhere = format!(":{}", first.local_addr().unwrap().port());
    assert!(
        matches!(listen(&everywhere).await, Err(BindError::Listen { .. })),
        "one of the interfaces is taken"
    );
}

#[tokio::test]
async fn names_are_looked_up() {
    let listener = listen("localhost:0").await.unwrap();
    assert!(listener.local_addr().unwrap().ip().is_loopback());
    let error = listen("no such host:1").await.unwrap_err();
    let BindError::Address { source, .. } = error else { panic!("{error:?}") };
    assert_eq!(source, AddressError::NoSuchHost("no such host".into()));
}
