//! Connections that wait to be accepted, and what was sent on them: no system call shows it to anybody, for the end that
//! holds it has no descriptor yet. It is read in the kernel's memory.

use std::io;
use std::os::fd::BorrowedFd;

use criu_images::messages::{SkPeerEntry, SkUcredEntry, UnixSentEntry, UnixWaitingEntry};

use super::MAX_QUEUE_BYTES;
use crate::sys::kernel::{Address, Kernel};

/// What waits at one socket.
#[derive(Debug)]
pub(super) enum Unaccepted {
    /// In order.
    Connections(Vec<UnixWaitingEntry>),
    /// One of them holds what cannot be saved.
    Refused(&'static str),
}

/// As many as any backlog allows for, and as many messages as fit in a queue.
const MOST: u64 = 1 << 20;

/// # Errors
/// EAGAIN: it has changed meanwhile; those of reading.
pub(super) fn look(kernel: &Kernel, listening: BorrowedFd<'_>) -> io::Result<Unaccepted> {
    let look = Look { kernel };
    let mut connections = Vec::new();
    let mut bytes = 0;
    for request in look.queue(kernel.socket(listening)?)? {
        let end = kernel.number(request, "sk_buff", "sk")?;
        let mut connection = look.connection(end)?;
        if connection.ino == 0 && look.client_has_name(end)? {
            return Ok(Unaccepted::Refused("a connection waits to be accepted whose client had a name and is gone"));
        }
        for message in look.queue(end)? {
            match look.message(end, message, &mut bytes)? {
                Ok(message) => connection.sent.push(message),
                Err(why) => return Ok(Unaccepted::Refused(why)),
            }
        }
        connections.push(connection);
    }
    Ok(Unaccepted::Connections(connections))
}

struct Look<'a> {
    kernel: &'a Kernel,
}

impl Look<'_> {
    /// The buffers in a socket's receive queue.
    fn queue(&self, sock: Address) -> io::Result<Vec<Address>> {
        let head = self.kernel.place(sock, "sock", "sk_receive_queue")?;
        let count = self.kernel.number(head, "sk_buff_head", "qlen")?;
        let mut found = Vec::new();
        let mut at = self.kernel.number(head, "sk_buff_head", "next")?;
        while at != head && (found.len() as u64) < count.min(MOST) {
            found.push(at);
            at = self.kernel.number(at, "sk_buff", "next")?;
        }
        if at != head || found.len() as u64 != count {
            return Err(io::Error::from_raw_os_error(libc::EAGAIN));
        }
        Ok(found)
    }

    /// Who is at the other end of the one that waits.
    fn connection(&self, end: Address) -> io::Result<UnixWaitingEntry> {
        let k = self.kernel;
        let client = k.number(end, "unix_sock", "peer")?;
        let socket = if client == 0 { 0 } else { k.number(client, "sock", "sk_socket")? };
        let ino = if socket == 0 { 0 } else { k.number(socket, "socket_alloc", "vfs_inode.i_ino")? };
        let (pid, rights) = (k.number(end, "sock", "sk_peer_pid")?, k.number(end, "sock", "sk_peer_cred")?);
        let connected_by = if pid == 0 || rights == 0 {
            None
        } else {
            let uid = k.number(rights, "cred", "euid")? as u32;
            let gid = k.number(rights, "cred", "egid")? as u32;
            let groups = self.groups(k.number(rights, "cred", "group_info")?)?;
            Some(SkPeerEntry { pid: self.pid(pid)?, uid, gid, groups })
        };
        Ok(UnixWaitingEntry { ino: ino as u32, connected_by, sent: Vec::new() })
    }

    fn client_has_name(&self, end: Address) -> io::Result<bool> {
        let client = self.kernel.number(end, "unix_sock", "peer")?;
        Ok(client != 0 && self.kernel.number(client, "unix_sock", "addr")? != 0)
    }

    /// A process's number in its own pid namespace.
    fn pid(&self, pid: Address) -> io::Result<u32> {
        let k = self.kernel;
        let level = k.number(pid, "pid", "level")?;
        let numbers = k.place(pid, "pid", "numbers")?;
        let own = numbers.wrapping_add(level * k.layouts.bytes("upid")? as u64);
        Ok(k.number(own, "upid", "nr")? as u32)
    }

    fn groups(&self, list: Address) -> io::Result<Vec<u32>> {
        let count = self.kernel.number(list, "group_info", "ngroups")?.min(65536);
        let mut bytes = vec![0; 4 * count as usize];
        self.kernel.read(self.kernel.place(list, "group_info", "gid")?, &mut bytes)?;
        Ok(bytes.chunks_exact(4).filter_map(|w| w.try_into().ok()).map(u32::from_le_bytes).collect())
    }

    fn message(&self, end: Address, skb: Address, total: &mut u64) -> io::Result<Result<UnixSentEntry, &'static str>> {
        let k = self.kernel;
        let along = k.place(skb, "sk_buff", "cb")?;
        if k.number(along, "unix_skb_parms", "fp")? != 0 {
            return Ok(Err("descriptors were sent on a connection that waits to be accepted"));
        }
        let ucred = match k.number(along, "unix_skb_parms", "pid")? {
            0 => None,
            pid => Some(SkUcredEntry {
                pid: self.pid(pid)?,
                uid: k.number(along, "unix_skb_parms", "uid")? as u32,
                gid: k.number(along, "unix_skb_parms", "gid")? as u32,
            }),
        };
        // A kernel may have been built without out-of-band data of unix sockets.
        let urgent = match k.number(end, "unix_sock", "oob_skb") {
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => false,
            other => other? == skb,
        };
        let len = k.number(skb, "sk_buff", "len")?;
        *total += len;
        if *total > MAX_QUEUE_BYTES {
            return Err(io::Error::from_raw_os_error(libc::EAGAIN));
        }
        Ok(Ok(UnixSentEntry { data: self.bytes(skb, len)?, ucred, urgent: urgent.then_some(true) }))
    }

    /// What a buffer holds: the part at `data`, and the pages behind.
    fn bytes(&self, skb: Address, len: u64) -> io::Result<Vec<u8>> {
        let k = self.kernel;
        let in_pages = k.number(skb, "sk_buff", "data_len")?;
        let changed = || io::Error::from_raw_os_error(libc::EAGAIN);
        let mut bytes = vec![0; len as usize];
        let linear = len.checked_sub(in_pages).ok_or_else(changed)? as usize;
        let (first, mut rest) = bytes.split_at_mut(linear);
        k.read(k.number(skb, "sk_buff", "data")?, first)?;
        let shared = k.number(skb, "sk_buff", "head")?.wrapping_add(k.number(skb, "sk_buff", "end")?);
        let count = if rest.is_empty() { 0 } else { k.number(shared, "skb_shared_info", "nr_frags")? };
        let (pieces, each) = (k.place(shared, "skb_shared_info", "frags")?, k.layouts.bytes("skb_frag")? as u64);
        for piece in (0..count).map(|i| pieces.wrapping_add(i * each)) {
            let page = k.number(piece, "skb_frag", "netmem")?;
            let (len, offset) = (k.number(piece, "skb_frag", "len")?, k.number(piece, "skb_frag", "offset")?);
            let (part, behind) = rest.split_at_mut_checked(len as usize).ok_or_else(changed)?;
            k.read(k.page(page)?.wrapping_add(offset), part)?;
            rest = behind;
        }
        if rest.is_empty() { Ok(bytes) } else { Err(changed()) }
    }
}
