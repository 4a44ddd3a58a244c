//! Sockets that are alike: the kernel's memory has the same bytes wherever it keeps an option. Of many such only one has to be
//! asked for its options, which takes dozens of calls.
//!
//! Nothing here says what a field means: a difference, whatever it is about, makes another likeness. Pointers (to filters, to
//! options of IP) are compared as such. A kernel that lacks one of the fields has moved an option somewhere else: then no
//! socket is like another.

use std::collections::{BTreeMap, HashMap};
use std::io;

use crate::numbers::ByNumber;
use crate::sys::kernel::{Address, Kernel, Member};

/// What is known of a socket without having asked it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    pub family: u32,
    pub kind: u32,
    pub protocol: u32,
    /// As of TCP.
    pub state: u32,
    /// As SO_SNDBUF and SO_RCVBUF tell them: they change by themselves.
    pub sndbuf: u32,
    pub rcvbuf: u32,
    /// The same for sockets with the same options other than these two. `None`: it is not known which are.
    pub likeness: Option<u32>,
    /// The same for sockets with the same peer (SO_PEERCRED).
    pub peer: (Address, Address),
    /// Buffers that wait to be read.
    pub queued: u32,
    /// It is of the family unix, and a single buffer waits: with no credentials or descriptors, and no byte out-of-band.
    pub is_plain: bool,
}

/// All sockets of large tables, by inode number.
#[derive(Debug, Default)]
pub(crate) struct Likenesses {
    sockets: ByNumber<u64, Told>,
    found: HashMap<Vec<u8>, u32>,
    /// What waits, of those where it is plain, and short.
    waiting: ByNumber<u64, Vec<u8>>,
}

/// A socket with one buffer in its queue.
#[derive(Clone, Copy, Debug)]
struct Single {
    ino: u64,
    sock: Address,
    buffer: Address,
}

/// Members of `struct sock` with options.
const OF_ALL: [&str; 20] = [
    "__sk_common.skc_family",
    "__sk_common.skc_reuse",
    "__sk_common.skc_bound_dev_if",
    "__sk_common.skc_flags",
    "sk_type",
    "sk_protocol",
    "sk_peek_off",
    "sk_userlocks",
    "sk_filter",
    "sk_rcvtimeo",
    "sk_rcvlowat",
    "sk_tsflags",
    "sk_pacing_status",
    "sk_max_pacing_rate",
    "sk_sndtimeo",
    "sk_priority",
    "sk_mark",
    "sk_no_check_tx",
    "sk_lingertime",
    "sk_scm_recv_flags",
];
/// Those that are not in every kernel.
const OF_SOME: [&str; 8] = [
    "sk_ll_usec",
    "sk_busy_poll_budget",
    "sk_prefer_busy_poll",
    "sk_reserved_mem",
    "sk_bind_phc",
    "sk_txrehash",
    "sk_clockid",
    "sk_txtime_deadline_mode",
];

/// Of a connection of TCP over IPv4, as members of `tcp_sock`.
const OF_TCP: [&str; 26] = [
    "inet_conn.icsk_inet.inet_flags",
    "inet_conn.icsk_inet.uc_ttl",
    "inet_conn.icsk_inet.inet_opt",
    "inet_conn.icsk_inet.tos",
    "inet_conn.icsk_inet.min_ttl",
    "inet_conn.icsk_inet.mc_ttl",
    "inet_conn.icsk_inet.pmtudisc",
    "inet_conn.icsk_inet.convert_csum",
    "inet_conn.icsk_inet.uc_index",
    "inet_conn.icsk_inet.local_port_range",
    "inet_conn.icsk_accept_queue.rskq_defer_accept",
    "inet_conn.icsk_rto_min",
    "inet_conn.icsk_delack_max",
    "inet_conn.icsk_ca_ops",
    "inet_conn.icsk_ulp_ops",
    "inet_conn.icsk_syn_retries",
    "inet_conn.icsk_user_timeout",
    "notsent_lowat",
    "recvmsg_inq",
    "nonagle",
    "thin_lto",
    "save_syn",
    "keepalive_probes",
    "keepalive_time",
    "keepalive_intvl",
    "linger2",
];
const OF_SOME_TCP: [&str; 5] =
    ["inet_conn.icsk_rto_max", "fastopen_no_cookie", "tcp_tx_delay", "md5sig_info", "ao_info"];

/// More is read by a call of its own.
const SHORT_BYTES: u64 = 512;

const TCP_CLOSE: u32 = 7;
const TCP_LISTEN: u32 = 10;

impl Likenesses {
    pub(crate) fn of(&self, ino: u64) -> Option<&Told> {
        self.sockets.get(&ino)
    }

    /// The bytes that wait at a stream, if they are plain and were read: they are not marked as looked at.
    pub(crate) fn waiting(&self, ino: u64) -> Option<&[u8]> {
        self.waiting.get(&ino).map(Vec::as_slice)
    }

    /// Looks at sockets, each an inode number and a `struct sock`.
    ///
    /// # Errors
    /// Those of reading. ENOENT: the kernel keeps options elsewhere.
    pub(crate) fn add(&mut self, kernel: &Kernel, sockets: &[(u64, Address)]) -> io::Result<()> {
        let mut new = sockets.to_vec();
        new.sort_unstable();
        new.dedup();
        new.retain(|s| !self.sockets.contains_key(&s.0));
        let member = |path| kernel.layouts.member("sock", path);
        let fields = members(kernel, "sock", &OF_ALL, &OF_SOME)?;
        let [family, kind, protocol] = [member("__sk_common.skc_family")?, member("sk_type")?, member("sk_protocol")?];
        let [state, sndbuf, rcvbuf] = [member("__sk_common.skc_state")?, member("sk_sndbuf")?, member("sk_rcvbuf")?];
        let [peer_pid, peer_cred] = [member("sk_peer_pid")?, member("sk_peer_cred")?];
        let [queued, first] = [member("sk_receive_queue.qlen")?, member("sk_receive_queue.next")?];
        let each = kernel.layouts.bytes("sock")?;
        self.sockets.reserve(new.len());
        let places: Vec<Address> = new.iter().map(|s| s.1).collect();
        let (mut connections, mut single) = (Vec::new(), Vec::new());
        kernel.read_each(&places, each, |at, sock| {
            let Some(&(ino, at)) = new.get(at) else { return };
            let told = Told {
                family: family.of(sock) as u32,
                kind: kind.of(sock) as u32,
                protocol: protocol.of(sock) as u32,
                state: state.of(sock) as u32,
                sndbuf: sndbuf.of(sock) as u32,
                rcvbuf: rcvbuf.of(sock) as u32,
                likeness: None,
                peer: (peer_pid.of(sock), peer_cred.of(sock)),
                queued: queued.of(sock) as u32,
                is_plain: false,
            };
            let key = key(sock, &fields);
            let is_unix = told.family == libc::AF_UNIX as u32;
            if is_unix && told.queued == 1 {
                single.push(Single { ino, sock: at, buffer: first.of(sock) });
            }
            let likeness = is_unix.then(|| self.number_of(&key));
            self.sockets.insert(ino, Told { likeness, ..told });
            if is_connection(&told) {
                connections.push((ino, at, key));
            }
        })?;
        if let Err(e) = self.look_at_single(kernel, &single) {
            log::debug!("what waits at unix sockets is not told by the kernel's memory: {e}");
        }
        self.add_connections(kernel, connections)
    }

    fn look_at_single(&mut self, kernel: &Kernel, single: &[Single]) -> io::Result<()> {
        if single.is_empty() {
            return Ok(());
        }
        let queue = kernel.layouts.member("sock", "sk_receive_queue")?.offset as u64;
        let [next, control] = ["next", "cb"].map(|path| kernel.layouts.member("sk_buff", path));
        let (next, control) = (next?, control?);
        let part = |path| {
            let part = kernel.layouts.member("unix_skb_parms", path)?;
            Ok::<_, io::Error>(Member { offset: control.offset + part.offset, ..part })
        };
        let (credentials, descriptors, consumed) = (part("pid")?, part("fp")?, part("consumed")?);
        let [data, len, elsewhere] = ["data", "len", "data_len"].map(|path| kernel.layouts.member("sk_buff", path));
        let (data, len, elsewhere) = (data?, len?, elsewhere?);
        let urgent = kernel.layouts.member("unix_sock", "oob_skb")?.offset as u64;
        let mut has_urgent = vec![true; single.len()];
        let places: Vec<Address> = single.iter().map(|s| s.sock.wrapping_add(urgent)).collect();
        kernel.read_each(&places, 8, |at, pointer| {
            if let Some(has_urgent) = has_urgent.get_mut(at) {
                *has_urgent = pointer != [0; 8];
            }
        })?;
        let all = [next, credentials, descriptors, consumed, data, len, elsewhere];
        let each = all.iter().map(|m| m.offset + m.bytes).max().unwrap_or(0);
        let mut short: BTreeMap<u64, Vec<(u64, Address)>> = BTreeMap::new();
        let places: Vec<Address> = single.iter().map(|s| s.buffer).collect();
        kernel.read_each(&places, each, |at, buffer| {
            let (Some(socket), Some(false)) = (single.get(at), has_urgent.get(at)) else { return };
            let is_last = next.of(buffer) == socket.sock.wrapping_add(queue);
            if let Some(told) = self.sockets.get_mut(&socket.ino) {
                told.is_plain = is_last && credentials.of(buffer) == 0 && descriptors.of(buffer) == 0;
                let unread = len.of(buffer).saturating_sub(consumed.of(buffer));
                let is_short = (1..=SHORT_BYTES).contains(&unread) && elsewhere.of(buffer) == 0;
                if told.is_plain && told.kind == libc::SOCK_STREAM as u32 && is_short {
                    let at = data.of(buffer).wrapping_add(consumed.of(buffer));
                    short.entry(unread).or_default().push((socket.ino, at));
                }
            }
        })?;
        for (bytes, sockets) in short {
            let places: Vec<Address> = sockets.iter().map(|s| s.1).collect();
            kernel.read_each(&places, bytes as usize, |at, bytes| {
                if let Some((ino, _)) = sockets.get(at) {
                    self.waiting.insert(*ino, bytes.to_vec());
                }
            })?;
        }
        Ok(())
    }

    fn add_connections(&mut self, kernel: &Kernel, connections: Vec<(u64, Address, Vec<u8>)>) -> io::Result<()> {
        if connections.is_empty() {
            return Ok(());
        }
        let fields = members(kernel, "tcp_sock", &OF_TCP, &OF_SOME_TCP)?;
        let each = kernel.layouts.bytes("tcp_sock")?;
        let places: Vec<Address> = connections.iter().map(|c| c.1).collect();
        kernel.read_each(&places, each, |at, sock| {
            let Some((ino, _, of_all)) = connections.get(at) else { return };
            let likeness = self.number_of(&[of_all.as_slice(), &key(sock, &fields)].concat());
            if let Some(told) = self.sockets.get_mut(ino) {
                told.likeness = Some(likeness);
            }
        })
    }

    fn number_of(&mut self, key: &[u8]) -> u32 {
        if let Some(&known) = self.found.get(key) {
            return known;
        }
        let next = self.found.len() as u32;
        self.found.insert(key.to_vec(), next);
        next
    }
}

fn is_connection(told: &Told) -> bool {
    let is_tcp = (told.kind, told.protocol) == (libc::SOCK_STREAM as u32, libc::IPPROTO_TCP as u32);
    told.family == libc::AF_INET as u32 && is_tcp && !matches!(told.state, TCP_CLOSE | TCP_LISTEN)
}

fn members(kernel: &Kernel, structure: &str, all: &[&str], some: &[&str]) -> io::Result<Vec<Member>> {
    let mut found = Vec::with_capacity(all.len() + some.len());
    for path in all {
        found.push(kernel.layouts.member(structure, path)?);
    }
    found.extend(some.iter().filter_map(|path| kernel.layouts.member(structure, path).ok()));
    Ok(found)
}

fn key(structure: &[u8], fields: &[Member]) -> Vec<u8> {
    fields.iter().flat_map(|m| structure.get(m.offset..m.offset + m.bytes).unwrap_or_default()).copied().collect()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::{AsFd, BorrowedFd};
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::sys::socket::{option_bytes, set_option_bytes};
    use crate::sys::unix::{self, Along};

    /// Of SOL_SOCKET: the sizes of buffers, told apart, and under other numbers; SO_ERROR; SO_INCOMING_CPU, which is not kept.
    const OTHERS_OF_ALL: [i32; 6] = [7, 8, 32, 33, 4, 49];
    /// Not kept in connections, or of another kind of socket.
    const OTHERS_OF_IP: [i32; 4] = [32, 33, 34, 49];
    /// MAXSEG, WINDOW_CLAMP, INFO, QUICKACK, MD5SIG, repair mode, TIMESTAMP, ULP and what is for the unconnected
    /// (FASTOPEN_KEY among it).
    const OTHERS_OF_TCP: [i32; 15] = [2, 10, 11, 12, 14, 19, 20, 21, 22, 23, 24, 29, 30, 31, 33];

    fn kernel() -> Option<std::rc::Rc<Kernel>> {
        match Kernel::open() {
            // Without the right, or a kernel that does not describe itself.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EPERM | libc::ENOENT | libc::EINVAL)) => None,
            other => Some(other.unwrap()),
        }
    }

    fn told(kernel: &Kernel, known: &mut Likenesses, fd: BorrowedFd<'_>) -> Told {
        known.sockets.clear();
        known.add(kernel, &[(1, kernel.socket(fd).unwrap())]).unwrap();
        *known.of(1).unwrap()
    }

    /// Sets whatever can be set. Where an answer becomes another one, so does the likeness.
    fn every_difference_shows(kernel: &Kernel, fd: BorrowedFd<'_>, level: i32, names: i32, others: &[i32]) -> usize {
        let mut known = Likenesses::default();
        let mut changes = 0;
        for name in (1..names).filter(|n| !others.contains(n)) {
            for value in [1i32, 2, 0, 900] {
                let ask = || option_bytes(fd, level, name, 64).ok();
                let (before, was) = (ask(), told(kernel, &mut known, fd).likeness);
                let values = [value.to_ne_bytes(), [0; 4], [0; 4], [0; 4]].concat();
                let set = set_option_bytes(fd, level, name, &values[..4])
                    .or_else(|_| set_option_bytes(fd, level, name, &values[..8]))
                    .or_else(|_| set_option_bytes(fd, level, name, &values));
                if set.is_err() || ask() == before {
                    continue;
                }
                changes += 1;
                let is = told(kernel, &mut known, fd).likeness;
                assert!(was.is_some() && was != is, "level {level} option {name} = {value} makes no difference");
            }
        }
        changes
    }

    #[test]
    fn options_of_unix_sockets_make_a_difference() {
        let Some(kernel) = kernel() else { return };
        let (a, b) = UnixStream::pair().unwrap();
        let mut known = Likenesses::default();
        assert_eq!(told(&kernel, &mut known, a.as_fd()).likeness, told(&kernel, &mut known, b.as_fd()).likeness);
        assert!(every_difference_shows(&kernel, a.as_fd(), libc::SOL_SOCKET, 90, &OTHERS_OF_ALL) > 15);
    }

    #[test]
    fn options_of_connections_make_a_difference() {
        let Some(kernel) = kernel() else { return };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (a, b) = (connect(), connect());
        let mut known = Likenesses::default();
        assert_eq!(told(&kernel, &mut known, a.as_fd()).likeness, told(&kernel, &mut known, b.as_fd()).likeness);
        let shown = |level, names, others: &[i32]| every_difference_shows(&kernel, a.as_fd(), level, names, others);
        assert!(shown(libc::SOL_SOCKET, 90, &OTHERS_OF_ALL) > 15);
        assert!(shown(libc::IPPROTO_IP, 60, &OTHERS_OF_IP) > 10);
        assert!(shown(libc::IPPROTO_TCP, 60, &OTHERS_OF_TCP) > 10);
        let was = told(&kernel, &mut known, a.as_fd()).likeness;
        set_option_bytes(a.as_fd(), libc::IPPROTO_TCP, libc::TCP_CONGESTION, b"reno").unwrap();
        let is = told(&kernel, &mut known, a.as_fd()).likeness;
        let usual = option_bytes(b.as_fd(), libc::IPPROTO_TCP, libc::TCP_CONGESTION, 16).unwrap();
        assert!(was != is || usual.starts_with(b"reno"));
    }

    #[test]
    fn plain_are_bytes_alone() {
        let Some(kernel) = kernel() else { return };
        let mut known = Likenesses::default();
        let mut is_plain = |send: &dyn Fn(BorrowedFd<'_>, BorrowedFd<'_>)| {
            let (a, b) = UnixStream::pair().unwrap();
            send(a.as_fd(), b.as_fd());
            told(&kernel, &mut known, b.as_fd()).is_plain
        };
        fn send(fd: BorrowedFd<'_>, along: Along<'_>) {
            assert_eq!(unix::send(fd, b"x", along).unwrap(), 1);
        }
        assert!(!is_plain(&|_, _| {}));
        assert!(is_plain(&|a, _| send(a, Along::default())));
        assert!(!is_plain(&|a, _| (0..2).for_each(|_| send(a, Along::default()))));
        assert!(!is_plain(&|a, b| send(a, Along { rights: &[b], ..Along::default() })));
        assert!(!is_plain(&|a, _| send(a, Along { urgent: true, ..Along::default() })));
        assert!(!is_plain(&|a, b| {
            set_option_bytes(b, libc::SOL_SOCKET, libc::SO_PASSCRED, &1i32.to_ne_bytes()).unwrap();
            send(a, Along::default());
        }));
    }

    #[test]
    fn what_waits_is_read_if_it_is_plain_and_short() {
        let Some(kernel) = kernel() else { return };
        let mut known = Likenesses::default();
        let mut waiting = |send: &dyn Fn(&UnixStream, &UnixStream)| {
            let (a, b) = UnixStream::pair().unwrap();
            send(&a, &b);
            known.waiting.clear();
            told(&kernel, &mut known, b.as_fd());
            known.waiting(1).map(<[u8]>::to_vec)
        };
        let write = |mut to: &UnixStream, bytes: &[u8]| std::io::Write::write_all(&mut to, bytes).unwrap();
        assert_eq!(waiting(&|_, _| {}), None);
        assert_eq!(waiting(&|a, _| write(a, b"x")), Some(b"x".to_vec()));
        let read_in_part = waiting(&|a, mut b| {
            write(a, b"taken, left");
            std::io::Read::read_exact(&mut b, &mut [0; 7]).unwrap();
        });
        assert_eq!(read_in_part, Some(b"left".to_vec()));
        let longest = [b'y'; SHORT_BYTES as usize];
        assert_eq!(waiting(&|a, _| write(a, &longest)), Some(longest.to_vec()));
        assert_eq!(waiting(&|a, _| write(a, &[0; SHORT_BYTES as usize + 1])), None);
        assert_eq!(waiting(&|a, _| (0..2).for_each(|_| write(a, b"z"))), None);
        let carries = waiting(&|a, b| {
            assert_eq!(unix::send(a.as_fd(), b"x", Along { rights: &[b.as_fd()], ..Along::default() }).unwrap(), 1);
        });
        assert_eq!(carries, None);
    }

    #[test]
    fn what_is_told_of_sockets() {
        let Some(kernel) = kernel() else { return };
        let (a, b) = UnixStream::pair().unwrap();
        std::io::Write::write_all(&mut (&a), b"x").unwrap();
        let mut known = Likenesses::default();
        let told = told(&kernel, &mut known, b.as_fd());
        assert_eq!((told.family, told.kind, told.queued), (libc::AF_UNIX as u32, libc::SOCK_STREAM as u32, 1));
        let size = |name| crate::sys::socket::option(b.as_fd(), name).unwrap() as u32;
        assert_eq!((told.sndbuf, told.rcvbuf), (size(libc::SO_SNDBUF), size(libc::SO_RCVBUF)));
    }
}
