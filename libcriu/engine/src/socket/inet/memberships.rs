//! Multicast groups that a socket has joined. No call lists them; but of each group of this host (/proc/net/igmp, igmp6) a
//! socket tells whether it is a member, and which sources it wants to hear.

use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use criu_images::messages::InetGroupEntry;

use super::{INET, INET6, address};
use crate::proc::read_text;
use crate::sys::socket::{exchange_option, set_option_bytes};

const MCAST_JOIN_GROUP: i32 = 42;
const MCAST_MSFILTER: i32 = 48;
/// `struct group_filter`: device, group, then mode and number of sources, then sources.
const GROUP_AT: usize = 8;
const FILTER_AT: usize = 136;
const SOURCES_AT: usize = 144;
const ADDRESS_BYTES: usize = 128;
/// Above what `sysctl net.ipv4.igmp_max_msf` usually allows.
const MOST_SOURCES: usize = 64;

/// A group that somebody on this host has joined.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    index: u32,
    device: String,
    ip: IpAddr,
}

impl Group {
    /// Names of other devices may be of any bytes; one to which the socket belongs has to be text for the image.
    fn device_name(&self) -> io::Result<String> {
        let is_text = !self.device.contains(char::REPLACEMENT_CHARACTER);
        is_text.then(|| self.device.clone()).ok_or_else(|| io::Error::from_raw_os_error(libc::EILSEQ))
    }
}

/// Those of this network namespace, read once.
#[derive(Debug, Default)]
pub(super) struct Groups {
    all: Option<Vec<Group>>,
}

impl Groups {
    /// What `fd` is a member of.
    ///
    /// # Errors
    /// Those of getsockopt; E2BIG for a membership with more sources than are kept.
    pub(super) fn of(&mut self, fd: BorrowedFd<'_>, family: u32) -> io::Result<Vec<InetGroupEntry>> {
        let all = match &self.all {
            Some(all) => all,
            None => self.all.insert(read()?),
        };
        let mut found = Vec::new();
        for group in all.iter().filter(|g| g.ip.is_ipv4() || family == INET6) {
            let mut asked = head(group.index, group.ip);
            asked.resize(SOURCES_AT + MOST_SOURCES * ADDRESS_BYTES, 0);
            asked[SOURCES_AT - 4..SOURCES_AT].copy_from_slice(&(MOST_SOURCES as u32).to_ne_bytes());
            let told = match exchange_option(fd, level(group.ip), MCAST_MSFILTER, asked) {
                Ok(told) => told,
                // It is no member; or a socket of IPv6 that cannot be one of an IPv4 group.
                Err(e) if matches!(e.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::ENOPROTOOPT | libc::EINVAL)) => {
                    continue;
                }
                Err(e) => return Err(e),
            };
            let sources = sources(told.get(FILTER_AT..).unwrap_or_default()).unwrap_or(usize::MAX);
            let end = sources.saturating_mul(ADDRESS_BYTES).saturating_add(SOURCES_AT);
            let filter = told.get(FILTER_AT..end).ok_or_else(|| io::Error::from_raw_os_error(libc::E2BIG))?;
            found.push(InetGroupEntry {
                device: group.device_name()?,
                group: address::words(group.ip),
                filter: filter.to_vec(),
            });
        }
        Ok(found)
    }
}

fn level(ip: IpAddr) -> i32 {
    if ip.is_ipv4() { libc::IPPROTO_IP } else { libc::IPPROTO_IPV6 }
}

/// Device and group, as `struct group_req` and `struct group_filter` begin.
fn head(index: u32, ip: IpAddr) -> Vec<u8> {
    let mut head = index.to_ne_bytes().to_vec();
    head.resize(GROUP_AT, 0);
    match ip {
        IpAddr::V4(ip) => {
            head.extend((libc::AF_INET as u16).to_ne_bytes());
            head.extend([0; 2]);
            head.extend(ip.octets());
        }
        IpAddr::V6(ip) => {
            head.extend((libc::AF_INET6 as u16).to_ne_bytes());
            head.extend([0; 6]);
            head.extend(ip.octets());
        }
    }
    head.resize(FILTER_AT, 0);
    head
}

/// How many sources a filter says it has.
fn sources(filter: &[u8]) -> Option<usize> {
    Some(u32::from_ne_bytes(filter.get(4..8)?.try_into().ok()?) as usize)
}

fn group(entry: &InetGroupEntry) -> Option<IpAddr> {
    let family = if entry.group.len() == 1 { INET } else { INET6 };
    address::ip(family, &entry.group).filter(IpAddr::is_multicast)
}

pub(super) fn check(entry: &InetGroupEntry) -> Result<(), String> {
    let whole = sources(&entry.filter)
        .is_some_and(|n| n <= MOST_SOURCES && entry.filter.len() == SOURCES_AT - FILTER_AT + n * ADDRESS_BYTES);
    let device = !entry.device.is_empty() && entry.device.len() < libc::IFNAMSIZ && !entry.device.contains(['/', '\0']);
    if group(entry).is_some() && whole && device { Ok(()) } else { Err("a multicast group that is none".into()) }
}

/// Joins a group again.
///
/// # Errors
/// What failed, and why: ENOENT for a device that is not there.
pub(super) fn join(fd: BorrowedFd<'_>, entry: &InetGroupEntry) -> Result<(), (String, io::Error)> {
    let what = || format!("joining a multicast group on device {}", entry.device);
    let wrong = || io::Error::from_raw_os_error(libc::EINVAL);
    let ip = group(entry).ok_or_else(|| (what(), wrong()))?;
    let index = std::fs::read_to_string(format!("/sys/class/net/{}/ifindex", entry.device)).map_err(|e| (what(), e))?;
    let index = index.trim().parse().map_err(|_| (what(), wrong()))?;
    let mut request = head(index, ip);
    set_option_bytes(fd, level(ip), MCAST_JOIN_GROUP, &request).map_err(|e| (what(), e))?;
    const EXCLUDE_NONE: [u8; 8] = 0u64.to_ne_bytes();
    if entry.filter == EXCLUDE_NONE {
        return Ok(());
    }
    request.extend(&entry.filter);
    set_option_bytes(fd, level(ip), MCAST_MSFILTER, &request).map_err(|e| (what(), e))
}

/// Of a long list the kernel may skip one, when others go between two reads: the second reading has it.
fn read() -> io::Result<Vec<Group>> {
    let mut all = read_once()?;
    for group in read_once()? {
        if !all.contains(&group) {
            all.push(group);
        }
    }
    Ok(all)
}

fn read_once() -> io::Result<Vec<Group>> {
    let text = |path| match read_text(path) {
        // A kernel without multicast, or without IPv6.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other,
    };
    let mut all = igmp(&text("/proc/thread-self/net/igmp")?);
    all.extend(text("/proc/thread-self/net/igmp6")?.lines().filter_map(igmp6));
    Ok(all)
}

/// A device has a line of its own, `1 lo : 1 V3`; its groups are behind it.
fn igmp(text: &str) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut device: Option<(u32, String)> = None;
    for line in text.lines().skip(1) {
        let mut words = line.split_whitespace();
        let Some(first) = words.next() else { continue };
        if !line.starts_with(char::is_whitespace) {
            device = first.parse().ok().zip(words.next().map(|n| n.trim_end_matches(':').to_owned()));
        } else if let (Some((index, name)), Ok(group)) = (&device, u32::from_str_radix(first, 16)) {
            groups.push(Group { index: *index, device: name.clone(), ip: IpAddr::from(group.to_ne_bytes()) });
        }
    }
    groups
}

fn igmp6(line: &str) -> Option<Group> {
    let mut words = line.split_whitespace();
    let (index, device, group) = (words.next()?.parse().ok()?, words.next()?.to_owned(), words.next()?);
    Some(Group { index, device, ip: IpAddr::from(u128::from_str_radix(group, 16).ok()?.to_be_bytes()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_the_kernel() {
        let text = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n1\tlo        :     1      V3\n\
                    \t\t\t\t010000E0     1 0:00000000\t\t0\n12\teth0      :     2      V3\n\t\t\t\tFB0000E0     1 0:00000000\t\t0\n";
        let found = igmp(text);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1], Group { index: 12, device: "eth0".into(), ip: "224.0.0.251".parse().unwrap() });
        let line = "3    eth0            ff0200000000000000000001ff000001     1 00000004 0";
        let six = igmp6(line).unwrap();
        assert_eq!((six.index, six.ip), (3, "ff02::1:ff00:1".parse().unwrap()));
    }

    #[test]
    fn a_device_whose_name_is_no_text_is_in_the_way_of_its_members_only() {
        let list = b"Idx\tDevice\n1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n\
            2\tv\xff        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n";
        let found = igmp(&String::from_utf8_lossy(list));
        assert_eq!(found[0].device_name().unwrap(), "lo");
        assert_eq!(found[1].device_name().unwrap_err().raw_os_error(), Some(libc::EILSEQ));
        assert_eq!(crate::sys::socket::device_name(b"eth0\0\0").unwrap(), "eth0");
        assert!(crate::sys::socket::device_name(b"v\xff\0").is_err());
    }
}
