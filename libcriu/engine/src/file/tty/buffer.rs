//! What was written to either end of a pseudo terminal and not read yet.
//!
//! The kernel has no way to look at it without taking it out, so it is taken out and put back at once. The line settings are
//! made quiet meanwhile: nothing is echoed, translated or taken for a signal. Canonical mode stays canonical, because the
//! kernel forgets where lines end when it changes; only what is typed of an unfinished line needs the change, when nothing
//! else is left.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{ioctl_fionread, read, write};

use crate::sys::tty::{Termios, set_termios};

const VEOF: usize = 4;
const VTIME: usize = 5;
const VMIN: usize = 6;
const VEOL: usize = 11;
const VEOL2: usize = 16;
/// What a line discipline and the buffers behind it hold at most, with room to spare: where reading does not come to an end,
/// somebody else is writing.
const MAX_BYTES: usize = 1 << 16;
/// Of one write: as long as there is room at all, the kernel takes this much.
const CHUNK_BYTES: usize = 256;
/// A line discipline's own buffer, less what makes it stop taking more.
const DISCIPLINE_BYTES: usize = 3800;
/// How long buffers may take to move on.
const PATIENCE: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };
/// Within which a line discipline usually takes what is on its way.
const MOMENT: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// Bytes that wait in both directions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Written by the slave's side, to be read from the master.
    pub to_master: Vec<u8>,
    /// Typed into the master, to be read from the slave.
    pub to_slave: Vec<u8>,
    /// Offsets in `to_slave` behind which an end of file was typed.
    pub ends: Vec<u32>,
}

impl Waiting {
    pub fn is_empty(&self) -> bool {
        *self == Waiting::default()
    }
}

/// Both ends of a pseudo terminal, the slave's for reading and writing. A master alone is both: settings made there are the
/// slave's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends<'a> {
    pub master: BorrowedFd<'a>,
    pub slave: BorrowedFd<'a>,
}

pub(super) fn is_canonical(t: &Termios) -> bool {
    t.lflag & (libc::ICANON | libc::EXTPROC) == libc::ICANON
}

/// Settings under which bytes go through as they are; lines end at the same characters, and at `eof`.
fn quiet(t: &Termios, eof: u8) -> Termios {
    let mut q = Termios { lflag: t.lflag & (libc::ICANON | libc::EXTPROC), cflag: t.cflag, line: t.line, ..*t };
    (q.iflag, q.oflag) = (0, 0);
    q.cc = [0; _];
    if is_canonical(t) {
        (q.cc[VEOF], q.cc[VEOL], q.cc[VEOL2]) = (eof, t.cc[VEOL], t.cc[VEOL2]);
    }
    q
}

/// Settings under which everything can be read, whether the line is finished or not, without waiting.
fn raw(t: &Termios) -> Termios {
    let mut r = Termios { lflag: t.lflag & libc::EXTPROC, ..quiet(t, 0) };
    (r.cc[VMIN], r.cc[VTIME]) = (0, 0);
    r
}

fn ready(fd: BorrowedFd<'_>, events: PollFlags, patience: Timespec) -> io::Result<bool> {
    loop {
        let mut fds = [PollFd::from_borrowed_fd(fd, events)];
        match poll(&mut fds, Some(&patience)) {
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
            Ok(_) => return Ok(fds[0].revents().intersects(events)),
        }
    }
}

const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

impl Ends<'_> {
    /// Takes everything out and puts it back; `settings` are those of the terminal, before and after.
    ///
    /// # Errors
    /// TimedOut: it did not go back in.
    pub fn look(self, settings: &Termios) -> io::Result<Waiting> {
        // Where nothing can be read yet, the look makes the kernel take in what is on its way: under the settings it was
        // typed under.
        ready(self.slave, PollFlags::IN, NOW)?;
        set_termios(self.slave, &quiet(settings, 0))?;
        let mut waiting = Waiting::default();
        let drained = self.drain(settings, &mut waiting);
        // Whatever happened, what was taken out goes back.
        let back = self.fill(&waiting, settings);
        set_termios(self.slave, settings)?;
        drained.and(back).map(|()| waiting)
    }

    /// Puts bytes into empty buffers. Leaves quiet settings behind.
    pub fn fill(self, waiting: &Waiting, settings: &Termios) -> io::Result<()> {
        // A character for the end of file that is not among the data, nor ends a line.
        let is_free = |c: &u8| {
            !waiting.to_slave.contains(c) && !b"\n\0".contains(c) && *c != settings.cc[VEOL] && *c != settings.cc[VEOL2]
        };
        let eof = if waiting.ends.is_empty() { 0 } else { (1..=255).find(is_free).unwrap_or(settings.cc[VEOF]) };
        let silent = quiet(settings, eof);
        if !waiting.to_slave.is_empty() || !waiting.ends.is_empty() {
            let typed = waiting.typed(eof);
            if is_canonical(settings) || self.is_alone() {
                set_termios(self.slave, &Termios { lflag: silent.lflag | libc::ECHO, ..silent })?;
                self.type_lines(&typed, eof)?;
            } else {
                set_termios(self.slave, &silent)?;
                self.type_raw(&typed)?;
            }
        }
        set_termios(self.slave, &silent)?;
        write_all(self.slave, &waiting.to_master)
    }

    fn is_alone(self) -> bool {
        self.master.as_raw_fd() == self.slave.as_raw_fd()
    }

    /// Takes everything out, under quiet settings; leaves these behind.
    fn drain(self, settings: &Termios, waiting: &mut Waiting) -> io::Result<()> {
        let mut buf = vec![0; 8192];
        while ready(self.master, PollFlags::IN, NOW)? {
            let n = read(self.master, &mut buf)?;
            waiting.to_master.extend_from_slice(&buf[..n]);
            enough(&waiting.to_master)?;
        }
        if is_canonical(settings) {
            while ready(self.slave, PollFlags::IN, NOW)? {
                let n = read(self.slave, &mut buf)?;
                waiting.to_slave.extend_from_slice(&buf[..n]);
                let ended = |c: &u8| *c == b'\n' || *c != 0 && (*c == settings.cc[VEOL] || *c == settings.cc[VEOL2]);
                if !buf[..n].last().is_some_and(ended) {
                    waiting.ends.push(waiting.to_slave.len() as u32);
                    if waiting.ends.len() > MAX_BYTES {
                        return Err(io::ErrorKind::FileTooLarge.into());
                    }
                }
                enough(&waiting.to_slave)?;
            }
        }
        set_termios(self.slave, &raw(settings))?;
        loop {
            let n = read(self.slave, &mut buf)?;
            if n == 0 {
                break;
            }
            waiting.to_slave.extend_from_slice(&buf[..n]);
            enough(&waiting.to_slave)?;
        }
        set_termios(self.slave, &quiet(settings, 0))
    }

    /// Types what is echoed, and takes the echo as the sign that it has arrived.
    fn type_lines(self, typed: &[u8], eof: u8) -> io::Result<()> {
        let mut buf = [0; CHUNK_BYTES];
        for chunk in typed.chunks(CHUNK_BYTES) {
            write_all(self.master, chunk)?;
            let mut expected = chunk.iter().filter(|&&c| eof == 0 || c != eof).count();
            while expected > 0 && ready(self.master, PollFlags::IN, PATIENCE)? {
                expected = expected.saturating_sub(read(self.master, &mut buf)?);
            }
            if expected > 0 {
                // What does not fit into the line discipline waits before it, as it did.
                let full = !self.is_alone() && ioctl_fionread(self.slave)? as usize > DISCIPLINE_BYTES;
                return if full { write_all(self.master, &typed[chunk_end(typed, chunk)..]) } else { Err(timed_out()) };
            }
        }
        // An end of file alone has no echo; the look itself makes the kernel finish what is on its way.
        ready(self.slave, PollFlags::IN, NOW).map(drop)
    }

    fn type_raw(self, typed: &[u8]) -> io::Result<()> {
        write_all(self.master, typed)?;
        let wanted = typed.len().min(DISCIPLINE_BYTES) as u64;
        for _ in 0..20_000 {
            if ioctl_fionread(self.slave)? >= wanted {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_micros(100));
        }
        Err(timed_out())
    }
}

/// Where `chunk`, a part of `typed`, ends in it.
fn chunk_end(typed: &[u8], chunk: &[u8]) -> usize {
    chunk.as_ptr().addr() - typed.as_ptr().addr() + chunk.len()
}

impl Waiting {
    /// `to_slave` with the ends of file among it.
    fn typed(&self, eof: u8) -> Vec<u8> {
        let mut typed = Vec::with_capacity(self.to_slave.len() + self.ends.len());
        let mut done = 0;
        for &end in &self.ends {
            let end = (end as usize).clamp(done, self.to_slave.len());
            typed.extend_from_slice(&self.to_slave[done..end]);
            typed.push(eof);
            done = end;
        }
        typed.extend_from_slice(&self.to_slave[done..]);
        typed
    }

    /// For the way from one process to another.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for n in [self.to_master.len(), self.to_slave.len(), self.ends.len()] {
            bytes.extend_from_slice(&(n as u32).to_le_bytes());
        }
        bytes.extend_from_slice(&self.to_master);
        bytes.extend_from_slice(&self.to_slave);
        bytes.extend(self.ends.iter().flat_map(|e| e.to_le_bytes()));
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Option<Waiting> {
        let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
        let (master, slave) = (number(0)?, number(4)?);
        let ends_at = 12 + master + slave;
        Some(Waiting {
            to_master: bytes.get(12..12 + master)?.to_vec(),
            to_slave: bytes.get(12 + master..ends_at)?.to_vec(),
            ends: (0..number(8)?).map(|i| number(ends_at + 4 * i).map(|n| n as u32)).collect::<Option<_>>()?,
        })
    }
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "what was in the terminal's buffers does not go back into them")
}

fn enough(bytes: &[u8]) -> io::Result<()> {
    if bytes.len() > MAX_BYTES { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(()) }
}

/// The kernel counts its pieces of memory, of CHUNK_BYTES or more, and takes one more when their number is at its limit: then
/// poll(2) says that there is no room. The first is one byte short, so that a line discipline takes whole pieces.
fn write_all(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
    let mut left = bytes;
    let mut size = CHUNK_BYTES - 1;
    let until = Instant::now() + Duration::from_secs(2);
    while !left.is_empty() {
        let wrote = if ready(fd, PollFlags::OUT, MOMENT)? {
            write(fd, &left[..left.len().min(size)])
        } else if Instant::now() < until {
            write_without_waiting(fd, left)
        } else {
            return Err(timed_out());
        };
        match wrote {
            Ok(n) => left = &left[n..],
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        size = CHUNK_BYTES;
    }
    Ok(())
}

/// The description belongs to a task, which stands still.
fn write_without_waiting(fd: BorrowedFd<'_>, bytes: &[u8]) -> rustix::io::Result<usize> {
    let flags = fcntl_getfl(fd)?;
    fcntl_setfl(fd, flags | OFlags::NONBLOCK)?;
    let wrote = write(fd, bytes);
    fcntl_setfl(fd, flags)?;
    wrote
}
