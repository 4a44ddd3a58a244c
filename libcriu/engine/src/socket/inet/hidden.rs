//! What no call tells of an internet socket, read in the kernel's memory: the device (not address) given to
//! IP_MULTICAST_IF, the program that shares out what comes to a group of SO_REUSEPORT, whether a raw socket may send, and
//! whether what was sent has been counted (MSG_ZEROCOPY).
//!
//! Where the engine may not look, the device is lost, and the log says so of sockets that have to do with multicast; of a
//! program the log says that it would be.

use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use criu_images::messages::{InetSkEntry, SkMoreOptEntry, SkShutdown};
use rustix::net::netdevice::{index_to_name, name_to_index};

use super::{ICMP, ICMPV6, MPTCP, RAW, STREAM, facts, queue, state};
use crate::file::{Seen, Unsaved};
use crate::socket::options::{instruction, packed};
use crate::sys::kernel::{Address, Kernel};
use crate::sys::socket::{attach_reuseport_filter, option_bytes, set_option_bytes};

/// The kernel's memory, opened when the first socket needs it.
#[derive(Debug, Default)]
pub(super) struct Hidden {
    kernel: Option<Result<Rc<Kernel>, String>>,
}

/// BPF_MAXINSNS
const LONGEST_FILTER: u64 = 4096;
/// `num_socks` is a number of 16 bits.
const MOST_SOCKETS: u64 = 1 << 16;

impl Hidden {
    /// Completes an entry.
    pub(super) fn find(&mut self, seen: &Seen<'_>, fd: BorrowedFd<'_>, isk: &mut InetSkEntry) -> Result<(), Unsaved> {
        // MPTCP takes no such programs.
        if isk.proto == MPTCP {
            return Ok(());
        }
        let failed = isk.r#type == STREAM
            && isk.state == state::CLOSE
            && queue::has_error(fd).map_err(|e| Unsaved::os(seen, "poll", e))?;
        let is_listed = isk.r#type == STREAM && isk.state != state::CLOSE;
        if is_listed && !isk.opts.so_reuseport() && !counts_sent(isk) {
            return Ok(());
        }
        let kernel = self.kernel.get_or_insert_with(|| Kernel::open().map_err(|e| e.to_string()));
        // A kernel that lays out its structures in another way is one that may not be looked into.
        let found = kernel.as_ref().map_err(Clone::clone).and_then(|k| look(k, fd, isk).map_err(|e| e.to_string()));
        let found = match found {
            Ok(found) => found,
            Err(why) => {
                warn(seen, isk, &why);
                return Ok(());
            }
        };
        // Where a peer is known, it was the peer's.
        let had_peer = || facts::peer(fd).map(|peer| peer.is_some()).map_err(|e| Unsaved::os(seen, "getpeername", e));
        if failed && (found.error != libc::ECONNRESET || !had_peer()?) {
            let error = io::Error::from_raw_os_error(found.error);
            return Err(Unsaved::because(format!("an error that was not read yet ({error}) cannot be saved"))
                .hint("have it read (SO_ERROR) before the dump"));
        }
        if found.has_md5_keys {
            return Err(Unsaved::because("keys of MD5 (TCP_MD5SIG) cannot be saved").hint("close it before the dump"));
        }
        if let Some(routing) = found.routing {
            return Err(Unsaved::because(format!("{routing} cannot be saved")).hint("close it before the dump"));
        }
        if found.counted {
            let cause = "the numbers of its notifications (MSG_ZEROCOPY, SOF_TIMESTAMPING_OPT_ID) would begin anew";
            return Err(Unsaved::because(cause).hint("switch these off, or close it before the dump"));
        }
        if isk.r#type == RAW || matches!(isk.proto, ICMP | ICMPV6) {
            let shutdown = SkShutdown::try_from(found.shutdown).ok().filter(|&s| s != SkShutdown::None);
            isk.shutdown = shutdown.map(i32::from);
        }
        if found.device != 0 {
            let name = index_to_name(fd, found.device).map_err(|e| {
                let device = found.device;
                Unsaved::because(format!("the device {device} that IP_MULTICAST_IF names is not there ({e})"))
            })?;
            isk.multicast_dev = Some(name);
        }
        if let Some((place, program)) = found.group {
            isk.reuseport_index = place;
            isk.reuseport_filter = program.ok_or_else(|| {
                Unsaved::because("a program of eBPF attached by SO_ATTACH_REUSEPORT_EBPF cannot be saved")
                    .hint("take it off (SO_DETACH_REUSEPORT_BPF), or close the sockets of its port")
            })?;
        }
        Ok(())
    }
}

/// How many datagrams wait at a UDP socket: empty ones are shown to one look only.
pub(super) fn datagrams(fd: BorrowedFd<'_>) -> io::Result<usize> {
    let kernel = Kernel::open()?;
    let sock = kernel.socket(fd)?;
    let arrived = kernel.number(sock, "sock", "sk_receive_queue.qlen")?;
    // Those that a reader has fetched to look at them.
    let fetched = kernel.number(sock, "udp_sock", "reader_queue.qlen")?;
    Ok((arrived + fetched) as usize)
}

/// What the kernel has of a socket.
#[derive(Debug)]
struct Found {
    /// Index of the device given to IP_MULTICAST_IF, or 0.
    device: u32,
    /// Which directions were given up.
    shutdown: i32,
    /// Place in a group of SO_REUSEPORT, and the group's program (`None`: of eBPF).
    group: Option<(Option<u32>, Option<Vec<u64>>)>,
    /// It has counted what was sent, and tells the numbers in its queue of errors.
    counted: bool,
    /// Signs segments, though it is no connection and does not listen.
    has_md5_keys: bool,
    /// What SO_ERROR would tell, and take.
    error: i32,
    /// What it does for the whole network namespace.
    routing: Option<&'static str>,
}

/// Whether notifications of what is sent are on, which the kernel numbers.
fn counts_sent(isk: &InetSkEntry) -> bool {
    has(isk, libc::SO_ZEROCOPY, 1) || numbers_times(isk)
}

fn numbers_times(isk: &InetSkEntry) -> bool {
    const SO_TIMESTAMPING_NEW: i32 = 65;
    let number = libc::SOF_TIMESTAMPING_OPT_ID;
    has(isk, libc::SO_TIMESTAMPING, number) || has(isk, SO_TIMESTAMPING_NEW, number)
}

/// Whether an option of `SOL_SOCKET` has one of the bits.
fn has(isk: &InetSkEntry, name: i32, bits: u32) -> bool {
    let value = |o: &SkMoreOptEntry| o.value.first_chunk::<4>().map_or(0, |v| u32::from_ne_bytes(*v));
    let is_it = |o: &&SkMoreOptEntry| (o.level, o.name) == (libc::SOL_SOCKET as u32, name as u32);
    isk.more_opts.iter().find(is_it).is_some_and(|o| value(o) & bits != 0)
}

fn look(kernel: &Kernel, fd: BorrowedFd<'_>, isk: &InetSkEntry) -> io::Result<Found> {
    let sock = kernel.socket(fd)?;
    let device = if isk.r#type == STREAM { 0 } else { kernel.number(sock, "inet_sock", "mc_index")? as u32 };
    let group = match isk.opts.so_reuseport() {
        true => kernel.number(sock, "sock", "sk_reuseport_cb")?,
        false => 0,
    };
    let group = match group {
        0 => None,
        at => Some((place_in(kernel, at, sock)?, program(kernel, at)?)),
    };
    let shutdown = if isk.r#type == STREAM { 0 } else { kernel.number(sock, "sock", "sk_shutdown")? as i32 & 3 };
    // A connection counts the bytes of its life, before this was switched on as well.
    let copied = has(isk, libc::SO_ZEROCOPY, 1) && kernel.number(sock, "sock", "sk_zckey.counter")? != 0;
    let timed = numbers_times(isk) && (isk.r#type == STREAM || kernel.number(sock, "sock", "sk_tskey.counter")? != 0);
    Ok(Found {
        device,
        shutdown,
        group,
        counted: copied || timed,
        // Not there in a kernel without them.
        has_md5_keys: isk.r#type == STREAM && kernel.number(sock, "tcp_sock", "md5sig_info").is_ok_and(|at| at != 0),
        error: kernel.number(sock, "sock", "sk_err")? as i32,
        routing: if isk.r#type == RAW { routing(kernel, sock).unwrap_or_default() } else { None },
    })
}

/// Whether packets are handed to a raw socket that are nobody's, or it is the one of the multicast router.
fn routing(kernel: &Kernel, sock: Address) -> io::Result<Option<&'static str>> {
    const LONGEST: usize = 4096;
    let net = kernel.number(sock, "sock", "__sk_common.skc_net.net")?;
    // A kernel has none, one or several tables.
    let is_routers = |table| kernel.number(table, "mr_table", "mroute_sk").is_ok_and(|of| of == sock);
    let router = "the socket of a multicast router (MRT_INIT)";
    if kernel.number(net, "net", "ipv4.mrt").is_ok_and(|table| table != 0 && is_routers(table)) {
        return Ok(Some(router));
    }
    if let (Ok(head), Ok(inside)) = (kernel.place(net, "net", "ipv4.mr_tables"), kernel.place(0, "mr_table", "list")) {
        let mut at = kernel.number(head, "list_head", "next")?;
        for _ in 0..LONGEST {
            if at == head || at == 0 {
                break;
            }
            if is_routers(at.wrapping_sub(inside)) {
                return Ok(Some(router));
            }
            at = kernel.number(at, "list_head", "next")?;
        }
    }
    // That of a router is here as well.
    let mut alerted = kernel.number(net, "net", "ipv4.ra_chain")?;
    for _ in 0..LONGEST {
        if alerted == 0 {
            break;
        }
        if kernel.number(alerted, "ip_ra_chain", "sk")? == sock {
            return Ok(Some("a socket that gets packets with a router alert (IP_ROUTER_ALERT)"));
        }
        alerted = kernel.number(alerted, "ip_ra_chain", "next")?;
    }
    Ok(None)
}

fn warn(seen: &Seen<'_>, isk: &InetSkEntry, why: &str) {
    let (pid, object) = (seen.task.pid, seen.object());
    let is_multicast = |level: u32, name: u32| level == libc::IPPROTO_IP as u32 && (32..=34).contains(&name);
    if !isk.groups.is_empty() || isk.more_opts.iter().any(|o| is_multicast(o.level, o.name)) {
        log::warn!("pid {pid} {object}: a device given to IP_MULTICAST_IF would be lost: it cannot be seen ({why})");
    }
    if isk.r#type == RAW {
        log::warn!(
            "pid {pid} {object}: that it has given up sending (shutdown) would be lost: it cannot be seen ({why})"
        );
    }
    if counts_sent(isk) {
        log::warn!("pid {pid} {object}: the numbers of its notifications may begin anew: they cannot be seen ({why})");
    }
    if isk.opts.so_reuseport() {
        log::warn!("pid {pid} {object}: a program attached for SO_REUSEPORT would be lost: it cannot be seen ({why})");
    }
}

/// The socket's number in its group, which programs choose by.
fn place_in(kernel: &Kernel, group: Address, sock: Address) -> io::Result<Option<u32>> {
    let count = kernel.number(group, "sock_reuseport", "num_socks")?.min(MOST_SOCKETS);
    let mut members = vec![0; 8 * count as usize];
    kernel.read(kernel.place(group, "sock_reuseport", "socks")?, &mut members)?;
    let at = members.chunks_exact(8).position(|m| m == sock.to_le_bytes());
    Ok(at.map(|at| at as u32))
}

/// The instructions of a group's classic program, empty without one; `None`: of an extended one.
fn program(kernel: &Kernel, group: Address) -> io::Result<Option<Vec<u64>>> {
    let program = kernel.number(group, "sock_reuseport", "prog")?;
    if program == 0 {
        return Ok(Some(Vec::new()));
    }
    let classic = kernel.number(program, "bpf_prog", "orig_prog")?;
    if classic == 0 {
        return Ok(None);
    }
    let count = kernel.number(classic, "sock_fprog_kern", "len")?.min(LONGEST_FILTER);
    let mut bytes = vec![0; 8 * count as usize];
    kernel.read(kernel.number(classic, "sock_fprog_kern", "filter")?, &mut bytes)?;
    let half = |b: &[u8], at: usize| u16::from(b[at]) | u16::from(b[at + 1]) << 8;
    let instructions = bytes.chunks_exact(8).map(|b| {
        let k = u32::from(half(b, 4)) | u32::from(half(b, 6)) << 16;
        packed(&libc::sock_filter { code: half(b, 0), jt: b[2], jf: b[3], k })
    });
    Ok(Some(instructions.collect()))
}

/// Sets both at a socket that is bound.
///
/// # Errors
/// The option, and what the kernel said.
pub(super) fn set(fd: BorrowedFd<'_>, isk: &InetSkEntry) -> Result<(), (String, io::Error)> {
    if let Some(device) = &isk.multicast_dev {
        let at = |e: io::Error| (format!("setsockopt IP_MULTICAST_IF (device {device})"), e);
        let index = name_to_index(fd, device).map_err(|e| at(e.into()))?;
        let address = option_bytes(fd, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, 4).map_err(at)?;
        let request = [&[0; 4], address.as_slice(), &index.to_ne_bytes()].concat();
        set_option_bytes(fd, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &request).map_err(at)?;
    }
    if isk.reuseport_filter.is_empty() {
        return Ok(());
    }
    let mut filter: Vec<_> = isk.reuseport_filter.iter().map(instruction).collect();
    attach_reuseport_filter(fd, &mut filter).map_err(|e| ("setsockopt SO_ATTACH_REUSEPORT_CBPF".into(), e))
}
