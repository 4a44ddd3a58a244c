//! Addresses as images have them: words in network order, one for IPv4 and four for IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use criu_images::messages::InetSkEntry;

use super::INET6;

/// The two addresses of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    pub local: SocketAddr,
    /// Unspecified, port 0, for a socket that is not connected.
    pub peer: SocketAddr,
}

pub(super) fn unspecified(family: u32) -> SocketAddr {
    let ip = if family == INET6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    SocketAddr::new(ip, 0)
}

impl Addresses {
    /// Writes them into an entry.
    pub(super) fn put(&self, entry: &mut InetSkEntry) {
        (entry.src_addr, entry.src_port) = (words(self.local.ip()), u32::from(self.local.port()));
        (entry.dst_addr, entry.dst_port) = (words(self.peer.ip()), u32::from(self.peer.port()));
    }

    /// Those of an entry, checked; `scope` is the index of the device that link-local addresses belong to.
    pub(super) fn of(entry: &InetSkEntry, scope: u32) -> Result<Self, String> {
        let one = |words: &[u32], port: u32| {
            let ip = ip(entry.family, words).ok_or("an address that is not of its family")?;
            let port = u16::try_from(port).map_err(|_| format!("port {port}"))?;
            Ok::<_, String>(match ip {
                IpAddr::V6(v6) if v6.is_unicast_link_local() || v6.is_multicast() => {
                    SocketAddrV6::new(v6, port, 0, scope).into()
                }
                ip => SocketAddr::new(ip, port),
            })
        };
        Ok(Addresses {
            local: one(&entry.src_addr, entry.src_port)?,
            peer: if entry.dst_addr.is_empty() {
                unspecified(entry.family)
            } else {
                one(&entry.dst_addr, entry.dst_port)?
            },
        })
    }

    pub(super) fn is_bound(&self) -> bool {
        self.local.port() != 0 || !self.local.ip().is_unspecified()
    }
}

pub(super) fn words(ip: IpAddr) -> Vec<u32> {
    let octets = match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    octets.chunks_exact(4).map(|w| u32::from_ne_bytes([w[0], w[1], w[2], w[3]])).collect()
}

pub(super) fn ip(family: u32, words: &[u32]) -> Option<IpAddr> {
    let octets: Vec<u8> = words.iter().flat_map(|w| w.to_ne_bytes()).collect();
    if family == INET6 {
        return Some(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).into());
    }
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_words_in_network_order() {
        let pair = Addresses { local: "1.2.3.4:80".parse().unwrap(), peer: "5.6.7.8:9".parse().unwrap() };
        let mut entry = InetSkEntry { family: libc::AF_INET as u32, ..InetSkEntry::default() };
        pair.put(&mut entry);
        assert_eq!(entry.src_addr, [u32::from_ne_bytes([1, 2, 3, 4])]);
        assert_eq!(Addresses::of(&entry, 0).unwrap(), pair);
        entry.src_port = 65536;
        assert!(Addresses::of(&entry, 0).unwrap_err().contains("65536"));
        entry.family = INET6;
        assert!(Addresses::of(&entry, 0).is_err(), "one word is no IPv6 address");
        let pair = Addresses { local: "[fe80::1%7]:1".parse().unwrap(), peer: unspecified(INET6) };
        pair.put(&mut entry);
        assert_eq!(Addresses::of(&entry, 7).unwrap(), pair);
    }
}
