//! Where a peer comes from, as far as limits care: an IPv4 address, or the /64 of an IPv6 address, which
//! is what one customer has.

use std::net::{IpAddr, Ipv6Addr};

/// An address that limits count by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address(IpAddr);

/// The bits of an IPv6 address that name the customer.
const CUSTOMER: u128 = !(u64::MAX as u128);

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & CUSTOMER)),
            address @ IpAddr::V4(_) => address,
        })
    }
}

/// The address that counts for a peer: its own, or, of a proxy, the last one that its `X-Forwarded-For`
/// names; none of a proxy that says nothing, or nothing that is an address.
pub(super) fn counted(peer: IpAddr, proxies: &[IpAddr], forwarded: Option<&str>) -> Option<Address> {
    if !proxies.contains(&peer.to_canonical()) {
        return Some(peer.into());
    }
    let last = forwarded?.rsplit(',').next()?.trim();
    last.parse::<IpAddr>().ok().map(Address::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ws7_ipv6_counts_by_its_64_and_ipv4_by_itself() {
        let same = |one, other| Address::from(ip(one)) == Address::from(ip(other));
        assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
        assert!(same("192.0.2.1", "::ffff:192.0.2.1"));
    }

    #[test]
    fn ws7_only_a_proxy_is_believed() {
        let proxies = [ip("127.0.0.1")];
        let counted = |peer, forwarded| counted(ip(peer), &proxies, forwarded);
        let address = |text| Some(Address::from(ip(text)));
        assert_eq!(counted("192.0.2.1", Some("198.51.100.1")), address("192.0.2.1"));
        assert_eq!(counted("127.0.0.1", Some("203.0.113.9, 198.51.100.1")), address("198.51.100.1"));
        assert_eq!(counted("::ffff:127.0.0.1", Some("198.51.100.1")), address("198.51.100.1"));
        assert_eq!(counted("127.0.0.1", None), None);
        assert_eq!(counted("127.0.0.1", Some("unknown")), None);
    }
}
