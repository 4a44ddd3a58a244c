//! What /proc/net tells of raw sockets and those of ICMP echo requests (ping): getpeername knows no peer without a port.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::more_options::SocketKind;
use super::{INET6, RAW};
use crate::proc::read_file;

/// Of a long list the kernel may skip one, when others are closed between two reads: then the next reading has it.
const READINGS: usize = 4;

/// State and peer of the socket with this inode; `None` for one that is not listed.
pub(super) fn find(kind: SocketKind, ino: u64) -> io::Result<Option<(u32, SocketAddr)>> {
    let name = if kind.kind == RAW { "raw" } else { "icmp" };
    let six = if kind.family == INET6 { "6" } else { "" };
    let path = format!("/proc/net/{name}{six}");
    for _ in 0..READINGS {
        let text = read_file(&path)?;
        if let Some(found) = String::from_utf8_lossy(&text).lines().skip(1).find_map(|line| parse(line, ino)) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// `NUMBER: LOCAL REMOTE STATE QUEUES TIMER RETRANSMITS UID TIMEOUT INODE ...`
fn parse(line: &str, ino: u64) -> Option<(u32, SocketAddr)> {
    let mut words = line.split_ascii_whitespace().skip(2);
    let (remote, state) = (words.next()?, words.next()?);
    if words.nth(5)?.parse() != Ok(ino) {
        return None;
    }
    let (ip, port) = remote.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(ip.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip: IpAddr = if ip.len() == 8 {
        Ipv4Addr::from(word(0)?).into()
    } else {
        let octets = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
        Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).into()
    };
    Some((u32::from_str_radix(state, 16).ok()?, SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_families() {
        let four = "   1: 0100007F:0001 0200007F:0000 01 00000000:00000000 00:00000000 00000000  0  0 4242 2 0000000000000000 0";
        assert_eq!(parse(four, 4242), Some((1, "127.0.0.2:0".parse().unwrap())));
        assert_eq!(parse(four, 1), None);
        let six = "  58: 00000000000000000000000000000000:003A 00000000000000000000000001000000:0000 07 00000000:00000000 \
                   00:00000000 00000000 0 0 77 2 0000000000000000 0";
        assert_eq!(parse(six, 77), Some((7, "[::1]:0".parse().unwrap())));
    }
}
