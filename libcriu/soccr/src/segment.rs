//! TCP segments as bytes, with their IP header.

use std::net::SocketAddr;

use crate::data::v4;

/// Flags of a TCP header.
pub(crate) const FIN: u8 = 0x01;
pub(crate) const RST: u8 = 0x04;
pub(crate) const ACK: u8 = 0x10;

const TCP_HEADER_BYTES: usize = 20;
const PROTOCOL_TCP: u8 = 6;
const HOP_LIMIT: u8 = 64;

/// A segment without data or options. Its window is zero: whoever receives it sends nothing because of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub sequence: u32,
    pub acknowledges: u32,
    pub flags: u8,
}

impl Segment {
    /// IPv4 or IPv6 header and the segment; V6 addresses that map IPv4 ones make an IPv4 packet.
    pub(crate) fn packet(&self) -> Vec<u8> {
        match (v4(&self.from), v4(&self.to), self.from, self.to) {
            (Some(from), Some(to), ..) => self.ipv4(from.octets(), to.octets()),
            (.., SocketAddr::V6(from), SocketAddr::V6(to)) => self.ipv6(from.ip().octets(), to.ip().octets()),
            // Addresses of one connection are of one family: `Connection::check`.
            _ => Vec::new(),
        }
    }

    fn ipv4(&self, from: [u8; 4], to: [u8; 4]) -> Vec<u8> {
        let mut packet = Vec::with_capacity(20 + TCP_HEADER_BYTES);
        packet.extend([0x45, 0]);
        packet.extend((20 + TCP_HEADER_BYTES as u16).to_be_bytes());
        // Identification, flags and offset, then the checksum, which the kernel fills in.
        packet.extend([0, 0, 0x40, 0, HOP_LIMIT, PROTOCOL_TCP, 0, 0]);
        packet.extend(from);
        packet.extend(to);
        packet.extend(self.tcp(&[&from, &to]));
        packet
    }

    fn ipv6(&self, from: [u8; 16], to: [u8; 16]) -> Vec<u8> {
        let mut packet = Vec::with_capacity(40 + TCP_HEADER_BYTES);
        packet.extend([0x60, 0, 0, 0]);
        packet.extend((TCP_HEADER_BYTES as u16).to_be_bytes());
        packet.extend([PROTOCOL_TCP, HOP_LIMIT]);
        packet.extend(from);
        packet.extend(to);
        packet.extend(self.tcp(&[&from, &to]));
        packet
    }

    fn tcp(&self, addresses: &[&[u8]]) -> [u8; TCP_HEADER_BYTES] {
        let mut tcp = [0u8; TCP_HEADER_BYTES];
        tcp[0..2].copy_from_slice(&self.from.port().to_be_bytes());
        tcp[2..4].copy_from_slice(&self.to.port().to_be_bytes());
        tcp[4..8].copy_from_slice(&self.sequence.to_be_bytes());
        tcp[8..12].copy_from_slice(&self.acknowledges.to_be_bytes());
        tcp[12] = (TCP_HEADER_BYTES as u8 / 4) << 4;
        tcp[13] = self.flags;
        // The pseudo header sums to the same for both versions of IP.
        let pseudo = [0, PROTOCOL_TCP, 0, TCP_HEADER_BYTES as u8];
        let sum = checksum(addresses.iter().copied().chain([&pseudo[..], &tcp[..]]));
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());
        tcp
    }
}

/// The Internet checksum of pieces of even length (RFC 1071).
fn checksum<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> u16 {
    let words = pieces.flat_map(|p| p.chunks_exact(2)).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !(((folded & 0xffff) + (folded >> 16)) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(from: &str, to: &str) -> Segment {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        Segment { from, to, sequence: 0x0102_0304, acknowledges: 0xfffe_fdfc, flags: FIN | ACK }
    }

    /// A receiver sums everything, the checksum included, and gets all ones.
    #[test]
    fn checksums_verify() {
        let v4 = segment("10.1.2.3:80", "192.168.0.1:65535").packet();
        assert_eq!(v4.len(), 40);
        assert_eq!(checksum([&v4[12..40], &[0, 6, 0, 20]].into_iter()), 0);
        let v6 = segment("[fe80::1:2]:80", "[2001:db8::ffff]:1").packet();
        assert_eq!(v6.len(), 60);
        assert_eq!(checksum([&v6[8..60], &[0, 6, 0, 20]].into_iter()), 0);
    }

    #[test]
    fn mapped_addresses_make_ipv4_packets() {
        let mapped = segment("[::ffff:10.1.2.3]:80", "[::ffff:192.168.0.1]:65535").packet();
        assert_eq!(mapped, segment("10.1.2.3:80", "192.168.0.1:65535").packet());
    }
}
