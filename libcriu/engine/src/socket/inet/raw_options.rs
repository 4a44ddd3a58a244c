//! Options of raw sockets that CRIU's message has fields for.

use std::io;
use std::os::fd::BorrowedFd;

use criu_images::messages::{InetSkEntry, IpOptsRawEntry, SkMoreOptEntry};

use super::{ICMP, ICMPV6, INET, RAW};
use crate::sys::socket::{set_int_option, set_option_bytes};

const IP_HDRINCL: i32 = 3;
const IP_NODEFRAG: i32 = 22;
const SOL_RAW: i32 = 255;
const ICMP_FILTER: i32 = 1;
const ICMPV6_FILTER: i32 = 1;

/// Level, name and words of the filter that a socket of this kind may have.
fn filter(isk: &InetSkEntry) -> Option<(i32, i32, usize)> {
    match (isk.family, isk.proto) {
        (INET, ICMP) => Some((SOL_RAW, ICMP_FILTER, 1)),
        (super::INET6, ICMPV6) => Some((libc::IPPROTO_ICMPV6, ICMPV6_FILTER, 8)),
        _ => None,
    }
}

/// Moves what differs from a fresh socket into the fields that there are for it.
pub(super) fn put(isk: &mut InetSkEntry) {
    if isk.r#type != RAW {
        return;
    }
    let mut raw = IpOptsRawEntry::default();
    let filter = filter(isk).map(|(level, name, _)| (level, name));
    isk.more_opts.retain(|o: &SkMoreOptEntry| {
        let key = (o.level as i32, o.name as i32);
        let words = o.value.chunks_exact(4).map(|w| u32::from_ne_bytes([w[0], w[1], w[2], w[3]]));
        match key {
            (libc::IPPROTO_IP, IP_HDRINCL) if isk.family == INET => raw.hdrincl = Some(true),
            (libc::IPPROTO_IP, IP_NODEFRAG) => raw.nodefrag = Some(true),
            key if Some(key) == filter => raw.icmpv_filter = words.collect(),
            _ => return true,
        }
        false
    });
    if raw != IpOptsRawEntry::default() {
        isk.ip_opts.get_or_insert_default().raw = Some(raw);
    }
}

/// # Errors
/// What an image says cannot be set.
pub(super) fn check(isk: &InetSkEntry) -> Result<(), String> {
    let Some(raw) = isk.ip_opts.as_ref().and_then(|o| o.raw.as_ref()) else { return Ok(()) };
    match (filter(isk), raw.icmpv_filter.len()) {
        (_, 0) => Ok(()),
        (Some((_, _, words)), there) if words == there => Ok(()),
        (_, there) => Err(format!("a filter of ICMP messages of {there} words")),
    }
}

pub(super) fn set(fd: BorrowedFd<'_>, isk: &InetSkEntry) -> io::Result<()> {
    let Some(raw) = isk.ip_opts.as_ref().and_then(|o| o.raw.as_ref()).filter(|_| isk.r#type == RAW) else {
        return Ok(());
    };
    for (name, on) in [(IP_HDRINCL, raw.hdrincl()), (IP_NODEFRAG, raw.nodefrag())] {
        if on && isk.family == INET {
            set_int_option(fd, libc::IPPROTO_IP, name, 1)?;
        }
    }
    match filter(isk) {
        Some((level, name, _)) if !raw.icmpv_filter.is_empty() => {
            let value: Vec<u8> = raw.icmpv_filter.iter().flat_map(|w| w.to_ne_bytes()).collect();
            set_option_bytes(fd, level, name, &value)
        }
        _ => Ok(()),
    }
}
