//! Where a call comes from. What a client says of itself counts only when a trusted proxy passes it on.

use std::net::{IpAddr, Ipv4Addr};

use axum::extract::Request;
use ipnet::IpNet;

use super::connection::Origin;
use crate::service::people::Peer;

/// The client's address; `X-Forwarded-For` is read from the right, as far as trusted proxies wrote it.
pub(super) fn of(request: &Request, trusted: &[IpNet]) -> Peer {
    let connected = request
        .extensions()
        .get::<Origin>()
        .and_then(|origin| origin.address)
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip());
    let headers = request.headers().get_all("x-forwarded-for").iter();
    let named = headers.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    Peer { address: client(connected, named.map(str::to_owned).collect(), trusted) }
}

fn client(connected: IpAddr, named: Vec<String>, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address.to_canonical()));
    let mut client = connected.to_canonical();
    for named in named.iter().rev() {
        if !is_trusted(client) {
            break;
        }
        match named.trim().parse::<IpAddr>() {
            Ok(address) => client = address.to_canonical(),
            // What cannot be read was not written by our proxies: the last one that could is the client.
            Err(_) => break,
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let trusted: Vec<IpNet> =
            ["10.0.0.0/8", "2001:db8::/32"].map(|net| net.parse().expect("a net")).into();
        let of = |connected: &str, named: &str| {
            let named =
                if named.is_empty() { Vec::new() } else { named.split(',').map(str::to_owned).collect() };
            client(connected.parse().expect("an address"), named, &trusted).to_string()
        };
        assert_eq!(of("192.0.2.1", ""), "192.0.2.1");
        assert_eq!(of("192.0.2.1", "198.51.100.9"), "192.0.2.1", "a stranger's header is ignored");
        assert_eq!(of("10.0.0.1", "198.51.100.9"), "198.51.100.9");
        assert_eq!(
            of("10.0.0.1", "6.6.6.6, 198.51.100.9"),
            "198.51.100.9",
            "what the client wrote is ignored"
        );
        assert_eq!(of("10.0.0.1", "6.6.6.6, 198.51.100.9, 10.0.0.2"), "198.51.100.9", "two proxies");
        assert_eq!(of("10.0.0.1", "unknown"), "10.0.0.1");
        assert_eq!(of("::ffff:10.0.0.1", "2001:db8::7, 198.51.100.9"), "198.51.100.9");
        assert_eq!(of("10.0.0.1", "10.0.0.3"), "10.0.0.3");
    }
}
