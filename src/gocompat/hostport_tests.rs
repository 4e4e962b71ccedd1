// SPDX-License-Identifier: Apache-2.0
use super::hostport::join_host_port;

#[test]
fn only_ipv6_hosts_get_brackets() {
    for (host, port, want) in [
        ("10.0.0.1", "8000", "10.0.0.1:8000"),
        ("localhost", "http", "localhost:http"),
        ("fd00::1", "8000", "[fd00::1]:8000"),
        ("fe80::1%eth0", "80", "[fe80::1%eth0]:80"),
        ("[fd00::1]", "80", "[fd00::1]:80"),
        ("", "8080", ":8080"),
    ] {
        assert_eq!(join_host_port(host, port), want);
    }
    assert_eq!(join_host_port("::", 443), "[::]:443");
}
