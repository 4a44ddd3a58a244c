//! Options of `SOL_SOCKET` that all sockets have.

use std::io;
use std::os::fd::BorrowedFd;

use criu_images::messages::{SkMoreOptEntry, SkOptsEntry};

use super::Told;
use crate::numbers::ByNumber;
use crate::sys::socket::{
    attach_filter, filter, linger, option, option_bytes, set_linger, set_option, set_option_bytes, set_timeout, timeout,
};

/// Options that are kept as they are told, with the room they take; a fresh socket has them all at zero
/// but SO_PASSRIGHTS. By number, as in
/// asm-generic/socket.h: SO_TIMESTAMP and SO_TIMESTAMPNS in both forms, SO_RXQ_OVFL, SO_SELECT_ERR_QUEUE, SO_RCVMARK,
/// SO_PASSPIDFD, SO_RCVPRIORITY; SO_TIMESTAMPING in both forms, SO_TXTIME.
const MORE: [(i32, usize); 13] = [
    (29, 4),
    (35, 4),
    (63, 4),
    (64, 4),
    (40, 4),
    (45, 4),
    (75, 4),
    (SO_PASSPIDFD, 4),
    (SO_PASSRIGHTS, 4),
    (82, 4),
    (37, 8),
    (65, 8),
    (61, 8),
];

pub(super) const SO_PASSPIDFD: i32 = 76;
const SO_PASSRIGHTS: i32 = 83;
const SO_BUF_LOCK: i32 = 72;
const SO_LOCK_FILTER: i32 = 44;

/// Options that are on or off, or have a number with 0 for the usual.
struct Flag {
    name: i32,
    get: fn(&SkOptsEntry) -> Option<bool>,
    put: fn(&mut SkOptsEntry, bool),
}

macro_rules! flag {
    ($name:expr, $field:ident) => {
        Flag { name: $name, get: |o| o.$field, put: |o, on| o.$field = Some(on) }
    };
}

const FLAGS: &[Flag] = &[
    flag!(libc::SO_REUSEADDR, reuseaddr),
    flag!(libc::SO_DONTROUTE, so_dontroute),
    flag!(libc::SO_NO_CHECK, so_no_check),
    flag!(libc::SO_REUSEPORT, so_reuseport),
    flag!(libc::SO_BROADCAST, so_broadcast),
    flag!(libc::SO_KEEPALIVE, so_keepalive),
    flag!(libc::SO_PASSCRED, so_passcred),
    flag!(libc::SO_PASSSEC, so_passsec),
];

/// Reads the options; the text names one that images have no place for.
pub(super) fn read(fd: BorrowedFd<'_>) -> io::Result<Result<SkOptsEntry, &'static str>> {
    let so_filter = match filter(fd) {
        Ok(program) => program.iter().map(packed).collect(),
        Err(e) if e.raw_os_error() == Some(libc::EACCES) => return Ok(Err("a socket filter of eBPF")),
        Err(e) => return Err(e),
    };
    let (so_snd_tmo_sec, so_snd_tmo_usec) = timeout(fd, libc::SO_SNDTIMEO)?;
    let (so_rcv_tmo_sec, so_rcv_tmo_usec) = timeout(fd, libc::SO_RCVTIMEO)?;
    let mut opts = SkOptsEntry {
        so_sndbuf: option(fd, libc::SO_SNDBUF)? as u32,
        so_rcvbuf: option(fd, libc::SO_RCVBUF)? as u32,
        so_snd_tmo_sec,
        so_snd_tmo_usec,
        so_rcv_tmo_sec,
        so_rcv_tmo_usec,
        so_priority: Some(option(fd, libc::SO_PRIORITY)? as u32),
        so_rcvlowat: Some(option(fd, libc::SO_RCVLOWAT)? as u32),
        so_oobinline: Some(option(fd, libc::SO_OOBINLINE)? as u32),
        so_linger: linger(fd)?,
        so_buf_lock: Some(optional(fd, SO_BUF_LOCK, 0)? as u32),
        so_mark: Some(option(fd, libc::SO_MARK)? as u32).filter(|&m| m != 0),
        so_filter,
        so_lock_filter: Some(optional(fd, SO_LOCK_FILTER, 0)? != 0).filter(|&locked| locked),
        so_peek_off: Some(optional(fd, libc::SO_PEEK_OFF, -1)?).filter(|&off| off >= 0),
        ..SkOptsEntry::default()
    };
    for flag in FLAGS {
        (flag.put)(&mut opts, optional(fd, flag.name, 0)? != 0);
    }
    Ok(Ok(opts))
}

/// As [`read`], of a socket that is none of the internet's: those have a table of their own for the rest.
pub(super) fn read_all(fd: BorrowedFd<'_>) -> io::Result<Result<SkOptsEntry, &'static str>> {
    Ok(match read(fd)? {
        Ok(opts) => Ok(SkOptsEntry { more_opts: read_more(fd)?, ..opts }),
        refused => refused,
    })
}

fn read_more(fd: BorrowedFd<'_>) -> io::Result<Vec<SkMoreOptEntry>> {
    let mut found = Vec::new();
    for (name, room) in MORE {
        match option_bytes(fd, libc::SOL_SOCKET, name, room) {
            Ok(value) if value.iter().any(|&b| b != 0) != (name == SO_PASSRIGHTS) => {
                found.push(SkMoreOptEntry { level: libc::SOL_SOCKET as u32, name: name as u32, value });
            }
            Err(e) if !is_unknown(&e) => return Err(e),
            _ => {}
        }
    }
    Ok(found)
}

/// Options by likeness.
#[derive(Debug, Default)]
pub(super) struct Known(ByNumber<u32, SkOptsEntry>);

impl Known {
    /// As `read` does, but of sockets that are alike only the first is asked.
    pub(super) fn read(
        &mut self,
        fd: BorrowedFd<'_>,
        told: Option<&Told>,
        read: fn(BorrowedFd<'_>) -> io::Result<Result<SkOptsEntry, &'static str>>,
    ) -> io::Result<Result<SkOptsEntry, &'static str>> {
        if let Some(known) = told.and_then(|told| self.of(told)) {
            return Ok(Ok(known));
        }
        let opts = read(fd)?;
        if let (Ok(opts), Some(likeness)) = (&opts, told.and_then(|t| t.likeness)) {
            self.0.insert(likeness, opts.clone());
        }
        Ok(opts)
    }

    /// Those of a socket that is like one that was asked.
    pub(super) fn of(&self, told: &Told) -> Option<SkOptsEntry> {
        let known = self.0.get(&told.likeness?)?;
        Some(SkOptsEntry { so_sndbuf: told.sndbuf, so_rcvbuf: told.rcvbuf, ..known.clone() })
    }
}

/// The sizes of a socket's buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    sndbuf: u32,
    rcvbuf: u32,
    lock: u32,
}

impl Sizes {
    pub(super) fn of(fd: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Sizes {
            sndbuf: option(fd, libc::SO_SNDBUF)? as u32,
            rcvbuf: option(fd, libc::SO_RCVBUF)? as u32,
            lock: optional(fd, SO_BUF_LOCK, 0)? as u32,
        })
    }

    fn are_those_of(self, opts: &SkOptsEntry) -> bool {
        (self.sndbuf, self.rcvbuf) == (opts.so_sndbuf, opts.so_rcvbuf)
            && opts.so_buf_lock.is_none_or(|lock| lock == self.lock)
    }
}

/// Sets what differs from a fresh socket. `sizes`: what is known of its buffers.
pub(super) fn write(fd: BorrowedFd<'_>, opts: &SkOptsEntry, sizes: Option<Sizes>) -> io::Result<()> {
    if !sizes.is_some_and(|s| s.are_those_of(opts)) {
        buffer(fd, libc::SO_SNDBUF, libc::SO_SNDBUFFORCE, opts.so_sndbuf)?;
        buffer(fd, libc::SO_RCVBUF, libc::SO_RCVBUFFORCE, opts.so_rcvbuf)?;
        if let Some(lock) = opts.so_buf_lock {
            // A size that was set is locked.
            if optional(fd, SO_BUF_LOCK, 0)? as u32 != lock {
                lock_sizes(fd, lock)?;
            }
        }
    }
    let times = [
        (libc::SO_SNDTIMEO, (opts.so_snd_tmo_sec, opts.so_snd_tmo_usec)),
        (libc::SO_RCVTIMEO, (opts.so_rcv_tmo_sec, opts.so_rcv_tmo_usec)),
    ];
    for (name, time) in times.into_iter().filter(|t| t.1 != (0, 0)) {
        set_timeout(fd, name, time)?;
    }
    for flag in FLAGS.iter().filter(|f| (f.get)(opts) == Some(true)) {
        set_option(fd, flag.name, 1)?;
    }
    let numbers = [
        (libc::SO_PRIORITY, opts.so_priority.filter(|&v| v != 0)),
        (libc::SO_RCVLOWAT, opts.so_rcvlowat.filter(|&v| v != 1)),
        (libc::SO_MARK, opts.so_mark.filter(|&v| v != 0)),
        (libc::SO_OOBINLINE, opts.so_oobinline.filter(|&v| v != 0)),
        (libc::SO_PEEK_OFF, opts.so_peek_off.map(|v| v as u32)),
    ];
    for (name, value) in numbers {
        if let Some(value) = value {
            set_option(fd, name, value as i32)?;
        }
    }
    if let Some(seconds) = opts.so_linger {
        set_linger(fd, seconds)?;
    }
    if !opts.so_filter.is_empty() {
        attach_filter(fd, &mut opts.so_filter.iter().map(instruction).collect::<Vec<_>>())?;
    }
    for option in opts.more_opts.iter().filter(|o| MORE.iter().any(|m| m.0 as u32 == o.name)) {
        set_option_bytes(fd, libc::SOL_SOCKET, option.name as i32, &option.value)?;
    }
    if opts.so_lock_filter() { set_option(fd, SO_LOCK_FILTER, 1) } else { Ok(()) }
}

/// What cannot unlock (kernels before 5.14, MPTCP) leaves them locked.
fn lock_sizes(fd: BorrowedFd<'_>, lock: u32) -> io::Result<()> {
    match set_option(fd, SO_BUF_LOCK, lock as i32) {
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOPROTOOPT | libc::EOPNOTSUPP)) && lock == 0 => Ok(()),
        set => set,
    }
}

/// An instruction of a classic filter as images have it.
pub(super) fn packed(i: &libc::sock_filter) -> u64 {
    u64::from(i.code) << 48 | u64::from(i.jt) << 40 | u64::from(i.jf) << 32 | u64::from(i.k)
}

pub(super) fn instruction(packed: &u64) -> libc::sock_filter {
    let p = *packed;
    libc::sock_filter { code: (p >> 48) as u16, jt: (p >> 40) as u8, jf: (p >> 32) as u8, k: p as u32 }
}

/// Sets the size of a buffer, as getsockopt tells it: the kernel doubles what is asked for.
pub(super) fn buffer(fd: BorrowedFd<'_>, plain: i32, force: i32, size: u32) -> io::Result<()> {
    if option(fd, plain)? as u32 == size {
        return Ok(());
    }
    let half = (size / 2) as i32;
    // The forced form needs CAP_NET_ADMIN; the plain one is bounded by sysctl.
    if set_option(fd, force, half).is_err() {
        set_option(fd, plain, half)?;
    }
    Ok(())
}

/// An option that this kernel or this family may lack.
fn optional(fd: BorrowedFd<'_>, name: i32, usual: i32) -> io::Result<i32> {
    match option(fd, name) {
        Err(e) if is_unknown(&e) => Ok(usual),
        other => other,
    }
}

fn is_unknown(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::ENOPROTOOPT | libc::EOPNOTSUPP))
}
