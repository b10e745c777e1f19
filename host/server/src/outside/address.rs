//! Which addresses policies may reach, after their names were resolved.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On the internet.
    Public,
    /// On this machine, or in a private network: for hosts that are listed as local.
    Local,
    /// Of a cloud's metadata, of this link, of many, or of nobody: for no host.
    Never,
}

/// Where an address is. One that carries another within it is where that is.
pub(super) fn place(address: IpAddr) -> Place {
    match address {
        IpAddr::V4(address) => v4(address),
        IpAddr::V6(address) => v6(address),
    }
}

/// Addresses by which clouds tell a machine its credentials, in ranges that say otherwise.
const METADATA: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16)];

fn v4(address: Ipv4Addr) -> Place {
    let [a, b, c, _] = address.octets();
    if METADATA.contains(&address) {
        return Place::Never;
    }
    match (a, b, c) {
        (127 | 10, ..) | (172, 16..=31, _) | (192, 168, _) | (100, 64..=127, _) => Place::Local,
        // Unspecified, link-local, protocol assignments, documentation, the 6to4 relay, benchmarks, multicast, and
        // what is reserved, broadcast among it.
        (0 | 224..=255, ..)
        | (169, 254, _)
        | (192, 0, 0 | 2)
        | (192, 88, 99)
        | (198, 18 | 19, _)
        | (198, 51, 100)
        | (203, 0, 113) => Place::Never,
        _ => Place::Public,
    }
}

fn v6(address: Ipv6Addr) -> Place {
    if address == Ipv6Addr::LOCALHOST {
        return Place::Local;
    }
    let [a, b, c, d, e, f, high, low] = address.segments();
    // AWS's services of an instance (metadata, time, names), and Google's metadata.
    if matches!((a, b), (0xfd00, 0x0ec2) | (0xfd20, 0x00ce)) {
        return Place::Never;
    }
    let [x, y] = high.to_be_bytes();
    let [z, w] = low.to_be_bytes();
    let last = Ipv4Addr::new(x, y, z, w);
    match (a, b, c, d, e, f) {
        // Mapped and compatible forms, and what NAT64 translates.
        (0, 0, 0, 0, 0, 0xffff | 0) | (0x64, 0xff9b, 0, 0, 0, 0) => v4(last),
        // 6to4: the second to fifth bytes.
        (0x2002, ..) => {
            let ([x, y], [z, w]) = (b.to_be_bytes(), c.to_be_bytes());
            v4(Ipv4Addr::new(x, y, z, w))
        }
        (0xfc00..=0xfdff, ..) => Place::Local,
        // Teredo, benchmarks and ORCHID; documentation. Of the rest, only 2000::/3 is given out.
        (0x2001, 0..=0x1ff, ..) | (0x2001, 0xdb8, ..) | (0x3fff, ..) => Place::Never,
        (0x2000..=0x3fff, ..) => Place::Public,
        _ => Place::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_where_they_are() {
        for (address, expected) in [
            ("93.184.215.14", Place::Public),
            ("2606:2800:21f::1", Place::Public),
            ("127.0.0.1", Place::Local),
            ("127.255.255.254", Place::Local),
            ("10.1.2.3", Place::Local),
            ("172.16.0.1", Place::Local),
            ("172.31.255.255", Place::Local),
            ("172.32.0.1", Place::Public),
            ("192.168.1.1", Place::Local),
            ("100.64.0.1", Place::Local),
            ("::1", Place::Local),
            ("fc00::1", Place::Local),
            ("fdff::1", Place::Local),
            ("0.0.0.0", Place::Never),
            ("0.1.2.3", Place::Never),
            ("169.254.169.254", Place::Never),
            ("169.254.170.2", Place::Never),
            ("100.100.100.200", Place::Never),
            ("168.63.129.16", Place::Never),
            ("192.0.2.1", Place::Never),
            ("198.18.0.1", Place::Never),
            ("198.51.100.7", Place::Never),
            ("203.0.113.9", Place::Never),
            ("224.0.0.1", Place::Never),
            ("239.255.255.250", Place::Never),
            ("240.0.0.1", Place::Never),
            ("255.255.255.255", Place::Never),
            ("::", Place::Never),
            ("fe80::1", Place::Never),
            ("fec0::1", Place::Never),
            ("fd00:ec2::254", Place::Never),
            ("fd20:ce::254", Place::Never),
            ("ff02::1", Place::Never),
            ("2001:db8::1", Place::Never),
            ("2001::1", Place::Never),
            ("64:ff9b:1::1", Place::Never),
            ("::ffff:127.0.0.1", Place::Local),
            ("::ffff:169.254.169.254", Place::Never),
            ("::ffff:10.0.0.1", Place::Local),
            ("::ffff:93.184.215.14", Place::Public),
            ("::169.254.169.254", Place::Never),
            ("::127.0.0.1", Place::Local),
            ("64:ff9b::169.254.169.254", Place::Never),
            ("64:ff9b::7f00:1", Place::Local),
            ("2002:a9fe:a9fe::1", Place::Never),
            ("2002:7f00:1::", Place::Local),
        ] {
            assert_eq!(place(address.parse().unwrap()), expected, "{address}");
        }
    }
}
